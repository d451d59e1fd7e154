//! The meta pages of a tree's file as they lie on the disk.
//!
//! Whoever opens a tree puts a damaged meta page right as long as it is the older one. A check is to find it first.

use std::io;

use conure_io::{Disk, OpenMode};

/// A meta page consists of sectors of so many bytes; each begins with its checksum.
const SECTOR: usize = 512;
const CHECKSUM: usize = 4;

/// Those of the two meta pages of `file` that have a sector which is not what was written. A crash leaves none.
pub(crate) fn damaged(disk: &dyn Disk, file: &str, page_size: usize) -> io::Result<Vec<u8>> {
    let file = disk.open(file, OpenMode::Read)?;
    let mut found = Vec::new();
    for slot in 0..2_u8 {
        let mut page = vec![0; page_size];
        file.read_exact_at(&mut page, u64::from(slot) * page_size as u64)?;
        if !page.chunks(SECTOR).zip(0..).all(|(sector, number)| is_whole(slot, number, sector)) {
            found.push(slot);
        }
    }
    Ok(found)
}

fn is_whole(slot: u8, number: u8, sector: &[u8]) -> bool {
    let begun = crc32c::crc32c(&[slot, number]);
    sector
        .split_first_chunk::<CHECKSUM>()
        .is_some_and(|(checksum, rest)| u32::from_le_bytes(*checksum) == crc32c::crc32c_append(begun, rest))
}
