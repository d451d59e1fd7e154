//! The addresses that maps have, for the signal handler that judges faults by them.
//!
//! **Invariant:** a reader takes no lock and no memory, so it may run inside a signal handler; a map that is alive and has
//! a slot is found.

use std::sync::atomic::{AtomicUsize, Ordering};

/// So many maps have a slot at once. An engine holds one, and the former ones that readers still use.
const SLOTS: usize = 256;

static MAPS: [Slot; SLOTS] = [const { Slot::new() }; SLOTS];

/// One map. `start` is 0 while it is free, and `len` is 0 until `start` is settled.
#[derive(Debug)]
struct Slot {
    start: AtomicUsize,
    len: AtomicUsize,
}

impl Slot {
    const fn new() -> Self {
        Self { start: AtomicUsize::new(0), len: AtomicUsize::new(0) }
    }

    fn holds(&self, address: usize) -> bool {
        let start = self.start.load(Ordering::Acquire);
        let len = self.len.load(Ordering::Acquire);
        // Another map may have taken the slot in between: its length is not that of the first.
        let settled = self.start.load(Ordering::Acquire) == start;
        settled && address.checked_sub(start).is_some_and(|offset| offset < len)
    }
}

/// Whether a map that is alive has `address`.
pub(crate) fn holds(address: usize) -> bool {
    MAPS.iter().any(|slot| slot.holds(address))
}

/// The slot of one map, free again once this is dropped. Where all are taken there is none: a fault in that map ends the
/// process as one elsewhere does.
#[derive(Debug)]
pub(crate) struct Mapped(Option<&'static Slot>);

impl Mapped {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let (start, len) = (bytes.as_ptr().addr(), bytes.len());
        let take =
            |slot: &&Slot| slot.start.compare_exchange(0, start, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        let slot = MAPS.iter().find(take);
        if let Some(slot) = slot {
            slot.len.store(len, Ordering::Release);
        }
        Self(slot)
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        if let Some(slot) = self.0 {
            slot.len.store(0, Ordering::Release);
            slot.start.store(0, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use super::*;

    /// The slots are the process's: a test that takes all of them leaves none to another.
    static SLOTS_IN_USE: Mutex<()> = Mutex::new(());

    #[test]
    fn the_addresses_of_a_map_are_known_as_long_as_it_lives() {
        let _alone = SLOTS_IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = [0; 100];
        let first = bytes.as_ptr().addr();
        assert!(!holds(first) && !holds(0));
        let mapped = Mapped::new(&bytes);
        assert!(holds(first) && holds(first + 99) && !holds(first + 100) && !holds(first - 1));
        let part = Mapped::new(&bytes[50..]);
        drop(mapped);
        assert!(!holds(first + 49) && holds(first + 50) && holds(first + 99));
        drop(part);
        assert!(!holds(first + 50));
    }

    #[test]
    fn a_map_without_a_slot_is_not_known_and_takes_none_from_others() {
        let _alone = SLOTS_IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = [0; 2 * SLOTS];
        let maps: Vec<Mapped> = (0..2 * SLOTS).map(|at| Mapped::new(&bytes[at..=at])).collect();
        let known = |at: usize| holds(bytes.as_ptr().addr() + at);
        assert_eq!((0..2 * SLOTS).filter(|at| known(*at)).count(), SLOTS);
        drop(maps);
        assert!((0..2 * SLOTS).all(|at| !known(at)));
    }
}
