//! Batches: what one sync covers.
//!
//! | bytes | field |
//! |---|---|
//! | 0..4 | magic `CWB1` |
//! | 4..8 | CRC-32C of bytes 8..64 |
//! | 8..16 | log id |
//! | 16..24 | batch number |
//! | 24..32 | where this batch is: segment, byte offset |
//! | 32..40 | where the sync before this batch ended: segment, byte offset |
//! | 40..44 | length of the records |
//! | 44..48 | CRC-32C of the records and the zeros that pad the batch to whole sectors |
//! | 48..52 | number of records |
//! | 52..56 | checksum of the batch, or segment header, before this one |
//! | 56..64 | zero |

use super::{BATCH_HEADER_BYTES, padded, u32_at, u64_at};

const MAGIC: &[u8; 4] = b"CWB1";

/// A place in the log's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) segment: u32,
    pub(crate) offset: u32,
}

/// What stands before a batch's records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    pub(crate) log_id: u64,
    pub(crate) number: u64,
    pub(crate) at: Position,
    /// All before this was synced when the batch was written.
    pub(crate) synced_end: Position,
    pub(crate) body_bytes: u32,
    pub(crate) body_crc: u32,
    pub(crate) records: u32,
    /// The checksum of what precedes.
    pub(crate) chain: u32,
}

/// Fills in the first 64 bytes of `batch` (room for the header, then the records), pads it to whole sectors and
/// gives the checksum that the next batch names.
pub(crate) fn seal_batch(batch: &mut Vec<u8>, mut header: BatchHeader) -> u32 {
    let records_bytes = batch.len() - BATCH_HEADER_BYTES;
    batch.resize(padded(batch.len()), 0);
    header.body_bytes = u32::try_from(records_bytes).unwrap_or(u32::MAX);
    header.body_crc = crc32c::crc32c(&batch[BATCH_HEADER_BYTES..]);
    let bytes = header.encode();
    batch[..BATCH_HEADER_BYTES].copy_from_slice(&bytes);
    u32_at(&bytes, 4).unwrap_or(0)
}

impl BatchHeader {
    fn encode(&self) -> [u8; BATCH_HEADER_BYTES] {
        let mut out = [0; BATCH_HEADER_BYTES];
        out[..4].copy_from_slice(MAGIC);
        out[8..16].copy_from_slice(&self.log_id.to_le_bytes());
        out[16..24].copy_from_slice(&self.number.to_le_bytes());
        let words = [
            self.at.segment,
            self.at.offset,
            self.synced_end.segment,
            self.synced_end.offset,
            self.body_bytes,
            self.body_crc,
            self.records,
            self.chain,
        ];
        for (word, place) in words.iter().zip(out[24..56].chunks_exact_mut(4)) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        let crc = crc32c::crc32c(&out[8..]);
        out[4..8].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// The header at the start of `bytes`, with its checksum; `None` where there is no right one.
    pub(crate) fn parse(bytes: &[u8]) -> Option<(Self, u32)> {
        let bytes = bytes.get(..BATCH_HEADER_BYTES)?;
        let crc = u32_at(bytes, 4)?;
        if !bytes.starts_with(MAGIC) || crc != crc32c::crc32c(&bytes[8..]) {
            return None;
        }
        let word = |at| u32_at(bytes, at);
        let header = Self {
            log_id: u64_at(bytes, 8)?,
            number: u64_at(bytes, 16)?,
            at: Position { segment: word(24)?, offset: word(28)? },
            synced_end: Position { segment: word(32)?, offset: word(36)? },
            body_bytes: word(40)?,
            body_crc: word(44)?,
            records: word(48)?,
            chain: word(52)?,
        };
        Some((header, crc))
    }

    /// The batch's length on disk, padding included.
    pub(crate) fn disk_bytes(&self) -> Option<u32> {
        let bytes = u64::from(self.body_bytes) + BATCH_HEADER_BYTES as u64;
        u32::try_from(bytes.next_multiple_of(super::SECTOR_BYTES as u64)).ok()
    }
}
