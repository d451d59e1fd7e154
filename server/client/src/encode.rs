//! Bytes in a query string.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

/// Everything but RFC 3986's unreserved characters, so that no byte has a second meaning on the way.
const ESCAPED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Percent-encodes any bytes for a query parameter.
///
/// ```
/// assert_eq!(conure_client::encode(b"a b+\xff"), "a%20b%2B%FF");
/// ```
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    percent_encode(bytes, &ESCAPED).to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_survive_the_url_parser(key in prop::collection::vec(any::<u8>(), 0..200)) {
            let text = format!("http://127.0.0.1:8081/kv?key={}", encode(&key));
            let url = reqwest::Url::parse(&text).unwrap();
            let sent = url.query().unwrap().strip_prefix("key=").unwrap();
            prop_assert_eq!(percent_encoding::percent_decode_str(sent).collect::<Vec<u8>>(), key);
            prop_assert!(!sent.contains(['+', '&', '=', '#']));
        }
    }
}
