//! The bytes of a segment file. Pure: no I/O, and no panic on any input. All numbers are little endian.
//!
//! A segment is a header of 4,096 bytes and batches, each at a multiple of 512 bytes, so that no write ever
//! touches a sector that holds synced bytes. Every byte of a header or batch is under a checksum.

mod batch;
#[cfg(test)]
mod golden;
mod header;
mod record;

pub(crate) use batch::{BatchHeader, Position, seal_batch};
pub(crate) use header::{HeaderError, SegmentHeader};
pub(crate) use record::{Record, put_record};

/// Batches begin at multiples of this.
pub(crate) const SECTOR: u32 = 512;
/// The first batch begins here.
pub(crate) const SEGMENT_HEADER: u32 = 4096;
/// The records begin here in a batch.
pub(crate) const BATCH_HEADER: u32 = 64;
pub(crate) const SECTOR_BYTES: usize = SECTOR as usize;
pub(crate) const SEGMENT_HEADER_BYTES: usize = SEGMENT_HEADER as usize;
pub(crate) const BATCH_HEADER_BYTES: usize = BATCH_HEADER as usize;
pub(crate) const RECORD_HEADER_BYTES: usize = 20;
/// The newest format of segments.
pub(crate) const VERSION: u32 = 1;

/// A file name of a segment: its number in eight or more digits, so that names sort.
pub(crate) fn segment_name(segment: u32) -> String {
    format!("{segment:08}.log")
}

/// The number of the segment of that name; `None` for any other file's name.
pub(crate) fn segment_number(name: &str) -> Option<u32> {
    let number = name.strip_suffix(".log")?.parse().ok()?;
    (number > 0 && segment_name(number) == name).then_some(number)
}

/// Rounds up to whole sectors.
pub(crate) fn padded(bytes: usize) -> usize {
    bytes.next_multiple_of(SECTOR_BYTES)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_it_writes_are_segments() {
        assert_eq!(segment_number(&segment_name(42)), Some(42));
        assert_eq!(segment_number(&segment_name(u32::MAX)), Some(u32::MAX));
        for name in [
            "1.log",
            "00000000.log",
            "+0000001.log",
            "00000001.log~",
            "log.lock",
            "00000001",
            "99999999999.log",
        ] {
            assert_eq!(segment_number(name), None, "{name}");
        }
    }
}
