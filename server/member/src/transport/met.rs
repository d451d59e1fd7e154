//! Which process each member is.
//!
//! A node id belongs to a data directory, and a directory can be copied. The process that is found at the address at which the
//! cluster knows a member is that member.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How many members are remembered; one that is not is looked for again.
const KEPT_MAX: usize = 64;
/// Between two warnings of processes that are refused.
const WARNING_PAUSE: Duration = Duration::from_secs(30);

/// A member's process, and where it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) boot: u64,
    pub(crate) addr: String,
}

#[derive(Debug, Default)]
struct Known {
    /// By node id.
    processes: BTreeMap<u64, Process>,
    /// The members that are being looked for, and where.
    looked_for: BTreeSet<(u64, String)>,
    warned: Option<Instant>,
}

/// The process that was found at each member's address; shared by a member's links.
#[derive(Debug, Clone, Default)]
pub(crate) struct Met(Arc<Mutex<Known>>);

/// The right to look for a member at an address: one at a time does, however many of its connections wait for that.
#[derive(Debug)]
pub(crate) struct Looking {
    met: Met,
    what: (u64, String),
}

impl Drop for Looking {
    fn drop(&mut self) {
        self.met.known().looked_for.remove(&self.what);
    }
}

impl Met {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The process of the member `id` that was found last.
    pub(crate) fn get(&self, id: u64) -> Option<Process> {
        self.known().processes.get(&id).cloned()
    }

    /// The process `boot` was found at `addr`, where the member `id` is.
    pub(crate) fn set(&self, id: u64, boot: u64, addr: impl Into<String>) {
        let mut known = self.known();
        known.processes.insert(id, Process { boot, addr: addr.into() });
        if known.processes.len() > KEPT_MAX {
            known.processes.pop_first();
        }
    }

    /// None while somebody looks for the member there already.
    pub(crate) fn look(&self, id: u64, addr: &str) -> Option<Looking> {
        let what = (id, addr.to_owned());
        self.known().looked_for.insert(what.clone()).then(|| Looking { met: self.clone(), what })
    }

    /// Whether it is time to warn again: whoever is refused comes again soon.
    pub(crate) fn may_warn(&self) -> bool {
        let mut known = self.known();
        let due = known.warned.is_none_or(|at| at.elapsed() >= WARNING_PAUSE);
        if due {
            known.warned = Some(Instant::now());
        }
        due
    }
}
