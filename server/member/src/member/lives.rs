//! How a member comes into a cluster and leaves it: founding, adoption, release, removal.
//!
//! **Invariant:** data of an earlier life is gone before the identity names the next one.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use conure_client::api::Role;
use conure_io::Disk;
use openraft::error::{ClientWriteError, RaftError};
use tokio::time::{Instant, sleep, timeout};

use super::core::Core;
use super::files::{Files, LOG_DIR};
use super::keeper;
use super::node::{self, Node};
use crate::facade::Refusal;
use crate::failure::Fault;
use crate::identity::{self, Identity, State};
use crate::platform;
use crate::raft::intake;
use crate::raft::store::TREE_FILE;
use crate::raft::types::{Command, Outcome, Peer};
use crate::transport::message::{Failure, Response};

const CLUSTER_ID_LEN_MAX: usize = 128;
/// How long a release may take to be committed by the one member that there is.
const RELEASE_PATIENCE: Duration = Duration::from_secs(10);

/// Between two tries to write the release.
const RETRY: Duration = Duration::from_millis(50);

fn conflict(kind: &'static str, detail: String) -> Refusal {
    Refusal::Conflict { kind, detail }
}

impl Core {
    /// What the membership says of this member.
    pub(crate) fn peer(&self) -> Peer {
        Peer {
            name: self.config.node_id.clone(),
            raft_addr: self.config.raft_advertise_addr.clone(),
            http_addr: self.config.http_advertise_addr.clone(),
            role: self.config.role,
        }
    }

    /// Starts Raft on what the directory holds. One that was adopted is a member from here on: its database and its log are
    /// durable, and nobody has heard of it yet.
    pub(crate) async fn begin_life(self: &Arc<Self>, mut identity: Identity) -> Result<Arc<Node>, Fault> {
        let files = Files::open(&self.dir, &identity, self.peer(), &self.failure).await?;
        if identity.state == State::Adopted {
            identity.state = State::Member;
            self.become_(identity.clone())?;
        }
        let node = node::start(self, identity, files).await.map(Arc::new)?;
        self.set_node(Some(Arc::clone(&node)));
        keeper::spawn(self, &node);
        Ok(node)
    }

    async fn end_life(&self, node: &Node) {
        // No request begins on a life that is ending.
        self.set_node(None);
        node.stop(false).await;
    }

    /// Starts a one-member cluster, or goes on where a crash broke that off.
    pub(crate) async fn found(self: &Arc<Self>, cluster_id: &str) -> Result<(), Fault> {
        let mut identity = self.identity();
        if identity.state != State::Founding {
            identity.state = State::Founding;
            identity.cluster_id = cluster_id.to_owned();
            identity.incarnation = 1;
            identity.role = self.config.role;
            self.become_(identity.clone())?;
        }
        let node = self.begin_life(identity.clone()).await?;
        if !node.raft.is_initialized().await.map_err(|e| e.to_string())? {
            let members = BTreeMap::from([(identity.node_id, self.peer())]);
            node.raft.initialize(members).await.map_err(|e| e.to_string())?;
        }
        identity.state = State::Member;
        self.become_(identity).map_err(Fault::from)
    }

    /// `POST /bootstrap`.
    pub(crate) async fn bootstrap(self: &Arc<Self>, cluster_id: &str) -> Result<(), Refusal> {
        let readable = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
        if cluster_id.is_empty() || cluster_id.len() > CLUSTER_ID_LEN_MAX || !cluster_id.chars().all(readable)
        {
            return Err(Refusal::Invalid(format!(
                "ClusterID {cluster_id:?} cannot be used; give 1 to {CLUSTER_ID_LEN_MAX} letters, digits, '-', '_', '.' or ':'"
            )));
        }
        let _life = self.life.lock().await;
        let identity = self.identity();
        if self.config.role == Role::Arbiter {
            return Err(conflict(
                "not-empty",
                "an arbiter cannot start a cluster; bootstrap a data member".into(),
            ));
        }
        if let Some(expected) = self.config.cluster_id.as_ref().filter(|expected| *expected != cluster_id) {
            return Err(conflict(
                "not-empty",
                format!("this member may only belong to cluster {expected:?}, not to {cluster_id:?}"),
            ));
        }
        if identity.state != State::Fresh {
            return Err(conflict(
                "not-empty",
                format!(
                    "member {:?} is not empty: it belongs or belonged to cluster {:?}; only an empty member can be bootstrapped",
                    identity.name, identity.cluster_id
                ),
            ));
        }
        // Half founded, it serves nobody and refuses whoever asks again: the next start goes on from there.
        self.found(cluster_id).await.map_err(|fault| {
            self.failure.set(fault.clone());
            Refusal::Storage(fault.text)
        })
    }

    /// Another cluster's leader takes this member over.
    pub(crate) async fn adopt(self: &Arc<Self>, cluster_id: &str, incarnation: u64, name: &str) -> Response {
        let _life = self.life.lock().await;
        let mut identity = self.identity();
        let refused =
            |kind: &str, detail: String| Response::Failed(Failure::Conflict { kind: kind.into(), detail });
        if identity.name != name {
            return refused(
                "name-mismatch",
                format!("the member there is called {:?}, not {name:?}", identity.name),
            );
        }
        if self.config.cluster_id.as_ref().is_some_and(|expected| expected != cluster_id) {
            return refused(
                "foreign-cluster",
                format!("member {name:?} may only belong to cluster {:?}", self.config.cluster_id),
            );
        }
        match identity.state {
            State::Member | State::Adopted
                if identity.cluster_id == cluster_id && identity.incarnation == incarnation =>
            {
                return Response::Adopted { node_id: identity.node_id };
            }
            State::Member | State::Adopted | State::Founding => {
                return refused(
                    "foreign-cluster",
                    format!(
                        "member {name:?} belongs to cluster {:?}, not to {cluster_id:?}",
                        identity.cluster_id
                    ),
                );
            }
            State::Fresh => {}
            State::Released | State::Removed => identity.node_id = identity::new_node_id(),
        }
        identity.cluster_id = cluster_id.to_owned();
        identity.incarnation = incarnation;
        identity.state = State::Adopted;
        identity.role = self.config.role;
        let adopted = async {
            self.wipe()?;
            self.become_(identity.clone())?;
            self.begin_life(identity.clone()).await
        };
        match adopted.await {
            Ok(_) => Response::Adopted { node_id: identity.node_id },
            Err(fault) => {
                self.failure.set(fault.clone());
                Response::Failed(Failure::Stopped(fault.text))
            }
        }
    }

    /// Removes what an earlier life left. The identity says that there is no life, so a crash in the midst only
    /// means to do it again.
    fn wipe(&self) -> io::Result<()> {
        let remove = |disk: &dyn Disk, name: &str| match disk.remove(name) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        };
        let disk = platform::directory(&self.dir)?;
        remove(disk.as_ref(), TREE_FILE)?;
        intake::remove_leftovers(disk.as_ref())?;
        disk.sync_dir()?;
        let log = platform::directory(&self.dir.join(LOG_DIR))?;
        for name in log.list()? {
            remove(log.as_ref(), &name)?;
        }
        log.sync_dir()
    }

    /// Lets go of the cluster that this member bootstrapped itself, for the cluster `by`.
    pub(crate) async fn release(self: &Arc<Self>, by: &str) -> Response {
        let refused =
            |detail: String| Response::Failed(Failure::Conflict { kind: "foreign-cluster".into(), detail });
        let Ok(_change) = self.change.try_lock() else {
            return refused(
                "a membership change is under way there, so it cannot let go of its cluster".into(),
            );
        };
        let life = self.life.lock().await;
        if self.identity().state == State::Released {
            return Response::Released;
        }
        let Ok(node) = self.node() else {
            return refused("it is in no cluster that it could let go of".into());
        };
        // A member that only just started has yet to elect itself, or even to show that it is a voter. One that follows another
        // refuses below.
        let own_id = node.identity.node_id;
        let alone = node.metrics().membership_config.membership().voter_ids().all(|id| id == own_id);
        if alone {
            let own = node.raft.wait(Some(RELEASE_PATIENCE));
            let _ = own.current_leader(own_id, "its own leader").await;
        }
        let begun = Instant::now();
        let write = loop {
            let command = Command::Release { by: by.to_owned() };
            match timeout(RELEASE_PATIENCE, node.raft.client_write(command)).await {
                // One that was elected a moment ago, or was not scheduled for long, has yet to confirm that it leads.
                Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_))))
                    if alone && begun.elapsed() < RELEASE_PATIENCE =>
                {
                    sleep(RETRY).await;
                }
                done => break done,
            }
        };
        match write.map(|written| written.map(|response| response.data)) {
            Ok(Ok(Outcome::Released(true) | Outcome::Gone)) => {
                drop(life);
                self.finish_release().await;
                Response::Released
            }
            Ok(Ok(_)) => refused(format!(
                "it belongs to cluster {:?}, which holds data or has other members",
                node.identity.cluster_id
            )),
            Ok(Err(e)) => {
                refused(format!("its own cluster {:?} cannot let it go: {e}", node.identity.cluster_id))
            }
            Err(_) => {
                refused(format!("its own cluster {:?} did not let it go in time", node.identity.cluster_id))
            }
        }
    }

    /// The release is committed: stop, and say so in the identity.
    pub(crate) async fn finish_release(&self) {
        self.leave(State::Released).await;
    }

    /// The removal is committed: stop, and say so in the identity.
    pub(crate) async fn finish_removal(&self) {
        self.leave(State::Removed).await;
    }

    async fn leave(&self, state: State) {
        let _life = self.life.lock().await;
        let mut identity = self.identity();
        if identity.state != State::Member {
            return;
        }
        identity.state = state.clone();
        if self.become_(identity).is_err() {
            return;
        }
        if let Some(node) = self.any_node() {
            self.end_life(&node).await;
        }
        match state {
            // The cluster that asked for it takes it over at once.
            State::Released => tracing::info!("{}", self.why_not_in_cluster()),
            _ => tracing::warn!("{}", self.why_not_in_cluster()),
        }
    }
}
