//! What only a leader does, and where others send those who ask for it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use conure_client::api::Role;
use openraft::async_runtime::WatchReceiver as _;
use openraft::error::{ClientWriteError, RaftError};
use openraft::raft::ClientWriteResponse;
use openraft::{ChangeMembers, Instant as _};
use tokio::sync::MutexGuard;
use tokio::time::timeout;

use super::core::Core;
use super::node::Node;
use crate::facade::Refusal;
use crate::raft::types::{Peer, TypeConfig};

/// How long a request waits for a membership change of someone else's to end.
const TURN_PATIENCE: Duration = Duration::from_secs(5);
/// How long a membership change may take to be committed.
const CHANGE_PATIENCE: Duration = Duration::from_secs(15);

pub(crate) type WriteError = RaftError<TypeConfig, ClientWriteError<TypeConfig>>;

fn in_progress() -> Refusal {
    Refusal::Conflict {
        kind: "change-in-progress",
        detail: "another membership change is under way; repeat this one when it has ended".into(),
    }
}

impl Core {
    /// The present life, if this member leads in it.
    pub(crate) fn leading(&self) -> Result<Arc<Node>, Refusal> {
        let node = self.node()?;
        if node.leads_now() && node.role == Role::Data {
            return Ok(node);
        }
        Err(node
            .serving_leader()
            .filter(|leader| leader.id != self.config.node_id)
            .map_or(Refusal::NoLeader, Refusal::NotLeader))
    }

    /// The right to change the membership of the cluster that `node` leads, once every earlier change has ended and is applied
    /// here: whom one of them let go of is known as removed from then on, and not before.
    pub(crate) async fn turn(&self, node: &Node) -> Result<MutexGuard<'_, ()>, Refusal> {
        let turn = timeout(TURN_PATIENCE, self.change.lock()).await.map_err(|_| in_progress())?;
        timeout(CHANGE_PATIENCE, node.end_earlier_change()).await.map_err(|_| in_progress())??;
        Ok(turn)
    }

    /// `POST /transfer-leadership`.
    pub(crate) async fn transfer_leadership(&self, id: &str) -> Result<(), Refusal> {
        let node = self.leading()?;
        let called = node.find(id);
        if called.is_empty() {
            return Err(Refusal::UnknownMember(id.to_owned()));
        }
        let data = called.iter().filter(|(_, peer)| peer.role == Role::Data).map(|(id, _)| *id);
        let Some(target) = node.voters_of(data).first().copied() else {
            return Err(Refusal::Conflict {
                kind: "cannot-lead",
                detail: format!("member {id:?} cannot lead: only data members that are voters can"),
            });
        };
        if target == node.identity.node_id {
            return Ok(());
        }
        let told = node.raft.trigger().transfer_leader(target).await;
        told.map_err(|e| Refusal::UnknownOutcome(e.to_string()))?;
        let wait = node.raft.wait(Some(CHANGE_PATIENCE));
        let done = wait
            .metrics(|m| m.current_leader.is_some_and(|leader| leader != node.identity.node_id), "hand over");
        match done.await.map(|metrics| metrics.current_leader) {
            Ok(leader) if leader == Some(target) => Ok(()),
            Ok(_) => Err(Refusal::UnknownOutcome(format!("another member than {id:?} took over"))),
            Err(_) => Err(Refusal::UnknownOutcome(format!("{id:?} did not take over in time"))),
        }
    }
}

impl Node {
    /// The member called `name`. While a wiped volume rejoins there are two: the old one goes when the new one votes.
    pub(crate) fn find(&self, name: &str) -> Vec<(u64, Peer)> {
        self.peers().into_iter().filter(|(_, peer)| peer.name == name).collect()
    }

    /// What the member `id` is called, to whoever reads of it.
    pub(crate) fn name(&self, id: u64) -> String {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let peer = metrics.membership_config.membership().get_node(&id);
        peer.map_or_else(|| id.to_string(), |peer| peer.name.clone())
    }

    /// Who of these votes.
    pub(crate) fn voters_of(&self, ids: impl IntoIterator<Item = u64>) -> BTreeSet<u64> {
        let metrics = self.raft.metrics();
        let voters: BTreeSet<u64> =
            metrics.borrow_watched().membership_config.membership().voter_ids().collect();
        ids.into_iter().filter(|id| voters.contains(id)).collect()
    }

    /// The change that lets all of `ids` go.
    pub(crate) fn without(&self, ids: &BTreeSet<u64>) -> Vec<ChangeMembers<u64, Peer>> {
        let voters = self.voters_of(ids.iter().copied());
        let learners: BTreeSet<u64> = ids.difference(&voters).copied().collect();
        let mut changes = Vec::new();
        if !voters.is_empty() {
            changes.push(ChangeMembers::RemoveVoters(voters));
        }
        if !learners.is_empty() {
            changes.push(ChangeMembers::RemoveNodes(learners));
        }
        changes
    }

    /// Whether `id` answered this leader lately.
    pub(crate) fn answered_lately(&self, id: u64) -> bool {
        let lately = self.tuning.election_timeout_max * 2;
        id == self.identity.node_id || self.answered_ago(id).is_some_and(|ago| ago <= lately)
    }

    /// How long ago `id` last answered this leader.
    pub(crate) fn answered_ago(&self, id: u64) -> Option<Duration> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        metrics.heartbeat.as_ref()?.get(&id).copied().flatten().map(|at| at.elapsed())
    }

    /// Whether a change of the membership is half done.
    pub(crate) fn is_joint(&self) -> bool {
        self.raft.metrics().borrow_watched().membership_config.membership().get_joint_config().len() > 1
    }

    /// Ends a change that a lost leader began, and waits until the last one is applied here. Whoever calls it sets a bound.
    pub(crate) async fn end_earlier_change(&self) -> Result<(), Refusal> {
        loop {
            let last = self.metrics().membership_config;
            if self.store.applied().membership.log_id() < last.log_id() {
                let applied = self.raft.wait(None);
                let applied =
                    applied.metrics(|m| m.last_applied >= *last.log_id(), "the last change is applied");
                applied.await.map_err(|_| in_progress())?;
            } else if self.is_joint() {
                self.change(ChangeMembers::AddVoterIds(BTreeSet::new())).await?;
            } else {
                return Ok(());
            }
        }
    }

    /// Makes one membership change, joint where it must be, and waits until it is committed.
    pub(crate) async fn change(&self, change: ChangeMembers<u64, Peer>) -> Result<(), Refusal> {
        let changed = timeout(CHANGE_PATIENCE, self.raft.change_membership(change, false)).await;
        self.refused(changed).map(drop)
    }

    /// What went wrong with a write, as users hear it.
    pub(crate) fn refused(
        &self,
        written: Result<Result<ClientWriteResponse<TypeConfig>, WriteError>, tokio::time::error::Elapsed>,
    ) -> Result<ClientWriteResponse<TypeConfig>, Refusal> {
        match written {
            Err(_) => Err(Refusal::UnknownOutcome("no quorum confirmed it in time".into())),
            Ok(Ok(response)) => Ok(response),
            Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_)))) => {
                let leader = self.serving_leader().filter(|leader| leader.id != self.identity.name);
                Err(leader.map_or(Refusal::NoLeader, Refusal::NotLeader))
            }
            Ok(Err(RaftError::APIError(ClientWriteError::LogEntryDiscarded(_)))) => {
                Err(Refusal::UnknownOutcome("the leader changed meanwhile".into()))
            }
            Ok(Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(e)))) => {
                Err(Refusal::Conflict { kind: "change-in-progress", detail: e.to_string() })
            }
            Ok(Err(RaftError::APIError(e))) => {
                Err(Refusal::Conflict { kind: "change-in-progress", detail: e.to_string() })
            }
            Ok(Err(RaftError::Fatal(e))) => Err(Refusal::UnknownOutcome(e.to_string())),
        }
    }
}
