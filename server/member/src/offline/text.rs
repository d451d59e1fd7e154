//! The lines of a dump.
//!
//! Each is a JSON object. First a header, then a line for each key in ascending order of their bytes, last an end:
//!
//! ```json
//! {"conuredb_dump":1,"cluster_id":"c","incarnation":1,"revision":7,"crc32c":"a4b89fc5"}
//! {"key":"colour","revision":7,"value":"blue"}
//! {"key_base64":"/w==","revision":3,"value_base64":"AP8="}
//! {"keys":2,"crc32c":"ead51dd3"}
//! ```
//!
//! Keys and values that are UTF-8 stand as text, others as base64. The checksum of the header is that of its bytes before
//! `,"crc32c"`; that of the end covers all bytes from the second line on to the same place in the last one. Who
//! changes a dump leaves the checksums out and sets `keys` right.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use conure_btree::{MAX_KEY_BYTES, MAX_VALUE_BYTES};
use serde::{Deserialize, Serialize};

use crate::backup_format::Record;

/// The format's version.
pub(crate) const VERSION: u32 = 1;
/// No line is longer: a byte of text takes six at most, as `\u0000`.
pub(crate) const LINE_LEN_MAX: usize = 6 * (MAX_KEY_BYTES + MAX_VALUE_BYTES) + 1024;
const CHECKSUM: &[u8] = b",\"crc32c\"";

/// What a dump says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Header {
    pub(crate) conuredb_dump: u32,
    pub(crate) cluster_id: String,
    pub(crate) incarnation: u64,
    pub(crate) revision: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) crc32c: Option<String>,
}

/// The format's version alone, of whichever version it is.
#[derive(Debug, Deserialize)]
pub(crate) struct AnyHeader {
    pub(crate) conuredb_dump: u32,
}

/// A line behind the header: of a key, or the end.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(borrow)]
    key: Option<Cow<'a, str>>,
    #[serde(borrow)]
    key_base64: Option<Cow<'a, str>>,
    revision: Option<u64>,
    #[serde(borrow)]
    value: Option<Cow<'a, str>>,
    #[serde(borrow)]
    value_base64: Option<Cow<'a, str>>,
    keys: Option<u64>,
    crc32c: Option<String>,
}

/// What a line behind the header says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// A key.
    Record { key: Vec<u8>, revision: u64, value: Vec<u8> },
    /// The end.
    End { keys: u64, crc32c: Option<String> },
}

/// The line of a record, with its line break.
pub(crate) fn record_line(record: Record<'_>) -> serde_json::Result<String> {
    let mut line = String::from("{");
    bytes_field(&mut line, "key", record.key)?;
    line.push_str(&format!(",\"revision\":{},", record.revision));
    bytes_field(&mut line, "value", record.value)?;
    line.push_str("}\n");
    Ok(line)
}

fn bytes_field(line: &mut String, name: &str, bytes: &[u8]) -> serde_json::Result<()> {
    match std::str::from_utf8(bytes) {
        Ok(text) => line.push_str(&format!("\"{name}\":{}", serde_json::to_string(text)?)),
        Err(_) => {
            line.push_str(&format!("\"{name}_base64\":\""));
            STANDARD.encode_string(bytes, line);
            line.push('"');
        }
    }
    Ok(())
}

/// The line of a header, with its checksum.
pub(crate) fn header_line(header: &Header) -> serde_json::Result<String> {
    Ok(with_checksum(&serde_json::to_string(&Header { crc32c: None, ..header.clone() })?, 0))
}

/// The last line; `crc` is that of the records' lines.
pub(crate) fn end_line(keys: u64, crc: u32) -> String {
    with_checksum(&format!("{{\"keys\":{keys}}}"), crc)
}

fn with_checksum(object: &str, crc: u32) -> String {
    let open = object.strip_suffix('}').unwrap_or(object);
    format!("{open},\"crc32c\":\"{:08x}\"}}\n", crc32c::crc32c_append(crc, open.as_bytes()))
}

/// Whether the checksum at the end of `line` is that of the bytes before it, after those of `crc`.
pub(crate) fn checksum_fits(line: &[u8], crc: u32, wanted: &str) -> bool {
    let covered = line.windows(CHECKSUM.len()).rposition(|window| window == CHECKSUM);
    let covered = covered.and_then(|len| line.get(..len));
    covered.is_some_and(|covered| format!("{:08x}", crc32c::crc32c_append(crc, covered)) == wanted)
}

/// Reads a line behind the header. The error says what is wrong with it.
pub(crate) fn parse(line: &[u8]) -> Result<Item, String> {
    let parsed: Line<'_> =
        serde_json::from_slice(line).map_err(|e| format!("it is not a line of a dump ({e})"))?;
    let bytes = |name: &str, text: Option<Cow<'_, str>>, base64: Option<Cow<'_, str>>| match (text, base64) {
        (Some(text), None) => Ok(text.into_owned().into_bytes()),
        (None, Some(base64)) => {
            STANDARD.decode(base64.as_bytes()).map_err(|e| format!("{name}_base64 is no base64 ({e})"))
        }
        _ => Err(format!("it needs {name} or {name}_base64")),
    };
    match parsed {
        Line {
            key: None,
            key_base64: None,
            revision: None,
            value: None,
            value_base64: None,
            keys: Some(keys),
            crc32c,
        } => Ok(Item::End { keys, crc32c }),
        Line { key, key_base64, revision: Some(revision), value, value_base64, keys: None, crc32c: None } => {
            let (key, value) = (bytes("key", key, key_base64)?, bytes("value", value, value_base64)?);
            // The tree takes a revision in front of the value.
            if key.is_empty() || key.len() > MAX_KEY_BYTES || value.len() + 8 > MAX_VALUE_BYTES {
                return Err(format!(
                    "a key of {} bytes with a value of {} is too much",
                    key.len(),
                    value.len()
                ));
            }
            Ok(Item::Record { key, revision, value })
        }
        _ => Err("it is neither a key with its revision and value nor the end".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_survive_a_line() {
        let text = "tab\t, quote \", backslash \\, umlaut ü, nul \0, line\nbreak".as_bytes();
        for (key, value) in [(&b"k"[..], &b""[..]), (text, text), (&[0xff], &[0, 0xff, 0xfe]), (b"\"", b"{}")]
        {
            let line = record_line(Record { key, revision: u64::MAX, value }).unwrap();
            assert_eq!(line.matches('\n').count(), 1, "{line}");
            let wanted = Item::Record { key: key.to_vec(), revision: u64::MAX, value: value.to_vec() };
            assert_eq!(parse(line.as_bytes()), Ok(wanted), "{line}");
        }
    }

    #[test]
    fn lines_that_nobody_writes_are_refused() {
        for line in [
            "",
            "null",
            "{}",
            "[]",
            r#"{"key":"a"}"#,
            r#"{"key":"a","revision":1}"#,
            r#"{"key":"","revision":1,"value":""}"#,
            r#"{"key":"a","key_base64":"YQ==","revision":1,"value":""}"#,
            r#"{"key":"a","revision":-1,"value":""}"#,
            r#"{"key":"a","revision":1,"value":"","more":1}"#,
            r#"{"key_base64":"?","revision":1,"value":""}"#,
            r#"{"keys":1,"key":"a"}"#,
        ] {
            assert!(parse(line.as_bytes()).is_err(), "{line}");
        }
    }

    #[test]
    fn checksums_notice_every_changed_byte() {
        let header = Header {
            conuredb_dump: VERSION,
            cluster_id: "c".into(),
            incarnation: 1,
            revision: 7,
            crc32c: None,
        };
        let line = header_line(&header).unwrap();
        let read: Header = serde_json::from_str(&line).unwrap();
        let wanted = read.crc32c.unwrap();
        assert!(checksum_fits(line.as_bytes(), 0, &wanted));
        for at in 0..line.find(",\"crc32c\"").unwrap() {
            let mut changed = line.clone().into_bytes();
            changed[at] ^= 1;
            assert!(!checksum_fits(&changed, 0, &wanted), "byte {at}");
        }
        let Ok(Item::End { keys: 3, crc32c: Some(crc) }) = parse(end_line(3, 9).as_bytes()) else { panic!() };
        assert!(checksum_fits(end_line(3, 9).as_bytes(), 9, &crc));
        assert!(!checksum_fits(end_line(3, 9).as_bytes(), 8, &crc));
    }
}
