//! What a run tells: lines on the way, and the verdict as its last line.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;

use crate::arguments::Topology;
use crate::clients::Counts;
use crate::faults::Log;
use crate::judge::Verdict;

/// One line on the way.
pub(crate) fn progress(seconds: u64, counts: &Counts, faults: &Log) -> String {
    let get = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let now = faults.now();
    format!(
        "{seconds:>5} s  {} operations, {} writes acknowledged, {} unknown, {} reads; now: {}",
        get(&counts.operations),
        get(&counts.acknowledged),
        get(&counts.unknown),
        get(&counts.reads),
        if now.is_empty() { "no fault" } else { &now }
    )
}

/// A run that came to its end.
#[derive(Debug)]
pub(crate) struct Outcome<'a> {
    pub(crate) seed: u64,
    pub(crate) topology: Topology,
    /// How long faults and clients went on.
    pub(crate) seconds: u64,
    pub(crate) counts: &'a Counts,
    pub(crate) faults: &'a Log,
    pub(crate) verdict: &'a Verdict,
    /// What no fault explains: members that ended by themselves, panicked or did not come back.
    pub(crate) problems: &'a [String],
}

impl Outcome<'_> {
    pub(crate) fn passed(&self) -> bool {
        self.verdict.violations.is_empty() && self.problems.is_empty()
    }

    /// The last line.
    pub(crate) fn line(&self) -> String {
        let get = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let counts = self.faults.counts();
        let mut faults = String::new();
        for (fault, count) in &counts {
            // Writing to a string does not fail.
            let _ = write!(faults, "{}{fault} {count}", if faults.is_empty() { "" } else { ", " });
        }
        format!(
            "{}: seed {}, {}, {} s: {} operations on {} keys, {} writes acknowledged, {} unknown, {} reads; {} faults ({faults}), {} snapshots installed; {} violations, {} lost writes, {} problems",
            if self.passed() { "LINEARIZABLE" } else { "FAILED" },
            self.seed,
            self.topology,
            self.seconds,
            get(&self.counts.operations),
            self.verdict.keys,
            get(&self.counts.acknowledged),
            get(&self.counts.unknown),
            get(&self.counts.reads),
            counts.values().sum::<u64>(),
            self.faults.snapshots(),
            self.verdict.violations.len(),
            self.verdict.lost,
            self.problems.len()
        )
    }
}
