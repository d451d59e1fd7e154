//! The header of a segment: whose it is, what came before it, and the log's state when it began.
//!
//! | bytes | field |
//! |---|---|
//! | 0..8 | magic `CONUREWL` |
//! | 8..12 | CRC-32C of bytes 12..4096 |
//! | 12..16 | format version |
//! | 16..24 | log id |
//! | 24..28 | segment number |
//! | 28..32 | byte offset where the segment before it ended, 0 for the first |
//! | 32..40 | number of the first batch in it |
//! | 40..44 | checksum of the batch before it |
//! | 44..48 | flags: 1 vote, 2 purged, 4 entries |
//! | 48..64 | first and last index of the entries held |
//! | 64..72 | last purged index |
//! | 72..76 | lengths of vote and purge marker, two bytes each |
//! | 76.. | vote, then marker, then zeros |

use bytes::Bytes;

use super::{SEGMENT_HEADER_BYTES, VERSION, u32_at, u64_at};
use crate::logical::{Logical, Purged};

const MAGIC: &[u8; 8] = b"CONUREWL";
const OPAQUE_AT: usize = 76;

/// What a segment begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) log_id: u64,
    pub(crate) segment: u32,
    pub(crate) previous_end: u32,
    pub(crate) first_batch: u64,
    pub(crate) chain: u32,
    pub(crate) base: Logical,
}

/// Why bytes are no segment header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderError {
    /// Not one, or not all of one.
    Invalid,
    /// A whole one of a later format.
    Version(u32),
}

impl SegmentHeader {
    /// The header's bytes and its checksum, which the first batch names.
    pub(crate) fn encode(&self) -> (Vec<u8>, u32) {
        let mut out = Vec::with_capacity(SEGMENT_HEADER_BYTES);
        let vote = self.base.vote.as_deref().unwrap_or_default();
        let (purged, marker) =
            self.base.purged.as_ref().map_or((0, &[][..]), |purged| (purged.index, &purged.marker));
        let (first, last) = self.base.entries.unwrap_or_default();
        let flags = u32::from(self.base.vote.is_some())
            | u32::from(self.base.purged.is_some()) << 1
            | u32::from(self.base.entries.is_some()) << 2;
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&self.log_id.to_le_bytes());
        out.extend_from_slice(&self.segment.to_le_bytes());
        out.extend_from_slice(&self.previous_end.to_le_bytes());
        out.extend_from_slice(&self.first_batch.to_le_bytes());
        out.extend_from_slice(&self.chain.to_le_bytes());
        out.extend_from_slice(&flags.to_le_bytes());
        for index in [first, last, purged] {
            out.extend_from_slice(&index.to_le_bytes());
        }
        for opaque in [vote, marker] {
            out.extend_from_slice(&u16::try_from(opaque.len()).unwrap_or(u16::MAX).to_le_bytes());
        }
        out.extend_from_slice(vote);
        out.extend_from_slice(marker);
        out.resize(SEGMENT_HEADER_BYTES, 0);
        let crc = crc32c::crc32c(&out[12..]);
        out[8..12].copy_from_slice(&crc.to_le_bytes());
        (out, crc)
    }

    /// The header in `bytes` and its checksum.
    pub(crate) fn parse(bytes: &[u8]) -> Result<(Self, u32), HeaderError> {
        Self::parse_whole(bytes).ok_or(HeaderError::Invalid)?
    }

    fn parse_whole(bytes: &[u8]) -> Option<Result<(Self, u32), HeaderError>> {
        let bytes = bytes.get(..SEGMENT_HEADER_BYTES)?;
        let crc = u32_at(bytes, 8)?;
        if !bytes.starts_with(MAGIC) || crc != crc32c::crc32c(&bytes[12..]) {
            return None;
        }
        let version = u32_at(bytes, 12)?;
        if version != VERSION {
            return Some(Err(HeaderError::Version(version)));
        }
        let flags = u32_at(bytes, 44)?;
        let lengths = u32_at(bytes, 72)?;
        let vote_end = OPAQUE_AT + usize::try_from(lengths & 0xffff).ok()?;
        let marker_end = vote_end + usize::try_from(lengths >> 16).ok()?;
        let vote = bytes.get(OPAQUE_AT..vote_end)?;
        let marker = bytes.get(vote_end..marker_end)?;
        let base = Logical {
            vote: (flags & 1 != 0).then(|| Bytes::copy_from_slice(vote)),
            purged: if flags & 2 != 0 {
                Some(Purged { index: u64_at(bytes, 64)?, marker: Bytes::copy_from_slice(marker) })
            } else {
                None
            },
            entries: if flags & 4 != 0 { Some((u64_at(bytes, 48)?, u64_at(bytes, 56)?)) } else { None },
        };
        if base.entries.is_some_and(|(first, last)| first > last) {
            return None;
        }
        let header = Self {
            log_id: u64_at(bytes, 16)?,
            segment: u32_at(bytes, 24)?,
            previous_end: u32_at(bytes, 28)?,
            first_batch: u64_at(bytes, 32)?,
            chain: u32_at(bytes, 40)?,
            base,
        };
        Some(Ok((header, crc)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> SegmentHeader {
        SegmentHeader {
            log_id: 11,
            segment: 3,
            previous_end: 8192,
            first_batch: 17,
            chain: 0xdead_beef,
            base: Logical {
                vote: Some(Bytes::from(vec![1; 1024])),
                purged: Some(Purged { index: 4, marker: Bytes::from(vec![2; 1024]) }),
                entries: Some((5, 9)),
            },
        }
    }

    #[test]
    fn header_parses_back() {
        for base in [Logical::default(), header().base] {
            let header = SegmentHeader { base, ..header() };
            let (bytes, crc) = header.encode();
            assert_eq!(bytes.len(), SEGMENT_HEADER_BYTES);
            assert_eq!(SegmentHeader::parse(&bytes), Ok((header, crc)));
        }
    }

    #[test]
    fn no_flipped_bit_of_a_header_parses() {
        let (bytes, _) = header().encode();
        for bit in (0..bytes.len() * 8).step_by(7) {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::parse(&damaged), Err(HeaderError::Invalid), "bit {bit}");
        }
    }

    #[test]
    fn a_later_format_is_told_apart_from_damage() {
        let (mut bytes, _) = header().encode();
        bytes[12] = 9;
        let crc = crc32c::crc32c(&bytes[12..]);
        bytes[8..12].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(SegmentHeader::parse(&bytes), Err(HeaderError::Version(9)));
    }
}
