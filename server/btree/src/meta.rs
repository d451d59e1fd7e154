//! The two meta pages: each describes one durable commit.
//!
//! A meta page is made of sectors of 512 bytes, `checksum u32, commit u64, 500 bytes of payload`, so that a page torn
//! by a crash (sectors of two commits, each whole) can be told from a damaged one (a sector that is not whole).

use crate::bytes::{get_u32, get_u64, put_u32, put_u64, word};
use crate::node::LEVEL_MAX;
use crate::page::{FIRST_PAGE, HEADER, PageId};

pub(crate) const VERSION: u32 = 1;
const MAGIC: [u8; 8] = *b"CONUREBT";
const ORDER: u32 = 0x0a0b_0c0d;
pub(crate) const SECTOR: usize = 512;
const SECTOR_HEAD: usize = 12;
const SECTOR_BODY: usize = SECTOR - SECTOR_HEAD;
/// Commits are numbered up to here, so that counting on cannot overflow.
const TXN_MAX: u64 = 1 << 62;
/// Bytes of the payload before the directory.
const FIXED: usize = 96;

/// A tree: where its root is, how high it is, how many keys it has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct TreeState {
    /// Zero when the tree is empty.
    pub(crate) root: PageId,
    pub(crate) level: u8,
    pub(crate) keys: u64,
}

/// What a meta page says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) page_size: usize,
    pub(crate) file_id: u64,
    pub(crate) txn: u64,
    pub(crate) catalogue: TreeState,
    /// The number of pages in use or free: those from here on have never been used.
    pub(crate) end: u32,
    pub(crate) free_pages: u64,
    /// Directory pages; zero where there is none.
    pub(crate) directory: Vec<PageId>,
    /// The runs written since the durable commit before, with their checksums; empty when they were synced before this
    /// page was written.
    pub(crate) list: Vec<(PageId, u32)>,
}

/// What is found where a meta page should be.
#[derive(Debug)]
pub(crate) enum Slot {
    Whole(Meta),
    /// Whole sectors that do not belong together: a write that a crash interrupted. The newest commit among them.
    Torn {
        newest: u64,
    },
    /// A sector that is not whole. The newest commit among the others.
    Damaged {
        newest: Option<u64>,
    },
}

/// How many directory pages a meta page can name.
pub(crate) fn directory_len(page_size: usize) -> usize {
    page_size / 32
}

/// How many pages have their bits in one zone.
pub(crate) fn zone_pages(page_size: usize) -> usize {
    (page_size - HEADER) * 8
}

/// How many zones a directory page can name.
pub(crate) fn zones_in_directory(page_size: usize) -> usize {
    (page_size - HEADER) / 4
}

/// How many pages a file can have: as many as the directories of a meta page cover.
pub(crate) fn pages_max(page_size: usize) -> u64 {
    let zones = (zones_in_directory(page_size) * directory_len(page_size)) as u64;
    (zones * zone_pages(page_size) as u64).min(u64::from(u32::MAX))
}

/// How many runs a meta page can list.
pub(crate) fn list_len_max(page_size: usize) -> usize {
    (page_size / SECTOR * SECTOR_BODY - FIXED - 4 * directory_len(page_size)) / 8
}

fn sector_checksum(slot: u8, sector: usize, bytes: &[u8]) -> u32 {
    let seed = crc32c::crc32c(&[slot, u8::try_from(sector).unwrap_or(u8::MAX)]);
    crc32c::crc32c_append(seed, &bytes[4..])
}

impl Meta {
    /// Whether both describe the same trees and free pages, whatever their numbers and lists.
    pub(crate) fn same_state(&self, other: &Self) -> bool {
        self.file_id == other.file_id
            && self.catalogue == other.catalogue
            && self.end == other.end
            && self.free_pages == other.free_pages
            && self.directory == other.directory
    }

    /// The bytes of the page for slot 0 or 1.
    pub(crate) fn encode(&self, slot: u8) -> Vec<u8> {
        let mut payload = vec![0; self.page_size / SECTOR * SECTOR_BODY];
        payload[4..12].copy_from_slice(&MAGIC);
        put_u32(&mut payload, 12, VERSION);
        put_u32(&mut payload, 16, ORDER);
        put_u32(&mut payload, 20, word(self.page_size));
        put_u64(&mut payload, 24, self.file_id);
        put_u64(&mut payload, 32, self.txn);
        put_u32(&mut payload, 40, self.catalogue.root);
        put_u32(&mut payload, 44, u32::from(self.catalogue.level));
        put_u64(&mut payload, 48, self.catalogue.keys);
        put_u32(&mut payload, 56, self.end);
        put_u64(&mut payload, 60, self.free_pages);
        put_u32(&mut payload, 68, word(self.list.len()));
        for (i, page) in self.directory.iter().enumerate() {
            put_u32(&mut payload, FIXED + 4 * i, *page);
        }
        let list_at = FIXED + 4 * directory_len(self.page_size);
        for (i, (page, checksum)) in self.list.iter().enumerate() {
            put_u32(&mut payload, list_at + 8 * i, *page);
            put_u32(&mut payload, list_at + 8 * i + 4, *checksum);
        }
        let sum = crc32c::crc32c(&payload[4..]);
        put_u32(&mut payload, 0, sum);

        let mut page = vec![0; self.page_size];
        for (i, (sector, body)) in page.chunks_mut(SECTOR).zip(payload.chunks(SECTOR_BODY)).enumerate() {
            put_u64(sector, 4, self.txn);
            sector[SECTOR_HEAD..].copy_from_slice(body);
            let sum = sector_checksum(slot, i, sector);
            put_u32(sector, 0, sum);
        }
        page
    }
}

/// Reads a page that was found in slot 0 or 1.
pub(crate) fn decode(slot: u8, page: &[u8]) -> Slot {
    let mut payload = Vec::with_capacity(page.len());
    let mut newest = None;
    let mut oldest = u64::MAX;
    let mut damaged = false;
    for (i, sector) in page.chunks(SECTOR).enumerate() {
        let txn = get_u64(sector, 4);
        if sector_checksum(slot, i, sector) != get_u32(sector, 0) || txn > TXN_MAX {
            damaged = true;
            continue;
        }
        newest = newest.max(Some(txn));
        oldest = oldest.min(txn);
        payload.extend_from_slice(&sector[SECTOR_HEAD..]);
    }
    if damaged {
        return Slot::Damaged { newest };
    }
    let newest = newest.unwrap_or(0);
    if oldest != newest || crc32c::crc32c(&payload[4..]) != get_u32(&payload, 0) {
        return Slot::Torn { newest };
    }
    match parse(&payload, page.len()) {
        Some(meta) => Slot::Whole(meta),
        None => Slot::Damaged { newest: Some(newest) },
    }
}

fn parse(payload: &[u8], page_size: usize) -> Option<Meta> {
    let listed = get_u32(payload, 68) as usize;
    let level = u8::try_from(get_u32(payload, 44)).ok()?;
    let txn = get_u64(payload, 32);
    let (end, free_pages) = (get_u32(payload, 56), get_u64(payload, 60));
    let sound = get_u32(payload, 20) as usize == page_size
        && txn <= TXN_MAX
        && level <= LEVEL_MAX
        && end >= FIRST_PAGE
        && u64::from(end) <= pages_max(page_size)
        // The meta pages are never free.
        && free_pages <= u64::from(end - FIRST_PAGE)
        && listed <= list_len_max(page_size);
    if !sound {
        return None;
    }
    let list_at = FIXED + 4 * directory_len(page_size);
    Some(Meta {
        page_size,
        file_id: get_u64(payload, 24),
        txn,
        catalogue: TreeState { root: get_u32(payload, 40), level, keys: get_u64(payload, 48) },
        end,
        free_pages,
        directory: (0..directory_len(page_size)).map(|i| get_u32(payload, FIXED + 4 * i)).collect(),
        list: (0..listed)
            .map(|i| (get_u32(payload, list_at + 8 * i), get_u32(payload, list_at + 8 * i + 4)))
            .collect(),
    })
}

/// What the first sector of a meta page says about the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Label {
    /// This engine's, of this version and byte order, with this page size.
    Ours {
        page_size: usize,
    },
    Version(u32),
    ByteOrder,
    /// The sector is not whole, but its name is right.
    Damaged,
    Foreign,
}

/// Whether a file's first bytes, perhaps less than a sector, are a database's.
pub(crate) fn begins_as_ours(bytes: &[u8]) -> bool {
    bytes.get(SECTOR_HEAD + 4..).is_some_and(|payload| payload.starts_with(&MAGIC))
}

pub(crate) fn label(slot: u8, sector: &[u8]) -> Label {
    let payload = &sector[SECTOR_HEAD..];
    if !begins_as_ours(sector) {
        return Label::Foreign;
    }
    if sector_checksum(slot, 0, sector) != get_u32(sector, 0) {
        return Label::Damaged;
    }
    if get_u32(payload, 16) == ORDER.swap_bytes() {
        return Label::ByteOrder;
    }
    if get_u32(payload, 12) != VERSION {
        return Label::Version(get_u32(payload, 12));
    }
    let page_size = get_u32(payload, 20) as usize;
    let sound = (512..=32_768).contains(&page_size) && page_size.is_power_of_two();
    if sound { Label::Ours { page_size } } else { Label::Damaged }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(page_size: usize, txn: u64) -> Meta {
        Meta {
            page_size,
            file_id: 7,
            txn,
            catalogue: TreeState { root: 5, level: 1, keys: 3 },
            end: 99,
            free_pages: 4,
            directory: (0..directory_len(page_size)).map(word).collect(),
            list: (0..list_len_max(page_size)).map(|i| (word(i), word(2 * i))).collect(),
        }
    }

    #[test]
    fn a_full_page_comes_back_as_it_was() {
        for page_size in [512, 4096, 32_768] {
            let wanted = meta(page_size, 12);
            let page = wanted.encode(1);
            assert!(matches!(decode(1, &page), Slot::Whole(found) if found == wanted));
            assert_eq!(label(1, &page[..SECTOR]), Label::Ours { page_size });
            assert!(matches!(decode(0, &page), Slot::Damaged { .. }), "the other slot's page is none");
        }
    }

    #[test]
    fn numbers_that_no_file_can_have_are_damage() {
        for page_size in [512, 4096] {
            let most = u32::try_from(pages_max(page_size)).unwrap();
            for (end, free_pages, sound) in [
                (2, 0, true),
                (1, 0, false),
                (99, 97, true),
                (99, 98, false),
                (99, u64::MAX, false),
                (most, 0, true),
                (most + 1, 0, false),
            ] {
                let page = Meta { end, free_pages, ..meta(page_size, 12) }.encode(0);
                let whole = matches!(decode(0, &page), Slot::Whole(_));
                assert_eq!(whole, sound, "pages of {page_size}: end {end}, {free_pages} free");
            }
        }
    }

    #[test]
    fn a_torn_page_is_told_from_a_damaged_one() {
        let (old, new) = (meta(4096, 12).encode(0), meta(4096, 14).encode(0));
        for cut in 1..8 {
            let mut torn = new.clone();
            torn[cut * SECTOR..].copy_from_slice(&old[cut * SECTOR..]);
            assert!(matches!(decode(0, &torn), Slot::Torn { newest: 14 }));
        }
        for bit in 0..new.len() * 8 {
            let mut damaged = new.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(decode(0, &damaged), Slot::Damaged { newest: Some(14) }), "bit {bit}");
        }
    }
}
