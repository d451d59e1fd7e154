//! Query strings, byte for byte.
//!
//! **Invariant:** two different keys are never one: bytes are decoded from the raw query, and nothing is repaired.
//! **Invariant:** no error holds any part of the query: it may hold a value.

use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use conure_client::problem as kind;

use super::problem::Problem;

/// How long a key may be.
pub(super) const KEY_LEN_MAX: usize = 4096;

/// The parameters of a query string, in order.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Query(Vec<(&'static str, Vec<u8>)>);

impl Query {
    /// Parses a raw query that may hold the `known` parameters, each once.
    pub(super) fn parse(raw: Option<&str>, known: &[&'static str]) -> Result<Self, Problem> {
        let mut parameters: Vec<(&'static str, Vec<u8>)> = Vec::new();
        let raw = raw.unwrap_or_default();
        if raw.is_empty() {
            return Ok(Self(parameters));
        }
        for pair in raw.as_bytes().split(|byte| *byte == b'&') {
            let mut halves = pair.splitn(2, |byte| *byte == b'=');
            let name = decode(halves.next().unwrap_or_default())?;
            let name = *known.iter().find(|known| known.as_bytes() == name).ok_or_else(|| unknown(known))?;
            let value =
                halves.next().ok_or_else(|| Problem::bad_query(format!("{name} needs `=`: {name}=…")))?;
            if parameters.iter().any(|(given, _)| *given == name) {
                return Err(Problem::bad_query(format!("{name} is given twice; give it once")));
            }
            parameters.push((name, decode(value)?));
        }
        Ok(Self(parameters))
    }

    /// Takes a parameter out.
    pub(super) fn take(&mut self, name: &str) -> Option<Vec<u8>> {
        let at = self.0.iter().position(|(given, _)| *given == name)?;
        Some(self.0.swap_remove(at).1)
    }

    /// Takes the key, which must be there and of a good length.
    pub(super) fn take_key(&mut self) -> Result<Bytes, Problem> {
        let key =
            self.take("key").ok_or_else(|| Problem::bad_query("the parameter key is missing: /kv?key=…"))?;
        if key.is_empty() || key.len() > KEY_LEN_MAX {
            let detail = format!("a key has 1 to {KEY_LEN_MAX} bytes, this one has {}", key.len());
            return Err(Problem::new(StatusCode::BAD_REQUEST, kind::BAD_KEY, detail));
        }
        Ok(key.into())
    }

    /// Takes a parameter that is `true` or `false`; absent is false.
    pub(super) fn take_bool(&mut self, name: &str) -> Result<bool, Problem> {
        match self.take(name).as_deref() {
            None | Some(b"false") => Ok(false),
            Some(b"true") => Ok(true),
            Some(_) => Err(Problem::bad_query(format!("{name} is neither true nor false"))),
        }
    }

    /// Takes a parameter that is text.
    pub(super) fn take_text(&mut self, name: &str) -> Result<Option<String>, Problem> {
        let not_text = |_| Problem::bad_query(format!("{name} is not UTF-8"));
        self.take(name).map(|bytes| String::from_utf8(bytes).map_err(not_text)).transpose()
    }

    /// Takes a parameter that is a whole number from 0.
    pub(super) fn take_number(&mut self, name: &str) -> Result<Option<u64>, Problem> {
        let no_number = |_| Problem::bad_query(format!("{name} is no whole number"));
        self.take_text(name)?.map(|text| text.parse().map_err(no_number)).transpose()
    }
}

/// Stands before the paths that take no parameters.
pub(super) async fn refuse_all(request: Request, next: Next) -> Result<Response, Problem> {
    Query::parse(request.uri().query(), &[])?;
    Ok(next.run(request).await)
}

fn unknown(known: &[&'static str]) -> Problem {
    let detail = match known {
        [] => "this path takes no parameters".to_owned(),
        known => {
            format!("an unknown parameter; this takes {}, with & and + in values escaped", known.join(", "))
        }
    };
    Problem::bad_query(detail)
}

/// Percent-decodes; `+` is a space. A `%` that two hexadecimal digits do not follow is an error.
fn decode(raw: &[u8]) -> Result<Vec<u8>, Problem> {
    let mut decoded = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let (high, low) = (tail.first().and_then(hex), tail.get(1).and_then(hex));
                let (Some(high), Some(low)) = (high, low) else {
                    return Err(Problem::bad_query("a % without two hexadecimal digits; write %25 for %"));
                };
                rest = tail.get(2..).unwrap_or_default();
                high << 4 | low
            }
            other => other,
        });
    }
    Ok(decoded)
}

fn hex(digit: &u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;
    use proptest::prelude::*;

    use super::*;

    const KNOWN: &[&str] = &["key", "value", "stale"];

    fn key(raw: &str) -> Result<Bytes, Problem> {
        Query::parse(Some(raw), KNOWN)?.take_key()
    }

    /// Writes bytes as some client might: each escaped or, where it may, as it is.
    fn written(bytes: &[u8], escape: &[bool]) -> String {
        let mut text = String::new();
        for (at, byte) in bytes.iter().enumerate() {
            let plain = byte.is_ascii_alphanumeric() || b"-._~/:?@!$'()*,;=".contains(byte);
            match (plain, escape[at % escape.len()], byte) {
                (true, false, _) => text.push(char::from(*byte)),
                (_, false, b' ') => text.push('+'),
                (_, true, _) => text.push_str(&format!("%{byte:02x}")),
                _ => text.push_str(&format!("%{byte:02X}")),
            }
        }
        text
    }

    proptest! {
        #[test]
        fn every_key_comes_back_byte_for_byte_however_it_is_written(
            bytes in prop::collection::vec(any::<u8>(), 1..300),
            escape in prop::collection::vec(any::<bool>(), 1..9),
        ) {
            prop_assert_eq!(key(&format!("key={}", written(&bytes, &escape))).unwrap(), bytes);
        }

        #[test]
        fn different_keys_stay_different(
            a in prop::collection::vec(prop::sample::select(vec![0u8, b'+', b' ', b'%', b'2', b'5', b'&', b'=', 0xc3, 0xff]), 1..6),
            b in prop::collection::vec(prop::sample::select(vec![0u8, b'+', b' ', b'%', b'2', b'5', b'&', b'=', 0xc3, 0xff]), 1..6),
        ) {
            let (one, other) = (key(&format!("key={}", conure_client::encode(&a))), key(&format!("key={}", conure_client::encode(&b))));
            prop_assert_eq!(one.unwrap() == other.unwrap(), a == b);
        }

        #[test]
        fn nothing_panics_and_no_error_repeats_the_query(raw in "[ -~]{0,40}") {
            let raw = format!("{raw}&zebra=secret");
            let problem = Query::parse(Some(&raw), KNOWN).unwrap_err();
            let shown = format!("{problem:?}");
            prop_assert!(!shown.contains("secret"));
        }
    }

    #[test]
    fn plus_is_a_space_and_equals_signs_belong_to_the_value() {
        assert_eq!(key("key=a+b%2Bc=d").unwrap(), "a b+c=d");
    }

    #[test]
    fn malformed_queries_are_refused() {
        let bad = [
            "key=a&key=b",
            "key=a&%6bey=b",
            "key=a&other=b",
            "key=a&",
            "&key=a",
            "key=a&&stale=true",
            "key",
            "key=%",
            "key=%4",
            "key=%zz",
            "KEY=a",
            "=a",
        ];
        for raw in bad {
            let status = key(raw).unwrap_err().into_response().status();
            assert_eq!(status, StatusCode::BAD_REQUEST, "{raw}");
        }
        assert!(Query::parse(Some("key=a"), &[]).is_err());
        assert!(Query::parse(Some("stale=1"), KNOWN).unwrap().take_bool("stale").is_err());
    }

    #[test]
    fn a_key_has_1_to_4096_bytes() {
        assert!(key("key=").is_err());
        assert!(key(&format!("key={}", "a".repeat(4096))).is_ok());
        assert!(key(&format!("key={}", "%00".repeat(4096))).is_ok());
        assert!(key(&format!("key={}", "a".repeat(4097))).is_err());
    }
}
