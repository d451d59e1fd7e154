//! The bytes of one file, now and on the platter.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{PAGE_BYTES, SECTOR_BYTES};

type Page = Arc<[u8; PAGE_BYTES]>;

/// Bytes by page; a page that is not there is zeros that take no room.
#[derive(Debug, Clone, Default)]
struct Bytes {
    len: u64,
    pages: BTreeMap<u64, Page>,
}

/// A file's bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    now: Bytes,
    durable: Bytes,
    /// Pages whose two sides may differ.
    dirty: BTreeSet<u64>,
}

fn page_of(offset: u64) -> u64 {
    offset / PAGE_BYTES as u64
}

/// The pages that hold `len` bytes.
fn pages_for(len: u64) -> u64 {
    len.div_ceil(PAGE_BYTES as u64)
}

/// The place of `offset` in its page.
fn within(offset: u64) -> usize {
    usize::try_from(offset % PAGE_BYTES as u64).unwrap_or_default()
}

impl Bytes {
    /// Nothing is left behind `len`.
    fn cut(&mut self, len: u64) {
        self.pages.split_off(&pages_for(len));
        if within(len) != 0
            && let Some(last) = self.pages.get_mut(&page_of(len))
        {
            Arc::make_mut(last)[within(len)..].fill(0);
        }
    }
}

impl Content {
    pub(super) fn len(&self) -> u64 {
        self.now.len
    }

    /// Pages that take room.
    pub(super) fn pages(&self) -> u64 {
        self.now.pages.len() as u64
    }

    /// How many more pages would take room if `len` bytes at `offset` were written.
    pub(super) fn new_pages(&self, offset: u64, len: u64) -> u64 {
        let range = page_of(offset)..pages_for(offset + len);
        let there = self.now.pages.range(range.clone()).count() as u64;
        range.end.saturating_sub(range.start) - there
    }

    pub(super) fn read(&self, offset: u64, len: u64) -> Vec<u8> {
        let end = offset.saturating_add(len).min(self.now.len);
        let mut bytes = Vec::with_capacity(usize::try_from(end.saturating_sub(offset)).unwrap_or_default());
        let mut at = offset;
        while at < end {
            let from = within(at);
            let count = (PAGE_BYTES - from).min(usize::try_from(end - at).unwrap_or(PAGE_BYTES));
            match self.now.pages.get(&page_of(at)) {
                Some(page) => bytes.extend_from_slice(&page[from..from + count]),
                None => bytes.resize(bytes.len() + count, 0),
            }
            at += count as u64;
        }
        bytes
    }

    pub(super) fn write(&mut self, offset: u64, data: &[u8]) {
        let (mut at, mut rest) = (offset, data);
        while !rest.is_empty() {
            let from = within(at);
            let count = (PAGE_BYTES - from).min(rest.len());
            let (part, more) = rest.split_at(count);
            let page = self.now.pages.entry(page_of(at)).or_insert_with(|| Arc::new([0; PAGE_BYTES]));
            Arc::make_mut(page)[from..from + count].copy_from_slice(part);
            self.dirty.insert(page_of(at));
            at += count as u64;
            rest = more;
        }
        self.now.len = self.now.len.max(at);
    }

    /// Makes room for `len` bytes at `offset`, and the file as long where `grow`.
    pub(super) fn allocate(&mut self, offset: u64, len: u64, grow: bool) {
        for number in page_of(offset)..pages_for(offset + len) {
            if let std::collections::btree_map::Entry::Vacant(free) = self.now.pages.entry(number) {
                free.insert(Arc::new([0; PAGE_BYTES]));
                self.dirty.insert(number);
            }
        }
        if grow {
            self.now.len = self.now.len.max(offset + len);
        }
    }

    pub(super) fn set_len(&mut self, len: u64) {
        if len < self.now.len {
            self.dirty.extend(self.now.pages.range(page_of(len)..).map(|(number, _)| *number));
            self.now.cut(len);
        }
        self.now.len = len;
    }

    /// What is there now is durable.
    pub(super) fn sync(&mut self) {
        for number in std::mem::take(&mut self.dirty) {
            match self.now.pages.get(&number) {
                Some(page) => self.durable.pages.insert(number, Arc::clone(page)),
                None => self.durable.pages.remove(&number),
            };
        }
        self.durable.len = self.now.len;
    }

    /// As Linux has it: what a failed sync did not write is not tried again.
    pub(super) fn forget_dirty(&mut self) {
        self.dirty.clear();
    }

    /// The bytes are let go of; what is durable stays.
    pub(super) fn release(&mut self) {
        self.now = Bytes::default();
    }

    /// The power fails. Where `torn` decides, each unsynced sector may have reached the platter all the same, and so
    /// may the length.
    pub(super) fn lose_power(&mut self, torn: Option<&mut fastrand::Rng>) {
        let dirty = std::mem::take(&mut self.dirty);
        if let Some(rng) = torn {
            for number in dirty {
                let Some(written) = self.now.pages.get(&number) else { continue };
                let kept = self.durable.pages.entry(number).or_insert_with(|| Arc::new([0; PAGE_BYTES]));
                let kept = Arc::make_mut(kept);
                for at in (0..PAGE_BYTES).step_by(SECTOR_BYTES).filter(|_| rng.bool()) {
                    kept[at..at + SECTOR_BYTES].copy_from_slice(&written[at..at + SECTOR_BYTES]);
                }
            }
            if rng.bool() {
                self.durable.len = self.now.len;
            }
            self.durable.cut(self.durable.len);
        }
        self.now = self.durable.clone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(content: &Content) -> String {
        String::from_utf8(content.read(0, 1 << 20)).unwrap()
    }

    #[test]
    fn only_what_was_synced_outlives_a_power_loss() {
        let mut content = Content::default();
        content.write(0, b"kept");
        content.sync();
        content.write(4, b" lost");
        assert_eq!(text(&content), "kept lost");
        content.lose_power(None);
        assert_eq!(text(&content), "kept");
    }

    #[test]
    fn a_cut_that_was_not_synced_is_undone() {
        let mut content = Content::default();
        content.write(0, &[b'x'; 3 * PAGE_BYTES]);
        content.sync();
        content.set_len(5);
        content.set_len(PAGE_BYTES as u64 * 2);
        assert_eq!(text(&content).trim_end_matches('\0'), "xxxxx");
        content.lose_power(None);
        assert_eq!(text(&content), "x".repeat(3 * PAGE_BYTES));
        content.set_len(5);
        content.sync();
        content.lose_power(None);
        assert_eq!((text(&content).as_str(), content.pages()), ("xxxxx", 1));
    }

    #[test]
    fn a_failed_sync_leaves_nothing_for_the_next() {
        let mut content = Content::default();
        content.write(0, b"lost");
        content.forget_dirty();
        content.sync();
        content.lose_power(None);
        assert_eq!(text(&content), "\0\0\0\0");
    }

    #[test]
    fn torn_writes_keep_whole_sectors_of_the_new_or_the_old() {
        let mut content = Content::default();
        content.write(0, &[b'o'; PAGE_BYTES]);
        content.sync();
        content.write(0, &[b'n'; PAGE_BYTES]);
        content.lose_power(Some(&mut fastrand::Rng::with_seed(1)));
        let bytes = content.read(0, PAGE_BYTES as u64);
        let sectors: Vec<_> = bytes.chunks(SECTOR_BYTES).collect();
        assert!(sectors.iter().all(|sector| sector.iter().all(|byte| *byte == sector[0])));
        assert!(bytes.contains(&b'o') && bytes.contains(&b'n'));
    }

    #[test]
    fn room_is_counted_by_pages() {
        let mut content = Content::default();
        assert_eq!(content.new_pages(10, 1), 1);
        content.allocate(0, 3 * PAGE_BYTES as u64, true);
        assert_eq!((content.pages(), content.new_pages(0, 4 * PAGE_BYTES as u64)), (3, 1));
        assert_eq!(content.len(), 3 * PAGE_BYTES as u64);
    }
}
