//! The free list on disk: which zones and directories there are, reading them when they are needed, and giving the
//! changed ones new places at a durable commit.

use crate::Error;
use crate::bytes::{get_u32, get_u64, put_u32, put_u64, word};
use crate::meta;
use crate::page::{self, FIRST_PAGE, HEADER, Kind, PageId};
use crate::view::View;

use super::{Space, Zone};

/// What a durable commit has to write of the free pages.
#[derive(Debug, Default)]
pub(crate) struct SpacePages {
    pub(crate) pages: Vec<(PageId, Vec<u8>)>,
    /// Pages that held the former bits.
    pub(crate) freed: Vec<PageId>,
}

impl Space {
    /// Reads where the zones' pages are; done before the first change.
    pub(crate) fn load_directory(&mut self, view: &View) -> Result<(), Error> {
        if self.directory_loaded {
            return Ok(());
        }
        for (i, chunk) in self.zones.chunks_mut(meta::zones_in_directory(self.page_size)).enumerate() {
            let page = self.directory.get(i).copied().unwrap_or(0);
            if page == 0 {
                chunk.fill(Zone { page: 0, loaded: true, dirty: false });
                continue;
            }
            let run = view.run(page)?;
            if Kind::of(run) != Some(Kind::Directory) || get_u32(run, page::EXTRA) != word(i) {
                return Err(Error::corrupt(page, format!("it is not directory {i} of free pages")));
            }
            for (j, zone) in chunk.iter_mut().enumerate() {
                let page = get_u32(run, HEADER + 4 * j);
                *zone = Zone { page, loaded: page == 0, dirty: false };
            }
        }
        self.directory_loaded = true;
        Ok(())
    }

    pub(super) fn load_zone(&mut self, zone: usize, view: &View) -> Result<(), Error> {
        let Zone { page, loaded: false, .. } = self.zones[zone] else { return Ok(()) };
        let run = view.run(page)?;
        if Kind::of(run) != Some(Kind::Zone) || get_u32(run, page::EXTRA) as usize != zone {
            return Err(Error::corrupt(page, format!("it is not the page of free pages of zone {zone}")));
        }
        let first = zone * self.zone_pages() / 64;
        for i in 0..self.zone_pages() / 64 {
            let bits = get_u64(run, HEADER + 8 * i);
            if bits == 0 {
                continue;
            }
            let beyond = (first + i) * 64 + 64 - bits.leading_zeros() as usize > self.end as usize;
            if beyond || (first + i == 0 && bits & 0b11 != 0) {
                return Err(Error::corrupt(page, "it calls pages free that are not of the kind"));
            }
            self.set_ready(first + i, bits);
            self.free[first + i] |= bits;
        }
        self.zones[zone].loaded = true;
        self.first = self.first.min(first);
        self.no_run = (u32::MAX, 0);
        Ok(())
    }

    /// Reads the bits of all zones.
    pub(crate) fn load_all(&mut self, view: &View) -> Result<(), Error> {
        self.load_directory(view)?;
        (0..self.zones.len()).try_for_each(|zone| self.load_zone(zone, view))
    }

    /// The pages that hold the free list on disk: directory and zones.
    pub(crate) fn own_pages(&self) -> impl Iterator<Item = PageId> {
        let zones = self.zones.iter().map(|zone| zone.page);
        self.directory.iter().copied().chain(zones).filter(|page| *page != 0)
    }

    /// How many pages a durable commit may need for this list, at most.
    pub(crate) fn own_pages_max(&self) -> u32 {
        // Taking them from the end of the file may begin one more zone, and one more directory.
        word(self.zones.len() + self.zones.len().div_ceil(self.zones_in_directory()) + 2)
    }

    /// Makes the next commit give those of its own pages a new place that stand from `target` on.
    pub(crate) fn move_own_pages_from(&mut self, target: PageId) {
        let zones_in_directory = self.zones_in_directory();
        for (at, zone) in self.zones.iter_mut().enumerate() {
            let directory = self.directory.get(at / zones_in_directory).copied().unwrap_or(0);
            let first = at.is_multiple_of(zones_in_directory);
            zone.dirty |= zone.page >= target || (first && directory >= target);
        }
    }

    fn zone_words(&self, zone: usize) -> &[u64] {
        let words = self.zone_pages() / 64;
        let start = (zone * words).min(self.free.len());
        &self.free[start..(start + words).min(self.free.len())]
    }

    fn directory_zones(&self, slot: usize) -> &[Zone] {
        let len = self.zones_in_directory();
        let start = (slot * len).min(self.zones.len());
        &self.zones[start..(start + len).min(self.zones.len())]
    }

    /// Gives every changed zone and directory page a new place and returns what is to be written there.
    ///
    /// Giving a page its place changes the bits of the zone that it comes from, so this goes on until nothing new is
    /// changed: each zone moves once at most.
    pub(crate) fn relocate(&mut self, view: &View) -> Result<SpacePages, Error> {
        let mut out = SpacePages::default();
        let mut moved_zones = vec![false; self.zones.len()];
        let mut moved_directory = vec![false; self.directory.len()];
        loop {
            let mut settled = true;
            for zone in 0..self.zones.len() {
                if !self.zones[zone].dirty {
                    continue;
                }
                self.load_zone(zone, view)?;
                if moved_zones.len() <= zone {
                    moved_zones.resize(zone + 1, false);
                }
                if !moved_zones[zone] {
                    moved_zones[zone] = true;
                    settled = false;
                    let old = std::mem::take(&mut self.zones[zone].page);
                    self.give_up(old, &mut out)?;
                }
                if self.zones[zone].page == 0 && self.zone_words(zone).iter().any(|bits| *bits != 0) {
                    self.zones[zone].page = self.alloc_on_strip(view)?;
                    settled = false;
                }
                let slot = zone / self.zones_in_directory();
                if !moved_directory[slot] {
                    moved_directory[slot] = true;
                    settled = false;
                    let old = std::mem::take(&mut self.directory[slot]);
                    self.give_up(old, &mut out)?;
                }
                if self.directory[slot] == 0 && self.directory_zones(slot).iter().any(|zone| zone.page != 0) {
                    self.directory[slot] = self.alloc_on_strip(view)?;
                    settled = false;
                }
            }
            if settled {
                break;
            }
        }
        self.encode(&moved_directory, &mut out);
        Ok(out)
    }

    fn give_up(&mut self, page: PageId, out: &mut SpacePages) -> Result<(), Error> {
        if page >= FIRST_PAGE {
            self.check_in_use(page, 1)?;
            self.free(page, 1);
            out.freed.push(page);
        }
        Ok(())
    }

    fn encode(&mut self, moved_directory: &[bool], out: &mut SpacePages) {
        for zone in 0..self.zones.len() {
            if !std::mem::take(&mut self.zones[zone].dirty) || self.zones[zone].page == 0 {
                continue;
            }
            let mut run = vec![0; self.page_size];
            page::init(&mut run, Kind::Zone, 0, 0, word(zone));
            for (i, bits) in self.zone_words(zone).iter().enumerate() {
                put_u64(&mut run, HEADER + 8 * i, *bits);
            }
            out.pages.push((self.zones[zone].page, run));
        }
        for (slot, _) in moved_directory.iter().enumerate().filter(|(_, moved)| **moved) {
            if self.directory[slot] == 0 {
                continue;
            }
            let mut run = vec![0; self.page_size];
            page::init(&mut run, Kind::Directory, 0, 0, word(slot));
            for (i, zone) in self.directory_zones(slot).iter().enumerate() {
                put_u32(&mut run, HEADER + 4 * i, zone.page);
            }
            out.pages.push((self.directory[slot], run));
        }
    }
}
