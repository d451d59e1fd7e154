//! The faults: what each is called, and what it does to the cluster until it is healed.
//!
//! **Invariant:** a fault takes the members that it works on for itself and gives them back running, so that faults of
//! different lanes may overlap without undoing each other. At most one wiped volume is not yet a voter again, because
//! more than a minority of lost disks is a loss that no cluster survives.

mod copied;
mod descriptors;
mod eio;
mod log_reader;
mod membership;
mod moved;
mod network;
mod process;
mod rolled_back;
mod schedule;
mod storage;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use tokio_util::sync::CancellationToken;

use crate::cluster::{Cluster, Held};
pub(crate) use schedule::run_lane;

/// Which faults never overlap with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    Network,
    Process,
    Storage,
}

macro_rules! faults {
    ($($fault:ident $name:literal $lane:ident $about:literal;)+) => {
        /// One kind of fault.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Fault {
            $(#[doc = $about] $fault,)+
        }

        impl Fault {
            pub(crate) const ALL: &[Self] = &[$(Self::$fault),+];

            pub(crate) fn name(self) -> &'static str {
                match self { $(Self::$fault => $name),+ }
            }

            pub(crate) fn lane(self) -> Lane {
                match self { $(Self::$fault => Lane::$lane),+ }
            }

            pub(crate) fn about(self) -> &'static str {
                match self { $(Self::$fault => $about),+ }
            }
        }
    };
}

faults! {
    CutOffLeader "cut-off-leader" Network "the leader and the other members do not hear each other";
    OneWay "one-way" Network "one member does not hear another, or none, and is heard by all";
    Ring "ring" Network "everybody hears a part of the cluster, no two the same part";
    Kill "kill" Process "SIGKILL of one member or two";
    PowerLoss "power-loss" Process "SIGKILL of one, most or all, and the loss of every write that was not fsynced";
    Pause "pause" Process "SIGSTOP, the leader more often than others, and SIGCONT";
    Clock "clock" Process "the time of day of one or all members jumps";
    RollingRestart "rolling-restart" Process "SIGTERM of one member after the other";
    Transfer "transfer" Process "leadership moves, asked for or by SIGTERM of the leader";
    DeadLogReader "dead-log-reader" Process "nobody reads a member's standard error, a pipe, any more";
    DescriptorLimit "descriptor-limit" Process "a member may open few files and gets hundreds of idle connections";
    Rejoin "rejoin" Storage "a member is removed and joined again";
    Wipe "wipe" Storage "a member loses its volume and joins again under its name";
    FullDisk "full-disk" Storage "no page more is to be had on a member's disk";
    FailingFsync "failing-fsync" Storage "fsync fails on a member's disk, and what it should have kept is lost";
    Snapshot "snapshot" Storage "a member stays away until it can only come back by a snapshot";
    RolledBackVolume "rolled-back-volume" Storage "a member's volume is put back as it was some seconds earlier";
    Eio "eio" Storage "one of the files on a member's disk cannot be read";
    ChangedAddresses "changed-addresses" Storage "a member comes back at other ports";
    CopiedDirectory "copied-directory" Storage "a copy of a member's volume runs at another address, too";
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Fault {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        let Some(fault) = Self::ALL.iter().find(|fault| fault.name() == name) else {
            let names: Vec<&str> = Self::ALL.iter().map(|fault| fault.name()).collect();
            bail!("no fault is called {name:?}; there are {}", names.join(", "));
        };
        Ok(*fault)
    }
}

/// The names of all faults and what each does, a line each.
pub(crate) fn list() -> String {
    let line = |fault: &Fault| format!("  {:18} {}", fault.name(), fault.about());
    format!("Faults:\n{}", Fault::ALL.iter().map(line).collect::<Vec<_>>().join("\n"))
}

/// What is under way and what was done.
#[derive(Debug, Default)]
pub(crate) struct Log {
    inner: Mutex<(BTreeMap<Lane, String>, BTreeMap<Fault, u64>)>,
    snapshots: AtomicU64,
}

impl Log {
    fn with<T>(&self, work: impl FnOnce(&mut (BTreeMap<Lane, String>, BTreeMap<Fault, u64>)) -> T) -> T {
        work(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn snapshot_installed(&self) {
        self.snapshots.fetch_add(1, Ordering::Relaxed);
    }

    /// How many members came back by a snapshot.
    pub(crate) fn snapshots(&self) -> u64 {
        self.snapshots.load(Ordering::Relaxed)
    }

    /// The faults under way, in words.
    pub(crate) fn now(&self) -> String {
        self.with(|(now, _)| now.values().cloned().collect::<Vec<_>>().join(", "))
    }

    /// How often each was done.
    pub(crate) fn counts(&self) -> BTreeMap<Fault, u64> {
        self.with(|(_, counts)| counts.clone())
    }
}

/// What a fault works with.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) log: Arc<Log>,
    pub(crate) rng: fastrand::Rng,
    /// Cancelled when the run is over: faults heal what they did at once.
    pub(crate) stop: CancellationToken,
}

impl Scene {
    /// From now on the fault is under way.
    fn began(&self, fault: Fault, what: &str) {
        self.log.with(|(now, counts)| {
            now.insert(fault.lane(), format!("{fault} {what}").trim().to_owned());
            *counts.entry(fault).or_default() += 1;
        });
    }

    fn ended(&self, fault: Fault) {
        self.log.with(|(now, _)| now.remove(&fault.lane()));
    }

    /// A while between two bounds; shorter when the run is over.
    async fn hold(&mut self, range_ms: std::ops::Range<u64>) {
        let time = Duration::from_millis(self.rng.u64(range_ms));
        tokio::select! { () = tokio::time::sleep(time) => {}, () = self.stop.cancelled() => {} }
    }

    /// Some member that no other fault has.
    fn some_member(&mut self) -> Option<Held> {
        let mut numbers: Vec<usize> = (0..self.cluster.count()).collect();
        self.rng.shuffle(&mut numbers);
        numbers.into_iter().find_map(|number| self.cluster.take(number))
    }

    /// As many members as asked for, or those that are free.
    fn some_members(&mut self, count: usize) -> Vec<Held> {
        std::iter::from_fn(|| self.some_member()).take(count).collect()
    }

    /// The leader in `share` of 4 cases, else somebody, if free.
    async fn leader_or_some(&mut self, share: u8) -> Option<Held> {
        if self.rng.u8(..4) < share
            && let Some(leader) = self.cluster.leader().await
            && let Some(held) = self.cluster.take(leader)
        {
            return Some(held);
        }
        self.some_member()
    }
}

fn names(members: &[Held]) -> String {
    members.iter().map(|member| member.place.name.as_str()).collect::<Vec<_>>().join("+")
}
