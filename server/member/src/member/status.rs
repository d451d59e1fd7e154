//! What a member says of itself.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use conure_client::api;
use openraft::ServerState;
use serde_json::{Value, json};

use super::core::Core;
use super::node::{Metrics, Node};
use crate::facade::Refusal;

/// A member that is further behind than that has not caught up.
const READY_LAG_MAX: u64 = 1_000;

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn committed(metrics: &Metrics) -> u64 {
    metrics.cluster_committed.max(metrics.local_committed).map_or(0, |log_id| log_id.index())
}

impl Core {
    pub(crate) fn status(&self) -> api::Status {
        let identity = self.identity();
        let node = self.any_node();
        let metrics = node.as_ref().map(|node| node.metrics());
        let applied = node.as_ref().map(|node| node.store.applied());
        let leader = node.as_ref().and_then(|node| node.leader());
        let is_leader = leader.as_ref().is_some_and(|(id, _)| *id == identity.node_id);
        let leader = leader.map(|(_, peer)| peer);
        let (leader, leader_raft_addr, leader_http_addr) =
            leader.map(|peer| (peer.name, peer.raft_addr, peer.http_addr)).unwrap_or_default();
        let serving = node.is_some() || !identity.cluster_id.is_empty();
        api::Status {
            is_leader,
            leader,
            leader_raft_addr,
            leader_http_addr,
            node_id: identity.name,
            raft_addr: self.config.raft_advertise_addr.clone(),
            role: self.config.role,
            term: metrics.as_ref().map_or(0, |metrics| metrics.current_term),
            revision: applied.as_ref().map_or(0, |applied| applied.revision),
            commit_index: metrics.as_ref().map_or(0, committed),
            applied_index: applied.as_ref().map_or(0, |applied| applied.index()),
            cluster_id: if serving { identity.cluster_id } else { String::new() },
            incarnation: identity.incarnation,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            health: self.health(),
        }
    }

    pub(crate) fn ready(&self) -> Result<(), String> {
        let node = self.node().map_err(|refusal| refusal.to_string())?;
        let metrics = node.metrics();
        let Some((_, leader)) = node.leader() else {
            let why = if metrics.current_leader.is_some() && node.peers().is_empty() {
                // Who the members are is in the snapshot.
                "the first snapshot comes in from the leader; this member serves once it is here"
            } else {
                "no leader is known; see that a quorum of members runs and can reach each other"
            };
            return Err(node.dialer.estranged.why().unwrap_or_else(|| why.into()));
        };
        let (committed, applied) = (committed(&metrics), node.store.applied().index());
        if committed > applied + READY_LAG_MAX || !node.recovered.load(Ordering::Acquire) {
            return Err(format!(
                "still catching up with leader {:?}: applied {applied} of {committed}",
                leader.name
            ));
        }
        if metrics.state == ServerState::Learner {
            return Err("still a learner; its join is not complete".into());
        }
        if metrics.state != ServerState::Leader
            && let Some(why) = node.reach.why_not()
        {
            return Err(node.dialer.estranged.why().unwrap_or(why));
        }
        Ok(())
    }

    /// `ok`, or what is wrong: a member may be ready all the same.
    fn health(&self) -> String {
        match self.ready() {
            Err(why) => why,
            Ok(()) if self.room.is_short() => match self.room.refusal() {
                Refusal::InodesFull { free_inodes, needed_inodes } => format!(
                    "the disk is nearly out of inodes: {free_inodes} are free, {needed_inodes} are needed (df -i); as a \
                     leader it takes no puts"
                ),
                _ => format!(
                    "the disk is nearly full: {} bytes are free, {} are needed; as a leader it takes no puts",
                    self.room.free_bytes(),
                    self.room.needed_bytes()
                ),
            },
            Ok(()) if self.any_node().is_some_and(|node| node.disk_is_slow()) => {
                "the log's disk is slow or does not answer; another member should lead".to_owned()
            }
            Ok(()) => self.any_node().and_then(|node| outrun(&node)).unwrap_or_else(|| "ok".to_owned()),
        }
    }

    pub(crate) fn raft_config(&self) -> api::RaftConfig {
        let Some(node) = self.any_node() else { return api::RaftConfig { members: Vec::new() } };
        // What was applied is committed: a change that may still be undone is not shown.
        let applied = node.store.applied();
        let membership = &applied.membership;
        let voters: Vec<u64> = membership.voter_ids().collect();
        let members = membership.nodes().map(|(id, peer)| api::MemberInfo {
            id: peer.name.clone(),
            raft_addr: peer.raft_addr.clone(),
            http_addr: peer.http_addr.clone(),
            role: peer.role,
            suffrage: if voters.contains(id) { api::Suffrage::Voter } else { api::Suffrage::Learner },
        });
        api::RaftConfig { members: members.collect() }
    }

    pub(crate) fn stats(&self) -> Value {
        let identity = self.identity();
        let node = self.any_node();
        json!({
            "node_id": identity.name,
            "raft_node_id": identity.node_id.to_string(),
            "state": format!("{:?}", identity.state).to_lowercase(),
            "raft": node.as_ref().map(|node| raft(node)),
            "log": node.as_ref().map(|node| log(node)),
            "storage": node.as_ref().map(|node| storage(node)),
            "clients": {
                "reads_linearizable": get(&self.counters.reads_linearizable),
                "reads_stale": get(&self.counters.reads_stale),
                "reads_confirmed": get(&self.counters.read_rounds),
                "writes": get(&self.counters.writes),
                "writes_unknown": get(&self.counters.writes_unknown),
                "busy": get(&self.counters.busy),
                "disk_full": get(&self.counters.disk_full),
            },
            "disk": {
                "free_bytes": self.room.free_bytes(),
                "total_bytes": self.room.total_bytes(),
                "needed_bytes": self.room.needed_bytes(),
                "free_inodes": self.room.free_files(),
                "needed_inodes": self.room.needed_files(),
                "nearly_full": self.room.is_short(),
            },
            "port": {
                "accepted": get(&self.port.accepted),
                "crowded_out": get(&self.port.crowded_out),
                "refused": get(&self.port.refused),
                "malformed": get(&self.port.malformed),
                "silent": get(&self.port.silent),
                "appends_refused": get(&self.port.appends_refused),
                "snapshots_received": get(&self.port.snapshots_received),
                "snapshots_refused": get(&self.port.snapshots_refused),
                "snapshots_resumed": get(&self.port.snapshots_resumed),
                "snapshot_bytes": get(&self.port.snapshot_bytes),
            },
        })
    }
}

/// Where snapshots are out of date before they arrive: whose, and what to change.
fn outrun(node: &Node) -> Option<String> {
    let overtaken = node.dialer.transfers.overtaken();
    let peers = node.peers();
    let names: Vec<&str> = overtaken.iter().filter_map(|id| Some(peers.get(id)?.name.as_str())).collect();
    if names.is_empty() {
        return None;
    }
    Some(format!(
        "the snapshot for {} takes longer than the log after it can be kept; raise --snapshot-rate, or write less until it \
         has caught up",
        names.join(", ")
    ))
}

fn raft(node: &Node) -> Value {
    let metrics = node.metrics();
    let peers = node.peers();
    let name = |id: &u64| peers.get(id).map_or_else(|| id.to_string(), |peer| peer.name.clone());
    let index = |log_id: Option<crate::raft::types::LogId>| log_id.map(|log_id| log_id.index());
    let matched: BTreeMap<String, Option<u64>> = metrics
        .replication
        .iter()
        .flatten()
        .map(|(id, log_id)| (name(id), log_id.map(|log_id| log_id.index())))
        .collect();
    let answered: BTreeMap<&str, u64> = peers
        .iter()
        .filter_map(|(id, peer)| Some((peer.name.as_str(), node.answered_ago(*id)?)))
        .map(|(name, ago)| (name, u64::try_from(ago.as_millis()).unwrap_or(u64::MAX)))
        .collect();
    json!({
        "state": format!("{:?}", metrics.state).to_lowercase(),
        "term": metrics.current_term,
        "leader": metrics.current_leader.as_ref().map(name),
        "last_log_index": metrics.last_log_index,
        "last_log_term": node.log.last().ok().flatten().map(|last| last.committed_leader_id().term),
        "committed_index": committed(&metrics),
        "applied_index": index(metrics.last_applied),
        "checkpoint_index": index(metrics.snapshot),
        "purged_index": index(metrics.purged),
        "matched": matched,
        "answered_ms_ago": answered,
        "joint": metrics.membership_config.membership().get_joint_config().len() > 1,
        "recovered": node.recovered.load(Ordering::Acquire),
    })
}

fn log(node: &Node) -> Value {
    let Ok(wal) = node.log.wal() else { return Value::Null };
    let stats = wal.stats();
    json!({
        "first_index": wal.first_index(),
        "last_index": wal.last_index(),
        "syncs": stats.syncs,
        "batches": stats.batches,
        "largest_group": stats.largest_group,
        "appended_entries": stats.appended_entries,
        "appended_bytes": stats.appended_bytes,
        "segments": stats.segments,
        "disk_bytes": stats.disk_bytes,
        "queue_len": stats.queue_len,
        "sync_average_us": micros(stats.sync_average),
        "writing_for_us": micros(stats.writing_for),
        "cached_bytes": stats.cached_bytes,
    })
}

fn micros(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn storage(node: &Node) -> Value {
    let applied = node.store.applied();
    let Ok(tree) = node.store.db().map(|db| db.stats()) else { return Value::Null };
    json!({
        "revision": applied.revision,
        "applied_index": applied.index(),
        "tree": {
            "page_size_bytes": tree.page_size_bytes,
            "file_bytes": tree.file_bytes,
            "pages": tree.pages,
            "free_pages": tree.free_pages,
            "commit": tree.commit,
            "durable_commit": tree.durable_commit,
            "readers": tree.readers,
            "oldest_reader_commit": tree.oldest_reader_commit,
            "oldest_reader_age_ms": tree.oldest_reader_age_ms,
            "oldest_reader_waiting_pages": tree.oldest_reader_waiting_pages,
            "waiting_pages": tree.waiting_pages,
            "syncs": tree.syncs,
        },
    })
}
