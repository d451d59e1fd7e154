//! Making the checksums of a file right again after its bytes were changed: so that what a file says is looked at, and
//! not only that it was changed.

use super::{
    DIRECTORIES, SECTOR, SECTOR_HEAD, payload, run_checksum, sector_checksum, u16_at, u32_at, u64_at,
};

/// Makes every checksum of a file with pages of that many bytes right, whatever else the file says.
pub fn reseal(bytes: &mut [u8], page_size: usize) {
    let Some(file_id) = u64_at(bytes, SECTOR_HEAD + 24) else { return };
    let pages = bytes.len() / page_size;
    // From the end, so that whatever looks like a run inside of another one is done before that one.
    for page in (2..pages).rev() {
        let at = page * page_size;
        if !bytes.get(at + 4).is_some_and(|kind| (2..=6).contains(kind)) {
            continue;
        }
        let said = u16_at(bytes, at + 20).unwrap_or(0);
        let len = if said == 0 || said > pages - page { 1 } else { said };
        if let Some(run) = bytes.get_mut(at..at + len * page_size) {
            let sum = run_checksum(file_id, run);
            put(run, 0, &sum.to_le_bytes());
        }
    }
    for slot in 0..2_u8 {
        reseal_meta(bytes, slot, page_size);
    }
}

/// Gives the file another id, and every checksum that depends on it.
pub fn set_file_id(bytes: &mut [u8], page_size: usize, file_id: u64) {
    for slot in 0..2 {
        put(bytes, slot * page_size + SECTOR_HEAD + 24, &file_id.to_le_bytes());
    }
    reseal(bytes, page_size);
}

fn reseal_meta(bytes: &mut [u8], slot: u8, page_size: usize) {
    let at = usize::from(slot) * page_size;
    let Some(page) = bytes.get(at..at + page_size) else { return };
    let mut payload = payload(page);
    // The list holds the checksums that the runs have now.
    let list = DIRECTORIES + 4 * (page_size / 32);
    let entries = payload.len().saturating_sub(list) / 8;
    for i in 0..entries.min(u32_at(&payload, 68).unwrap_or(0) as usize) {
        let run = u32_at(&payload, list + 8 * i).unwrap_or(0) as usize;
        if let Some(sum) = run.checked_mul(page_size).and_then(|at| u32_at(bytes, at)) {
            put(&mut payload, list + 8 * i + 4, &sum.to_le_bytes());
        }
    }
    let sum = crc32c::crc32c(payload.get(4..).unwrap_or_default());
    put(&mut payload, 0, &sum.to_le_bytes());
    let commit = u64_at(&payload, 32).unwrap_or(0);
    let Some(page) = bytes.get_mut(at..at + page_size) else { return };
    let bodies = payload.chunks(SECTOR - SECTOR_HEAD);
    for (number, (sector, body)) in page.chunks_mut(SECTOR).zip(bodies).enumerate() {
        put(sector, 4, &commit.to_le_bytes());
        put(sector, SECTOR_HEAD, body);
        let sum = sector_checksum(slot, number, sector);
        put(sector, 0, &sum.to_le_bytes());
    }
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + value.len()) {
        place.copy_from_slice(value);
    }
}
