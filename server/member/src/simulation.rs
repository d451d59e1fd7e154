//! What a simulation does to the machine of its members, and what it sees of them.

use std::io;

use bytes::Bytes;
use conure_client::api::Role;
use openraft::EntryPayload;
use openraft::async_runtime::WatchReceiver as _;

use crate::member::Member;
pub use crate::platform::{TcpListener, TcpStream, disk_at, set_delay, set_disk, set_seed};
use crate::raft::records;
use crate::raft::types::{Command, Entry, LogId, Vote};

/// Who leads, as votes and log entries name it: by term and node id, of which the term counts first.
pub type LeaderId = (u64, u64);

/// Where a member stands at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its cluster.
    pub cluster_id: String,
    /// The node id of its data directory.
    pub node_id: u64,
    /// Data member or arbiter.
    pub role: Role,
    /// The last vote that Raft has from the disk, and whether a quorum granted it.
    pub vote: (LeaderId, bool),
    /// The vote that is durable in its log.
    pub stored_vote: (LeaderId, bool),
    /// Whether Raft says that it leads.
    pub leads: bool,
    /// The last index in its log.
    pub last: u64,
    /// The first index in its log; 0 where it holds none.
    pub first: u64,
    /// The last applied index.
    pub applied: u64,
    /// The leader of the last applied entry.
    pub applied_by: LeaderId,
    /// The entry of the last change of the members that it knows, agreed on or not.
    pub membership_index: u64,
}

/// One entry of a member's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// Its place.
    pub index: u64,
    /// The leader that wrote it.
    pub by: LeaderId,
    /// All of it, as the disk holds it.
    pub bytes: Bytes,
    /// What it does.
    pub change: Change,
}

/// What an entry does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
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
    /// Changes who is a member.
    Members {
        /// All members by node id, with their names and whether they vote.
        members: Vec<(u64, String, bool)>,
        /// Whether it is half done: a quorum of those before is needed as well.
        joint: bool,
    },
    /// Anything else.
    Other,
}

/// Everything that a data member has applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dump {
    /// The last applied index.
    pub index: u64,
    /// The revision.
    pub revision: u64,
    /// Keys with the revisions that last changed them, and values.
    pub pairs: Vec<(Bytes, u64, Bytes)>,
    /// The stream of a snapshot of it: keys, values, and what else the state machine knows.
    pub bytes: Vec<u8>,
}

fn of_vote(vote: &Vote) -> (LeaderId, bool) {
    ((vote.leader_id.term, vote.leader_id.node_id), vote.committed)
}

fn of_log_id(log_id: &LogId) -> LeaderId {
    (log_id.leader_id.term, log_id.leader_id.node_id)
}

fn change(entry: Entry) -> Change {
    match entry.payload {
        EntryPayload::Normal(Command::Put { key, value }) => Change::Put { key, value },
        EntryPayload::Normal(Command::Delete { key }) => Change::Delete { key },
        EntryPayload::Membership(membership) => {
            let votes = |id: u64| membership.voter_ids().any(|voter| voter == id);
            let members = membership.nodes().map(|(id, peer)| (*id, peer.name.clone(), votes(*id))).collect();
            Change::Members { members, joint: membership.get_joint_config().len() > 1 }
        }
        EntryPayload::Normal(Command::Release { .. }) | EntryPayload::Blank => Change::Other,
    }
}

impl Member {
    /// Where it stands, if it is in a cluster.
    pub fn standing(&self) -> Option<Standing> {
        let node = self.core().any_node()?;
        let metrics = node.raft.metrics();
        let metrics = metrics.borrow_watched();
        let wal = node.log.wal().ok()?;
        let applied = node.store.applied();
        let stored: Option<Vote> = wal.floor(None).vote.and_then(|vote| postcard::from_bytes(&vote).ok());
        Some(Standing {
            cluster_id: node.identity.cluster_id.clone(),
            node_id: node.identity.node_id,
            role: node.role,
            vote: of_vote(&metrics.vote),
            stored_vote: stored.as_ref().map(of_vote).unwrap_or_default(),
            leads: metrics.state.is_leader(),
            last: wal.last_index().unwrap_or(0),
            first: wal.first_index().unwrap_or(0),
            applied: applied.index(),
            applied_by: applied.log_id.as_ref().map(of_log_id).unwrap_or_default(),
            membership_index: metrics.membership_config.log_id().as_ref().map_or(0, openraft::LogId::index),
        })
    }

    /// The entries of its log from `from` up to and without `end`.
    pub fn logged(&self, from: u64, end: u64) -> io::Result<Vec<Logged>> {
        let Some(node) = self.core().any_node() else { return Ok(Vec::new()) };
        let entries = node.log.wal()?.read(from..end, usize::MAX).map_err(io::Error::other)?;
        let decoded = entries.into_iter().map(|stored| {
            let entry: Entry = postcard::from_bytes(&stored.payload).map_err(io::Error::other)?;
            let by = of_log_id(&entry.log_id);
            Ok(Logged { index: stored.index, by, bytes: stored.payload, change: change(entry) })
        });
        decoded.collect()
    }

    /// Everything that it has applied.
    pub fn dump(&self) -> io::Result<Option<Dump>> {
        let Some(node) = self.core().any_node() else { return Ok(None) };
        let view = node.store.view()?;
        let mut bytes = Vec::new();
        records::send_all(&view.read, true, |chunk| {
            bytes.extend_from_slice(&chunk);
            Ok(())
        })?;
        let mut pairs = Vec::new();
        records::Joiner::default().push(&bytes, |tree, key, value| {
            if tree == records::TreeId::Kv {
                let (revision, value) = value.split_first_chunk::<8>().ok_or(io::ErrorKind::InvalidData)?;
                let (key, value) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
                pairs.push((key, u64::from_le_bytes(*revision), value));
            }
            Ok(())
        })?;
        Ok(Some(Dump { index: view.applied.index(), revision: view.applied.revision, pairs, bytes }))
    }

    /// Why its storage failed, if it did.
    pub fn storage_failure(&self) -> Option<String> {
        self.core().failure.get().map(|fault| fault.text)
    }
}
