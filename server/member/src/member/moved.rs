//! Addresses are settings: a member that starts at another address has the cluster's membership say so.
//!
//! **Invariant:** the membership's address of a member changes only once the leader found that member at the new one, and no
//! other process of it at the old one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use conure_client::api::{JoinRequest, Role};
use futures::future::join_all;
use openraft::ChangeMembers;
use openraft::async_runtime::WatchReceiver as _;
use tokio::time::{Instant, sleep};

use super::core::Core;
use super::join::{COPIED, admit_process, check, identify, is_ours, place};
use super::node::Node;
use crate::facade::Refusal;
use crate::raft::types::Peer;
use crate::transport::connection::{CallError, Connection};
use crate::transport::message::{Failure, MINOR_INTRODUCES, Purpose, Request, Response};

/// Between two tries at first; each further pause is twice as long.
const PAUSE_MIN: Duration = Duration::from_millis(250);
/// But no longer than that: whoever corrects an address is not to wait.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// How long connecting may take.
const CONNECT_PATIENCE: Duration = Duration::from_secs(3);
/// The leader looks at both addresses and commits a change.
const TELL_PATIENCE: Duration = Duration::from_secs(30);
/// A reason that lasts is said again after so long.
const SAY_AGAIN: Duration = Duration::from_secs(60);

fn same_place(known: &Peer, own: &Peer) -> bool {
    known.raft_addr == own.raft_addr && known.http_addr == own.http_addr
}

/// Why the cluster does not know of an address.
enum Untold {
    /// Another process has the member's directory, or a copy of it.
    Copy(String),
    /// It may be told later.
    Yet(String),
}

impl From<Refusal> for Untold {
    fn from(refusal: Refusal) -> Self {
        Self::Yet(refusal.to_string())
    }
}

/// Keeps the membership's addresses of this member those of its settings, until Raft ends.
pub(super) async fn keep_known(core: Arc<Core>, node: Arc<Node>) {
    let mut server = node.raft.server_metrics();
    let mut pause = PAUSE_MIN;
    let mut said: Option<(String, Instant)> = None;
    let own = core.peer();
    loop {
        let known = node.peers().remove(&node.identity.node_id).filter(|known| !same_place(known, &own));
        let Some(known) = known else {
            (pause, said) = (PAUSE_MIN, None);
            if server.changed().await.is_err() {
                // Whoever watches Raft sees to its end.
                std::future::pending::<()>().await;
            }
            continue;
        };
        match tell(&core, &node, &own).await {
            Ok(()) => tracing::info!(
                raft_addr = own.raft_addr,
                http_addr = own.http_addr,
                raft_addr_before = known.raft_addr,
                http_addr_before = known.http_addr,
                "the cluster knows this member at its present addresses now"
            ),
            // Asking again would take the original's place as soon as that stops.
            Err(Untold::Copy(why)) => {
                tracing::error!(
                    raft_addr = own.raft_addr,
                    known_raft_addr = known.raft_addr,
                    why,
                    "this process does not take the member's place; stop the other one and restart this one if it shall"
                );
                std::future::pending::<()>().await;
            }
            Err(Untold::Yet(why)) => {
                let due = |(before, at): &(String, Instant)| *before != why || at.elapsed() >= SAY_AGAIN;
                if said.as_ref().is_none_or(due) {
                    tracing::warn!(
                        raft_addr = own.raft_addr,
                        http_addr = own.http_addr,
                        known_raft_addr = known.raft_addr,
                        known_http_addr = known.http_addr,
                        why,
                        "the cluster knows this member at other addresses than those of its settings, and could not be told yet"
                    );
                    said = Some((why, Instant::now()));
                }
            }
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Has the membership changed, by this member if it leads, else by whoever does.
async fn tell(core: &Core, node: &Node, own: &Peer) -> Result<(), Untold> {
    if node.leads_now() && node.role == Role::Data {
        looks_right(core, node, own).await.map_err(Untold::Yet)?;
        let _turn = core.turn(node).await?;
        let change = BTreeMap::from([(node.identity.node_id, own.clone())]);
        return Ok(node.change(ChangeMembers::SetNodes(change)).await?);
    }
    let request = Request::Readdress {
        node_id: node.identity.node_id,
        boot: core.boot,
        raft_addr: own.raft_addr.clone(),
    };
    let request = &request;
    let others = node.peers().into_iter().filter(|(id, _)| *id != node.identity.node_id);
    let told = others.map(|(id, peer)| async move {
        let addr = node.dialer.addresses.next(id, &peer.raft_addr);
        (peer.name, ask(node, &addr, request).await)
    });
    // One of them leads, or none does.
    let mut why = "no leader is known".to_owned();
    for (name, answer) in join_all(told).await {
        match answer {
            Ok(Response::Done) => return Ok(()),
            Ok(Response::Failed(Failure::NotLeader)) | Err(_) => {}
            Ok(Response::Failed(Failure::Conflict { kind, detail })) if kind == COPIED => {
                return Err(Untold::Copy(detail));
            }
            Ok(Response::Failed(failure)) => why = format!("leader {name:?}: {failure}"),
            Ok(_) => why = format!("leader {name:?}: {}", CallError::Confused),
        }
    }
    Err(Untold::Yet(why))
}

/// Refuses a new address at which this member does not find itself while it does at the old one: a mistyped setting.
async fn looks_right(core: &Core, node: &Node, own: &Peer) -> Result<(), String> {
    let Some(known) = node.peers().remove(&node.identity.node_id) else { return Ok(()) };
    if known.raft_addr == own.raft_addr {
        return Ok(());
    }
    let finds = async |addr: &str| match node.identify(addr).await {
        Ok((_, Some(process))) if process.boot == core.boot => Ok(()),
        Ok((who, _)) => Err(format!("member {:?} is there", who.name)),
        Err(e) => Err(e.to_string()),
    };
    match finds(&own.raft_addr).await {
        Err(why) if finds(&known.raft_addr).await.is_ok() => Err(format!(
            "this member is not found at {:?} ({why}), and still is at {:?}; correct --raft-advertise-addr",
            own.raft_addr, known.raft_addr
        )),
        _ => Ok(()),
    }
}

/// Asks whoever is at `addr`; an earlier version does not know the request.
async fn ask(node: &Node, addr: &str, request: &Request) -> Result<Response, CallError> {
    let hello = node.dialer.hello(Purpose::Identify, 0);
    let mut connection = Connection::open(addr, &hello, CONNECT_PATIENCE).await?;
    if connection.minor < MINOR_INTRODUCES {
        return Err(CallError::Confused);
    }
    connection.call(request, TELL_PATIENCE).await
}

impl Core {
    /// The process `boot` of the member `id` says that it is dialled at `addr` now. On the leader, which looks who is there.
    pub(super) async fn readdress(&self, id: u64, boot: u64, addr: &str) -> Result<(), Refusal> {
        let node = self.leading()?;
        let (who, process) = identify(&node, addr).await?;
        let asks = who.node_id == id && process.as_ref().is_some_and(|process| process.boot == boot);
        if !asks {
            return Err(Refusal::Invalid(format!(
                "at {addr:?} is member {:?}, and not the one that says so; correct its --raft-advertise-addr",
                who.name
            )));
        }
        let request = JoinRequest { id: who.name.clone(), raft_addr: addr.to_owned() };
        check(&request)?;
        if let Some(process) = &process {
            admit_process(&node, &request, process).await?;
        }
        // Only now: what is not there takes long to look at, and others wait for their turn.
        let _turn = self.turn(&node).await?;
        let known = node.peers().remove(&who.node_id).filter(|known| known.name == who.name);
        let Some(known) = known.filter(|_| is_ours(&node, &who)) else {
            return Err(Refusal::UnknownMember(who.name));
        };
        if only_from_here(&known.raft_addr, addr) {
            return Err(Refusal::Invalid(format!(
                "{addr:?} is an address of this machine alone, and the cluster knows the member at {:?}; give it a \
                 --raft-advertise-addr that the others can dial",
                known.raft_addr
            )));
        }
        let peer = Peer { raft_addr: request.raft_addr, http_addr: who.http_addr, ..known.clone() };
        if peer != known {
            place(&node, who.node_id, &peer).await?;
            tracing::info!(
                member = peer.name,
                raft_addr = peer.raft_addr,
                "a member is at another address now"
            );
        }
        Ok(())
    }
}

/// Whether the new address means something else on each machine, and the known one does not.
fn only_from_here(known: &str, new: &str) -> bool {
    let is_local = |addr: &str| ["127.", "localhost:", "[::1]:"].iter().any(|local| addr.starts_with(local));
    is_local(new) && !is_local(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_one_machine_takes_the_place_of_no_address_for_all() {
        assert!(only_from_here("node1:7001", "127.0.0.1:7001"));
        assert!(only_from_here("10.0.0.1:7001", "localhost:7001"));
        assert!(!only_from_here("127.0.0.1:7001", "127.0.0.1:7002"));
        assert!(!only_from_here("127.0.0.1:7001", "node1:7001"));
    }
}
