//! An independent reader: what a database file holds.

use std::collections::BTreeSet;
use std::ops::Range;

use super::{DIRECTORIES, RUN_HEAD, SECTOR, SECTOR_HEAD, payload, run_checksum, sector_checksum};
use super::{u16_at, u32_at, u64_at};
use crate::model::{Entries, Model};

// The kinds of a run.
const LEAF: u8 = 2;
const BRANCH: u8 = 3;
const VALUE: u8 = 4;
const ZONE: u8 = 5;
const DIRECTORY: u8 = 6;

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Bytes in a page.
    pub page_size: usize,
    /// The newest durable commit.
    pub commit: u64,
    /// All trees, with all keys and values.
    pub trees: Model,
    /// Pages that are in use, the two meta pages not counted.
    pub used: BTreeSet<u32>,
    /// Pages that are free.
    pub free: BTreeSet<u32>,
}

/// What a whole meta page says.
#[derive(Debug)]
struct Meta {
    file_id: u64,
    commit: u64,
    root: u32,
    level: u32,
    trees: u64,
    end: u32,
    free_pages: u64,
    directories: Vec<u32>,
    list: Vec<(u32, u32)>,
}

struct Reader<'a> {
    bytes: &'a [u8],
    page_size: usize,
    meta: Meta,
    used: BTreeSet<u32>,
}

/// Reads a file.
///
/// # Errors
///
/// What is not as the page says.
pub fn read(bytes: &[u8]) -> Result<Found, String> {
    let page_size = [0].into_iter().chain((9..=15).map(|power| 1 << power)).find_map(|at| {
        let sector = bytes.get(at..at + SECTOR)?;
        let size = u32_at(sector, SECTOR_HEAD + 20)? as usize;
        let right = sector.get(SECTOR_HEAD + 4..SECTOR_HEAD + 12)? == b"CONUREBT";
        (right && (at == 0 || at == size)).then_some(size)
    });
    let page_size = page_size.ok_or("neither meta page begins as one")?;
    let metas = (0..2_u8).filter_map(|slot| {
        let at = usize::from(slot) * page_size;
        meta(slot, bytes.get(at..at + page_size)?, page_size)
    });
    let mut metas: Vec<Meta> = metas.collect();
    metas.sort_by_key(|meta| meta.commit);
    while let Some(meta) = metas.pop() {
        let reader = Reader { bytes, page_size, meta, used: BTreeSet::new() };
        if reader.is_complete() {
            return reader.everything();
        }
    }
    Err("neither meta page describes a whole commit".to_owned())
}

/// The meta page, if it is whole.
fn meta(slot: u8, page: &[u8], page_size: usize) -> Option<Meta> {
    let commit = u64_at(page, 4)?;
    for (number, sector) in page.chunks(SECTOR).enumerate() {
        if u32_at(sector, 0)? != sector_checksum(slot, number, sector) || u64_at(sector, 4)? != commit {
            return None;
        }
    }
    let payload = payload(page);
    let right = u32_at(&payload, 0)? == crc32c::crc32c(payload.get(4..)?)
        && payload.get(4..12)? == b"CONUREBT"
        && u32_at(&payload, 12)? == 1
        && u32_at(&payload, 16)? == 0x0a0b_0c0d
        && u32_at(&payload, 20)? as usize == page_size
        && u64_at(&payload, 32)? == commit
        && payload.get(72..DIRECTORIES)?.iter().all(|byte| *byte == 0);
    let directories = page_size / 32;
    let countable = directories * ((page_size - RUN_HEAD) / 4) * 8 * (page_size - RUN_HEAD);
    let (end, free_pages) = (u32_at(&payload, 56)?, u64_at(&payload, 60)?);
    let right = right
        && u32_at(&payload, 44)? <= 40
        && (2..=countable.min(u32::MAX as usize)).contains(&(end as usize))
        && free_pages <= u64::from(end) - 2;
    let list = DIRECTORIES + 4 * directories;
    let listed = u32_at(&payload, 68)? as usize;
    right.then_some(Meta {
        file_id: u64_at(&payload, 24)?,
        commit,
        root: u32_at(&payload, 40)?,
        level: u32_at(&payload, 44)?,
        trees: u64_at(&payload, 48)?,
        end,
        free_pages,
        directories: (0..directories)
            .map(|i| u32_at(&payload, DIRECTORIES + 4 * i))
            .collect::<Option<_>>()?,
        list: (0..listed)
            .map(|i| Some((u32_at(&payload, list + 8 * i)?, u32_at(&payload, list + 8 * i + 4)?)))
            .collect::<Option<_>>()?,
    })
}

impl<'a> Reader<'a> {
    fn run(&self, page: u32, kind: u8) -> Result<&'a [u8], String> {
        let run = self.try_run(page).filter(|run| run.get(4) == Some(&kind)).ok_or_else(|| {
            format!("page {page} is not the beginning of a run of kind {kind}, or its checksum is wrong")
        })?;
        if (4..RUN_HEAD).any(|at| is_unused(kind, at) && run.get(at) != Some(&0)) {
            return Err(format!("the header of page {page} says something that its kind does not have"));
        }
        Ok(run)
    }

    fn try_run(&self, page: u32) -> Option<&'a [u8]> {
        let at = page as usize * self.page_size;
        let pages = u16_at(self.bytes.get(at..)?, 20)?;
        let run = self.bytes.get(at..at + pages.checked_mul(self.page_size)?)?;
        let right = pages > 0
            && page as usize + pages <= self.meta.end as usize
            && u32_at(run, 0)? == run_checksum(self.meta.file_id, run)
            && u32_at(run, 16)? == page
            && u64_at(run, 8)? <= self.meta.commit;
        right.then_some(run)
    }

    /// Whether the commit's pages are all there.
    fn is_complete(&self) -> bool {
        self.meta.end as usize * self.page_size <= self.bytes.len()
            && self.meta.list.iter().all(|(page, checksum)| {
                self.try_run(*page).is_some_and(|run| u32_at(run, 0) == Some(*checksum))
            })
    }

    fn everything(mut self) -> Result<Found, String> {
        let free = self.free()?;
        let (root, level, trees) = (self.meta.root, self.meta.level, self.meta.trees);
        let catalogue = self.tree(root, level, trees)?;
        let mut found = Model::new();
        for (name, value) in catalogue {
            let name = String::from_utf8(name).map_err(|_| "a tree's name is no text")?;
            let state = || {
                let zeros = value.get(5..8)? == [0; 3] && value.len() == 16;
                let level = u32::from(*value.get(4)?);
                zeros.then_some((u32_at(&value, 0)?, level, u64_at(&value, 8)?))
            };
            let (root, level, keys) = state().ok_or("an entry of the catalogue is none")?;
            found.insert(name, self.tree(root, level, keys)?);
        }
        // Every page from 2 up to the end is in use or free, and none is both.
        let both: Vec<_> = self.used.intersection(&free).collect();
        let neither: Vec<_> =
            (2..self.meta.end).filter(|page| !self.used.contains(page) && !free.contains(page)).collect();
        if !both.is_empty() || !neither.is_empty() {
            return Err(format!("pages in use and free: {both:?}, neither: {neither:?}"));
        }
        if free.len() as u64 != self.meta.free_pages {
            return Err(format!("{} pages are free, not {}", free.len(), self.meta.free_pages));
        }
        Ok(Found { page_size: self.page_size, commit: self.meta.commit, trees: found, used: self.used, free })
    }

    /// Notes that the run is in use; it may be so once.
    fn take(&mut self, page: u32, run: &[u8]) -> Result<(), String> {
        for page in (page..).take(run.len() / self.page_size) {
            if page < 2 || !self.used.insert(page) {
                return Err(format!("page {page} is reached twice"));
            }
        }
        Ok(())
    }

    /// The free pages.
    fn free(&mut self) -> Result<BTreeSet<u32>, String> {
        let zone_pages = 8 * (self.page_size - RUN_HEAD);
        let mut free = BTreeSet::new();
        for (number, page) in
            self.meta.directories.clone().into_iter().enumerate().filter(|(_, page)| *page != 0)
        {
            let directory = self.run(page, DIRECTORY)?;
            self.take(page, directory)?;
            if u32_at(directory, 24) != u32::try_from(number).ok() || directory.len() != self.page_size {
                return Err(format!("page {page} is not directory {number}"));
            }
            let zones = (self.page_size - RUN_HEAD) / 4;
            for i in 0..zones {
                let zone_page = u32_at(directory, RUN_HEAD + 4 * i).unwrap_or(0);
                if zone_page == 0 {
                    continue;
                }
                let zone = self.run(zone_page, ZONE)?;
                self.take(zone_page, zone)?;
                let zone_number = number * zones + i;
                if u32_at(zone, 24) != u32::try_from(zone_number).ok() || zone.len() != self.page_size {
                    return Err(format!("page {zone_page} is not zone {zone_number}"));
                }
                for bit in 0..zone_pages {
                    let byte = zone.get(RUN_HEAD + bit / 8).copied().unwrap_or(0);
                    if byte >> (bit % 8) & 1 == 1 {
                        free.insert(
                            u32::try_from(zone_number * zone_pages + bit).map_err(|e| e.to_string())?,
                        );
                    }
                }
            }
        }
        Ok(free)
    }

    /// All entries of a tree.
    fn tree(&mut self, root: u32, level: u32, keys: u64) -> Result<Entries, String> {
        let mut entries = Entries::new();
        if root != 0 {
            self.node(root, level, &[], None, &mut entries)?;
        }
        if entries.len() as u64 != keys {
            return Err(format!("the tree at page {root} has {} keys, not {keys}", entries.len()));
        }
        Ok(entries)
    }

    /// The entries below a node, whose keys are not below `lower` and are below `upper`.
    fn node(
        &mut self,
        page: u32,
        level: u32,
        lower: &[u8],
        upper: Option<&[u8]>,
        entries: &mut Entries,
    ) -> Result<(), String> {
        let run = self.run(page, if level == 0 { LEAF } else { BRANCH })?;
        self.take(page, run)?;
        let wrong = || format!("the node at page {page} is not as it should be");
        if run.get(5).copied().map(u32::from) != Some(level) {
            return Err(wrong());
        }
        let count = u16_at(run, 6).ok_or_else(wrong)?;
        let cells: Vec<Cell<'_>> =
            (0..count).map(|slot| cell(run, slot, level == 0)).collect::<Option<_>>().ok_or_else(wrong)?;
        cells_are_as_told(run, &cells)
            .ok_or_else(|| format!("the cells of page {page} are not where it says"))?;
        let skip = u16_at(run, 22).ok_or_else(wrong)?;
        for (slot, cell) in cells.iter().enumerate() {
            // The first key of a branch is empty and has no head.
            let own = level == 0 || slot > 0;
            let (begins, rest) =
                if own { cell.key.split_at_checked(skip).ok_or_else(wrong)? } else { (&[][..], &[][..]) };
            let alike = !own || cells.last().is_some_and(|last| last.key.starts_with(begins));
            let head: Vec<u8> = rest.iter().copied().chain([0; 4]).take(4).collect();
            if !alike || head != cell.head {
                return Err(format!("a head of page {page} is not that of its key"));
            }
            let next = cells.get(slot + 1).map(|next| next.key);
            if level > 0 {
                let below = if slot == 0 { lower } else { cell.key };
                self.node(cell.page, level - 1, below, next.or(upper), entries)?;
                continue;
            }
            let risen = cell.key >= lower && upper.is_none_or(|upper| cell.key < upper);
            if cell.key.is_empty() || !risen || next.is_some_and(|next| next <= cell.key) {
                return Err(format!("a key of page {page} is out of order"));
            }
            let value = match cell.value {
                Some(value) => value.to_vec(),
                None => self.value(cell.page, cell.len.ok_or_else(wrong)?)?,
            };
            entries.insert(cell.key.to_vec(), value);
        }
        Ok(())
    }

    /// A value on pages of its own.
    fn value(&mut self, page: u32, len: u32) -> Result<Vec<u8>, String> {
        let run = self.run(page, VALUE)?;
        self.take(page, run)?;
        let content = run.get(RUN_HEAD..).unwrap_or_default();
        let (value, rest) =
            content.split_at_checked(len as usize).ok_or(format!("the value at page {page} is cut"))?;
        if u32_at(run, 24) != Some(len) || rest.iter().any(|byte| *byte != 0) {
            return Err(format!("the value at page {page} is not the one that its leaf says"));
        }
        Ok(value.to_vec())
    }
}

/// Whether a byte of a header means nothing in a run of that kind, and so is zero.
fn is_unused(kind: u8, at: usize) -> bool {
    match kind {
        LEAF => false,
        BRANCH => at >= 30,
        _ => matches!(at, 5..8 | 22..24 | 28..32),
    }
}

/// Whether what the header of a leaf or branch tells of its cells is so: where they begin, how many bytes among them belong
/// to none, how many values stand outside; and no two share a byte.
fn cells_are_as_told(run: &[u8], cells: &[Cell<'_>]) -> Option<()> {
    let (start, dead) = (u32_at(run, 24)? as usize, u16_at(run, 28)?);
    let mut places: Vec<_> = cells.iter().map(|cell| cell.place.clone()).collect();
    places.sort_by_key(|place| place.start);
    let taken: usize = places.iter().map(|place| place.len()).sum();
    let outside = cells.iter().filter(|cell| cell.len.is_some()).count();
    let right = places.first()?.start >= start
        && places.last()?.end <= run.len()
        && places.iter().zip(places.iter().skip(1)).all(|(one, next)| one.end <= next.start)
        && start >= RUN_HEAD + 6 * cells.len()
        && start + taken + dead == run.len()
        && u16_at(run, 30)? == outside;
    right.then_some(())
}

/// A cell of a leaf or branch, and what its slot says of its key.
struct Cell<'a> {
    /// Where in the run it is.
    place: Range<usize>,
    key: &'a [u8],
    head: &'a [u8],
    /// A leaf's value, where it stands in the cell.
    value: Option<&'a [u8]>,
    /// A branch's child, or the first page of a value that stands outside.
    page: u32,
    /// The length of such a value.
    len: Option<u32>,
}

fn cell(run: &[u8], slot: usize, leaf: bool) -> Option<Cell<'_>> {
    let slot = run.get(RUN_HEAD + 6 * slot..)?.get(..6)?;
    let at = u16_at(slot, 0)?;
    let (cell, head) = (run.get(at..)?, slot.get(2..)?);
    let key_len = u16_at(cell, 0)?;
    if !leaf {
        let (key, page) = (cell.get(6..6 + key_len)?, u32_at(cell, 2)?);
        return Some(Cell { place: at..at + 6 + key_len, key, head, value: None, page, len: None });
    }
    let value_len = u16_at(cell, 2)?;
    let (key, rest) = cell.get(4..)?.split_at_checked(key_len)?;
    let value_at = at + 4 + key_len;
    if value_len == 65_535 {
        let (page, len) = (u32_at(rest, 0)?, Some(u32_at(rest, 4)?));
        return Some(Cell { place: at..value_at + 8, key, head, value: None, page, len });
    }
    let value = Some(rest.get(..value_len)?);
    Some(Cell { place: at..value_at + value_len, key, head, value, page: 0, len: None })
}
