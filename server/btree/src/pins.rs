//! Which snapshots still need pages that newer ones no longer have.
//!
//! A page that commit B wrote and commit F freed is needed by the snapshots from B up to, not including, F. While one of
//! those is pinned (a reader holds it, or it is the last durable commit) the page waits.
//!
//! **Invariant:** no snapshot but the current one can become pinned, so a page that no pin needs now is never
//! needed again.

use std::collections::BTreeMap;

use crate::page::PageId;

/// A run that a commit freed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Freed {
    pub(crate) id: PageId,
    pub(crate) pages: u32,
    /// The commit that wrote it.
    pub(crate) born: u64,
    /// The first commit that cannot reach it.
    pub(crate) freed: u64,
}

/// Freed runs, each under the newest pinned snapshot that can reach it.
#[derive(Debug, Default)]
pub(crate) struct Pins {
    waiting: BTreeMap<u64, Vec<Freed>>,
}

impl Pins {
    /// Lets `runs` wait as long as `pins` (ascending) say; those that nothing needs go to `ready`.
    pub(crate) fn file(
        &mut self,
        runs: impl IntoIterator<Item = Freed>,
        pins: &[u64],
        mut ready: impl FnMut(Freed),
    ) {
        for run in runs {
            let below = pins.partition_point(|pin| *pin < run.freed);
            match pins[..below].last() {
                Some(pin) if *pin >= run.born => self.waiting.entry(*pin).or_default().push(run),
                _ => ready(run),
            }
        }
    }

    /// Looks again at everything that waits for a snapshot that is no longer among `pins`.
    pub(crate) fn sweep(&mut self, pins: &[u64], mut ready: impl FnMut(Freed)) {
        let gone: Vec<u64> =
            self.waiting.keys().copied().filter(|pin| pins.binary_search(pin).is_err()).collect();
        for pin in gone {
            let runs = self.waiting.remove(&pin).unwrap_or_default();
            self.file(runs, pins, &mut ready);
        }
    }

    /// How many pages wait.
    pub(crate) fn pages(&self) -> u64 {
        self.waiting.values().flatten().map(|run| u64::from(run.pages)).sum()
    }

    /// How many pages wait that snapshot `txn` can reach.
    pub(crate) fn pages_for(&self, txn: u64) -> u64 {
        let needed = |run: &&Freed| run.born <= txn && txn < run.freed;
        self.waiting.values().flatten().filter(needed).map(|run| u64::from(run.pages)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_waits_for_every_snapshot_that_can_reach_it() {
        let mut pins = Pins::default();
        let run = Freed { id: 9, pages: 1, born: 3, freed: 7 };
        let mut ready = Vec::new();
        pins.file([run], &[1, 3, 5, 8], |run| ready.push(run.id));
        pins.sweep(&[1, 3, 5, 8], |run| ready.push(run.id));
        pins.sweep(&[1, 3, 8], |run| ready.push(run.id));
        assert!(ready.is_empty(), "snapshot 3 still reaches it");
        pins.sweep(&[1, 8], |run| ready.push(run.id));
        assert_eq!(ready, [9]);
    }

    #[test]
    fn a_page_younger_than_every_pin_is_ready_at_once() {
        let mut ready = Vec::new();
        Pins::default()
            .file([Freed { id: 4, pages: 2, born: 6, freed: 7 }], &[2, 5, 7], |run| ready.push(run.id));
        assert_eq!(ready, [4]);
    }
}
