//! What the Raft log carries, and what Raft knows of a member.

use std::fmt;

use bytes::Bytes;
use conure_client::api::Role;
use serde::{Deserialize, Serialize};

openraft::declare_raft_types!(
    /// The types that openraft is used with.
    pub(crate) TypeConfig:
        D = Command,
        R = Outcome,
        NodeId = u64,
        Node = Peer,
        AsyncRuntime = super::runtime::NamedRuntime,
);

pub(crate) type LogId = openraft::alias::LogIdOf<TypeConfig>;
pub(crate) type Vote = openraft::alias::VoteOf<TypeConfig>;
pub(crate) type Entry = openraft::alias::EntryOf<TypeConfig>;
pub(crate) type StoredMembership = openraft::alias::StoredMembershipOf<TypeConfig>;
pub(crate) type SnapshotMeta = openraft::alias::SnapshotMetaOf<TypeConfig>;

/// What the members know of each other, beside the node id in the membership.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Peer {
    /// The member's name.
    pub(crate) name: String,
    /// Where its Raft port is dialled.
    pub(crate) raft_addr: String,
    /// Where its HTTP API is.
    pub(crate) http_addr: String,
    /// What it holds.
    pub(crate) role: Role,
}

/// A change, as the log carries it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Command {
    /// Stores a value.
    Put {
        /// The key.
        key: Bytes,
        /// The value.
        value: Bytes,
    },
    /// Removes a key.
    Delete {
        /// The key.
        key: Bytes,
    },
    /// Lets go of a cluster that was never written to, so that its only member can follow another.
    Release {
        /// The cluster that asked.
        by: String,
    },
}

impl Command {
    /// How many bytes of keys and values it holds.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Put { key, value } => key.len() + value.len(),
            Self::Delete { key } => key.len(),
            Self::Release { by } => by.len(),
        }
    }
}

/// Keys and values are the users' and never enter a log or an error text.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put { key, value } => write!(f, "put({} B key, {} B value)", key.len(), value.len()),
            Self::Delete { key } => write!(f, "delete({} B key)", key.len()),
            Self::Release { by } => write!(f, "release(by {by})"),
        }
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a change came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Outcome {
    /// Nothing to say (blank and membership entries).
    Nothing,
    /// Stored, as this revision.
    Put {
        /// The revision that the write made.
        revision: u64,
    },
    /// The key is gone.
    Deleted {
        /// Whether it was there.
        deleted: bool,
        /// The store's revision afterwards.
        revision: u64,
    },
    /// Whether the cluster was let go of; not where it holds data or other members.
    Released(bool),
    /// The cluster was let go of before: no change is made any more.
    Gone,
}

#[cfg(test)]
impl Default for Peer {
    fn default() -> Self {
        Self { name: String::new(), raft_addr: String::new(), http_addr: String::new(), role: Role::Data }
    }
}

/// The entry `index`, written by the member `node` as the leader of `term`.
#[cfg(test)]
pub(crate) fn log_id(term: u64, node: u64, index: u64) -> LogId {
    use openraft::vote::RaftLeaderId as _;
    type LeaderId = openraft::alias::LeaderIdOf<TypeConfig>;
    LogId::new(LeaderId::new(term, node).to_committed(), index)
}
