//! Which key an operation is about. Few at a time, so that clients meet; others as time goes on, so that each has a short
//! history of its own and is judged quickly.

/// How many keys are in use at once.
const AT_ONCE: u64 = 6;
/// How long they are.
const GENERATION_NS: u64 = 8_000_000_000;

fn key(generation: u64, number: u64) -> String {
    format!("g{generation}/{number}")
}

/// A key of the present, or an `old` one.
pub(crate) fn pick(rng: &mut fastrand::Rng, now_ns: u64, old: bool) -> String {
    let generation = now_ns / GENERATION_NS;
    key(if old { rng.u64(..=generation) } else { generation }, rng.u64(..AT_ONCE))
}

/// Every key that a history of this length can name.
pub(crate) fn all(end_ns: u64) -> Vec<String> {
    (0..=end_ns / GENERATION_NS).flat_map(|g| (0..AT_ONCE).map(move |n| key(g, n))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_that_is_picked_is_among_all() {
        let mut rng = fastrand::Rng::with_seed(1);
        for now in [0, GENERATION_NS - 1, 7 * GENERATION_NS + 5] {
            let all = all(now);
            for old in [false, true] {
                assert!((0..200).all(|_| all.contains(&pick(&mut rng, now, old))));
            }
        }
    }
}
