//! Where the pages of a small commit go.
//!
//! The disk takes one request for each stretch that a commit writes, and these are most of what a small commit costs. So
//! the pages that the next commit gives up again (roots, the catalogue, the list of free pages) stand side by side on a
//! strip of free pages. A leaf or a branch above it, which stays for long, takes a lone free page and leaves strips whole.

use std::ops::Range;

use super::Space;
use crate::Error;
use crate::page::PageId;
use crate::view::View;

/// Pages of a strip.
const STRIP: u32 = 16;
/// Pages side by side that must be ready on it: as many as a small commit writes there. The others may be in use: a page
/// of free bits stays until a page of its part of the file is taken or freed.
const NEEDED: u32 = 8;
/// Nodes of a transaction that take lone pages; with more of them it is no small one.
const LONE_TAKEN_MAX: u32 = 16;
/// Strips that are used in turn.
const KNOWN_MAX: usize = 8;
/// Lone pages that are remembered.
const LONE_MAX: usize = 1024;
/// When all bits were searched for a strip in vain, so many transactions without one pass before they are searched again.
const SEARCH_EVERY: u32 = 64;
/// A file with fewer pages than this is not made longer for a strip.
const PAGES_MIN: u32 = 64;

#[derive(Debug)]
pub(super) struct Strips {
    /// Where strips begin.
    known: Vec<PageId>,
    /// Free pages that had no free page beside them when they became ready; some may be in use again.
    lone: Vec<PageId>,
    /// What is left of the transaction's strip.
    left: Range<PageId>,
    /// The transaction has not asked for a strip yet.
    may_begin: bool,
    /// Lone pages that the transaction may yet take.
    lone_left: u32,
    /// Transactions without a strip until all bits are searched again.
    search_in: u32,
    /// No page from here on becomes one of a strip: the file may not become longer.
    end_max: PageId,
}

impl Default for Strips {
    fn default() -> Self {
        Self {
            known: Vec::new(),
            lone: Vec::new(),
            left: 0..0,
            may_begin: false,
            lone_left: 0,
            search_in: 0,
            end_max: PageId::MAX,
        }
    }
}

impl Strips {
    /// Notes those of the pages that have become ready in a word, `changed`, that have none beside them.
    pub(super) fn note_lone(&mut self, word: usize, changed: u64, ready: u64) {
        let mut lone = changed & !(ready << 1) & !(ready >> 1);
        while lone != 0 && self.lone.len() < LONE_MAX {
            self.lone.push(crate::bytes::word(word * 64) + lone.trailing_zeros());
            lone &= lone - 1;
        }
    }
}

impl Space {
    /// A transaction begins.
    pub(crate) fn begin(&mut self) {
        self.strips.left = 0..0;
        self.strips.may_begin = true;
        self.strips.lone_left = LONE_TAKEN_MAX;
    }

    /// The transaction takes the lowest free pages for everything. Where strips are is forgotten: they may be in the way.
    pub(crate) fn pack_low(&mut self) {
        self.strips.left = 0..0;
        self.strips.may_begin = false;
        self.strips.lone_left = 0;
        self.strips.known.clear();
        self.strips.search_in = 0;
    }

    /// Puts strips only where the file's end does not go beyond this many pages.
    pub(crate) fn limit_strips(&mut self, pages: u64) {
        self.strips.end_max = PageId::try_from(pages).unwrap_or(PageId::MAX);
    }

    /// Takes a page for what will stay for long.
    pub(crate) fn alloc_lone(&mut self, view: &View) -> Result<PageId, Error> {
        if self.strips.lone_left > 0 {
            self.strips.lone_left -= 1;
            while let Some(id) = self.strips.lone.pop() {
                // By now it may be in use, or part of a longer run.
                if self.are_ready(id, 1) && !self.are_ready(id - 1, 1) && !self.are_ready(id + 1, 1) {
                    self.take(id, 1);
                    return Ok(id);
                }
            }
        }
        self.alloc(1, view)
    }

    /// Takes a page for what the next commit gives up again: the one behind the page that was taken before.
    pub(crate) fn alloc_on_strip(&mut self, view: &View) -> Result<PageId, Error> {
        if std::mem::take(&mut self.strips.may_begin) {
            self.strips.left = self.strip(view)?.unwrap_or(0..0);
        }
        match self.strips.left.next() {
            Some(id) if self.are_ready(id, 1) => {
                self.take(id, 1);
                Ok(id)
            }
            _ => self.alloc(1, view),
        }
    }

    /// Pages side by side that are ready.
    fn strip(&mut self, view: &View) -> Result<Option<Range<PageId>>, Error> {
        let known = self.strips.known.iter().find_map(|start| self.ready_on(*start));
        if known.is_some() || self.end < PAGES_MIN {
            return Ok(known);
        }
        let mut found = None;
        if self.strips.search_in == 0 {
            // Where strips were made before the file was opened, they are near its end.
            self.load_zone(self.zones.len() - 1, view)?;
            found = self.find_loaded_run(NEEDED);
            self.strips.search_in = if found.is_some() { 0 } else { SEARCH_EVERY };
        } else {
            self.strips.search_in -= 1;
        }
        if found.is_none() && self.strips.known.len() < KNOWN_MAX {
            found = self.make_strip(view);
        }
        if let Some(start) = found {
            if self.strips.known.len() == KNOWN_MAX {
                self.strips.known.remove(0);
            }
            self.strips.known.push(start);
        }
        Ok(found.and_then(|start| self.ready_on(start)))
    }

    /// Ready pages side by side on the strip that begins there, if they are enough.
    fn ready_on(&self, start: PageId) -> Option<Range<PageId>> {
        // A strip at the very end of what the format can count is shorter.
        let strip_end = start.saturating_add(STRIP);
        let first =
            (start..=strip_end.saturating_sub(NEEDED)).find(|first| self.are_ready(*first, NEEDED))?;
        let end = (first + NEEDED..strip_end).find(|page| !self.are_ready(*page, 1));
        Some(first..end.unwrap_or(strip_end))
    }

    /// Makes a strip behind the pages in use, where the file is long enough already.
    fn make_strip(&mut self, view: &View) -> Option<PageId> {
        let (start, end) = (self.end, self.end.saturating_add(STRIP));
        let room = u64::from(end) <= self.pages_max() && end <= view.pages().min(self.strips.end_max);
        room.then(|| {
            self.end = end;
            self.cover_end();
            self.free(start, STRIP);
            self.ready(start, STRIP);
            start
        })
    }
}

#[cfg(test)]
mod tests;
