//! Where each entry is: a place on disk, and the payloads of the most recent ones in memory. Pure.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::Entry;

/// Where a record lies. Segment 0 stands for "not written yet".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) segment: u32,
    pub(crate) offset: u32,
    pub(crate) payload_bytes: u32,
}

#[derive(Debug)]
struct Cached {
    payload: Bytes,
    serial: u64,
    durable: bool,
}

/// One entry as a reader finds it.
#[derive(Debug)]
pub(crate) enum Found {
    Memory(Entry),
    Disk { index: u64, slot: Slot },
}

/// The entries held: a slot for each, and payloads for a tail of them.
///
/// **Invariant:** an entry that is not durable is in memory.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    first: u64,
    slots: VecDeque<Slot>,
    cached: VecDeque<Cached>,
    cached_bytes: usize,
    cache_bytes_max: usize,
}

impl Entries {
    /// The entries from `first` on, all on disk.
    pub(crate) fn new(first: u64, slots: VecDeque<Slot>, cache_bytes_max: usize) -> Self {
        Self { first, slots, cache_bytes_max, ..Self::default() }
    }

    fn end(&self) -> u64 {
        self.first + self.slots.len() as u64
    }

    /// How many payloads are in memory, and their bytes.
    pub(crate) fn cached(&self) -> (u64, u64) {
        (self.cached.len() as u64, self.cached_bytes as u64)
    }

    /// Adds an entry that is still to be written. `serial` tells it from others of the same index.
    pub(crate) fn push(&mut self, index: u64, payload: Bytes, serial: u64) {
        if self.slots.is_empty() {
            self.first = index;
        }
        debug_assert_eq!(index, self.end(), "the caller checked that the entry follows");
        self.slots.push_back(Slot::default());
        self.cached_bytes += payload.len();
        self.cached.push_back(Cached { payload, serial, durable: false });
    }

    /// Drops the entries from `from` on.
    pub(crate) fn truncate(&mut self, from: u64) {
        while self.end() > from && self.slots.pop_back().is_some() {
            if let Some(cached) = self.cached.pop_back() {
                self.cached_bytes -= cached.payload.len();
            }
        }
    }

    /// Drops the entries up to `upto`.
    pub(crate) fn purge(&mut self, upto: u64) {
        while self.first <= upto && !self.slots.is_empty() {
            if self.slots.len() == self.cached.len() {
                self.forget_front();
            }
            self.slots.pop_front();
            self.first = self.first.saturating_add(1);
        }
    }

    fn forget_front(&mut self) {
        if let Some(cached) = self.cached.pop_front() {
            self.cached_bytes -= cached.payload.len();
        }
    }

    /// Notes that the entry of this `serial` is durable at `slot`. It may be gone, and another in its place.
    pub(crate) fn durable(&mut self, index: u64, serial: u64, slot: Slot) {
        let cached_first = self.end() - self.cached.len() as u64;
        let Some(at) = index.checked_sub(cached_first).and_then(|at| usize::try_from(at).ok()) else {
            return;
        };
        let Some(cached) = self.cached.get_mut(at).filter(|cached| cached.serial == serial) else { return };
        cached.durable = true;
        let evicted = self.slots.len() - self.cached.len();
        if let Some(place) = self.slots.get_mut(evicted + at) {
            *place = slot;
        }
    }

    /// Lets go of the oldest durable payloads over the bound.
    pub(crate) fn evict(&mut self) {
        while self.cached_bytes > self.cache_bytes_max
            && self.cached.front().is_some_and(|cached| cached.durable)
        {
            self.forget_front();
        }
    }

    /// The first entry of the longest tail that holds at most `bytes_max` payload bytes, or the end.
    pub(crate) fn tail_within(&self, bytes_max: u64) -> u64 {
        let evicted = self.slots.len() - self.cached.len();
        let on_disk = self.slots.iter().take(evicted).map(|slot| u64::from(slot.payload_bytes));
        let in_memory = self.cached.iter().map(|cached| cached.payload.len() as u64);
        let mut bytes = 0_u64;
        let fits = in_memory.rev().chain(on_disk.rev()).take_while(|len| {
            bytes = bytes.saturating_add(*len);
            bytes <= bytes_max
        });
        self.end() - fits.count() as u64
    }

    /// Where the entries of `from..to` are that are held, up to `bytes_max` payload bytes but at least one.
    pub(crate) fn find(&self, from: u64, to: u64, bytes_max: usize) -> Vec<Found> {
        let mut found = Vec::new();
        let mut bytes = 0_usize;
        let evicted = self.slots.len() - self.cached.len();
        for index in from.max(self.first)..to.min(self.end()) {
            let Ok(at) = usize::try_from(index - self.first) else { break };
            let (len, one) = match at.checked_sub(evicted).and_then(|at| self.cached.get(at)) {
                Some(cached) => {
                    let payload = cached.payload.clone();
                    (payload.len(), Found::Memory(Entry { index, payload }))
                }
                None => {
                    let Some(slot) = self.slots.get(at) else { break };
                    (slot.payload_bytes as usize, Found::Disk { index, slot: *slot })
                }
            };
            bytes = bytes.saturating_add(len);
            if bytes > bytes_max && !found.is_empty() {
                break;
            }
            found.push(one);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(offset: u32) -> Slot {
        Slot { segment: 1, offset, payload_bytes: 4 }
    }

    #[test]
    fn only_durable_payloads_are_evicted() {
        let mut entries = Entries::new(0, VecDeque::new(), 8);
        for index in 5..10 {
            entries.push(index, Bytes::from_static(b"four"), index);
        }
        entries.evict();
        assert_eq!(entries.cached(), (5, 20));
        for index in 5..9 {
            entries.durable(index, index, slot(0));
        }
        entries.evict();
        assert_eq!(entries.cached(), (2, 8));
        assert!(matches!(entries.find(5, 6, 100)[..], [Found::Disk { index: 5, .. }]));
        assert!(matches!(entries.find(9, 99, 100)[..], [Found::Memory(Entry { index: 9, .. })]));
    }

    #[test]
    fn a_replaced_entry_does_not_take_the_place_of_its_successor() {
        let mut entries = Entries::new(0, VecDeque::new(), 0);
        entries.push(1, Bytes::from_static(b"old"), 1);
        entries.truncate(1);
        entries.push(1, Bytes::from_static(b"new"), 2);
        entries.durable(1, 1, slot(7));
        entries.evict();
        assert!(matches!(&entries.find(1, 2, 9)[..], [Found::Memory(entry)] if entry.payload == "new"));
        entries.durable(1, 2, slot(8));
        entries.evict();
        assert!(matches!(entries.find(1, 2, 9)[..], [Found::Disk { slot: Slot { offset: 8, .. }, .. }]));
    }

    #[test]
    fn a_tail_holds_no_more_bytes_than_asked_for_in_memory_or_on_disk() {
        let mut entries = Entries::new(0, VecDeque::new(), 8);
        assert_eq!(entries.tail_within(100), 0);
        for index in 5..10 {
            entries.push(index, Bytes::from_static(b"four"), index);
            entries.durable(index, index, slot(0));
        }
        entries.evict();
        assert_eq!(entries.cached(), (2, 8));
        for (bytes_max, first) in [(0, 10), (4, 9), (11, 8), (12, 7), (19, 6), (20, 5), (99, 5)] {
            assert_eq!(entries.tail_within(bytes_max), first, "{bytes_max}");
        }
    }

    #[test]
    fn a_read_gives_at_least_one_entry_whatever_its_size() {
        let mut entries = Entries::new(0, VecDeque::new(), 100);
        for index in 0..3 {
            entries.push(index, Bytes::from_static(b"payload"), index);
        }
        assert_eq!(entries.find(0, 3, 0).len(), 1);
        assert_eq!(entries.find(0, 3, 14).len(), 2);
        assert_eq!(entries.find(3, 9, 14).len(), 0);
        entries.purge(1);
        assert_eq!(entries.find(0, 3, 100).len(), 1);
    }
}
