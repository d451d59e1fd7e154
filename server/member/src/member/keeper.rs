//! What runs by itself in each life: checkpoints and purges by size, an arbiter's hand-over and purge, joint configurations
//! that a lost leader left behind, and noticing that this member was released or removed.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use conure_client::api::Role;
use openraft::async_runtime::WatchReceiver as _;
use tokio::time::{Instant, MissedTickBehavior};

use super::core::Core;
use super::node::Node;
use super::{moved, news, reach};
use crate::failure::{Fault, until};
use crate::raft::store::Store;
use crate::transport::message::{Request, Response};

const TICK: Duration = Duration::from_millis(500);
const GREETING_PATIENCE: Duration = Duration::from_secs(3);
const ASK_PATIENCE: Duration = Duration::from_secs(2);
/// While the disk is nearly full a data member keeps no more of its log than that, as soon as a checkpoint holds it.
const SHORT_LOG_BYTES: u64 = 16 << 20;
/// Compacting is worth it when so much is free inside the database.
const COMPACT_BYTES_MIN: u64 = 4 << 20;
/// Two slow disks do not pass leadership to and fro more often than that.
const SLOW_DISK_PAUSE: Duration = Duration::from_secs(30);

/// Starts what runs by itself in one life; it ends with it.
pub(crate) fn spawn(core: &Arc<Core>, node: &Arc<Node>) {
    // None of these ends before the life does.
    let supervise = |name, task: Pin<Box<dyn Future<Output = ()> + Send>>| {
        let stop = node.stop.clone();
        core.tasks.spawn(core.failure.clone().supervise(name, stop.clone(), until(stop, task)));
    };
    supervise("keeper", Box::pin(keep(Arc::clone(core), Arc::clone(node))));
    supervise("Raft", Box::pin(watch_raft(Arc::clone(core), Arc::clone(node))));
    supervise("own address", Box::pin(moved::keep_known(Arc::clone(core), Arc::clone(node))));
    supervise("way to the leader", Box::pin(reach::watch(Arc::clone(node))));
    supervise("news", Box::pin(news::tell(Arc::clone(node))));
    let once = |name, task: Pin<Box<dyn Future<Output = ()> + Send>>| {
        let (failure, stop) = (core.failure.clone(), node.stop.clone());
        core.tasks.spawn(async move {
            failure.catch(name, until(stop, task)).await;
        });
    };
    once("greeting", Box::pin(greet_all(Arc::clone(node))));
    once("catching up", Box::pin(catch_up(Arc::clone(node))));
}

/// Notes when the state is as new as it was before this process began.
async fn catch_up(node: Arc<Node>) {
    if node.raft.wait_for_recovery(None).await.is_ok() {
        node.set_recovered();
    }
}

/// Greets all members once: those that led hear that this process is the member, and say what it had acknowledged to them.
async fn greet_all(node: Arc<Node>) {
    let own = node.identity.node_id;
    let others = node.peers().into_iter().filter(|(id, _)| *id != own);
    let dialer = &node.dialer;
    let greetings = others.map(|(id, peer)| async move {
        // One that is not there now has nothing to say, or says it when it dials.
        let _ = dialer.open(id, &peer.raft_addr, GREETING_PATIENCE).await;
    });
    futures::future::join_all(greetings).await;
}

/// Waits for Raft's end, whatever the keeper waits for meanwhile.
async fn watch_raft(core: Arc<Core>, node: Arc<Node>) {
    let mut server = node.raft.server_metrics();
    while server.changed().await.is_ok() {}
    raft_ended(&core, &node);
}

/// Raft does not end by itself: where nobody stops it, the member cannot go on.
fn raft_ended(core: &Core, node: &Node) {
    if !core.stopping.load(Ordering::Relaxed) && !node.stop.is_cancelled() {
        let fatal = node.raft.metrics().borrow_watched().running_state.clone().err();
        let why = fatal.map_or_else(|| "without a word".to_owned(), |fatal| fatal.to_string());
        core.failure.set(Fault::of_task(format!("Raft ended: {why}")));
    }
}

async fn keep(core: Arc<Core>, node: Arc<Node>) {
    // An arbiter that leads watches how far the others are; all else happens when the membership or the leader
    // changes, or can wait for a tick.
    let mut server = node.raft.server_metrics();
    let mut data = node.raft.data_metrics();
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut logged_at_checkpoint = 0;
    let mut slow = SlowDisk::default();
    loop {
        let (mut ticked, mut ended) = (false, false);
        tokio::select! {
            changed = server.changed() => ended = changed.is_err(),
            changed = data.changed(), if node.role == Role::Arbiter => ended = changed.is_err(),
            () = node.dialer.removed.cancelled() => {}
            _ = tick.tick() => ticked = true,
        }
        let peers = node.peers();
        node.dialer.dials.retain(|id| peers.contains_key(&id));
        node.dialer.addresses.set(peers);
        if ended || node.raft.metrics().borrow_watched().running_state.is_err() {
            raft_ended(&core, &node);
            return;
        }
        let (released, removed) = {
            let applied = node.store.applied();
            (applied.released_for.is_some(), applied.removed.contains(&node.identity.node_id))
        };
        if released || removed || node.dialer.removed.is_cancelled() {
            leave(&core, released);
            // Leaving stops this life, and with it this task.
            std::future::pending::<()>().await;
        }
        if node.leads_now() {
            if node.role == Role::Arbiter {
                hand_over(&node).await;
            } else {
                flatten(&core, &node).await;
            }
        }
        if ticked {
            if node.leads_now() && node.role == Role::Data {
                slow.hand_over(&node).await;
            }
            core.check_directory();
            node.parked.sweep();
            node.store.shelf.sweep();
            let short = core.room.look();
            if short {
                compact(&core, &node);
            }
            checkpoint_by_size(&node, short, &mut logged_at_checkpoint).await;
            purge_behind_checkpoint(&node, short).await;
            if node.role == Role::Arbiter {
                purge(&node).await;
            }
        }
    }
}

/// Not awaited: leaving ends the life that this keeper belongs to.
fn leave(core: &Arc<Core>, released: bool) {
    let leaving = Arc::clone(core);
    core.tasks.spawn(async move {
        if released {
            leaving.finish_release().await;
        } else {
            leaving.finish_removal().await;
        }
    });
}

/// An arbiter that was elected lets a data voter lead as soon as one holds the whole log.
async fn hand_over(node: &Node) {
    let metrics = node.metrics();
    let held = |id: &u64| {
        metrics.replication.as_ref().and_then(|all| all.get(id).copied().flatten()).map(|l| l.index())
    };
    let caught_up =
        node.successors().into_iter().find(|id| held(id).is_some() && held(id) == metrics.last_log_index);
    if let Some(successor) = caught_up {
        tracing::info!(successor = node.name(successor), "this arbiter was elected and hands over");
        // Where it fails, the next change of the figures tries again.
        let _ = node.raft.trigger().transfer_leader(successor).await;
    }
}

/// Lets go of leadership when the log's disk does not keep up and another member's does.
#[derive(Debug, Default)]
struct SlowDisk {
    handed_over: Option<Instant>,
}

impl SlowDisk {
    async fn hand_over(&mut self, node: &Node) {
        if !node.disk_is_slow() || self.handed_over.is_some_and(|at| at.elapsed() < SLOW_DISK_PAUSE) {
            return;
        }
        // Where theirs is no faster, they hold no more than this member does.
        let own = node.log.wal().ok().and_then(|wal| wal.durable_index());
        let Some(successor) = node.successors().into_iter().find(|id| node.matched(*id) > own) else {
            return;
        };
        tracing::warn!(
            successor = node.name(successor),
            "the log's disk is slow or does not answer; this leader hands over"
        );
        self.handed_over = Some(Instant::now());
        // Where it fails, the next time tries again.
        let _ = node.raft.trigger().transfer_leader(successor).await;
    }
}

/// Gives back to the file system what is free inside the database, once at a time and beside all else.
fn compact(core: &Core, node: &Arc<Node>) {
    let free = node
        .store
        .db()
        .map(|db| db.stats())
        .map_or(0, |stats| stats.free_pages * u64::from(stats.page_size_bytes));
    if free < COMPACT_BYTES_MIN || node.compacting.swap(true, Ordering::AcqRel) {
        return;
    }
    let (room, node) = (Arc::clone(&core.room), Arc::clone(node));
    core.tasks.spawn_blocking(move || {
        let go_on = || room.look() && !node.stop.is_cancelled();
        match Store::compact(&node.store, go_on) {
            Ok(bytes) => tracing::info!(bytes, "compacted the database, since the disk is nearly full"),
            Err(e) => tracing::warn!(error = %e, "the database was not compacted"),
        }
        node.compacting.store(false, Ordering::Release);
    });
}

/// Ends a joint configuration that a leader began and did not end.
async fn flatten(core: &Core, node: &Node) {
    if !node.is_joint() {
        return;
    }
    let Ok(_change) = core.change.try_lock() else { return };
    let done = tokio::time::timeout(Duration::from_secs(5), node.end_earlier_change()).await;
    tracing::info!(done = matches!(done, Ok(Ok(_))), "ended a membership change that was left half done");
}

/// Makes a checkpoint when much was logged since the last one, however few entries that was.
async fn checkpoint_by_size(node: &Node, short: bool, logged_at_checkpoint: &mut u64) {
    let Ok(logged) = node.log.wal().map(|wal| wal.stats().appended_bytes) else { return };
    let bytes_max = node.tuning.checkpoint_bytes.min(if short { SHORT_LOG_BYTES / 2 } else { u64::MAX });
    if logged.saturating_sub(*logged_at_checkpoint) >= bytes_max
        && node.raft.trigger().snapshot().await.is_ok()
    {
        *logged_at_checkpoint = logged;
    }
}

/// Purges log that a checkpoint covers and that is more than may be kept, in entries or in bytes. Raft's own policy would
/// take back a purge that was asked for here and waits for a follower.
async fn purge_behind_checkpoint(node: &Node, short: bool) {
    let Ok(wal) = node.log.wal() else { return };
    let metrics = node.metrics();
    let Some(snapshot) = metrics.snapshot.as_ref().map(|log_id| log_id.index()) else { return };
    let (keep_bytes, by_entries) = match node.role {
        Role::Data => {
            let bytes_max = if short { SHORT_LOG_BYTES } else { u64::MAX };
            (node.tuning.keep_bytes.min(bytes_max), snapshot.saturating_sub(node.tuning.keep_entries))
        }
        Role::Arbiter => (node.tuning.arbiter_keep_bytes, 0),
    };
    let too_large = wal.stats().disk_bytes > keep_bytes;
    let by_bytes = if too_large { wal.tail_within(keep_bytes).saturating_sub(1) } else { 0 };
    let needed = needed(node, by_entries).unwrap_or(u64::MAX);
    let upto = by_entries.min(needed).max(by_bytes).min(snapshot);
    if upto > metrics.purged.map_or(0, |log_id| log_id.index()) {
        tell_overtaken(node, upto, keep_bytes);
        // Asked again on the next tick where Raft is too busy to listen.
        let _ = node.raft.trigger().purge_log(upto).await;
    }
}

/// The entry after which the log stays for members that a repair has to reach: those that are sent a snapshot, and those that
/// catch up from the log and answer. Purged before they have it, it would cost them another snapshot, and so on without end.
fn needed(node: &Node, by_entries: u64) -> Option<u64> {
    let of_snapshots = node.dialer.transfers.needed(Instant::now(), by_entries, |id| node.matched(id));
    let metrics = node.metrics();
    let held = metrics.replication.iter().flatten();
    let lagging = held.filter(|(id, _)| **id != node.identity.node_id && node.answered_lately(**id));
    let of_logs = lagging.filter_map(|(_, held)| held.as_ref().map(|log_id| log_id.index())).min();
    of_snapshots.into_iter().chain(of_logs).min()
}

/// Says whose snapshot will be out of date when it arrives, since no more log may be kept for it.
fn tell_overtaken(node: &Node, upto: u64, keep_bytes: u64) {
    for id in node.dialer.transfers.overtake(upto) {
        tracing::warn!(
            member = node.name(id),
            keep_bytes,
            "a member is sent a snapshot and needs more log after it than is kept, so that it will need another one; raise \
             --snapshot-rate on all members, or write less until it has caught up"
        );
    }
}

/// An arbiter keeps what any data voter may still need from it.
async fn purge(node: &Node) {
    let Some((leader, peer)) = node.leader().filter(|(id, _)| *id != node.identity.node_id) else { return };
    let Some(snapshot) = node.metrics().snapshot else { return };
    let behind = node.metrics().purged.map_or(0, |log_id| log_id.index());
    if snapshot.index() <= behind.saturating_add(node.tuning.keep_entries) {
        return;
    }
    let asked = node.dialer.ask(leader, &peer.raft_addr, &Request::HeldByAll, ASK_PATIENCE).await;
    if let Ok(Response::HeldByAll(Some(held))) = asked {
        let upto = held.min(snapshot.index());
        if upto > behind {
            // Asked again on the next tick where Raft is too busy to listen.
            let _ = node.raft.trigger().purge_log(upto).await;
        }
    }
}
