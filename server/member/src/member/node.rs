//! One life in one cluster: a running Raft with its log, its state machine and its links.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use conure_client::api::Role;
use openraft::async_runtime::WatchReceiver as _;
use openraft::{Config, Instant as _, Raft, RaftMetrics, SnapshotPolicy};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::core::Core;
use super::files::Files;
use super::own::OwnData;
use super::reach::Reach;
use super::rounds::{IndexRound, ROUND_PATIENCE, Rounds};
use crate::facade::{Leader, Tuning};
use crate::failure::Fault;
use crate::identity::Identity;
use crate::platform;
use crate::raft::log_store::LogStore;
use crate::raft::state_machine::StateMachine;
use crate::raft::store::Store;
use crate::raft::types::{LogId, Peer, TypeConfig, Vote};
use crate::transport::acknowledged::Acknowledgements;
use crate::transport::addresses::Addresses;
use crate::transport::dials::Dials;
use crate::transport::incoming::Parked;
use crate::transport::met::Met;
use crate::transport::network::{Dialer, Estranged};
use crate::transport::transfers::Transfers;

/// How often a request looks whether the leader it waits for is there, or still is.
const LOOK_FOR_LEADER: Duration = Duration::from_millis(20);

/// How long the last checkpoint may take.
const CLOSE_PATIENCE: Duration = Duration::from_secs(60);

pub(crate) type ConureRaft = Raft<TypeConfig, StateMachine>;
pub(crate) type Metrics = RaftMetrics<TypeConfig>;

/// See the module.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) identity: Identity,
    pub(crate) role: Role,
    pub(crate) raft: ConureRaft,
    pub(crate) store: Arc<Store>,
    pub(crate) log: LogStore,
    pub(crate) dialer: Dialer,
    /// Read-index rounds for readers on this member.
    pub(crate) reads: Rounds<IndexRound>,
    /// Read-index rounds that this member answers as the leader.
    pub(crate) leads: Rounds<IndexRound>,
    /// A snapshot that broke off on its way in.
    pub(crate) parked: Parked,
    /// Whether this member can dial its leader.
    pub(crate) reach: Reach,
    /// Whether the state is at least as new as it was before this process began.
    pub(crate) recovered: AtomicBool,
    /// While the database is made shorter.
    pub(crate) compacting: AtomicBool,
    pub(crate) stop: CancellationToken,
    pub(crate) tuning: Tuning,
    born: Instant,
    /// When a leader was last heard, in milliseconds since `born`.
    heard_ms: AtomicU64,
}

/// Starts Raft on `files`, as the member `identity` of `core`. The text of an error is one line for users.
pub(crate) async fn start(core: &Core, identity: Identity, files: Files) -> Result<Node, Fault> {
    let Files { store, log } = files;
    let (tuning, stop) = (&core.config.tuning, core.stop.child_token());
    let own = OwnData { log: log.clone(), store: Arc::clone(&store), failure: core.failure.clone() };
    let dialer = Dialer {
        cluster_id: identity.cluster_id.clone(),
        incarnation: identity.incarnation,
        node_id: identity.node_id,
        boot: core.boot,
        raft_addr: core.config.raft_advertise_addr.clone(),
        own: Arc::new(own),
        acknowledgements: Acknowledgements::default(),
        met: Met::default(),
        removed: CancellationToken::new(),
        estranged: Estranged::default(),
        other_version: Arc::default(),
        snapshot_rate: tuning.snapshot_rate,
        addresses: Addresses::default(),
        dials: Dials::default(),
        transfers: Transfers::default(),
    };
    let config = Arc::new(raft_config(&identity, tuning).map_err(|e| e.to_string())?);
    let apply = platform::Worker::start("conure-apply")
        .map_err(|e| format!("the thread that applies changes cannot start: {e}"))?;
    let machine = StateMachine { store: Arc::clone(&store), floor: log.floor(), apply };
    let raft = Raft::new(identity.node_id, config, dialer.clone(), log.clone(), machine)
        .await
        .map_err(|e| format!("data_dir {:?}: Raft cannot start: {e}", core.dir.display().to_string()))?;
    let leads =
        Rounds::new("lead rounds", IndexRound::Lead(raft.clone()), stop.clone(), core.failure.clone());
    let reads = Rounds::new(
        "read rounds",
        IndexRound::Ask {
            raft: raft.clone(),
            leads: leads.clone(),
            dialer: dialer.clone(),
            connection: None,
            patience: ROUND_PATIENCE,
        },
        stop.clone(),
        core.failure.clone(),
    );
    Ok(Node {
        identity,
        role: core.config.role,
        raft,
        store,
        log,
        dialer,
        reads,
        leads,
        parked: Parked::default(),
        reach: Reach::default(),
        recovered: AtomicBool::new(false),
        compacting: AtomicBool::new(false),
        stop,
        tuning: tuning.clone(),
        born: Instant::now(),
        heard_ms: AtomicU64::new(0),
    })
}

fn raft_config(identity: &Identity, tuning: &Tuning) -> Result<Config, openraft::ConfigError> {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    Config {
        cluster_name: identity.cluster_id.clone(),
        heartbeat_interval: millis(tuning.heartbeat),
        election_timeout_min: millis(tuning.election_timeout_min),
        election_timeout_max: millis(tuning.election_timeout_max),
        snapshot_policy: SnapshotPolicy::LogsSinceLast(tuning.checkpoint_entries),
        // The keeper purges.
        max_in_snapshot_log_to_keep: u64::MAX / 2,
        max_payload_entries: 1_024,
        install_snapshot_timeout: 600_000,
        enable_pre_vote: Some(true),
        // Applying is not synced and the commit index is not stored: a leader restored from disk would serve
        // reads from the past.
        enable_leader_restore: Some(false),
        ..Config::default()
    }
    .validate()
}

impl Node {
    /// Raft's figures as they are now.
    pub(crate) fn metrics(&self) -> Metrics {
        self.raft.metrics().borrow_watched().clone()
    }

    /// The vote of now, without a copy of all the other figures: asked with every append.
    pub(crate) fn vote(&self) -> Vote {
        self.raft.metrics().borrow_watched().vote
    }

    /// The last entry that Raft here knows to be agreed on and holds; as [`Self::vote`], for every append.
    pub(crate) fn local_committed(&self) -> Option<LogId> {
        self.raft.metrics().borrow_watched().local_committed
    }

    /// Whether this member leads, as far as it knows.
    pub(crate) fn leads_now(&self) -> bool {
        self.raft.metrics().borrow_watched().current_leader == Some(self.identity.node_id)
    }

    /// A leader was heard.
    pub(crate) fn hear(&self) {
        let now = u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.heard_ms.fetch_max(now, Ordering::Relaxed);
    }

    /// Whether any leader was heard since this process began.
    pub(crate) fn heard_any(&self) -> bool {
        self.heard_ms.load(Ordering::Relaxed) > 0
    }

    /// The leader and what the membership says of it. Raft remembers a leader until there is another: here one
    /// that was silent for longer than an election takes to begin is none, and this member itself is none as soon as its
    /// lease is over, from when on Raft takes no changes.
    pub(crate) fn leader(&self) -> Option<(u64, Peer)> {
        self.leader_heard_within(self.tuning.election_timeout_max * 2, |id, peer| (id, peer.clone()))
    }

    /// What `look` says of the leader, where that is this member or was heard within so long.
    fn leader_heard_within<T>(&self, silence_max: Duration, look: impl FnOnce(u64, &Peer) -> T) -> Option<T> {
        let lease = self.tuning.election_timeout_max;
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let id = metrics.current_leader?;
        let (silence, silence_max) = if id != self.identity.node_id {
            (self.silence(), silence_max)
        } else if metrics.membership_config.membership().voter_ids().count() > 1 {
            (metrics.last_quorum_acked.map_or(Duration::MAX, |at| at.elapsed()), lease)
        } else {
            (Duration::ZERO, lease)
        };
        if silence > silence_max {
            return None;
        }
        metrics.membership_config.membership().get_node(&id).map(|peer| look(id, peer))
    }

    /// For how long no other member was heard as the leader.
    fn silence(&self) -> Duration {
        let heard = Duration::from_millis(self.heard_ms.load(Ordering::Relaxed));
        self.born.elapsed().saturating_sub(heard)
    }

    /// The leader, unless it is an arbiter, which leads only to hand over.
    pub(crate) fn serving_leader(&self) -> Option<Leader> {
        let (_, peer) = self.leader().filter(|(_, peer)| peer.role == Role::Data)?;
        Some(Leader { id: peer.name, raft_addr: peer.raft_addr, http_addr: peer.http_addr })
    }

    /// Where the leader has just fallen silent: waits until it is heard again or another one leads, for no longer than an
    /// election takes, nor than `patience`. Who asks one that is cut off waits in vain. A member that has heard no leader yet
    /// has no election to wait for.
    pub(crate) async fn wait_for_leader(&self, patience: Duration) {
        let lease = self.tuning.election_timeout_max;
        let led = || self.leader_heard_within(lease / 2, |_, peer| peer.role == Role::Data) == Some(true);
        if led() || !self.heard_any() {
            return;
        }
        // Its lease, an election behind it, and another one where the first has no winner.
        let end = Instant::now() + patience.min((lease * 3).saturating_sub(self.silence()));
        let mut metrics = self.raft.metrics();
        while !led() {
            let left = end.saturating_duration_since(Instant::now());
            // A leader that is heard again changes none of the figures.
            let look = timeout(left.min(LOOK_FOR_LEADER), metrics.changed()).await;
            if left.is_zero() || matches!(look, Ok(Err(_ended))) {
                return;
            }
        }
    }

    /// Returns once the lease of the leader called `name` is over for all that is known here: no leader was heard for that
    /// long, or for that long another one has led. One that only handed over answers before that.
    pub(crate) async fn leader_is_lost(&self, name: &str) {
        let lease = self.tuning.election_timeout_max;
        let mut followed = Instant::now();
        while self.silence() < lease && followed.elapsed() < lease {
            sleep(LOOK_FOR_LEADER).await;
            if self.leader().is_some_and(|(_, peer)| peer.name == name) {
                followed = Instant::now();
            }
        }
    }

    /// All members by node id.
    pub(crate) fn peers(&self) -> BTreeMap<u64, Peer> {
        let metrics = self.metrics();
        metrics.membership_config.membership().nodes().map(|(id, peer)| (*id, peer.clone())).collect()
    }

    /// The last entry that `id` is known to hold durably; only a leader knows.
    pub(crate) fn matched(&self, id: u64) -> Option<u64> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        metrics.replication.as_ref()?.get(&id).copied().flatten().map(|log_id| log_id.index())
    }

    /// Whether the log's disk is so slow that another member should lead.
    pub(crate) fn disk_is_slow(&self) -> bool {
        let Ok(stats) = self.log.wal().map(|wal| wal.stats()) else { return false };
        stats.writing_for >= self.tuning.slow_disk || stats.sync_average >= self.tuning.slow_disk / 4
    }

    /// The data voters beside this member that are alive, the one that holds most of the log first.
    pub(crate) fn successors(&self) -> Vec<u64> {
        let metrics = self.metrics();
        let membership = metrics.membership_config.membership();
        let data = |id: &u64| membership.get_node(id).is_some_and(|peer| peer.role == Role::Data);
        let other = |id: &u64| *id != self.identity.node_id && self.answered_lately(*id);
        let mut ids: Vec<u64> = membership.voter_ids().filter(other).filter(data).collect();
        ids.sort_by_key(|id| std::cmp::Reverse((self.matched(*id), *id)));
        ids.dedup();
        ids
    }

    /// If it leads: lets another data voter lead. Whether another one leads at the end (or it did not lead).
    pub(crate) async fn hand_over(&self, patience: Duration) -> bool {
        let me = self.identity.node_id;
        let round = self.tuning.election_timeout_max * 2;
        let (begun, mut asked_at) = (Instant::now(), None::<Instant>);
        let mut metrics = self.raft.metrics();
        while begun.elapsed() < patience {
            match metrics.borrow_and_update().current_leader {
                Some(leader) if leader == me => {}
                None if asked_at.is_some() => {}
                Some(_) | None => return true,
            }
            if self.leads_now() && asked_at.is_none_or(|at| at.elapsed() > round) {
                match self.successors().first() {
                    Some(successor) => {
                        if self.raft.trigger().transfer_leader(*successor).await.is_err() {
                            return false;
                        }
                        asked_at = Some(Instant::now());
                    }
                    // One that leads since a moment ago has not heard of all who live.
                    None if begun.elapsed() > round || !self.has_other_data_voters() => return false,
                    None => {}
                }
            }
            // Woken early by what changes; else it looks again, for successors that answer meanwhile.
            if let Ok(Err(_ended)) = timeout(Duration::from_millis(50), metrics.changed()).await {
                return false;
            }
        }
        false
    }

    fn has_other_data_voters(&self) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        let mut others = membership.voter_ids().filter(|id| *id != self.identity.node_id);
        others.any(|id| membership.get_node(&id).is_some_and(|peer| peer.role == Role::Data))
    }

    /// Ends this life. With `sync`, what was applied is made durable first.
    pub(crate) async fn stop(&self, sync: bool) {
        // First, so that whoever watches Raft takes its end for none of its own accord.
        self.stop.cancel();
        self.parked.clear();
        if let Err(e) = self.raft.shutdown().await {
            tracing::warn!(error = %e, "Raft did not end well");
        }
        let (store, log) = (Arc::clone(&self.store), self.log.clone());
        let closed = platform::spawn_blocking(move || {
            if sync && let Err(e) = store.checkpoint(&log.floor()) {
                tracing::error!(error = %e, "the last checkpoint failed");
            }
            store.close();
            log.close();
        });
        if timeout(CLOSE_PATIENCE, closed).await.is_err() {
            tracing::error!("the database was not closed in time");
        }
    }

    pub(crate) fn set_recovered(&self) {
        self.recovered.store(true, Ordering::Release);
    }
}
