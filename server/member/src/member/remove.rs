//! Removing a member.

use std::collections::BTreeSet;
use std::time::Duration;

use conure_client::api::Role;
use openraft::ChangeMembers;
use tokio::time::{Instant, sleep};

use super::core::Core;
use super::node::Node;
use crate::facade::Refusal;
use crate::raft::types::Peer;
use crate::transport::message::{Failure, Request, Response};

const HAND_OVER_PATIENCE: Duration = Duration::from_secs(10);
const FORWARD_PATIENCE: Duration = Duration::from_secs(30);

/// A refusal, as it goes over the port.
pub(crate) fn failure_of(refusal: &Refusal) -> Failure {
    match refusal {
        Refusal::NotLeader(_) | Refusal::NoLeader => Failure::NotLeader,
        Refusal::UnknownMember(id) => Failure::UnknownMember(id.clone()),
        Refusal::Conflict { kind, detail } => {
            Failure::Conflict { kind: (*kind).to_owned(), detail: detail.clone() }
        }
        other => Failure::Other(other.to_string()),
    }
}

/// The counterpart of [`failure_of`].
fn refusal_of(failure: Failure) -> Refusal {
    match failure {
        Failure::NotLeader => Refusal::NoLeader,
        Failure::UnknownMember(id) => Refusal::UnknownMember(id),
        Failure::Conflict { kind, detail } => {
            let known = ["no-quorum", "change-in-progress", "last-member"];
            let kind = known.into_iter().find(|known| *known == kind).unwrap_or("conflict");
            Refusal::Conflict { kind, detail }
        }
        Failure::Stopped(text) | Failure::Other(text) => Refusal::UnknownOutcome(text),
    }
}

impl Core {
    /// `POST /remove`.
    pub(crate) async fn remove(&self, id: &str) -> Result<(), Refusal> {
        let node = self.leading()?;
        let turn = self.turn(&node).await?;
        let called = node.find(id);
        if called.is_empty() {
            return Err(Refusal::UnknownMember(id.to_owned()));
        }
        let gone: BTreeSet<u64> = called.iter().map(|(id, _)| *id).collect();
        // One that leads since a moment ago has not heard of all who live.
        let wait = Instant::now() + node.tuning.election_timeout_max * 2;
        while let Err(refusal) = keeps_quorum(&node, &gone, id) {
            if Instant::now() > wait || !matches!(refusal, Refusal::Conflict { kind: "no-quorum", .. }) {
                return Err(refusal);
            }
            sleep(Duration::from_millis(50)).await;
        }
        if gone.contains(&node.identity.node_id) {
            drop(turn);
            return remove_self(&node, id).await;
        }
        node.change(ChangeMembers::Batch(node.without(&gone))).await?;
        for (target, peer) in called {
            let told = node.farewell(&peer.raft_addr, target).await;
            tracing::info!(member = id, told, "removed a member");
        }
        Ok(())
    }
}

/// Refuses a change after which, or during which, fewer than a quorum would be alive.
fn keeps_quorum(node: &Node, gone: &BTreeSet<u64>, id: &str) -> Result<(), Refusal> {
    let metrics = node.metrics();
    let membership = metrics.membership_config.membership();
    let before: BTreeSet<u64> = membership.voter_ids().collect();
    let after: BTreeSet<u64> = before.iter().copied().filter(|voter| !gone.contains(voter)).collect();
    let data_left =
        after.iter().any(|id| membership.get_node(id).is_some_and(|peer| peer.role == Role::Data));
    if !before.is_disjoint(gone) && !data_left {
        return Err(Refusal::Conflict {
            kind: "last-member",
            detail: format!(
                "member {id:?} is the last data member that votes; join another before you remove it"
            ),
        });
    }
    for voters in [&before, &after] {
        let alive = voters.iter().filter(|id| node.answered_lately(**id)).count();
        if alive <= voters.len() / 2 {
            let names: Vec<&str> = voters
                .iter()
                .filter(|id| !node.answered_lately(**id))
                .filter_map(|id| membership.get_node(id).map(|peer: &Peer| peer.name.as_str()))
                .collect();
            return Err(Refusal::Conflict {
                kind: "no-quorum",
                detail: format!(
                    "removing {id:?} would leave {alive} of {} voters alive, no quorum; start {names:?} again first",
                    voters.len()
                ),
            });
        }
    }
    Ok(())
}

/// The leader hands over, and asks its successor for the rest.
async fn remove_self(node: &Node, id: &str) -> Result<(), Refusal> {
    if !node.hand_over(HAND_OVER_PATIENCE).await {
        return Err(Refusal::Conflict {
            kind: "no-quorum",
            detail: format!(
                "member {id:?} leads and no other could take over in time; see that another data member runs"
            ),
        });
    }
    let known = node.raft.wait(Some(HAND_OVER_PATIENCE));
    let leads = known
        .metrics(|m| m.current_leader.is_some_and(|leader| leader != node.identity.node_id), "successor");
    leads.await.map_err(|_| Refusal::NoLeader)?;
    let (leader, peer) = node.leader().ok_or(Refusal::NoLeader)?;
    let request = Request::Remove { id: id.to_owned() };
    match node.dialer.ask(leader, &peer.raft_addr, &request, FORWARD_PATIENCE).await {
        Ok(Response::Done) => Ok(()),
        Ok(Response::Failed(failure)) => Err(refusal_of(failure)),
        Ok(_) => Err(Refusal::UnknownOutcome("the new leader gave an answer of the wrong kind".into())),
        Err(e) => Err(Refusal::UnknownOutcome(format!("the new leader {:?} did not answer: {e}", peer.name))),
    }
}
