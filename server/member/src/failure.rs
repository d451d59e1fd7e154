//! The member's storage failed: said once, heard by everyone.

use std::fmt;
use std::io;

use tokio::sync::watch;

/// Why the storage cannot be gone on with, in one line for users.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fault {
    /// The line.
    pub text: String,
    /// Whether the data itself was found damaged: it is not what was written, or part of it is gone. A disk that is full or
    /// fails, or files of another version, are not that.
    pub damaged: bool,
}

impl Fault {
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
        Self { text, damaged: false }
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
        if matches!(error, conure_btree::Error::Corrupt { .. }) {
            let mend = "remove the member from its cluster, empty its data directory and let it join again, or restore a backup";
            return Self { text: format!("{error}; {mend}"), damaged: true };
        }
        error.to_string().into()
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
        let damaged = matches!(error, Damaged { .. } | MissingSegment { .. } | BehindCheckpoint { .. });
        Self { text: error.to_string(), damaged }
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
        error.to_string().into()
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

impl Failure {
    /// Says what failed; the first one stays.
    pub(crate) fn set(&self, fault: impl Into<Fault>) {
        self.set_after(fault, || ());
    }

    /// Says what failed, as soon as `first` is done: what Raft logs of it does not follow the line with which the process
    /// leaves, and yet its text does not take this one's place.
    pub(crate) fn set_after(&self, fault: impl Into<Fault>, first: impl FnOnce()) {
        let fault = fault.into();
        let mut ours = false;
        self.0.send_if_modified(|slot| {
            ours = slot.is_none();
            slot.get_or_insert_with(|| fault.clone());
            false
        });
        first();
        if ours {
            tracing::error!(
                error = fault.text,
                damaged = fault.damaged,
                "the storage failed; the process must be restarted"
            );
            self.0.send_modify(|_| ());
        }
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
    use super::*;

    #[test]
    fn only_data_that_is_not_what_was_written_is_damage() {
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
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let version = conure_btree::Error::Version { name: "tree.db".into(), found: 9, wanted: 1 };
        for fault in [
            Fault::from(full()),
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
    async fn the_first_failure_is_the_one_that_is_told() {
        let failure = Failure::default();
        failure.set(conure_btree::Error::Corrupt { page: 7, reason: "a wrong checksum".into() });
        failure.set("Raft ended");
        assert!(failure.wait().await.damaged);
    }
}
