//! Kubernetes' amounts, compared as numbers: the API server stores `1000m` as `1` and `1024Mi` as `1Gi`.

/// No amount has more digits that matter; more would only overflow.
const TEXT_MAX: usize = 64;

/// Whether two texts are the same amount, or else the same text.
pub(super) fn same(one: &str, other: &str) -> bool {
    one == other || nano(one).is_some_and(|amount| Some(amount) == nano(other))
}

/// Whether the first text is the larger amount; not where one of them is none.
pub(super) fn larger(one: &str, other: &str) -> bool {
    nano(one).zip(nano(other)).is_some_and(|(one, other)| one > other)
}

/// The amount in billionths, rounded up as Kubernetes does; `None` for what is none, or is too large to tell.
fn nano(text: &str) -> Option<i128> {
    let text = text.trim();
    if text.len() > TEXT_MAX {
        return None;
    }
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at_checked(end)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    // Kubernetes keeps nothing below a billionth, and its multiples of two are whole numbers.
    let (factor, exponent) = unit(suffix)?;
    let exponent = exponent.checked_add(9)?.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    let scaled = digits.checked_mul(factor)?;
    let power = 10_i128.checked_pow(exponent.unsigned_abs())?;
    let amount = if exponent >= 0 {
        scaled.checked_mul(power)?
    } else {
        scaled.checked_add(power.checked_sub(1)?)?.checked_div(power)?
    };
    Some(if negative { -amount } else { amount })
}

/// A suffix as a factor and a power of ten.
fn unit(suffix: &str) -> Option<(i128, i32)> {
    Some(match suffix {
        "" => (1, 0),
        "n" => (1, -9),
        "u" => (1, -6),
        "m" => (1, -3),
        "k" => (1, 3),
        "M" => (1, 6),
        "G" => (1, 9),
        "T" => (1, 12),
        "P" => (1, 15),
        "E" => (1, 18),
        "Ki" => (1 << 10, 0),
        "Mi" => (1 << 20, 0),
        "Gi" => (1 << 30, 0),
        "Ti" => (1 << 40, 0),
        "Pi" => (1 << 50, 0),
        "Ei" => (1 << 60, 0),
        exponent => (1, exponent.strip_prefix(['e', 'E'])?.parse().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn amounts_that_the_api_server_writes_otherwise_are_the_same() {
        for (asked, stored) in [
            ("1000m", "1"),
            ("0.5", "500m"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("1073741824", "1Gi"),
            ("1e3", "1k"),
            ("2E", "2e18"),
            ("+1", "1"),
            (".5", "500m"),
            ("0.0000000001", "1n"),
            ("0", "0Gi"),
        ] {
            assert!(same(asked, stored), "{asked} {stored}");
        }
    }

    #[test]
    fn the_larger_amount_is_larger_however_it_is_written() {
        assert!(larger("21Gi", "20Gi") && larger("1025Mi", "1Gi") && !larger("1024Mi", "1Gi"));
        assert!(!larger("20Gi", "21Gi") && !larger("lots", "1Gi") && !larger("1Gi", "lots"));
    }

    #[test]
    fn other_amounts_and_other_texts_are_not() {
        for (one, other) in
            [("1", "1m"), ("1G", "1Gi"), ("1", "-1"), ("1", ""), ("", "0"), ("lots", "1"), ("1.2.3", "1")]
        {
            assert!(!same(one, other), "{one} {other}");
        }
        assert!(same("lots", "lots"), "whatever it is, it is the same");
        let (vast, other) = (format!("1{}Ei", "0".repeat(40)), format!("2{}Ei", "0".repeat(40)));
        assert!(!same(&vast, &other));
    }

    proptest! {
        #[test]
        fn a_unit_is_so_many_of_the_one_below_it(count in 0_u32..1_000_000, step in 0_usize..11) {
            let units = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E", "E"];
            if let (Some(small), Some(large)) = (units.get(step), units.get(step + 1)) && small != large {
                let (asked, stored) = (format!("{count}{large}"), format!("{count}000{small}"));
                prop_assert!(same(&asked, &stored));
                let more = format!("{count}001{small}");
                prop_assert!(!same(&asked, &more));
            }
        }

        #[test]
        fn any_text_is_compared_without_a_panic(one in ".{0,80}", other in "[-+0-9.eEinumkKMGTP]{0,80}") {
            prop_assert_eq!(same(&one, &other), same(&other, &one));
            prop_assert!(same(&other, &other));
        }
    }
}
