//! Rounds that many share. Whoever asks gets the answer of a round that began after it asked: those who ask while a
//! round is under way wait for the next one, all together.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use openraft::ReadPolicy;
use openraft::async_runtime::WatchReceiver as _;
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;

use super::node::ConureRaft;
use crate::transport::connection::Connection;
use crate::transport::message::{Purpose, Request, Response};
use crate::transport::network::Dialer;

/// How long a leader may take to confirm that it leads.
const ROUND_PATIENCE: Duration = Duration::from_secs(2);

/// One kind of round.
pub(crate) trait Round: Send + 'static {
    type Answer: Clone + std::fmt::Debug + Send + Sync + 'static;

    fn run(&mut self) -> impl Future<Output = Self::Answer> + Send;
}

/// Rounds of one kind, one at a time, each run by one of those who wait for it: a task of its own would cost two switches
/// between threads per round. Cloning shares them.
pub(crate) struct Rounds<R: Round>(Arc<Shared<R>>);

impl<R: Round> std::fmt::Debug for Rounds<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rounds").field("begun", &self.0.begun).finish_non_exhaustive()
    }
}

struct Shared<R: Round> {
    /// Held while a round runs. Whoever waits longest gets it next, also when the one that had it gave up.
    turn: Mutex<R>,
    /// So many rounds have begun.
    begun: AtomicU64,
    /// The newest round that ended, and its answer.
    ended: watch::Sender<(u64, Option<R::Answer>)>,
    stop: CancellationToken,
}

impl<R: Round> Clone for Rounds<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<R: Round> Rounds<R> {
    pub(crate) fn new(round: R, stop: CancellationToken) -> Self {
        let ended = watch::channel((0, None)).0;
        Self(Arc::new(Shared { turn: Mutex::new(round), begun: AtomicU64::new(0), ended, stop }))
    }

    /// The answer of a round that begins after this call; `None` when there are no more rounds.
    pub(crate) async fn join(&self) -> Option<R::Answer> {
        let Shared { turn, begun, ended, stop } = &*self.0;
        // What has begun is too early for this one.
        let wanted = begun.load(Ordering::SeqCst) + 1;
        let mut heard = ended.subscribe();
        let later = async {
            heard.wait_for(|(number, _)| *number >= wanted).await.ok().and_then(|newest| newest.1.clone())
        };
        let mine = tokio::select! {
            biased;
            () = stop.cancelled() => return None,
            answer = later => return answer,
            mut round = turn.lock() => {
                let number = begun.fetch_add(1, Ordering::SeqCst) + 1;
                let answer = tokio::select! {
                    () = stop.cancelled() => return None,
                    answer = round.run() => answer,
                };
                // Before the turn is given on: whoever gets it finds that its round is over.
                ended.send_replace((number, Some(answer.clone())));
                answer
            }
        };
        Some(mine)
    }
}

/// Why a round gave no read index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoIndex {
    /// No leader is known.
    NoLeader,
    /// The leader did not confirm in time that it leads, or was not reached.
    Unconfirmed,
}

/// Finds the index that a linearizable read must wait for, where this member leads.
pub(crate) struct Lead(pub(crate) ConureRaft);

impl Round for Lead {
    type Answer = Result<u64, NoIndex>;

    async fn run(&mut self) -> Self::Answer {
        lead(&self.0).await
    }
}

/// The same, asking whoever leads.
pub(crate) struct Ask {
    pub(crate) raft: ConureRaft,
    pub(crate) leads: Rounds<Lead>,
    pub(crate) dialer: Dialer,
    pub(crate) connection: Option<(u64, Connection)>,
}

impl Round for Ask {
    type Answer = Result<u64, NoIndex>;

    async fn run(&mut self) -> Self::Answer {
        ask(&self.raft, &self.leads, &self.dialer, &mut self.connection).await
    }
}

async fn lead(raft: &ConureRaft) -> Result<u64, NoIndex> {
    let confirmed = raft.get_read_linearizer(ReadPolicy::ReadIndex);
    // A leader that hands over gets no more acknowledgements: its readers shall ask the next one at once.
    let wait = raft.wait(Some(ROUND_PATIENCE));
    let lost = wait.metrics(|m| m.current_leader != Some(m.id), "lose leadership");
    tokio::select! {
        asked = confirmed => {
            asked.map(|linearizer| linearizer.read_log_id().index()).map_err(|_| NoIndex::Unconfirmed)
        }
        // Or as long as a leader may take.
        _ = lost => Err(NoIndex::Unconfirmed),
    }
}

async fn ask(
    raft: &ConureRaft,
    leads: &Rounds<Lead>,
    dialer: &Dialer,
    connection: &mut Option<(u64, Connection)>,
) -> Result<u64, NoIndex> {
    let (leader, addr) = {
        let metrics = raft.metrics();
        let metrics = metrics.borrow_watched();
        let leader = metrics.current_leader.ok_or(NoIndex::NoLeader)?;
        let peer = metrics.membership_config.membership().get_node(&leader).ok_or(NoIndex::NoLeader)?;
        (leader, peer.raft_addr.clone())
    };
    if leader == dialer.node_id {
        return leads.join().await.unwrap_or(Err(NoIndex::Unconfirmed));
    }
    let used = connection.take().filter(|(id, _)| *id == leader).map(|(_, connection)| connection);
    let mut open = match used {
        Some(open) => open,
        None => Connection::open(&addr, &dialer.hello(Purpose::Cluster, leader), ROUND_PATIENCE)
            .await
            .map_err(|_| NoIndex::Unconfirmed)?,
    };
    match open.call(&Request::ReadIndex, ROUND_PATIENCE).await {
        Ok(Response::ReadIndex(index)) => {
            *connection = Some((leader, open));
            Ok(index)
        }
        Ok(_) => {
            *connection = Some((leader, open));
            Err(NoIndex::Unconfirmed)
        }
        Err(_) => Err(NoIndex::Unconfirmed),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use tokio::sync::Notify;

    use super::*;

    struct Gated {
        begun: Arc<AtomicUsize>,
        gate: Arc<Notify>,
    }

    impl Round for Gated {
        type Answer = usize;

        async fn run(&mut self) -> usize {
            let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
            self.gate.notified().await;
            number
        }
    }

    #[tokio::test]
    async fn who_asks_during_a_round_waits_for_the_next_and_shares_it() {
        let (begun, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let round = Gated { begun: Arc::clone(&begun), gate: Arc::clone(&gate) };
        let rounds = Rounds::new(round, CancellationToken::new());
        let first = tokio::spawn({
            let rounds = rounds.clone();
            async move { rounds.join().await }
        });
        while begun.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        let late: Vec<_> = (0..10)
            .map(|_| {
                let rounds = rounds.clone();
                tokio::spawn(async move { rounds.join().await })
            })
            .collect();
        while rounds.0.ended.receiver_count() < 11 {
            tokio::task::yield_now().await;
        }
        gate.notify_one();
        assert_eq!(first.await.unwrap(), Some(1));
        gate.notify_one();
        for one in late {
            assert_eq!(one.await.unwrap(), Some(2));
        }
    }

    #[tokio::test]
    async fn who_gives_up_lets_another_run_the_round() {
        let (begun, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let round = Gated { begun: Arc::clone(&begun), gate: Arc::clone(&gate) };
        let rounds = Rounds::new(round, CancellationToken::new());
        let join = || {
            let rounds = rounds.clone();
            tokio::spawn(async move { rounds.join().await })
        };
        let first = join();
        while begun.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        let late = join();
        while rounds.0.ended.receiver_count() < 2 {
            tokio::task::yield_now().await;
        }
        first.abort();
        while begun.load(Ordering::SeqCst) == 1 {
            tokio::task::yield_now().await;
        }
        gate.notify_one();
        assert_eq!(late.await.unwrap(), Some(2));
    }

    #[tokio::test]
    async fn nobody_waits_once_it_stops() {
        let (begun, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let stop = CancellationToken::new();
        let rounds = Rounds::new(Gated { begun: Arc::clone(&begun), gate }, stop.clone());
        let join = || {
            let rounds = rounds.clone();
            tokio::spawn(async move { rounds.join().await })
        };
        let both = (join(), join());
        while begun.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        stop.cancel();
        assert_eq!((both.0.await.unwrap(), both.1.await.unwrap(), rounds.join().await), (None, None, None));
    }
}
