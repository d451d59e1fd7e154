//! Which pages are free, as bitmaps in memory; `disk` keeps them in the file, where a zone's page holds the bits of
//! its part.
//!
//! Two bits for each page: `free` is what the disk shall say (no tree of the newest commit reaches it), `ready` is
//! whether it may be used now (nor does any reader or the last durable commit).
//!
//! **Invariant:** `ready` is a part of `free`.

mod disk;
mod strips;

use crate::Error;
use crate::bytes::word;
use crate::meta;
use crate::page::{FIRST_PAGE, PageId};
use crate::view::View;
use strips::Strips;

#[derive(Debug, Clone, Copy, Default)]
struct Zone {
    /// Its page on disk; zero when none of its pages is free there.
    page: PageId,
    /// Whether the bits on disk are known. Those of a zone without a page are.
    loaded: bool,
    /// Whether the bits on disk are no longer right.
    dirty: bool,
}

/// The free pages of the file.
#[derive(Debug)]
pub(crate) struct Space {
    page_size: usize,
    ready: Vec<u64>,
    free: Vec<u64>,
    zones: Vec<Zone>,
    directory: Vec<PageId>,
    directory_loaded: bool,
    end: u32,
    free_pages: u64,
    /// Bits in `ready`.
    ready_pages: u64,
    /// No word of `ready` below this one has a bit.
    first: usize,
    /// `(pages, word)`: no run of that many ready pages begins below that word.
    no_run: (u32, usize),
    /// Which of the ready pages small commits take.
    strips: Strips,
}

impl Space {
    pub(crate) fn new(page_size: usize, directory: Vec<PageId>, end: u32, free_pages: u64) -> Self {
        let mut space = Self {
            page_size,
            ready: Vec::new(),
            free: Vec::new(),
            zones: Vec::new(),
            directory,
            directory_loaded: false,
            end,
            free_pages,
            ready_pages: 0,
            first: 0,
            no_run: (u32::MAX, 0),
            strips: Strips::default(),
        };
        space.cover_end();
        space
    }

    pub(crate) fn end(&self) -> u32 {
        self.end
    }

    pub(crate) fn free_pages(&self) -> u64 {
        self.free_pages
    }

    /// Pages that may be used now, of the zones whose bits are loaded.
    pub(crate) fn ready_pages(&self) -> u64 {
        self.ready_pages
    }

    pub(crate) fn directory(&self) -> &[PageId] {
        &self.directory
    }

    fn zone_pages(&self) -> usize {
        meta::zone_pages(self.page_size)
    }

    fn zones_in_directory(&self) -> usize {
        meta::zones_in_directory(self.page_size)
    }

    /// How many pages the format can count.
    fn pages_max(&self) -> u64 {
        meta::pages_max(self.page_size)
    }

    fn cover_end(&mut self) {
        let zones = (self.end as usize).div_ceil(self.zone_pages());
        if zones > self.zones.len() {
            // A zone that begins after the last durable commit has no page.
            let loaded = self.directory_loaded;
            self.zones.resize(zones, Zone { page: 0, loaded, dirty: false });
        }
        let words = (self.end as usize).div_ceil(64);
        if words > self.ready.len() {
            self.ready.resize(words, 0);
            self.free.resize(words, 0);
        }
    }

    /// Takes a run of pages, from the free ones if there are enough side by side, else from the file's end.
    pub(crate) fn alloc(&mut self, pages: u32, view: &View) -> Result<PageId, Error> {
        if let Some(id) = self.alloc_below(pages, u32::MAX, view)? {
            return Ok(id);
        }
        let id = self.end;
        let end = u64::from(id) + u64::from(pages);
        if end > self.pages_max() {
            return Err(Error::Full { limit_bytes: self.pages_max() * self.page_size as u64 });
        }
        self.end = word(crate::bytes::index(end));
        self.cover_end();
        Ok(id)
    }

    /// Takes a run of free pages that ends at `limit` or before.
    pub(crate) fn alloc_below(
        &mut self,
        pages: u32,
        limit: PageId,
        view: &View,
    ) -> Result<Option<PageId>, Error> {
        let found = if pages == 1 { self.find_one(view)? } else { self.find_run(pages, view)? };
        let Some(id) = found.filter(|id| id.saturating_add(pages) <= limit) else { return Ok(None) };
        self.take(id, pages);
        Ok(Some(id))
    }

    /// Takes a run all of whose pages are ready.
    fn take(&mut self, id: PageId, pages: u32) {
        self.change(id, pages, |space, word, bits| {
            space.ready[word] &= !bits;
            space.free[word] &= !bits;
        });
        self.free_pages = self.free_pages.saturating_sub(u64::from(pages));
        self.ready_pages -= u64::from(pages);
        self.mark_dirty(id, pages);
    }

    fn are_ready(&self, id: PageId, pages: u32) -> bool {
        let is_ready = |page: PageId| {
            self.ready.get(page as usize / 64).is_some_and(|bits| bits >> (page % 64) & 1 == 1)
        };
        (id..id.saturating_add(pages)).all(is_ready)
    }

    fn find_one(&mut self, view: &View) -> Result<Option<PageId>, Error> {
        let zone_words = self.zone_pages() / 64;
        while self.first < self.ready.len() {
            if self.first.is_multiple_of(zone_words) || self.ready[self.first] == 0 {
                self.load_zone(self.first / zone_words, view)?;
            }
            let bits = self.ready[self.first];
            if bits != 0 {
                return Ok(Some(word(self.first * 64) + bits.trailing_zeros()));
            }
            self.first += 1;
        }
        Ok(None)
    }

    fn find_run(&mut self, pages: u32, view: &View) -> Result<Option<PageId>, Error> {
        (0..self.zones.len()).try_for_each(|zone| self.load_zone(zone, view))?;
        Ok(self.find_loaded_run(pages))
    }

    /// A run of ready pages in the zones whose bits are loaded.
    fn find_loaded_run(&mut self, pages: u32) -> Option<PageId> {
        let mut at = if pages >= self.no_run.0 { self.no_run.1 } else { 0 }.max(self.first);
        let mut len = 0;
        while at < self.ready.len() {
            match self.ready[at] {
                0 => len = 0,
                u64::MAX => len += 64,
                bits => {
                    for bit in 0..64 {
                        len = if bits >> bit & 1 == 1 { len + 1 } else { 0 };
                        if len == pages {
                            return Some(word(at * 64) + bit + 1 - pages);
                        }
                    }
                }
            }
            if len >= pages {
                // The run may reach further than needed: its first pages are taken.
                return Some(word((at + 1) * 64) - len);
            }
            at += 1;
        }
        if pages <= self.no_run.0 {
            // A run may yet begin in the last word and go on where the file grows.
            self.no_run = (pages, self.ready.len().saturating_sub(pages as usize / 64 + 2));
        }
        None
    }

    /// Calls `f` with each word that holds bits of the run, and those bits.
    fn change(&mut self, id: PageId, pages: u32, f: impl Fn(&mut Self, usize, u64)) {
        let (mut at, end) = (id as usize, id as usize + pages as usize);
        while at < end {
            let upto = end.min((at / 64 + 1) * 64);
            let bits = (u64::MAX >> (64 - (upto - at))) << (at % 64);
            f(self, at / 64, bits);
            at = upto;
        }
    }

    fn set_ready(&mut self, word: usize, bits: u64) {
        self.ready_pages += u64::from((bits & !self.ready[word]).count_ones());
        self.ready[word] |= bits;
        self.strips.note_lone(word, bits, self.ready[word]);
    }

    fn mark_dirty(&mut self, id: PageId, pages: u32) {
        let zone_pages = self.zone_pages();
        let last = (id as usize + pages as usize - 1) / zone_pages;
        for zone in id as usize / zone_pages..=last {
            self.zones[zone].dirty = true;
        }
    }

    /// The newest commit no longer reaches the run; it is not ready yet.
    pub(crate) fn free(&mut self, id: PageId, pages: u32) {
        self.change(id, pages, |space, word, bits| space.free[word] |= bits);
        self.free_pages += u64::from(pages);
        self.mark_dirty(id, pages);
    }

    /// Nothing reaches the freed run any more.
    pub(crate) fn ready(&mut self, id: PageId, pages: u32) {
        self.change(id, pages, Self::set_ready);
        self.first = self.first.min(id as usize / 64);
        self.no_run = (u32::MAX, 0);
    }

    /// Takes back [`Space::free`].
    pub(crate) fn unfree(&mut self, id: PageId, pages: u32) {
        self.change(id, pages, |space, word, bits| space.free[word] &= !bits);
        self.free_pages = self.free_pages.saturating_sub(u64::from(pages));
    }

    /// Whether the page counts as free; zones must be loaded.
    pub(crate) fn is_free(&self, id: PageId) -> bool {
        self.free.get(id as usize / 64).is_some_and(|bits| bits >> (id % 64) & 1 == 1)
    }

    /// Makes the file end at `end` again: the pages from there on were taken by a transaction that is given up.
    pub(crate) fn cut(&mut self, end: u32) {
        for page in end..self.end {
            let bit = 1 << (page % 64);
            let word = page as usize / 64;
            if self.free[word] & bit != 0 {
                self.free_pages = self.free_pages.saturating_sub(1);
            }
            if self.ready[word] & bit != 0 {
                self.ready_pages -= 1;
            }
            self.free[word] &= !bit;
            self.ready[word] &= !bit;
        }
        self.end = end;
    }

    /// Makes the file end behind the last page that is not ready: whatever was there, nothing can look at it any more.
    /// The bits of all zones must be loaded.
    pub(crate) fn cut_tail(&mut self) {
        let mut end = self.end;
        while end > FIRST_PAGE {
            let (word, bit) = ((end - 1) as usize / 64, (end - 1) % 64);
            // Whole words at a time where all pages of the word up to here are ready.
            if bit == 63 && self.ready[word] == u64::MAX {
                end -= 64;
            } else if self.ready[word] >> bit & 1 == 1 {
                end -= 1;
            } else {
                break;
            }
        }
        let end = end.max(FIRST_PAGE);
        if end < self.end {
            self.mark_dirty(end, self.end - end);
            self.cut(end);
        }
    }

    /// A page reached twice would be freed twice: only a corrupt file has one.
    pub(crate) fn check_in_use(&self, id: PageId, pages: u32) -> Result<(), Error> {
        if (id..id.saturating_add(pages)).any(|page| page >= self.end || self.is_free(page)) {
            return Err(Error::corrupt(id, "it is in use and free at once"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
