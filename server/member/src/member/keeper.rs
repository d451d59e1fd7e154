//! What runs by itself in each life: checkpoints and purges by size, an arbiter's hand-over and purge, joint configurations
//! that a lost leader left behind, and noticing that this member was released or removed.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use conure_client::api::Role;
use openraft::ChangeMembers;
use openraft::async_runtime::WatchReceiver as _;
use tokio::time::MissedTickBehavior;

use super::core::Core;
use super::node::Node;
use crate::transport::message::{Request, Response};

const TICK: Duration = Duration::from_millis(500);
const ASK_PATIENCE: Duration = Duration::from_secs(2);

/// Starts the keeper of one life; it ends with it.
pub(crate) fn spawn(core: &Arc<Core>, node: &Arc<Node>) {
    let (kept_core, kept_node) = (Arc::clone(core), Arc::clone(node));
    core.tasks.spawn(async move {
        let stop = kept_node.stop.clone();
        tokio::select! { () = stop.cancelled() => {}, () = keep(kept_core, kept_node) => {} }
    });
    let waiting = Arc::clone(node);
    core.tasks.spawn(async move {
        let stop = waiting.stop.clone();
        tokio::select! {
            () = stop.cancelled() => {}
            recovered = waiting.raft.wait_for_recovery(None) => if recovered.is_ok() {
                waiting.set_recovered();
            }
        }
    });
}

async fn keep(core: Arc<Core>, node: Arc<Node>) {
    // An arbiter that leads watches how far the others are; all else happens when the membership or the leader
    // changes, or can wait for a tick.
    let mut server = node.raft.server_metrics();
    let mut data = node.raft.data_metrics();
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut logged_at_checkpoint = 0;
    loop {
        let mut ticked = false;
        tokio::select! {
            _ = server.changed() => {}
            _ = data.changed(), if node.role == Role::Arbiter => {}
            () = node.dialer.removed.cancelled() => {}
            _ = tick.tick() => ticked = true,
        }
        node.dialer.addresses.set(node.peers());
        let fatal = node.raft.metrics().borrow_watched().running_state.clone().err();
        if let Some(fatal) = fatal
            && !core.stopping.load(Ordering::Relaxed)
            && !node.stop.is_cancelled()
        {
            core.failure.set(&format!("Raft ended: {fatal}"));
            return;
        }
        let (released, removed) = {
            let applied = node.store.applied();
            (applied.released_for.is_some(), applied.removed.contains(&node.identity.node_id))
        };
        if released || removed || node.dialer.removed.is_cancelled() {
            leave(&core, released);
            return;
        }
        if node.leads_now() {
            if node.role == Role::Arbiter {
                hand_over(&node).await;
            } else {
                flatten(&core, &node).await;
            }
        }
        if ticked {
            checkpoint_by_size(&node, &mut logged_at_checkpoint).await;
            purge_by_size(&node).await;
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
        tracing::info!(successor, "this arbiter was elected and hands over");
        // Where it fails, the next change of the figures tries again.
        let _ = node.raft.trigger().transfer_leader(successor).await;
    }
}

/// Ends a joint configuration that a leader began and did not end.
async fn flatten(core: &Core, node: &Node) {
    if node.metrics().membership_config.membership().get_joint_config().len() < 2 {
        return;
    }
    let Ok(_change) = core.change.try_lock() else { return };
    let none = ChangeMembers::AddVoterIds(Default::default());
    let done = tokio::time::timeout(Duration::from_secs(5), node.raft.change_membership(none, false)).await;
    tracing::info!(done = matches!(done, Ok(Ok(_))), "ended a membership change that was left half done");
}

/// Makes a checkpoint when much was logged since the last one, however few entries that was.
async fn checkpoint_by_size(node: &Node, logged_at_checkpoint: &mut u64) {
    let Ok(logged) = node.log.wal().map(|wal| wal.stats().appended_bytes) else { return };
    if logged.saturating_sub(*logged_at_checkpoint) >= node.tuning.checkpoint_bytes
        && node.raft.trigger().snapshot().await.is_ok()
    {
        *logged_at_checkpoint = logged;
    }
}

/// Lets go of log behind the checkpoint that is more than may be kept, however few entries that is.
async fn purge_by_size(node: &Node) {
    let keep_bytes = match node.role {
        Role::Data => node.tuning.keep_bytes,
        Role::Arbiter => node.tuning.arbiter_keep_bytes,
    };
    let Ok(wal) = node.log.wal() else { return };
    let metrics = node.metrics();
    let Some(snapshot) = metrics.snapshot.filter(|_| wal.stats().disk_bytes > keep_bytes) else { return };
    let upto = wal.tail_within(keep_bytes).saturating_sub(1).min(snapshot.index());
    if upto > metrics.purged.map_or(0, |log_id| log_id.index()) {
        // Asked again on the next tick where Raft is too busy to listen.
        let _ = node.raft.trigger().purge_log(upto).await;
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
