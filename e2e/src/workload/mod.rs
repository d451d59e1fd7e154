//! Writers and readers that never stop while everything else happens to the cluster, and write down what they saw.
//!
//! Half of the writes go to keys of their own that are written once, so that every single acknowledged write can be looked
//! for at the end; the others overwrite a few keys, own and shared ones, so that old values would show.
//!
//! **Invariant:** every request that leaves here is one record; nothing is sent twice, least of all a write whose outcome
//! is unknown.

mod keys;
mod picker;
mod reader;
mod recorder;
mod verify;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::history::{self, Phase, Record};
use picker::Picker;
pub use recorder::Recorder;
pub use writer::outcome;

/// A member that clients may ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The member's name.
    pub name: String,
    /// Its HTTP API, `http://HOST:PORT`.
    pub url: String,
}

/// How many clients there are and how busy they are.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Clients that write.
    pub writers: u32,
    /// Clients that read.
    pub readers: u32,
    /// The time from one request of a client to its next.
    pub pace: Duration,
}

impl Default for Plan {
    /// Four of each; together about 160 requests a second, which leaves a small machine time for the cluster itself.
    fn default() -> Self {
        Self { writers: 4, readers: 4, pace: Duration::from_millis(50) }
    }
}

/// What all clients share.
#[derive(Debug)]
struct Shared {
    /// What tells this history's keys from those of others.
    run: u32,
    targets: watch::Receiver<Vec<Target>>,
    recorder: Recorder,
    /// The last acknowledged write of each writer, by its number.
    acknowledged: Vec<AtomicU64>,
    /// How many writes were acknowledged in all.
    total: AtomicU64,
    stopped: AtomicBool,
    pace: Duration,
}

impl Shared {
    fn picker(&self) -> Picker {
        Picker::new(self.targets.clone())
    }

    fn stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    fn ticks(&self) -> Interval {
        let mut ticks = interval(self.pace);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    }
}

/// Running writers and readers.
#[derive(Debug)]
pub struct Workload {
    path: PathBuf,
    shared: Arc<Shared>,
    clients: JoinSet<()>,
    file: tokio::task::JoinHandle<Result<()>>,
    phases: Mutex<Vec<(String, u64)>>,
}

/// A workload's whole history.
#[derive(Debug)]
pub struct Finished {
    /// Every operation.
    pub records: Vec<Record>,
    /// What happened when, until the clients were stopped.
    pub phases: Vec<Phase>,
}

impl Workload {
    /// Starts the clients; their history goes to the file.
    pub fn start(targets: watch::Receiver<Vec<Target>>, path: &Path, plan: Plan) -> Result<Self> {
        let (recorder, file) = Recorder::start(path)?;
        let shared = Arc::new(Shared {
            run: fastrand::u32(..),
            targets,
            recorder,
            acknowledged: (0..plan.writers).map(|_| AtomicU64::new(0)).collect(),
            total: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            pace: plan.pace,
        });
        let mut clients = JoinSet::new();
        for number in 0..plan.writers {
            clients.spawn(writer::run(Arc::clone(&shared), number));
        }
        for number in 0..plan.readers {
            clients.spawn(reader::run(Arc::clone(&shared), number));
        }
        Ok(Self { path: path.to_owned(), shared, clients, file, phases: Mutex::new(Vec::new()) })
    }

    /// From now on pauses and counts belong to this phase.
    pub fn phase(&self, name: &str) {
        let mut phases = self.phases.lock().unwrap_or_else(PoisonError::into_inner);
        phases.push((name.to_owned(), self.shared.recorder.now()));
    }

    /// How many writes were acknowledged so far.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.shared.total.load(Ordering::Relaxed)
    }

    /// Stops the clients, reads every acknowledged key once more, and hands over the history.
    pub async fn finish(self) -> Result<Finished> {
        let Self { path, shared, mut clients, file, phases } = self;
        shared.stopped.store(true, Ordering::Relaxed);
        while let Some(ended) = clients.join_next().await {
            ended.context("a client of the workload ended badly")?;
        }
        let end_ns = shared.recorder.now();
        verify::read_back(&shared, &shared.recorder.flushed(&path).await?).await?;
        drop(shared);
        file.await.context("the history's writer ended badly")??;
        let phases = phases.into_inner().unwrap_or_else(PoisonError::into_inner);
        let ends = phases.iter().skip(1).map(|(_, begin)| *begin).chain([end_ns]);
        let phases = phases
            .iter()
            .zip(ends)
            .map(|((name, begin), end_ns)| Phase { name: name.clone(), begin_ns: *begin, end_ns })
            .collect();
        Ok(Finished { records: history::read(&path)?, phases })
    }
}
