//! What a data directory holds, in figures.

use std::path::Path;

use conure_btree::Db;
use conure_client::api::{Role, Suffrage};
use conure_wal::Inspection;
use serde::Serialize;

use super::directory::{Directory, checked, described, newest, snapshot};
use super::{OfflineError, error};
use crate::identity::{Identity, State};
use crate::raft::state::Applied;
use crate::raft::types::{LogId, Vote};

/// What [`inspect`] saw. As JSON its names are these; numbers of 64 random bits are strings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Inspected {
    /// Whose directory it is.
    pub identity: IdentityInfo,
    /// The tree's file; `None` in a member that belongs to no cluster yet.
    pub database: Option<DatabaseInfo>,
    /// What the last checkpoint of the tree shows.
    pub checkpoint: Option<CheckpointInfo>,
    /// The Raft log; `None` where there is none yet.
    pub log: Option<LogInfo>,
    /// How far log and database go together; `None` where there never was an entry.
    pub newest: Option<NewestInfo>,
}

/// The newest entry that a directory holds. Of several members of one incarnation the one with the highest term holds
/// most, and of those with the same term the one with the highest index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct NewestInfo {
    /// The term that it was made in; 0 where `restore`, `load` or `recover` made it.
    pub term: u64,
    /// Its index.
    pub index: u64,
}

/// A directory's identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct IdentityInfo {
    /// The member's name.
    pub node_id: String,
    /// Its Raft node id, in decimal digits.
    pub raft_node_id: String,
    /// Its cluster; empty before there is one.
    pub cluster_id: String,
    /// The cluster's incarnation; 0 before there is one.
    pub incarnation: u64,
    /// `fresh`, `founding`, `member`, `released` or `removed`.
    pub state: &'static str,
    /// What it holds.
    pub role: Role,
}

/// The tree's file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DatabaseInfo {
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Bytes in a page.
    pub page_size_bytes: u32,
    /// Pages in use or free.
    pub pages: u64,
    /// Pages that are free.
    pub free_pages: u64,
    /// The newest commit.
    pub commit: u64,
    /// The newest durable commit.
    pub durable_commit: u64,
    /// Snapshots that readers hold: none but this command's own, since no member runs.
    pub readers: u64,
    /// The trees, by name.
    pub trees: Vec<TreeInfo>,
    /// How many things are wrong; `conure-db check` says what they are.
    pub problems: u64,
}

/// A tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TreeInfo {
    /// Its name: `kv` holds the users' data, `meta` everything else, and the empty name is the list of trees.
    pub name: String,
    /// How many keys it holds.
    pub keys: u64,
    /// Its levels, the leaves included; 0 when it is empty.
    pub levels: u8,
    /// Pages of branches.
    pub branch_pages: u64,
    /// Pages of leaves.
    pub leaf_pages: u64,
    /// Pages of values that are too long for leaves.
    pub value_pages: u64,
    /// Bytes of all these pages.
    pub bytes: u64,
}

/// What the tree says was applied when it was last made durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CheckpointInfo {
    /// The cluster's revision.
    pub revision: u64,
    /// The last applied entry's index.
    pub applied_index: Option<u64>,
    /// Its term.
    pub applied_term: Option<u64>,
    /// The number of the log's last batch then.
    pub log_batch: Option<u64>,
    /// The members.
    pub members: Vec<MemberInfo>,
}

/// A member of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MemberInfo {
    /// Its name.
    pub id: String,
    /// Its Raft node id, in decimal digits.
    pub raft_node_id: String,
    /// Its Raft address.
    pub raft_addr: String,
    /// Its HTTP address.
    pub http_addr: String,
    /// What it holds.
    pub role: Role,
    /// Whether it votes.
    pub suffrage: Suffrage,
}

/// The Raft log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LogInfo {
    /// Its random identity, in hexadecimal digits.
    pub id: Option<String>,
    /// The first index held.
    pub first_index: Option<u64>,
    /// The last index held.
    pub last_index: Option<u64>,
    /// The last index that was let go of.
    pub purged_index: Option<u64>,
    /// The term of the last vote.
    pub vote_term: Option<u64>,
    /// The number of the last whole batch.
    pub last_batch: Option<u64>,
    /// Entries behind the checkpoint.
    pub entries_behind_checkpoint: u64,
    /// Segment files.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes at the end that an unfinished write left; the next start cuts them.
    pub torn_tail_bytes: u64,
}

/// Looks at `dir`, which no member may run on. Nothing in it changes: what opening the tree would write after a crash
/// stays in memory. Reads every page of the tree, of which `percent` hears how far it is, and the whole log.
///
/// # Errors
///
/// [`OfflineError::DataDir`] when the directory cannot be read or is in use, [`OfflineError::Io`].
pub fn inspect(dir: &Path, mut percent: impl FnMut(u64)) -> Result<Inspected, OfflineError> {
    let directory = Directory::open(dir)?;
    let identity = directory.known_identity()?;
    let broken = |reason: String| OfflineError::dir(dir, format!("cannot be read: {reason}"), error::CHECK);
    let (mut database, mut checkpoint, mut applied) = (None, None, Applied::default());
    if let Some(tree) = directory.tree().map_err(|e| directory.unreadable(e))? {
        let read = snapshot(&tree).map_err(|e| broken(e.to_string()))?;
        let (found, floor) = described(&read).map_err(|e| broken(e.to_string()))?;
        drop(read);
        applied = found;
        let log_batch = floor.and_then(|floor| floor.mark).map(|mark| mark.batch);
        checkpoint = Some(checkpoint_info(&applied, log_batch));
        database = Some(database_info(&tree, &mut percent).map_err(|e| directory.unreadable(e))?);
    }
    let log = directory.log().map_err(|e| directory.log_unreadable(e))?;
    let newest = newest(log.as_ref(), Some(&applied)).map_err(broken)?;
    let newest =
        newest.map(|log_id| NewestInfo { term: log_id.committed_leader_id().term, index: log_id.index() });
    let log = log.map(|log| log_info(&log, &applied)).transpose().map_err(broken)?;
    Ok(Inspected { identity: identity_info(&identity), database, checkpoint, log, newest })
}

fn state_name(state: &State) -> &'static str {
    match state {
        State::Fresh => "fresh",
        State::Founding => "founding",
        State::Member => "member",
        State::Released => "released",
        State::Removed => "removed",
        State::Adopted => "adopted",
    }
}

fn identity_info(identity: &Identity) -> IdentityInfo {
    IdentityInfo {
        node_id: identity.name.clone(),
        raft_node_id: identity.node_id.to_string(),
        cluster_id: identity.cluster_id.clone(),
        incarnation: identity.incarnation,
        state: state_name(&identity.state),
        role: identity.role,
    }
}

fn checkpoint_info(applied: &Applied, log_batch: Option<u64>) -> CheckpointInfo {
    let voters: Vec<u64> = applied.membership.voter_ids().collect();
    let member = |(id, peer): (&u64, &crate::raft::types::Peer)| MemberInfo {
        id: peer.name.clone(),
        raft_node_id: id.to_string(),
        raft_addr: peer.raft_addr.clone(),
        http_addr: peer.http_addr.clone(),
        role: peer.role,
        suffrage: if voters.contains(id) { Suffrage::Voter } else { Suffrage::Learner },
    };
    let mut members: Vec<MemberInfo> = applied.membership.nodes().map(member).collect();
    members.sort_by(|a, b| a.id.cmp(&b.id));
    CheckpointInfo {
        revision: applied.revision,
        applied_index: applied.log_id.as_ref().map(LogId::index),
        applied_term: applied.log_id.as_ref().map(|log_id| log_id.committed_leader_id().term),
        log_batch,
        members,
    }
}

fn database_info(tree: &Db, percent: &mut dyn FnMut(u64)) -> Result<DatabaseInfo, conure_btree::Error> {
    let stats = tree.stats();
    let checked = checked(tree, percent)?;
    let info = |tree: &conure_btree::TreeReport| TreeInfo {
        name: tree.name.clone(),
        keys: tree.keys,
        levels: tree.levels,
        branch_pages: tree.branch_pages,
        leaf_pages: tree.leaf_pages,
        value_pages: tree.value_pages,
        bytes: (tree.branch_pages + tree.leaf_pages + tree.value_pages) * u64::from(stats.page_size_bytes),
    };
    Ok(DatabaseInfo {
        file_bytes: stats.file_bytes,
        page_size_bytes: stats.page_size_bytes,
        pages: stats.pages,
        free_pages: stats.free_pages,
        commit: stats.commit,
        durable_commit: stats.durable_commit,
        readers: stats.readers as u64,
        trees: checked.trees.iter().map(info).collect(),
        problems: checked.problems.len() as u64,
    })
}

fn log_info(log: &Inspection, applied: &Applied) -> Result<LogInfo, String> {
    let vote: Option<Vote> = log
        .vote()
        .map(|vote| postcard::from_bytes(&vote))
        .transpose()
        .map_err(|e| format!("the log's vote cannot be decoded ({e})"))?;
    let segments = log.segments();
    let last = log.indexes().map(|(_, last)| last);
    Ok(LogInfo {
        id: log.log_id().map(|id| format!("{id:016x}")),
        first_index: log.indexes().map(|(first, _)| first),
        last_index: last,
        purged_index: log.purged().map(|purged| purged.index),
        vote_term: vote.map(|vote| vote.leader_id().term),
        last_batch: log.last_batch(),
        entries_behind_checkpoint: entries_behind(log, applied),
        segments: segments.len() as u64,
        bytes: segments.iter().map(|segment| segment.bytes).sum(),
        torn_tail_bytes: log.torn_tail_bytes(),
    })
}

/// How many entries the log holds behind what was applied.
fn entries_behind(log: &Inspection, applied: &Applied) -> u64 {
    let next = applied.log_id.as_ref().map_or(0, |log_id| log_id.index().saturating_add(1));
    log.indexes().map_or(0, |(first, last)| last.saturating_add(1).saturating_sub(next.max(first)))
}
