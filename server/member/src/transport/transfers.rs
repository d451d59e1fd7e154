//! The snapshots that go to other members, and from where on each of these needs the log: without it a snapshot is out of date
//! when it arrives, and so is the next one.
//!
//! **Invariant:** nothing here holds the log for longer than [`SETTLED_WITHIN`] after its snapshot arrived, broke off or its
//! receiver got further.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::incoming::RESUME_PATIENCE;

/// As long as a receiver remembers one that broke off, and long enough for one that has arrived to ask for the log.
const SETTLED_WITHIN: Duration = RESUME_PATIENCE;

#[derive(Debug)]
struct Transfer {
    /// What comes after this entry the receiver needs from the log.
    index: u64,
    /// Not counted while it is being sent: that ends by itself.
    resting_since: Option<Instant>,
    /// Whether the log was purged beyond `index`.
    overtaken: bool,
    /// Whether the receiver holds as much as any other follower.
    arrived: bool,
    /// Tells it from an earlier one to the same member.
    serial: u64,
}

/// By the receiver's node id. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Transfers(Arc<Mutex<BTreeMap<u64, Transfer>>>);

/// One snapshot on its way: from its end on, however it comes, the log is held for a while.
#[derive(Debug)]
pub(crate) struct Sending {
    transfers: Transfers,
    target: u64,
    serial: u64,
}

impl Drop for Sending {
    fn drop(&mut self) {
        let mut all = self.transfers.all();
        if let Some(transfer) = all.get_mut(&self.target).filter(|transfer| transfer.serial == self.serial) {
            transfer.resting_since = Some(Instant::now());
        }
    }
}

impl Transfers {
    fn all(&self) -> MutexGuard<'_, BTreeMap<u64, Transfer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A snapshot that holds everything up to `index` goes to `target`.
    pub(crate) fn begin(&self, target: u64, index: u64) -> Sending {
        let mut all = self.all();
        let serial = all.get(&target).map_or(0, |earlier| earlier.serial.wrapping_add(1));
        all.insert(target, Transfer { index, resting_since: None, overtaken: false, arrived: false, serial });
        Sending { transfers: self.clone(), target, serial }
    }

    /// The first entry after which the log must stay for some receiver. Those that hold more by now, as `matched` says, need
    /// less; one that holds everything up to `settled` has arrived.
    pub(crate) fn needed(
        &self,
        now: Instant,
        settled: u64,
        matched: impl Fn(u64) -> Option<u64>,
    ) -> Option<u64> {
        let mut all = self.all();
        for (target, transfer) in all.iter_mut() {
            let Some(held) = matched(*target) else { continue };
            transfer.arrived = held >= settled.max(transfer.index);
            if held > transfer.index {
                transfer.index = held;
                transfer.overtaken = false;
                transfer.resting_since = transfer.resting_since.map(|_| now);
            }
        }
        let is_over = |transfer: &Transfer| {
            let rests = |at| transfer.arrived || now.saturating_duration_since(at) > SETTLED_WITHIN;
            transfer.resting_since.is_some_and(rests)
        };
        all.retain(|_, transfer| !is_over(transfer));
        all.values().filter(|transfer| !transfer.overtaken).map(|transfer| transfer.index).min()
    }

    /// The member `target` has caught up: what it was sent has served its purpose.
    pub(crate) fn caught_up(&self, target: u64) {
        self.all().retain(|id, transfer| *id != target || transfer.resting_since.is_none());
    }

    /// The log is purged up to `upto`. The receivers that need more of it, those that were not known of before.
    pub(crate) fn overtake(&self, upto: u64) -> Vec<u64> {
        let mut all = self.all();
        let late = all.iter_mut().filter(|(_, transfer)| transfer.index < upto && !transfer.overtaken);
        late.map(|(target, transfer)| {
            transfer.overtaken = true;
            *target
        })
        .collect()
    }

    /// The receivers whose snapshots will be out of date when they arrive.
    pub(crate) fn overtaken(&self) -> Vec<u64> {
        self.all().iter().filter(|(_, transfer)| transfer.overtaken).map(|(target, _)| *target).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Now, or so long from now that whatever rests now rests no more.
    fn at(rests: u32) -> Instant {
        Instant::now() + rests * (SETTLED_WITHIN + Duration::from_secs(1))
    }

    /// More than any receiver holds.
    const FAR: u64 = 10_000;

    fn nobody(_: u64) -> Option<u64> {
        None
    }

    #[test]
    fn the_log_is_needed_while_a_snapshot_is_sent_and_for_a_while_after() {
        let transfers = Transfers::default();
        assert_eq!(transfers.needed(at(0), FAR, nobody), None);
        let (first, second) = (transfers.begin(1, 100), transfers.begin(2, 200));
        assert_eq!(transfers.needed(at(9), FAR, nobody), Some(100));
        drop(first);
        assert_eq!(transfers.needed(at(0), FAR, nobody), Some(100));
        assert_eq!(transfers.needed(at(1), FAR, nobody), Some(200));
        drop(second);
        assert_eq!(transfers.needed(at(1), FAR, nobody), None);
    }

    #[test]
    fn a_receiver_that_gets_further_is_waited_for() {
        let transfers = Transfers::default();
        drop(transfers.begin(1, 100));
        for (rests, held) in (1..).zip(101..).take(5) {
            // As late as it may be, each time.
            let now = at(rests) - Duration::from_secs(u64::from(rests) + 1);
            assert_eq!(transfers.needed(now, FAR, |_| Some(held)), Some(held));
        }
        assert_eq!(transfers.needed(at(6), FAR, |_| Some(105)), None);
    }

    #[test]
    fn a_receiver_that_caught_up_is_a_follower_like_any_other() {
        let transfers = Transfers::default();
        let sending = transfers.begin(1, 100);
        let needed = |settled, held| transfers.needed(at(0), settled, |_| Some(held));
        // One that has what is being sent already may hear of it a moment later.
        assert_eq!(needed(50, 100), Some(100));
        drop(sending);
        assert_eq!(needed(200, 150), Some(150));
        assert_eq!(needed(200, 200), None);
    }

    #[test]
    fn a_snapshot_that_the_purge_overtook_holds_nothing_and_is_named_once() {
        let transfers = Transfers::default();
        let (first, second) = (transfers.begin(1, 100), transfers.begin(2, 200));
        assert!(transfers.overtake(100).is_empty() && transfers.overtaken().is_empty());
        assert_eq!(transfers.overtake(101), [1]);
        assert!(transfers.overtake(150).is_empty());
        assert_eq!((transfers.overtaken(), transfers.needed(at(0), FAR, nobody)), (vec![1], Some(200)));
        // The next one to the same member counts by itself, and outlives the one before.
        let _third = transfers.begin(1, 300);
        assert!(transfers.overtaken().is_empty());
        // So does whoever got further all the same.
        assert_eq!(transfers.overtake(201), [2]);
        assert_eq!(transfers.needed(at(0), FAR, |id| (id == 2).then_some(250)), Some(250));
        assert!(transfers.overtaken().is_empty());
        drop((first, second));
        assert_eq!(transfers.needed(at(1), FAR, nobody), Some(300));
    }
}
