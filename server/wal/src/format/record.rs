//! Records: what a batch holds.
//!
//! | bytes | field |
//! |---|---|
//! | 0..4 | CRC-32C of the rest of the record |
//! | 4..8 | payload length |
//! | 8 | kind: 1 entry, 2 vote, 3 truncate, 4 purge |
//! | 9..12 | zero |
//! | 12..20 | index |
//! | 20.. | payload |

use super::{RECORD_HEADER_BYTES, u32_at, u64_at};

/// One record, its payload borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Record<'a> {
    Entry { index: u64, payload: &'a [u8] },
    Vote { vote: &'a [u8] },
    Truncate { from: u64 },
    Purge { upto: u64, marker: &'a [u8] },
}

/// Appends the record's bytes to `out`. The payload is under 4 GiB: its callers bound it by a segment's size.
pub(crate) fn put_record(out: &mut Vec<u8>, record: Record<'_>) {
    let (kind, index, payload) = match record {
        Record::Entry { index, payload } => (1_u8, index, payload),
        Record::Vote { vote } => (2, 0, vote),
        Record::Truncate { from } => (3, from, &[][..]),
        Record::Purge { upto, marker } => (4, upto, marker),
    };
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(&[kind, 0, 0, 0]);
    out.extend_from_slice(&index.to_le_bytes());
    out.extend_from_slice(payload);
    let crc = crc32c::crc32c(&out[start + 4..]);
    out[start..start + 4].copy_from_slice(&crc.to_le_bytes());
}

impl<'a> Record<'a> {
    /// The first record of `bytes` and what follows it; `None` where there is no whole, right one.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let payload_len = usize::try_from(u32_at(bytes, 4)?).ok()?;
        let end = RECORD_HEADER_BYTES.checked_add(payload_len)?;
        let payload = bytes.get(RECORD_HEADER_BYTES..end)?;
        if crc32c::crc32c(bytes.get(4..end)?) != u32_at(bytes, 0)? {
            return None;
        }
        let index = u64_at(bytes, 12)?;
        let record = match bytes.get(8..12)? {
            [1, 0, 0, 0] => Self::Entry { index, payload },
            [2, 0, 0, 0] if index == 0 => Self::Vote { vote: payload },
            [3, 0, 0, 0] if payload.is_empty() => Self::Truncate { from: index },
            [4, 0, 0, 0] => Self::Purge { upto: index, marker: payload },
            _ => return None,
        };
        Some((record, bytes.get(end..)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Record<'_>; 4] = [
        Record::Entry { index: 7, payload: b"payload" },
        Record::Vote { vote: b"" },
        Record::Truncate { from: u64::MAX },
        Record::Purge { upto: 3, marker: b"marker" },
    ];

    #[test]
    fn records_parse_back() {
        let mut bytes = Vec::new();
        ALL.iter().for_each(|record| put_record(&mut bytes, *record));
        let mut rest = &bytes[..];
        for expected in ALL {
            let (record, tail) = Record::parse(rest).unwrap();
            assert_eq!(record, expected);
            rest = tail;
        }
        assert!(rest.is_empty());
    }

    #[test]
    fn no_flipped_bit_parses() {
        for record in ALL {
            let mut bytes = Vec::new();
            put_record(&mut bytes, record);
            for bit in 0..bytes.len() * 8 {
                let mut damaged = bytes.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Record::parse(&damaged), None, "{record:?} bit {bit}");
            }
        }
    }
}
