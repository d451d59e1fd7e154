//! The facade: everything that the HTTP API may ask of a member.
//!
//! `core` holds the data directory and what outlives a cluster; `node` is one life in one cluster; the other
//! files are what a member does: `writes`, `reads`, `join`, `remove`, `lives` (bootstrap, adoption, release,
//! removal), `keeper` (what runs by itself), `host` (what other members ask), `status`, `backup`.

mod backup;
mod calls;
mod core;
mod files;
mod host;
mod join;
mod keeper;
mod leading;
mod lives;
mod moved;
mod news;
mod node;
mod own;
mod reach;
mod reads;
mod remove;
mod room;
mod rounds;
mod start;
mod status;
#[cfg(test)]
mod tests;
mod twins;
mod writes;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use conure_client::api;

pub use backup::Backup;
pub use start::StartError;

pub(crate) use files::LOG_DIR;
pub(crate) use start::{LOCK_FILE, take_lock};

use crate::facade::{Consistency, JoinProgress, Leader, MemberConfig, ReadAnswer, Refusal};
use crate::failure::Fault;
use core::Core;

/// The longest that [`Member::shutdown`] takes.
pub const STOP_MAX: Duration = core::STOP_MAX;

/// A running member. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Member {
    core: Arc<Core>,
}

impl Member {
    /// Opens the data directory, listens on the Raft port, and goes on where the directory left off.
    pub async fn start(config: MemberConfig) -> Result<Self, StartError> {
        Ok(Self { core: start::start(config).await? })
    }

    /// Stores a value; answers once a quorum has it on disk and it was applied here.
    pub async fn put(&self, key: Bytes, value: Bytes) -> Result<api::PutAnswer, Refusal> {
        self.core.put(key, value).await
    }

    /// Removes a key; answers once a quorum has that on disk and it was applied here.
    pub async fn delete(&self, key: Bytes) -> Result<api::DeleteAnswer, Refusal> {
        self.core.delete(key).await
    }

    /// Reads a key, on any data member.
    pub async fn get(&self, key: &[u8], consistency: Consistency) -> Result<ReadAnswer, Refusal> {
        self.core.get(key, consistency).await
    }

    /// What the facade stands before.
    #[cfg(feature = "simulation")]
    pub(crate) fn core(&self) -> &Core {
        &self.core
    }

    /// What `GET /status` answers.
    pub fn status(&self) -> api::Status {
        self.core.status()
    }

    /// What `GET /raft/config` answers.
    pub fn raft_config(&self) -> api::RaftConfig {
        self.core.raft_config()
    }

    /// Detailed figures of Raft, log and storage.
    pub fn stats(&self) -> serde_json::Value {
        self.core.stats()
    }

    /// Whether it serves: it is in a cluster, knows a leader and has caught up. The text says what is missing.
    pub fn ready(&self) -> Result<(), String> {
        self.core.ready()
    }

    /// Who leads, where that is known and the leader serves.
    pub fn leader(&self) -> Option<Leader> {
        self.core.node().ok().and_then(|node| node.serving_leader())
    }

    /// Where the leader has just fallen silent: waits until it is heard again or another one leads, as long as an election may
    /// take, and no longer than `patience`. A member that belongs to no cluster, or has heard no leader yet, waits for nobody.
    pub async fn wait_for_leader(&self, patience: Duration) {
        if let Ok(node) = self.core.node() {
            node.wait_for_leader(patience).await;
        }
    }

    /// Returns once `leader` is lost: its lease is over, or it has not led for that long.
    pub async fn leader_is_lost(&self, leader: &Leader) {
        if let Ok(node) = self.core.node() {
            node.leader_is_lost(&leader.id).await;
        }
    }

    /// The member called `name` may be found at the Raft address `addr`, where the cluster's membership has it elsewhere and
    /// nobody is there: all members may have moved at once. Not remembered over a restart.
    pub fn hint_address(&self, name: &str, addr: &str) {
        if let Some(node) = self.core.any_node() {
            node.dialer.addresses.hint(name, addr);
        }
    }

    /// Brings a member into the cluster, as a learner and then as a voter. On the leader.
    pub async fn join(&self, request: &api::JoinRequest) -> Result<JoinProgress, Refusal> {
        self.core.join(request).await
    }

    /// Removes the member called `id` from the cluster. On the leader, which hands over before it removes itself.
    pub async fn remove(&self, id: &str) -> Result<(), Refusal> {
        self.core.remove(id).await
    }

    /// Starts a one-member cluster of that id, on a member that never belonged to any.
    pub async fn bootstrap(&self, cluster_id: &str) -> Result<(), Refusal> {
        Core::bootstrap(&self.core, cluster_id).await
    }

    /// Hands leadership to the voter called `id`. On the leader.
    pub async fn transfer_leadership(&self, id: &str) -> Result<(), Refusal> {
        self.core.transfer_leadership(id).await
    }

    /// A consistent backup of everything this member has applied.
    pub async fn backup(&self) -> Result<Backup, Refusal> {
        self.core.backup().await
    }

    /// Whether Raft, the state machine and everything else that a member cannot be without still run. Slow is alive: whoever
    /// waits for a disk, a quorum or a snapshot runs. The text says what has ended.
    pub fn alive(&self) -> Result<(), Fault> {
        self.core.failure.get().map_or(Ok(()), Err)
    }

    /// Resolves when the storage failed, or a task of the member ended: the process must leave.
    pub async fn failed(&self) -> Fault {
        self.core.failure.wait().await
    }

    /// Hands leadership over, finishes what is in flight, syncs and stops.
    pub async fn shutdown(&self) {
        self.core.shutdown().await;
    }

    /// Stops at once, as a crash would: nothing is handed over, finished or made durable.
    pub async fn halt(&self) {
        self.core.halt().await;
    }
}
