//! The database file as `docs/on-disk-format.md` describes it, written from that page alone: nothing of the engine's
//! own format code is used here.

mod read;
mod reseal;

pub use read::{Found, read};
pub use reseal::{reseal, set_file_id};

/// Bytes of a sector of a meta page.
pub(crate) const SECTOR: usize = 512;
/// Bytes of a sector before its part of the payload.
const SECTOR_HEAD: usize = 12;
/// Bytes of a run before its content.
const RUN_HEAD: usize = 32;
/// Where in the payload of a meta page the directories begin.
const DIRECTORIES: usize = 96;

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<usize> {
    Some(usize::from(u16::from_le_bytes(number(bytes, at)?)))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(number(bytes, at)?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(number(bytes, at)?))
}

/// The checksum that a sector of a meta page should have.
fn sector_checksum(slot: u8, number: usize, sector: &[u8]) -> u32 {
    let begin = crc32c::crc32c(&[slot, u8::try_from(number).unwrap_or(u8::MAX)]);
    crc32c::crc32c_append(begin, sector.get(4..).unwrap_or_default())
}

/// The checksum that a run should have.
fn run_checksum(file_id: u64, run: &[u8]) -> u32 {
    let begin = crc32c::crc32c(&file_id.to_le_bytes());
    crc32c::crc32c_append(begin, run.get(4..).unwrap_or_default())
}

/// The payload of a meta page: what its sectors hold, one after the other.
fn payload(page: &[u8]) -> Vec<u8> {
    page.chunks(SECTOR).flat_map(|sector| sector.get(SECTOR_HEAD..).unwrap_or_default()).copied().collect()
}
