//! What other members ask on the Raft port.

use std::sync::Arc;
use std::time::Duration;

use conure_client::api::Role;
use openraft::raft::{AppendEntriesResponse, SnapshotResponse};
use openraft::storage::Snapshot;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::core::{Core, Counters};
use super::node::Node;
use super::remove::failure_of;
use crate::failure::Fault;
use crate::identity::State;
use crate::planted::Planted;
use crate::raft::plausible;
use crate::raft::types::{LogId, SnapshotMeta, Vote};
use crate::transport::acknowledged::Acknowledged;
use crate::transport::frame::{FRAME_MAX, HELLO_MAX};
use crate::transport::incoming::Incoming;
use crate::transport::message::{
    Failure, Hello, Identified, Introduced, Purpose, RefusedHello, Request, Response,
};
use crate::transport::server::Host;

/// How long a snapshot waits until the one before it is given up or installed.
const TURN_PATIENCE: Duration = Duration::from_secs(1);
/// How often it looks.
const LOOK_FOR_TURN: Duration = Duration::from_millis(50);

/// What one connection may do.
pub(crate) enum Session {
    Identify,
    Invite,
    Cluster(Arc<Node>),
}

fn other(error: impl std::fmt::Display) -> Response {
    Response::Failed(Failure::Other(error.to_string()))
}

fn stopped(error: impl std::fmt::Display) -> Response {
    Response::Failed(Failure::Stopped(error.to_string()))
}

impl Core {
    fn identified(&self) -> Identified {
        let identity = self.identity();
        let peer = self.peer();
        Identified {
            name: peer.name,
            node_id: identity.node_id,
            // To others it is a member from its adoption on.
            state: if identity.state == State::Adopted { State::Member } else { identity.state },
            cluster_id: identity.cluster_id,
            incarnation: identity.incarnation,
            role: peer.role,
            raft_addr: peer.raft_addr,
            http_addr: peer.http_addr,
            revision: self.any_node().map_or(0, |node| node.store.applied().revision),
        }
    }

    fn introduced(&self) -> Introduced {
        let node = self.any_node();
        Introduced {
            who: self.identified(),
            boot: self.boot,
            forks: node.as_ref().map(|node| node.store.applied().forks.clone()).unwrap_or_default(),
            position: node.and_then(|node| node.log.position().ok()),
        }
    }

    async fn greet_member(&self, hello: &Hello) -> Result<Session, RefusedHello> {
        let identity = self.identity();
        let other_incarnation =
            hello.cluster_id == identity.cluster_id && hello.incarnation != identity.incarnation;
        // First: one that a recovery left behind is told so, although whom it takes this member for has a new node id.
        if hello.target != identity.node_id && !other_incarnation {
            return Err(RefusedHello::Target(identity.node_id));
        }
        let parted = hello
            .introduction
            .as_ref()
            .zip(self.any_node())
            .and_then(|(theirs, node)| theirs.forks.parting_from(&node.store.applied().forks));
        if hello.cluster_id == identity.cluster_id
            && let Some(incarnation) = parted
        {
            return Err(RefusedHello::Fork(incarnation));
        }
        if hello.cluster_id != identity.cluster_id || other_incarnation {
            if other_incarnation
                && hello.target == identity.node_id
                && let Some(node) = self.any_node()
            {
                node.dialer.heed_incarnation(hello.incarnation);
            }
            return Err(RefusedHello::Cluster(identity.cluster_id, identity.incarnation));
        }
        if matches!(identity.state, State::Removed | State::Released) || self.failure.is_set() {
            return Err(RefusedHello::NotServing);
        }
        let node = self.any_node().ok_or(RefusedHello::NotServing)?;
        if node.store.applied().removed.contains(&hello.sender) {
            return Err(RefusedHello::Removed);
        }
        if let Some(process) = &hello.introduction {
            node.admit(hello.sender, process).await?;
            if !node.dialer.holds(process.acknowledged.as_ref()) {
                return Err(RefusedHello::LostEntries);
            }
        }
        Ok(Session::Cluster(node))
    }
}

impl Host for HostCore {
    type Session = Session;

    fn connections_max(&self) -> usize {
        self.0.config.tuning.raft_connections_max
    }

    async fn greet(&self, hello: &Hello) -> Result<Session, RefusedHello> {
        match hello.purpose {
            Purpose::Identify => Ok(Session::Identify),
            Purpose::Invite if hello.target == self.0.identity().node_id => Ok(Session::Invite),
            Purpose::Invite => Err(RefusedHello::Target(self.0.identity().node_id)),
            Purpose::Cluster => self.0.greet_member(hello).await,
        }
    }

    fn process(&self, session: &Session, id: u64) -> (u64, Option<Acknowledged>) {
        let acknowledged = match session {
            Session::Cluster(node) => node.dialer.acknowledgements.of(id),
            Session::Identify | Session::Invite => None,
        };
        (self.0.boot, acknowledged)
    }

    fn end(&self, session: &Session) -> CancellationToken {
        match session {
            Session::Cluster(node) => node.stop.clone(),
            Session::Identify | Session::Invite => self.0.stop.clone(),
        }
    }

    fn frame_max(&self, session: &Session) -> usize {
        match session {
            Session::Cluster(_) => FRAME_MAX,
            // Anybody may say that much: what is asked for then is short.
            Session::Identify | Session::Invite => HELLO_MAX,
        }
    }

    async fn answer(&self, session: &Session, request: Request) -> Response {
        match (session, request) {
            (_, Request::Identify) => Response::Identified(self.0.identified()),
            (_, Request::Introduce) => Response::Introduced(Box::new(self.0.introduced())),
            (_, Request::Readdress { node_id, boot, raft_addr }) => {
                match self.0.readdress(node_id, boot, &raft_addr).await {
                    Ok(()) => Response::Done,
                    Err(refusal) => Response::Failed(failure_of(&refusal)),
                }
            }
            (Session::Invite, Request::Release { by }) => self.0.release(&by).await,
            (Session::Invite, Request::Adopt { cluster_id, incarnation, name }) => {
                self.0.adopt(&cluster_id, incarnation, &name).await
            }
            (Session::Cluster(node), request) => self.answer_member(node, request).await,
            _ => other("this connection was not opened for that"),
        }
    }

    async fn begin_snapshot(
        &self,
        session: &Session,
        vote: Vote,
        meta: SnapshotMeta,
        with_data: bool,
        id: Option<u64>,
    ) -> Result<Incoming, Box<Response>> {
        let Session::Cluster(node) = session else {
            return Err(Box::new(other("this connection was not opened for that")));
        };
        if with_data != (node.role == Role::Data) {
            let why = "data members take snapshots with data, arbiters without";
            return Err(Box::new(self.refused_snapshot(why)));
        }
        let known = node.metrics().vote;
        if known > vote {
            return Err(Box::new(Response::Snapshot(SnapshotResponse::new(known))));
        }
        let own = node.identity.node_id;
        let agreed = agreed(node);
        if let Err(why) = plausible::announced(own, &vote, &meta, agreed.as_ref()) {
            return Err(Box::new(self.refused_snapshot(&why)));
        }
        let upto = meta.last_log_id.as_ref().map_or(0, |last| last.index());
        if !plausible::is_news(&meta, agreed.as_ref()) {
            tracing::info!(upto, "a snapshot has nothing that is not here");
            return Err(Box::new(Response::Snapshot(SnapshotResponse::new(known))));
        }
        let superseded = node.parked.supersede();
        let begun = Instant::now();
        while begun.elapsed() < TURN_PATIENCE {
            // The one before may only now be parked: it keeps its turn until it is taken.
            if let Some(mut parked) = node.parked.take(id, &meta) {
                tracing::info!(bytes = parked.received(), "a snapshot goes on where it broke off");
                (parked.vote, parked.superseded) = (vote, superseded);
                return Ok(parked);
            }
            if let Ok(turn) = timeout(LOOK_FOR_TURN, node.store.incoming()).await {
                tracing::info!(upto, with_data, "a snapshot comes in");
                return Ok(Incoming::begin(&node.store, vote, meta, with_data, id, turn, superseded));
            }
        }
        Err(Box::new(other("another snapshot comes in")))
    }

    fn park_snapshot(&self, session: &Session, incoming: Incoming) {
        if let Session::Cluster(node) = session
            && !node.stop.is_cancelled()
        {
            node.parked.put(incoming);
        }
    }

    async fn finish_snapshot(&self, session: &Session, incoming: Incoming, len: u64, crc: u32) -> Response {
        let Session::Cluster(node) = session else {
            return other("this connection was not opened for that");
        };
        let (vote, meta, snapshot) = match incoming.finish(len, crc).await {
            Ok(whole) => whole,
            Err(e) => return self.refused_snapshot(&e.to_string()),
        };
        let state = match snapshot.applied() {
            Err(e) => return self.refused_snapshot(&e.to_string()),
            Ok(state) => state,
        };
        let identity = &node.identity;
        // What came while it was on its way may be more.
        let agreed = agreed(node);
        let compare_members = !Planted::SnapshotWithoutMembership.is_on();
        let judged = plausible::announced(identity.node_id, &vote, &meta, agreed.as_ref()).and_then(|()| {
            let (cluster_id, incarnation) = (&identity.cluster_id, identity.incarnation);
            plausible::state(cluster_id, incarnation, &meta, &state, compare_members)
        });
        if let Err(why) = judged {
            return self.refused_snapshot(&why);
        }
        let is_news = plausible::is_news(&meta, agreed.as_ref());
        match node.raft.install_full_snapshot(vote, Snapshot { meta, snapshot }).await {
            Ok(answer) if answer.vote > vote || !is_news => Response::Snapshot(answer),
            Ok(answer) => {
                Counters::add(&self.0.port.snapshots_received);
                tracing::info!(bytes = len, "a snapshot was installed");
                Response::Snapshot(answer)
            }
            Err(e) => stopped(e),
        }
    }
}

/// A [`Core`] behind the port.
pub(crate) struct HostCore(pub(crate) Arc<Core>);

impl HostCore {
    fn refused_snapshot(&self, why: &str) -> Response {
        Counters::add(&self.0.port.snapshots_refused);
        tracing::warn!(why, "refused a snapshot");
        other(why)
    }

    async fn answer_member(&self, node: &Arc<Node>, request: Request) -> Response {
        // One that lost what it had acknowledged grants no vote while its process ends.
        if self.0.failure.is_set() {
            return stopped("its storage failed");
        }
        match request {
            Request::Append(append) => {
                if let Err(why) = plausible::append(node.identity.node_id, &append) {
                    Counters::add(&self.0.port.appends_refused);
                    tracing::warn!(why, "refused log entries");
                    return other(why);
                }
                if append.vote >= node.vote() {
                    if let Some(what) = plausible::takes_back(agreed(node).as_ref(), &append) {
                        self.0.failure.set(Fault::from(what.clone()));
                        return stopped(what);
                    }
                    // Before it is on disk: whoever waits for this leader hears of it in Raft's figures at once.
                    node.hear();
                }
                match node.raft.append_entries(append).await {
                    Ok(answer) => {
                        if !matches!(answer, AppendEntriesResponse::HigherVote(_)) {
                            node.hear();
                        }
                        Response::Append(answer)
                    }
                    Err(e) => stopped(e),
                }
            }
            Request::Vote(vote) => node.raft.vote(vote).await.map_or_else(stopped, Response::Vote),
            Request::PreVote(vote) => node.raft.pre_vote(vote).await.map_or_else(stopped, Response::Vote),
            Request::Transfer(transfer) => {
                node.raft.handle_transfer_leader(transfer).await.map_or_else(stopped, Response::Transferred)
            }
            Request::ReadIndex if !node.leads_now() => Response::Failed(Failure::NotLeader),
            Request::ReadIndex => match node.leads.join().await {
                Some(Ok(index)) => Response::ReadIndex(index),
                _ => other("it could not confirm that it leads"),
            },
            Request::Remove { id } => match self.0.remove(&id).await {
                Ok(()) => Response::Done,
                Err(refusal) => Response::Failed(failure_of(&refusal)),
            },
            Request::Farewell => {
                // Not awaited: it ends the session that this answer goes out on.
                let core = Arc::clone(&self.0);
                self.0.tasks.spawn(async move { core.finish_removal().await });
                Response::Done
            }
            Request::HeldByAll => Response::HeldByAll(held_by_all(node)),
            Request::Identify
            | Request::Introduce
            | Request::Readdress { .. }
            | Request::Release { .. }
            | Request::Adopt { .. }
            | Request::Snapshot { .. }
            | Request::ResumableSnapshot { .. } => other("this connection was not opened for that"),
        }
    }
}

/// The last entry that this member knows to be agreed on, and holds.
fn agreed(node: &Node) -> Option<LogId> {
    node.store.applied().log_id.max(node.local_committed())
}

/// Up to which index every data voter holds the log durably, as far as this leader knows. What it has applied says nothing of
/// its own disk: others may have made the quorum.
pub(super) fn held_by_all(node: &Node) -> Option<u64> {
    let metrics = node.metrics();
    let replication = metrics.replication.as_ref()?;
    let own = node.log.wal().ok()?.durable_index();
    let membership = metrics.membership_config.membership();
    let data = |id: &u64| membership.get_node(id).is_some_and(|peer| peer.role == Role::Data);
    let held = |id: u64| {
        if id == node.identity.node_id {
            own
        } else if !node.answered_lately(id) {
            // It may be gone, or come back with less than it had.
            None
        } else {
            replication.get(&id).copied().flatten().map(|log_id| log_id.index())
        }
    };
    membership.voter_ids().filter(data).map(held).min().flatten()
}
