//! The process's file descriptors: one budget for everything that strangers can open.
//!
//! **Invariant:** connections of all kinds together have at most half of the descriptors. The others are for the database, its log and the
//! connections to other members: a log that cannot open its next file ends the process.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// More files than a member can need.
const FILES_MAX: u64 = 65_536;
/// How many connections are served at once: twice as many as changes may wait, so that it is those that are refused first.
const SERVED_MAX: u64 = 8192;
/// How many more are told that there are too many, or answered where they ask how the member is. Further ones are closed at once.
const CROWDED_MAX: u64 = 256;
/// How many connections the Raft port has at most.
const RAFT_MAX: u64 = 512;

/// How many connections there may be of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Connections {
    /// To the HTTP API, served.
    pub(crate) served: usize,
    /// To the HTTP API, beyond those.
    pub(crate) crowded: usize,
    /// To the Raft port.
    pub(crate) raft: usize,
}

impl Connections {
    /// This process's budget.
    pub(crate) fn allowed() -> Self {
        Self::within(getrlimit(Resource::Nofile).current.unwrap_or(FILES_MAX))
    }

    /// The budget of a process that may open that many files.
    fn within(files: u64) -> Self {
        let half = files / 2;
        let (crowded, raft) = (CROWDED_MAX.min(half / 8), RAFT_MAX.min(half / 4));
        let served = SERVED_MAX.min(half - crowded - raft);
        let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Self { served: count(served), crowded: count(crowded), raft: count(raft) }
    }
}

/// Lets this process open as many files as it may, within reason: shells allow 1,024, of which connections alone may need more.
pub(crate) fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.unwrap_or(FILES_MAX).min(FILES_MAX);
    if limit.current.is_some_and(|current| current < wanted) {
        let raised = Rlimit { current: Some(wanted), maximum: limit.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(%error, "the limit of open files stays as it is");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_of_all_kinds_have_half_of_the_files() {
        for files in [0, 1, 24, 64, 256, 512, 1024, 4096, 20_000, FILES_MAX, u64::MAX] {
            let Connections { served, crowded, raft } = Connections::within(files);
            assert!((served + crowded + raft) as u64 <= files / 2, "{files}");
        }
        let most = Connections { served: 8192, crowded: 256, raft: 512 };
        assert_eq!(Connections::within(FILES_MAX), most);
        assert_eq!(Connections::within(1024), Connections { served: 320, crowded: 64, raft: 128 });
    }
}
