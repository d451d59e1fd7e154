//! What the state machine knows beside the users' data, and where the tree keeps it.

use std::collections::BTreeSet;
use std::io;

use serde::{Deserialize, Serialize};

use super::forks::Forks;
use super::types::{LogId, SnapshotMeta, StoredMembership};

/// The tree of the users' data: `key → revision (u64, little endian) ++ value`.
pub(crate) const KV_TREE: &str = "kv";
/// The tree of everything else.
pub(crate) const META_TREE: &str = "meta";
/// In [`META_TREE`]: [`Applied`].
pub(crate) const APPLIED_KEY: &[u8] = b"applied";
/// In [`META_TREE`]: what the log held durably at the last checkpoint (`conure_wal::Floor`). This directory's
/// own: never part of a snapshot.
pub(crate) const FLOOR_KEY: &[u8] = b"floor";
/// So many removed node ids are remembered; the ids are random, so which of them go first means nothing.
const REMOVED_MAX: usize = 4_096;

/// What was applied so far. Committed to the tree together with the data that it describes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Applied {
    /// The cluster that the data belongs to.
    pub(crate) cluster_id: String,
    /// The cluster's incarnation.
    pub(crate) incarnation: u64,
    /// The last applied entry.
    pub(crate) log_id: Option<LogId>,
    /// The last applied membership.
    pub(crate) membership: StoredMembership,
    /// The last change's revision; 0 where there was none. An arbiter does not count.
    pub(crate) revision: u64,
    /// The cluster that this one was let go of for.
    pub(crate) released_for: Option<String>,
    /// Node ids that were members once and are none now.
    pub(crate) removed: BTreeSet<u64>,
    /// Which recoveries and restores the data comes from.
    #[serde(skip)]
    pub(crate) forks: Forks,
}

/// The version of what follows the fields that every version has.
const EXTENSION: u8 = 1;

impl Applied {
    /// The last applied index; 0 before the first.
    pub(crate) fn index(&self) -> u64 {
        self.log_id.as_ref().map_or(0, openraft::LogId::index)
    }

    /// What openraft wants to know of a snapshot of this state.
    pub(crate) fn snapshot_meta(&self) -> SnapshotMeta {
        SnapshotMeta { last_log_id: self.log_id, last_membership: self.membership.clone() }
    }

    /// Takes over a committed membership and remembers who left.
    pub(crate) fn set_membership(&mut self, membership: StoredMembership) {
        let now: BTreeSet<u64> = membership.nodes().map(|(id, _)| *id).collect();
        let gone: Vec<u64> =
            self.membership.nodes().map(|(id, _)| *id).filter(|id| !now.contains(id)).collect();
        self.removed.extend(gone);
        while self.removed.len() > REMOVED_MAX {
            self.removed.pop_first();
        }
        self.membership = membership;
    }

    /// The bytes under [`APPLIED_KEY`].
    /// Earlier versions ignore what follows the fields that they know; where there is nothing to add, nothing does.
    pub(crate) fn encode(&self) -> io::Result<Vec<u8>> {
        let encoded = if self.forks.is_empty() {
            postcard::to_stdvec(self)
        } else {
            postcard::to_stdvec(&(self, EXTENSION, &self.forks))
        };
        encoded.map_err(io::Error::other)
    }

    /// The counterpart of [`Applied::encode`].
    pub(crate) fn decode(bytes: &[u8]) -> io::Result<Self> {
        let invalid = |e| io::Error::new(io::ErrorKind::InvalidData, e);
        let (mut applied, rest): (Self, _) = postcard::take_from_bytes(bytes).map_err(invalid)?;
        match rest.split_first() {
            Some((&EXTENSION, forks)) => applied.forks = postcard::from_bytes(forks).map_err(invalid)?,
            Some((version, _)) => {
                let what = format!("the state has extension {version}; this version reads {EXTENSION}");
                return Err(io::Error::new(io::ErrorKind::InvalidData, what));
            }
            None => {}
        }
        Ok(applied)
    }
}
