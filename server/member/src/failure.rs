//! What the member cannot go on after: its storage failed, or one of its tasks ended. Said once, heard by everyone.
//!
//! **Invariant:** nothing is logged here. A failure is told to those who wait for it whatever becomes of the log.

use std::fmt;
use std::io;

use conure_io::Unreadable;
use conure_program::Ended;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Why the member cannot go on, in one line for users.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fault {
    /// The line.
    pub text: String,
    /// Whether the data itself was found damaged: it is not what was written, or part of it is gone or cannot be read. A disk
    /// that is full or fails to write, or files of another version, are not that.
    pub damaged: bool,
    /// Whether a task of the member ended, rather than its storage.
    pub task: bool,
}

/// What users do about data that is damaged.
pub(crate) const REJOIN: &str =
    "remove the member from its cluster, empty its data directory and let it join again, or restore a backup";

impl Fault {
    /// A task that the member cannot be without has ended.
    pub(crate) fn of_task(text: String) -> Self {
        Self { text, damaged: false, task: true }
    }

    /// The data is damaged: what was found, and what to do about it.
    pub(crate) fn damaged(what: impl fmt::Display) -> Self {
        Self { text: format!("{what}; {REJOIN}"), damaged: true, task: false }
    }

    /// The same, of something that the line begins with.
    pub(crate) fn of(what: impl fmt::Display, cause: impl Into<Self>) -> Self {
        let cause = cause.into();
        Self { text: format!("{what}: {}", cause.text), ..cause }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<String> for Fault {
    fn from(text: String) -> Self {
        Self { text, damaged: false, task: false }
    }
}

impl From<&str> for Fault {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<conure_btree::Error> for Fault {
    fn from(error: conure_btree::Error) -> Self {
        (&error).into()
    }
}

impl From<&conure_btree::Error> for Fault {
    fn from(error: &conure_btree::Error) -> Self {
        match error {
            conure_btree::Error::Corrupt { .. } => Self::damaged(error),
            conure_btree::Error::Io { source, .. } if Unreadable::is(source) => Self::damaged(error),
            _ => error.to_string().into(),
        }
    }
}

impl From<conure_wal::Error> for Fault {
    fn from(error: conure_wal::Error) -> Self {
        (&error).into()
    }
}

impl From<&conure_wal::Error> for Fault {
    fn from(error: &conure_wal::Error) -> Self {
        use conure_wal::Error::{BehindCheckpoint, Damaged, MissingSegment};
        match error {
            conure_wal::Error::Io { action, file, source } if Unreadable::is(source) => {
                Self::damaged(format!("the log's {file}: {action} failed: {source}"))
            }
            _ => {
                let damaged =
                    matches!(error, Damaged { .. } | MissingSegment { .. } | BehindCheckpoint { .. });
                Self { text: error.to_string(), damaged, task: false }
            }
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        (&error).into()
    }
}

/// The engine's and the log's errors travel as standard ones.
impl From<&io::Error> for Fault {
    fn from(error: &io::Error) -> Self {
        let inner = error.get_ref();
        if let Some(error) = inner.and_then(|inner| inner.downcast_ref::<conure_btree::Error>()) {
            return error.into();
        }
        if let Some(error) = inner.and_then(|inner| inner.downcast_ref::<conure_wal::Error>()) {
            return error.into();
        }
        if Unreadable::is(error) { Self::damaged(error) } else { error.to_string().into() }
    }
}

/// A failure that the process must leave for. Cloning shares it.
#[derive(Debug, Clone)]
pub(crate) struct Failure(watch::Sender<Option<Fault>>);

impl Default for Failure {
    fn default() -> Self {
        Self(watch::channel(None).0)
    }
}

/// Tells those who wait, also where what was done before panicked.
struct Tell<'a>(&'a Failure);

impl Drop for Tell<'_> {
    fn drop(&mut self) {
        self.0.0.send_modify(|_| ());
    }
}

/// Runs a task until it ends, or `stop` does.
pub(crate) async fn until(stop: CancellationToken, task: impl Future<Output = ()>) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = task => {}
    }
}

impl Failure {
    /// Says what failed; the first one stays.
    pub(crate) fn set(&self, fault: impl Into<Fault>) {
        self.set_after(fault, || ());
    }

    /// Says what failed, as soon as `first` is done, however it ends: what Raft logs of it does not follow the line with which
    /// the process leaves, and yet its text does not take this one's place.
    pub(crate) fn set_after(&self, fault: impl Into<Fault>, first: impl FnOnce()) {
        let fault = fault.into();
        let mut ours = false;
        self.0.send_if_modified(|slot| {
            ours = slot.is_none();
            slot.get_or_insert_with(|| fault.clone());
            false
        });
        let tell = ours.then(|| Tell(self));
        first();
        drop(tell);
    }

    /// Runs a task that the member cannot be without. Where it panics, or ends before `stop`, that is a failure.
    pub(crate) async fn supervise(
        self,
        name: &'static str,
        stop: CancellationToken,
        task: impl Future<Output = ()>,
    ) {
        let returned = self.catch(name, task).await;
        if returned && !stop.is_cancelled() {
            self.set(Fault::of_task(format!("the task {name:?} ended")));
        }
    }

    /// Runs a task that may end by itself, but not by a panic. Whether it returned.
    pub(crate) async fn catch(&self, name: &'static str, task: impl Future<Output = ()>) -> bool {
        match conure_program::watched(name, task).await {
            Ended::Returned => true,
            Ended::Panicked(words) => {
                self.set(Fault::of_task(format!("the task {name:?} panicked: {words}")));
                false
            }
        }
    }

    /// Whether anything failed.
    pub(crate) fn is_set(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// What failed, if anything did.
    pub(crate) fn get(&self) -> Option<Fault> {
        self.0.borrow().clone()
    }

    /// Waits until something fails.
    pub(crate) async fn wait(&self) -> Fault {
        let mut heard = self.0.subscribe();
        loop {
            if let Some(fault) = heard.borrow_and_update().clone() {
                return fault;
            }
            if heard.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::sync::Arc;

    use conure_io::{Disk as _, OpenMode, SimDisk};

    use super::*;
    use crate::raft::store::engine;

    #[test]
    fn only_data_that_is_not_what_was_written_or_cannot_be_read_is_damage() {
        let page = || conure_btree::Error::Corrupt { page: 7, reason: "a wrong checksum".into() };
        let log =
            || conure_wal::Error::Damaged { file: "1".into(), offset: 9, what: "a wrong checksum".into() };
        for fault in [
            Fault::from(page()),
            Fault::from(io::Error::other(page())),
            Fault::of("the database", io::Error::other(page())),
            Fault::from(log()),
            Fault::from(io::Error::other(log())),
            Fault::from(conure_wal::Error::BehindCheckpoint { what: "entry 7".into() }),
        ] {
            assert!(fault.damaged && fault.text.contains("empty its data directory"), "{fault}");
        }
        let unreadable = || {
            let disk = SimDisk::new();
            let file = disk.open("tree.db", OpenMode::CreateNew).unwrap();
            disk.fail_read_after(0);
            file.read_exact_at(&mut [0], 0).unwrap_err()
        };
        let page = || conure_btree::Error::Io { what: "read the database file", source: unreadable() };
        let log =
            || conure_wal::Error::Io { action: "reading", file: "1".into(), source: Arc::new(unreadable()) };
        for fault in [
            Fault::from(unreadable()),
            Fault::from(page()),
            Fault::from(engine(page())),
            Fault::from(log()),
            Fault::from(io::Error::other(log())),
        ] {
            assert!(fault.damaged && fault.text.contains("the disk cannot read it"), "{fault}");
            assert!(fault.text.contains("empty its data directory"), "{fault}");
        }
        let failing = || io::Error::from_raw_os_error(5);
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let version = conure_btree::Error::Version { name: "tree.db".into(), found: 9, wanted: 1 };
        for fault in [
            Fault::from(full()),
            Fault::from(failing()),
            Fault::from(engine(conure_btree::Error::Io {
                what: "sync the database file",
                source: failing(),
            })),
            Fault::from(conure_btree::Error::Io { what: "read the database file", source: full() }),
            Fault::from(io::Error::other(version)),
            Fault::from(conure_btree::Error::NotADatabase { name: "tree.db".into(), reason: "it is short" }),
            Fault::from(conure_wal::Error::Version { file: "1".into(), found: 2, known: 1 }),
            Fault::from(conure_wal::Error::Locked),
            Fault::from(io::Error::new(io::ErrorKind::InvalidData, "the log holds what it cannot")),
            Fault::from("Raft ended"),
        ] {
            assert!(!fault.damaged, "{fault}");
        }
    }

    #[tokio::test]
    async fn a_failure_is_told_whatever_becomes_of_what_is_done_first() {
        let failure = Failure::default();
        let waiting = tokio::spawn({
            let failure = failure.clone();
            async move { failure.wait().await }
        });
        tokio::task::yield_now().await;
        let broken = failure.clone();
        let told = tokio::spawn(async move {
            broken.set_after("no room", || panic!("the log cannot be written"));
        });
        assert!(told.await.unwrap_err().is_panic());
        assert_eq!(waiting.await.unwrap().text, "no room");
    }

    #[tokio::test]
    async fn those_who_wait_hear_nothing_before_what_is_done_first_is_done() {
        let failure = Failure::default();
        let mut heard = failure.0.subscribe();
        failure.set_after("no room", || {
            assert!(!heard.has_changed().unwrap());
            failure.set("Raft ended");
            assert!(!heard.has_changed().unwrap());
        });
        assert_eq!(heard.borrow_and_update().as_ref().unwrap().text, "no room");
    }

    #[tokio::test]
    async fn a_task_that_panics_or_ends_is_a_failure_that_names_it() {
        let stop = CancellationToken::new();
        let fault = async |task: Pin<Box<dyn Future<Output = ()> + Send>>| {
            let failure = Failure::default();
            failure.clone().supervise("keeper", stop.clone(), task).await;
            failure.get()
        };
        let panicked = fault(Box::pin(async { panic!("no more") })).await.unwrap();
        assert_eq!((panicked.text.as_str(), panicked.task), ("the task \"keeper\" panicked: no more", true));
        let ended = fault(Box::pin(async {})).await.unwrap();
        assert_eq!((ended.text.as_str(), ended.task), ("the task \"keeper\" ended", true));
        stop.cancel();
        assert_eq!(fault(Box::pin(async {})).await, None);
    }

    #[tokio::test]
    async fn the_first_failure_is_the_one_that_is_told() {
        let failure = Failure::default();
        failure.set(conure_btree::Error::Corrupt { page: 7, reason: "a wrong checksum".into() });
        failure.set("Raft ended");
        assert!(failure.wait().await.damaged);
    }
}
