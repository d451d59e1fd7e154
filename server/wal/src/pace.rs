//! How fast the disk takes batches: what its owner needs to tell a slow disk from a busy one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Written by the writer alone, read by anybody.
#[derive(Debug)]
pub(crate) struct Pace {
    born: Instant,
    /// When the batch in hand was begun, in microseconds since `born`, plus one; 0 where there is none.
    begun_us: AtomicU64,
    average_us: AtomicU64,
}

impl Default for Pace {
    fn default() -> Self {
        Self { born: Instant::now(), begun_us: AtomicU64::new(0), average_us: AtomicU64::new(0) }
    }
}

impl Pace {
    fn now_us(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// A batch is begun.
    pub(crate) fn begin(&self) {
        self.begun_us.store(self.now_us().saturating_add(1), Ordering::Relaxed);
    }

    /// It is durable.
    pub(crate) fn end(&self) {
        let begun = self.begun_us.swap(0, Ordering::Relaxed).saturating_sub(1);
        let took = self.now_us().saturating_sub(begun);
        let average = self.average_us.load(Ordering::Relaxed);
        self.average_us.store(average - average / 8 + took / 8, Ordering::Relaxed);
    }

    /// What batches take.
    pub(crate) fn average(&self) -> Duration {
        Duration::from_micros(self.average_us.load(Ordering::Relaxed))
    }

    /// For how long the batch in hand has been.
    pub(crate) fn writing_for(&self) -> Duration {
        match self.begun_us.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            begun => Duration::from_micros(self.now_us().saturating_sub(begun - 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_in_hand_is_seen_and_the_average_follows() {
        let pace = Pace::default();
        assert_eq!((pace.average(), pace.writing_for()), (Duration::ZERO, Duration::ZERO));
        pace.begun_us.store(1, Ordering::Relaxed);
        while pace.writing_for() < Duration::from_millis(16) {
            std::thread::yield_now();
        }
        pace.end();
        assert_eq!(pace.writing_for(), Duration::ZERO);
        let after = pace.average();
        assert!(after >= Duration::from_millis(2), "{after:?}");
        pace.begin();
        pace.end();
        assert!(pace.average() < after);
    }
}
