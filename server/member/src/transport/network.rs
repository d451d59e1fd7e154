//! What openraft needs of the network: links to the other members.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use conure_client::api::Role;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, Stream, StreamExt as _, iter};
use openraft::error::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, RPCTypes};
use tokio_util::sync::CancellationToken;

use super::acknowledged::{Acknowledged, Acknowledgements, Position};
use super::addresses::Addresses;
use super::connection::{CallError, Connection};
use super::dials::Dials;
use super::message::{Hello, Introduction, MAGIC, MINOR, PROTOCOL, Purpose, RefusedHello, Request, Response};
use super::met::Met;
use super::outgoing;
use super::pipeline::{Appended, Kept, Pipeline};
use super::transfers::Transfers;
use crate::raft::forks::Forks;
use crate::raft::state_machine::SnapshotData;
use crate::raft::types::{Peer, TypeConfig, Vote};

/// How long an append or a vote may take on the wire and on the other side's disk.
pub(super) const CALL_PATIENCE: Duration = Duration::from_secs(3);

/// What the process that dials knows of its own data.
pub(crate) trait Own: std::fmt::Debug + Send + Sync {
    /// How far its log reaches now; none where it was closed.
    fn position(&self) -> Option<Position>;
    /// Which recoveries and restores its data comes from.
    fn forks(&self) -> Forks;
    /// Its log lost what it had acknowledged: it must not go on.
    fn lost(&self, acknowledged: Acknowledged, position: Position);
}

/// Who dials, and what to do when told that it was removed.
#[derive(Debug, Clone)]
pub(crate) struct Dialer {
    pub(crate) cluster_id: String,
    pub(crate) incarnation: u64,
    pub(crate) node_id: u64,
    /// Random at each start of the process.
    pub(crate) boot: u64,
    /// Where this member says that it is dialled.
    pub(crate) raft_addr: String,
    pub(crate) own: Arc<dyn Own>,
    /// What others acknowledged to this member.
    pub(crate) acknowledgements: Acknowledgements,
    /// Which process each member is.
    pub(crate) met: Met,
    /// Cancelled when another member says that this one was removed, or left behind when the cluster was recovered.
    pub(crate) removed: CancellationToken,
    /// Why others keep this process out, if they do.
    pub(crate) estranged: Estranged,
    /// Whether a member of another version was met: said once.
    pub(crate) other_version: Arc<AtomicBool>,
    /// How fast snapshots are sent, in bytes a second.
    pub(crate) snapshot_rate: Option<u64>,
    /// Where the members are now: a link outlives a change of its target's address.
    pub(crate) addresses: Addresses,
    /// Who is being dialled.
    pub(crate) dials: Dials,
    /// The snapshots that are on their way.
    pub(crate) transfers: Transfers,
}

/// Why other members keep this process out, where its user has to do something about it. Shared by its links.
#[derive(Debug, Clone, Default)]
pub(crate) struct Estranged(Arc<RwLock<Option<RefusedHello>>>);

impl Estranged {
    /// One line for users.
    pub(crate) fn why(&self) -> Option<String> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(ToString::to_string)
    }

    /// Logs what is not known yet.
    fn set(&self, why: &RefusedHello) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref() != Some(why) {
            // One that has moved says so itself, and is let in as soon as the leader has heard.
            if !matches!(why, RefusedHello::Moved(_)) {
                tracing::error!(%why, "other members keep this process out");
            }
            *known = Some(why.clone());
        }
    }

    /// A member let this process in.
    fn clear(&self) {
        let is_set = self.0.read().unwrap_or_else(PoisonError::into_inner).is_some();
        if is_set {
            *self.0.write().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }
}

impl Dialer {
    /// The first frame to the member `target`.
    pub(crate) fn hello(&self, purpose: Purpose, target: u64) -> Hello {
        Hello {
            magic: MAGIC,
            protocol: PROTOCOL,
            purpose,
            cluster_id: self.cluster_id.clone(),
            incarnation: self.incarnation,
            sender: self.node_id,
            target,
            minor: MINOR,
            introduction: Some(Introduction {
                boot: self.boot,
                raft_addr: self.raft_addr.clone(),
                forks: self.own.forks(),
                acknowledged: self.acknowledgements.of(target),
            }),
        }
    }

    fn link(&self, target: u64, node: &Peer) -> Link {
        Link { dialer: self.clone(), target, addr: node.raft_addr.clone(), role: node.role, connection: None }
    }

    /// Asks one question of a member of the cluster.
    pub(crate) async fn ask(
        &self,
        target: u64,
        addr: &str,
        request: &Request,
        patience: Duration,
    ) -> Result<Response, CallError> {
        self.open(target, addr, patience).await?.call(request, patience).await
    }

    /// Opens a connection to the member `target`, which the membership has at `addr`.
    pub(crate) async fn open(
        &self,
        target: u64,
        addr: &str,
        patience: Duration,
    ) -> Result<Connection, CallError> {
        let addr = &self.addresses.next(target, addr);
        let opened = self.dials.open(addr, self.hello(Purpose::Cluster, target), patience).await;
        // Where the member was met it may be there still, and only silent: a hint could lead to a copy of it.
        if let Err(e) = &opened
            && (e.is_absence() || e.is_silence() && self.met.get(target).is_none())
        {
            self.addresses.not_found(target, addr);
        }
        self.heed(target, &opened);
        let connection = opened?;
        if let Some((boot, acknowledged)) = &connection.process {
            if !self.holds(acknowledged.as_ref()) {
                return Err(CallError::LostEntries);
            }
            self.met.set(target, *boot, addr);
        }
        Ok(connection)
    }

    /// Whether this member still holds what another one counts on, as that one says.
    pub(crate) fn holds(&self, acknowledged: Option<&Acknowledged>) -> bool {
        let Some((acknowledged, position)) = acknowledged.zip(self.own.position()) else { return true };
        let lost = acknowledged.is_lost_at(&position);
        if lost {
            self.own.lost(*acknowledged, position);
        }
        !lost
    }

    fn heed<T>(&self, target: u64, answer: &Result<T, CallError>) {
        match answer {
            Err(CallError::Refused(RefusedHello::Removed)) => self.removed.cancel(),
            Err(CallError::Refused(RefusedHello::Cluster(id, incarnation))) if *id == self.cluster_id => {
                self.heed_incarnation(*incarnation);
            }
            Err(CallError::Refused(RefusedHello::Protocol(theirs)))
                if !self.other_version.swap(true, Ordering::Relaxed) =>
            {
                tracing::error!(
                    member = self.addresses.name(target),
                    theirs,
                    ours = PROTOCOL,
                    "a member speaks another version of the protocol and refuses this one; upgrade the older one"
                );
            }
            Err(CallError::Refused(
                why @ (RefusedHello::Fork(_) | RefusedHello::Copied(_) | RefusedHello::Moved(_)),
            )) => self.estranged.set(why),
            Err(CallError::Refused(RefusedHello::LostEntries)) => {
                let member = self.addresses.name(target);
                tracing::error!(
                    member,
                    "a member lost entries that it had acknowledged to this one, and ends"
                );
            }
            Ok(_) => self.estranged.clear(),
            _ => {}
        }
    }

    /// Another member knows of this incarnation of the cluster: a later one than its own leaves this member behind.
    pub(crate) fn heed_incarnation(&self, incarnation: u64) {
        if incarnation > self.incarnation && !self.removed.is_cancelled() {
            tracing::error!(
                cluster_id = %self.cluster_id, own = self.incarnation, recovered = incarnation,
                "the cluster was recovered without this member, which no longer belongs to it"
            );
            self.removed.cancel();
        }
    }
}

impl RaftNetworkFactory<TypeConfig> for Dialer {
    type Network = Link;

    async fn new_client(&mut self, target: u64, node: &Peer) -> Link {
        self.link(target, node)
    }
}

/// A link to one member, connected when it is first used and again after an error.
#[derive(Debug)]
pub(crate) struct Link {
    dialer: Dialer,
    target: u64,
    /// Where it was when the link was made.
    addr: String,
    role: Role,
    pub(super) connection: Option<Kept>,
}

impl Link {
    fn addr(&self) -> String {
        self.dialer.addresses.known(self.target).unwrap_or_else(|| self.addr.clone())
    }

    async fn call(&mut self, request: &Request, patience: Duration) -> Result<Response, CallError> {
        // Taken out while in use: a call that is dropped halfway leaves no half-used connection behind.
        // One on which answers to others are owed is of no use.
        if let Some(Kept { mut connection, .. }) = self.connection.take().filter(|kept| kept.owed == 0) {
            match connection.call(request, patience).await {
                Ok(answer) => {
                    self.connection = Some(connection.into());
                    return Ok(answer);
                }
                // The other side may have restarted since: every request bears being asked twice.
                Err(CallError::Frame(_)) => {}
                Err(e) => return Err(e),
            }
        }
        let mut fresh = self.open(patience).await?;
        let answer = fresh.call(request, patience).await?;
        self.connection = Some(fresh.into());
        Ok(answer)
    }

    /// The other side holds the log of the leader of `vote` up to `index`, durably.
    pub(super) fn acknowledged(&self, vote: Vote, index: u64) {
        self.dialer.acknowledgements.note(self.target, vote, index);
    }

    pub(super) async fn open(&self, patience: Duration) -> Result<Connection, CallError> {
        self.dialer.open(self.target, &self.addr(), patience).await
    }

    pub(super) fn error(&self, action: RPCTypes, error: &CallError) -> RPCError<TypeConfig> {
        match error {
            CallError::Timeout(after) => RPCError::Timeout(Timeout {
                action,
                id: self.dialer.node_id,
                target: self.target,
                timeout: *after,
            }),
            e if e.is_unreachable() => RPCError::Unreachable(Unreachable::new(e)),
            e => RPCError::Network(NetworkError::new(e)),
        }
    }

    async fn ask(&mut self, action: RPCTypes, request: &Request) -> Result<Response, RPCError<TypeConfig>> {
        let answer = self.call(request, CALL_PATIENCE).await;
        answer.map_err(|e| self.error(action, &e))
    }
}

pub(super) fn confused() -> RPCError<TypeConfig> {
    RPCError::Network(NetworkError::new(&CallError::Confused))
}

pub(super) fn failed(answer: Response) -> RPCError<TypeConfig> {
    match answer {
        Response::Failed(failure) => RPCError::Unreachable(Unreachable::new(&failure)),
        _ => confused(),
    }
}

impl RaftNetworkV2<TypeConfig> for Link {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        let mut answers = self.stream_append(iter([rpc]), option).await?;
        answers.next().await.unwrap_or_else(|| Err(confused())).map(AppendEntriesResponse::from)
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Appended>, RPCError<TypeConfig>>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        Box::pin(std::future::ready(Ok(Pipeline::new(self, input).answers())))
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        match self.ask(RPCTypes::Vote, &Request::Vote(rpc)).await? {
            Response::Vote(answer) => Ok(answer),
            other => Err(failed(other)),
        }
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        match self.ask(RPCTypes::Vote, &Request::PreVote(rpc)).await? {
            Response::Vote(answer) => Ok(answer),
            other => Err(failed(other)),
        }
    }

    async fn transfer_leader(
        &mut self,
        req: TransferLeaderRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        match self.ask(RPCTypes::TransferLeader, &Request::Transfer(req)).await? {
            Response::Transferred(answer) => Ok(answer),
            other => Err(failed(other)),
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: openraft::alias::SnapshotOf<TypeConfig, SnapshotData>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let hello = self.dialer.hello(Purpose::Cluster, self.target);
        let SnapshotData::View(view) = snapshot.snapshot else {
            return Err(StreamingError::Unreachable(Unreachable::new(&CallError::NothingToSend)));
        };
        let with_data = self.role == Role::Data;
        let addr = self.dialer.addresses.next(self.target, &self.addr());
        let (member, upto) = (self.dialer.addresses.name(self.target), view.applied.index());
        tracing::info!(member, upto, with_data, "sending a snapshot");
        let rate = self.dialer.snapshot_rate;
        let _sending = self.dialer.transfers.begin(self.target, view.applied.index());
        let sending = outgoing::send(&addr, &hello, vote, snapshot.meta, &view, with_data, rate);
        tokio::select! {
            sent = sending => sent.inspect(|_| view.shelf.forget(&view)).map_err(|e| {
                // The next try goes on with the same, as far as the other side remembers it.
                view.shelf.keep(&view);
                tracing::warn!(member, to = %addr, error = %e, "a snapshot did not arrive");
                match self.error(RPCTypes::InstallSnapshot, &e) {
                    RPCError::Timeout(e) => StreamingError::Timeout(e),
                    RPCError::Unreachable(e) => StreamingError::Unreachable(e),
                    RPCError::Network(e) => StreamingError::Network(e),
                    RPCError::RemoteError(e) => StreamingError::Network(NetworkError::new(&e)),
                }
            }),
            closed = cancel => Err(StreamingError::Closed(closed)),
        }
    }
}
