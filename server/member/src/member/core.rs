//! What a member is apart from any cluster: its data directory, its identity, its port.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use conure_io::File;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::node::Node;
use super::room::Room;
use crate::facade::{MemberConfig, Refusal};
use crate::failure::{Failure, Fault};
use crate::identity::{Identity, State};
use crate::platform;
use crate::transport::server;

/// How long a stopping member waits for another to take over, and for its requests to end.
const STOP_PATIENCE: Duration = Duration::from_secs(5);
/// How long Raft's end and the last checkpoint may take. Without it only the next start takes longer: the log has it all.
const CLOSE_PATIENCE: Duration = Duration::from_secs(8);
/// How long the port and what runs by itself may take to end.
const END_PATIENCE: Duration = Duration::from_secs(2);
/// The longest that stopping takes: a hand-over, the requests in flight, the life, the rest.
pub(crate) const STOP_MAX: Duration =
    STOP_PATIENCE.saturating_mul(2).saturating_add(CLOSE_PATIENCE).saturating_add(END_PATIENCE);

/// What clients did here.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) reads_linearizable: AtomicU64,
    pub(crate) reads_stale: AtomicU64,
    pub(crate) read_rounds: AtomicU64,
    pub(crate) writes: AtomicU64,
    pub(crate) writes_unknown: AtomicU64,
    pub(crate) busy: AtomicU64,
    pub(crate) disk_full: AtomicU64,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) config: MemberConfig,
    pub(crate) dir: PathBuf,
    /// Tells this process from every other one, also from one that uses a copy of the directory.
    pub(crate) boot: u64,
    /// Keeps a second process away as long as it is open: until the member has stopped.
    pub(crate) lock: std::sync::Mutex<Option<Arc<dyn File>>>,
    /// The lock, to see whether the directory is still this one.
    pub(crate) held: platform::Held,
    pub(crate) identity: RwLock<Identity>,
    /// The present life in a cluster, if there is one.
    pub(crate) node: RwLock<Option<Arc<Node>>>,
    /// Held while the identity changes.
    pub(crate) life: Mutex<()>,
    /// Held while this member changes its cluster's membership: one change at a time.
    pub(crate) change: Mutex<()>,
    pub(crate) failure: Failure,
    pub(crate) counters: Counters,
    pub(crate) port: Arc<server::Counters>,
    pub(crate) stopping: AtomicBool,
    /// Cancelled when the port and everything behind it shall end.
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
    /// Held by every change that Raft has in hand.
    pub(crate) write_slots: Arc<Semaphore>,
    pub(crate) write_bytes: Arc<Semaphore>,
    pub(crate) room: Arc<Room>,
}

impl Core {
    /// The identity as it is now.
    pub(crate) fn identity(&self) -> Identity {
        self.identity.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes `identity` the directory's, durably.
    pub(crate) fn become_(&self, identity: Identity) -> std::io::Result<()> {
        identity.store(&self.dir).inspect_err(|e| self.failure.set(Fault::of("the identity file", e)))?;
        tracing::info!(
            member = %identity.name, node_id = identity.node_id, cluster_id = %identity.cluster_id,
            state = ?identity.state, "this data directory's identity changed"
        );
        *self.identity.write().unwrap_or_else(PoisonError::into_inner) = identity;
        Ok(())
    }

    /// The present life, or why there is none.
    pub(crate) fn node(&self) -> Result<Arc<Node>, Refusal> {
        if self.stopping.load(Ordering::Relaxed) {
            return Err(Refusal::Stopping);
        }
        if let Some(fault) = self.failure.get() {
            return Err(Refusal::Storage(fault.text));
        }
        let node = self.node.read().unwrap_or_else(PoisonError::into_inner).clone();
        node.ok_or_else(|| Refusal::NotInCluster(self.why_not_in_cluster()))
    }

    /// The present life, whatever else is going on.
    pub(crate) fn any_node(&self) -> Option<Arc<Node>> {
        self.node.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_node(&self, node: Option<Arc<Node>>) {
        *self.node.write().unwrap_or_else(PoisonError::into_inner) = node;
    }

    /// Fails where the data directory was removed or replaced: the files that are open would be written to and read, and be gone
    /// with the process.
    pub(crate) fn check_directory(&self) {
        if self.held.is_gone() && !self.failure.is_set() {
            self.failure.set(Fault::from(format!(
                "data_dir {:?}, or the file \"lock\" in it, was removed or replaced while this member ran, and what it writes could be \
                 lost; where the directory is there with its data, start the member again, else remove it and join it again with \
                 an empty one",
                self.dir.display().to_string()
            )));
        }
    }

    /// One line that says why this member belongs to no cluster.
    pub(crate) fn why_not_in_cluster(&self) -> String {
        let identity = self.identity();
        let name = &identity.name;
        match identity.state {
            State::Fresh | State::Founding | State::Adopted | State::Member => format!(
                "member {name:?} belongs to no cluster yet; let a leader join it (POST /join), or bootstrap it"
            ),
            State::Released => format!(
                "member {name:?} let go of its own cluster to follow another and was not taken over yet; repeat \
                 the join on that cluster's leader"
            ),
            State::Removed => format!(
                "member {name:?} was removed from cluster {:?}, or left behind when that was recovered; to use it again, join it (POST /join on a member of \
                 the cluster): it comes back as a new member",
                identity.cluster_id
            ),
        }
    }

    /// Hands over, finishes, syncs, stops.
    pub(crate) async fn shutdown(&self) {
        if self.stopping.swap(true, Ordering::Relaxed) {
            self.stop.cancelled().await;
            return;
        }
        if let Some(node) = self.any_node() {
            node.hand_over(STOP_PATIENCE).await;
            let slots = u32::try_from(self.config.tuning.writes_in_flight_max).unwrap_or(u32::MAX);
            // What is still in flight after that has an unknown outcome, and its client is told so.
            let _ = timeout(STOP_PATIENCE, self.write_slots.acquire_many(slots)).await;
            if timeout(CLOSE_PATIENCE, node.stop(true)).await.is_err() {
                tracing::warn!(
                    "the database was not closed in time, its disk may be slow; the next start applies more of the log"
                );
            }
        }
        self.end().await;
    }

    /// Stops as a crash would.
    pub(crate) async fn halt(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.stop.cancel();
        if let Some(node) = self.any_node() {
            node.stop(false).await;
        }
        self.end().await;
    }

    async fn end(&self) {
        self.stop.cancel();
        self.tasks.close();
        if timeout(END_PATIENCE, self.tasks.wait()).await.is_err() {
            tracing::warn!("some of the member's work did not end in time; its disk may be slow");
        }
        // Only now is the directory free for another process.
        self.set_node(None);
        self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
