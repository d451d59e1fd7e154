//! Bringing a member into the cluster: a learner first, a voter when it has caught up.

use std::collections::{BTreeMap, BTreeSet};

use conure_client::Addr;
use conure_client::api::{JoinAnswer, JoinRequest, Suffrage};
use openraft::ChangeMembers;
use openraft::async_runtime::WatchReceiver as _;
use tokio::time::{Instant, timeout_at};

use super::core::Core;
use super::node::Node;
use crate::facade::{JoinProgress, Refusal};
use crate::identity::State;
use crate::raft::types::Peer;
use crate::transport::connection::CallError;
use crate::transport::message::{Failure, Identified, Introduced, Request, Response};

/// A learner that lags by no more entries has caught up: the rest comes while it is promoted.
const LAG_MAX: u64 = 64;
const NAME_LEN_MAX: usize = 253;
/// Another process has the directory of the member that is to join, or a copy of it.
pub(super) const COPIED: &str = "copied-directory";

fn conflict(kind: &'static str, detail: String) -> Refusal {
    Refusal::Conflict { kind, detail }
}

impl Core {
    /// `POST /join`.
    pub(crate) async fn join(&self, request: &JoinRequest) -> Result<JoinProgress, Refusal> {
        check(request)?;
        let node = self.leading()?;
        let _turn = self.turn(&node).await?;
        let (who, process) = identify(&node, &request.raft_addr).await?;
        if who.name != request.id {
            return Err(conflict(
                "name-mismatch",
                format!(
                    "the member at {:?} is called {:?}, not {:?}",
                    request.raft_addr, who.name, request.id
                ),
            ));
        }
        if let Some(process) = &process {
            admit_process(&node, request, process).await?;
        }
        let owners = node.find(&request.id);
        for (id, peer) in owners.iter().filter(|(id, _)| *id != who.node_id) {
            if lives(&node, *id, peer).await {
                return Err(conflict(
                    "name-taken",
                    format!(
                        "the name {:?} belongs to the living member at {:?}; remove that one first, or join under another name",
                        request.id, peer.raft_addr
                    ),
                ));
            }
        }
        let node_id = take_over(&node, request, who.clone(), process.as_ref()).await?;
        let peer = Peer {
            name: request.id.clone(),
            raft_addr: request.raft_addr.clone(),
            http_addr: who.http_addr,
            role: who.role,
        };
        place(&node, node_id, &peer).await?;
        let old = owners.into_iter().map(|(id, _)| id).filter(|id| *id != node_id).collect();
        let progress = promote(&node, node_id, request, &old).await?;
        if matches!(progress, JoinProgress::Voter(_)) {
            node.dialer.transfers.caught_up(node_id);
        }
        Ok(progress)
    }
}

pub(super) fn check(request: &JoinRequest) -> Result<(), Refusal> {
    if request.id.is_empty() || request.id.len() > NAME_LEN_MAX {
        return Err(Refusal::Invalid(format!(
            "ID has {} bytes; give the member's name, 1 to {NAME_LEN_MAX} bytes",
            request.id.len()
        )));
    }
    let reason = match Addr::parse(&request.raft_addr) {
        Ok(addr) if !addr.is_unspecified() => return Ok(()),
        Ok(_) => "it means every interface, and others cannot dial that".to_owned(),
        Err(reason) => reason,
    };
    let addr = &request.raft_addr;
    Err(Refusal::Invalid(format!("RaftAddr {addr:?}: {reason}; give HOST:PORT of the member's Raft port")))
}

pub(super) async fn identify(node: &Node, addr: &str) -> Result<(Identified, Option<Introduced>), Refusal> {
    node.identify(addr)
        .await
        .map_err(|e| Refusal::Unreachable { addr: addr.to_owned(), reason: e.to_string() })
}

/// Whether the member that the cluster knows as `id` is alive: at its address, or it answered lately.
async fn lives(node: &Node, id: u64, peer: &Peer) -> bool {
    match node.identify(&peer.raft_addr).await {
        Ok((who, _)) => who.node_id == id,
        Err(_) => node.answered_lately(id),
    }
}

/// Refuses a process that has a member's directory and is not that member any more, or whose data comes from another recovery.
pub(super) async fn admit_process(
    node: &Node,
    request: &JoinRequest,
    process: &Introduced,
) -> Result<(), Refusal> {
    let (who, addr) = (&process.who, &request.raft_addr);
    if who.cluster_id == node.identity.cluster_id
        && let Some(incarnation) = process.forks.parting_from(&node.store.applied().forks)
    {
        return Err(conflict(
            "foreign-cluster",
            format!(
                "member {:?} at {addr:?} holds data of cluster {:?} as it was recovered or restored apart from this one, since \
                 incarnation {incarnation}; its data is kept: empty its data directory before you join it",
                request.id, who.cluster_id
            ),
        ));
    }
    let Some(known) = node.peers().remove(&who.node_id) else { return Ok(()) };
    if known.raft_addr != *addr
        && let Some(detail) = node.finds_twin(process, &known, addr).await
    {
        return Err(conflict(COPIED, detail));
    }
    // Asked before the member was: what it acknowledged then it must hold still.
    let acknowledged = node.dialer.acknowledgements.of(who.node_id);
    let position = identify(node, addr).await?.1.and_then(|process| process.position);
    match acknowledged.zip(position) {
        Some((acknowledged, position)) if acknowledged.is_lost_at(&position) => Err(conflict(
            "lost-entries",
            format!(
                "member {:?} at {addr:?} had acknowledged the log up to entry {}, and its log does not hold it any more: its data \
                 directory was replaced by an older copy; remove the member, empty its data directory and join it again",
                request.id, acknowledged.index
            ),
        )),
        _ => Ok(()),
    }
}

/// Whether it takes itself for a member of this cluster. Whoever founds a cluster may have given it the same id.
fn claims(node: &Node, who: &Identified) -> bool {
    let own = &node.identity;
    who.state == State::Member && who.cluster_id == own.cluster_id && who.incarnation == own.incarnation
}

/// Whether it is a member of this cluster, and was not removed.
pub(super) fn is_ours(node: &Node, who: &Identified) -> bool {
    claims(node, who) && node.peers().contains_key(&who.node_id) && !was_removed(node, who.node_id)
}

fn was_removed(node: &Node, id: u64) -> bool {
    node.store.applied().removed.contains(&id)
}

/// Whether it was taken over by a leader of this cluster, and the change that makes it a member was not committed: it has no
/// log yet, or follows a member of this cluster.
fn was_adopted(node: &Node, who: &Identified, process: Option<&Introduced>) -> bool {
    let Some(process) = process else { return who.revision == 0 };
    match process.position.and_then(|position| position.vote) {
        None => true,
        Some(vote) => {
            let leader = vote.leader_id.node_id;
            node.peers().contains_key(&leader) || was_removed(node, leader)
        }
    }
}

/// Makes the node at the other end one of this cluster's, and gives its node id.
async fn take_over(
    node: &Node,
    request: &JoinRequest,
    mut who: Identified,
    process: Option<&Introduced>,
) -> Result<u64, Refusal> {
    let addr = &request.raft_addr;
    let (cluster_id, incarnation) = (&node.identity.cluster_id, node.identity.incarnation);
    let removed = claims(node, &who) && was_removed(node, who.node_id);
    let left_behind =
        who.state == State::Member && who.cluster_id == *cluster_id && who.incarnation < incarnation;
    if claims(node, &who) && !removed && (is_ours(node, &who) || was_adopted(node, &who, process)) {
        return Ok(who.node_id);
    }
    if removed || left_behind {
        // It was removed, or left behind by a recovery, and did not hear of it yet: it hears so now, and comes back as
        // a new member.
        node.farewell(addr, who.node_id).await;
        who = settled(node, addr, who.node_id).await?;
    } else if matches!(who.state, State::Member | State::Founding) {
        release(node, request, &who).await?;
    }
    let adopt = Request::Adopt { cluster_id: cluster_id.clone(), incarnation, name: request.id.clone() };
    match node.invite(addr, who.node_id, &adopt).await {
        Ok(Response::Adopted { node_id }) => Ok(node_id),
        Ok(Response::Failed(Failure::Conflict { detail, .. })) => Err(conflict("foreign-cluster", detail)),
        Ok(Response::Failed(failure)) => Err(unreachable(addr, &CallError::Failed(failure))),
        Ok(_) => Err(unreachable(addr, &CallError::Confused)),
        Err(e) => Err(unreachable(addr, &e)),
    }
}

/// Has the only member of another cluster leave it, where it holds nothing.
async fn release(node: &Node, request: &JoinRequest, who: &Identified) -> Result<(), Refusal> {
    let addr = &request.raft_addr;
    let (cluster_id, incarnation) = (&node.identity.cluster_id, node.identity.incarnation);
    let foreign = |detail: String| {
        let which = if claims(node, who) { "another cluster of the same id," } else { "cluster" };
        conflict(
            "foreign-cluster",
            format!(
                "member {:?} at {addr:?} belongs to {which} {:?} (incarnation {}), not to this cluster {cluster_id:?} \
                 (incarnation {incarnation}): {detail}; its data is kept",
                request.id, who.cluster_id, who.incarnation
            ),
        )
    };
    // A later incarnation of this cluster is where the others went on.
    if who.revision > 0 || (who.cluster_id == *cluster_id && who.incarnation != incarnation) {
        return Err(foreign("it holds data of its own; empty its data directory before you join it".into()));
    }
    let asked = Request::Release { by: cluster_id.clone() };
    match node.invite(addr, who.node_id, &asked).await {
        Ok(Response::Released) => Ok(()),
        Ok(Response::Failed(Failure::Conflict { detail, .. })) => Err(foreign(detail)),
        Ok(Response::Failed(failure)) => Err(unreachable(addr, &CallError::Failed(failure))),
        Ok(_) => Err(unreachable(addr, &CallError::Confused)),
        Err(e) => Err(unreachable(addr, &e)),
    }
}

fn unreachable(addr: &str, error: &CallError) -> Refusal {
    Refusal::Unreachable { addr: addr.to_owned(), reason: error.to_string() }
}

/// Waits until a member that was told of its removal has left its old life.
async fn settled(node: &Node, addr: &str, old: u64) -> Result<Identified, Refusal> {
    let deadline = Instant::now() + std::time::Duration::from_secs(5);
    loop {
        let (who, _) = identify(node, addr).await?;
        if who.node_id != old || who.state == State::Removed {
            return Ok(who);
        }
        if Instant::now() > deadline {
            return Err(Refusal::Unreachable {
                addr: addr.to_owned(),
                reason: "it was removed or left behind and has not stopped yet; repeat the join".into(),
            });
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// Makes it a learner, or updates what is known of it.
pub(super) async fn place(node: &Node, id: u64, peer: &Peer) -> Result<(), Refusal> {
    match node.peers().get(&id) {
        Some(known) if known == peer => Ok(()),
        Some(_) => node.change(ChangeMembers::SetNodes(BTreeMap::from([(id, peer.clone())]))).await,
        None => node.change(ChangeMembers::AddNodes(BTreeMap::from([(id, peer.clone())]))).await,
    }
}

/// Waits until it has caught up and makes it a voter, in the place of `old` where there are any.
pub(super) async fn promote(
    node: &Node,
    id: u64,
    request: &JoinRequest,
    old: &BTreeSet<u64>,
) -> Result<JoinProgress, Refusal> {
    let deadline = Instant::now() + node.tuning.join_patience;
    let mut metrics = node.raft.metrics();
    loop {
        let (voter, last, matched) = {
            let now = metrics.borrow_and_update();
            if now.current_leader != Some(node.identity.node_id) {
                return Err(node.serving_leader().map_or(Refusal::NoLeader, Refusal::NotLeader));
            }
            let held = now.replication.as_ref().and_then(|all| all.get(&id).copied().flatten());
            let last = now.last_log_index.unwrap_or(0);
            let matched =
                if id == node.identity.node_id { last } else { held.map_or(0, |log_id| log_id.index()) };
            let voter = now.membership_config.membership().voter_ids().any(|voter| voter == id);
            (voter, last, matched)
        };
        let suffrage = if voter { Suffrage::Voter } else { Suffrage::Learner };
        let answer =
            JoinAnswer { id: request.id.clone(), suffrage, matched_index: matched, last_index: last };
        if voter && old.is_empty() {
            return Ok(JoinProgress::Voter(answer));
        }
        if matched + LAG_MAX >= last && matched > 0 {
            node.change(swap(node, id, old)).await?;
            return Ok(JoinProgress::Voter(JoinAnswer { suffrage: Suffrage::Voter, ..answer }));
        }
        match timeout_at(deadline, metrics.changed()).await {
            Ok(Ok(())) => {}
            // Raft has ended: this member stops.
            Ok(Err(_)) => return Err(Refusal::NoLeader),
            Err(_) => return Ok(JoinProgress::CatchingUp(answer)),
        }
    }
}

/// The change that lets `id` vote and, in the same step, `old` go.
fn swap(node: &Node, id: u64, old: &BTreeSet<u64>) -> ChangeMembers<u64, Peer> {
    let mut changes = vec![ChangeMembers::AddVoterIds(BTreeSet::from([id]))];
    changes.extend(node.without(old));
    ChangeMembers::Batch(changes)
}
