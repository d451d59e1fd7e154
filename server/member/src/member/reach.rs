//! Whether this member can dial its leader. One that is only dialled follows, and yet serves no linearizable read: it is not
//! ready.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use openraft::async_runtime::WatchReceiver as _;
use tokio::time::{Instant, sleep};

use super::node::Node;
use crate::transport::connection::{CallError, Connection};
use crate::transport::message::Request;

/// How often the leader is asked while it answers.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// And while it does not.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// A leader that cannot be dialled for no longer than that may have stopped.
const SILENCE_MAX: Duration = Duration::from_secs(2);

/// Since when the leader is not reached, and why.
#[derive(Debug)]
struct Failing {
    since: Instant,
    leader: String,
    why: String,
}

#[derive(Debug, Default)]
struct State {
    /// Some leader was reached, or this member led.
    reached: bool,
    failing: Option<Failing>,
}

/// What is known of the way to the leader.
#[derive(Debug, Default)]
pub(crate) struct Reach(Mutex<State>);

impl Reach {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reached(&self) {
        *self.state() = State { reached: true, failing: None };
    }

    fn failed(&self, leader: String, why: String) {
        let mut state = self.state();
        let since = state.failing.as_ref().map_or_else(Instant::now, |failing| failing.since);
        state.failing = Some(Failing { since, leader, why });
    }

    /// Whether some leader was reached, or this member led.
    pub(super) fn was_reached(&self) -> bool {
        self.state().reached
    }

    /// Why the leader is not reached, in one line for users.
    pub(crate) fn why_not(&self) -> Option<String> {
        let state = self.state();
        match &state.failing {
            Some(failing) if !state.reached || failing.since.elapsed() >= SILENCE_MAX => Some(format!(
                "{} cannot be dialled from here: {}; see that its address is right and can be reached from this member",
                failing.leader, failing.why
            )),
            None if !state.reached => Some("the leader was not dialled yet".to_owned()),
            _ => None,
        }
    }
}

/// Looks again and again, until Raft ends.
pub(super) async fn watch(node: Arc<Node>) {
    let mut server = node.raft.server_metrics();
    let mut line: Option<(u64, Connection)> = None;
    loop {
        let pause = look(&node, &mut line).await;
        tokio::select! {
            changed = server.changed() => if changed.is_err() {
                // Whoever watches Raft sees to its end.
                std::future::pending::<()>().await;
            },
            () = sleep(pause) => {}
        }
    }
}

async fn look(node: &Node, line: &mut Option<(u64, Connection)>) -> Duration {
    let Some((id, peer)) = node.leader() else {
        *line = None;
        return LOOK_AGAIN;
    };
    if id == node.identity.node_id {
        *line = None;
        node.reach.reached();
        return LOOK_EVERY;
    }
    let kept = line.take().filter(|(of, _)| *of == id).map(|(_, connection)| connection);
    let was_kept = kept.is_some();
    let asked = async {
        let mut connection = match kept {
            Some(connection) => connection,
            None => node.dialer.open(id, &peer.raft_addr, PATIENCE).await?,
        };
        connection.call(&Request::Identify, PATIENCE).await?;
        Ok::<_, CallError>(connection)
    };
    match asked.await {
        Ok(connection) => {
            *line = Some((id, connection));
            node.reach.reached();
            LOOK_EVERY
        }
        // It may have restarted since.
        Err(_) if was_kept => Duration::ZERO,
        Err(e) => {
            node.reach.failed(format!("leader {:?} at {:?}", peer.name, peer.raft_addr), e.to_string());
            LOOK_AGAIN
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_is_out_of_reach_before_it_was_reached_and_after_a_while_without_an_answer() {
        let reach = Reach::default();
        assert!(reach.why_not().is_some());
        let failed = |why: &str| reach.failed("leader \"n1\"".into(), why.into());
        failed("no route");
        assert!(reach.why_not().is_some_and(|why| why.contains("n1") && why.contains("no route")));
        reach.reached();
        assert_eq!(reach.why_not(), None);
        failed("refused");
        failed("refused");
        assert_eq!(reach.why_not(), None, "it may have stopped");
        if let Some(failing) = &mut reach.state().failing {
            failing.since -= SILENCE_MAX;
        }
        assert!(reach.why_not().is_some());
        reach.reached();
        assert_eq!(reach.why_not(), None);
    }
}
