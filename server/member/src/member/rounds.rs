//! Rounds that many share. Whoever asks gets the answer of a round that began after it asked: those who ask while a
//! round is under way wait for the next one, all together.

use std::future::Future;
use std::time::Duration;

use openraft::ReadPolicy;
use openraft::async_runtime::WatchReceiver as _;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::node::ConureRaft;
use crate::failure::{Failure, until};
use crate::transport::connection::{CallError, Connection};
use crate::transport::message::{Request, Response};
use crate::transport::network::Dialer;

/// So many may wait for the next round.
const WAITING_MAX: usize = 16_384;
/// How long a leader may take to confirm that it leads.
pub(crate) const ROUND_PATIENCE: Duration = Duration::from_secs(2);

/// One kind of round.
pub(crate) trait Round: Send + 'static {
    type Answer: Clone + Send + 'static;

    fn run(&mut self) -> impl Future<Output = Self::Answer> + Send;
}

/// The front of a task that runs rounds, one at a time.
#[derive(Debug)]
pub(crate) struct Rounds<R: Round> {
    waiting: mpsc::Sender<oneshot::Sender<R::Answer>>,
}

impl<R: Round> Clone for Rounds<R> {
    fn clone(&self) -> Self {
        Self { waiting: self.waiting.clone() }
    }
}

impl<R: Round> Rounds<R> {
    /// `name` is the task's. It ends with `stop`, or when nobody is left who could ask.
    pub(crate) fn new(name: &'static str, mut round: R, stop: CancellationToken, failure: Failure) -> Self {
        let (waiting, mut heard) = mpsc::channel::<oneshot::Sender<R::Answer>>(WAITING_MAX);
        let work = async move {
            let mut together = Vec::new();
            while heard.recv_many(&mut together, WAITING_MAX).await > 0 {
                let answer = round.run().await;
                for one in together.drain(..) {
                    // Whoever gave up does not listen.
                    let _ = one.send(answer.clone());
                }
            }
        };
        tokio::spawn(async move {
            failure.catch(name, until(stop, work)).await;
        });
        Self { waiting }
    }

    /// The answer of a round that begins after this call; `None` when there are no more rounds.
    pub(crate) async fn join(&self) -> Option<R::Answer> {
        let (sender, receiver) = oneshot::channel();
        self.waiting.send(sender).await.ok()?;
        receiver.await.ok()
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

/// Finds the index that a linearizable read must wait for.
#[expect(clippy::large_enum_variant, reason = "a member has two of them")]
pub(crate) enum IndexRound {
    /// This member leads, or there is no answer.
    Lead(ConureRaft),
    /// Asks whoever leads.
    Ask {
        raft: ConureRaft,
        leads: Rounds<IndexRound>,
        dialer: Dialer,
        connection: Option<(u64, Connection)>,
        /// How long the leader may take, as long as it is the leader.
        patience: Duration,
    },
}

impl std::fmt::Debug for IndexRound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Lead(_) => "IndexRound::Lead",
            Self::Ask { .. } => "IndexRound::Ask",
        })
    }
}

impl Round for IndexRound {
    type Answer = Result<u64, NoIndex>;

    async fn run(&mut self) -> Self::Answer {
        match self {
            Self::Lead(raft) => lead(raft).await,
            Self::Ask { raft, leads, dialer, connection, patience } => {
                ask(raft, leads, dialer, connection, *patience).await
            }
        }
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
    leads: &Rounds<IndexRound>,
    dialer: &Dialer,
    connection: &mut Option<(u64, Connection)>,
    patience: Duration,
) -> Result<u64, NoIndex> {
    let (leader, addr) = {
        let metrics = raft.metrics();
        let metrics = metrics.borrow_watched();
        let leader = metrics.current_leader.ok_or(NoIndex::NoLeader)?;
        let peer = metrics.membership_config.membership().get_node(&leader).ok_or(NoIndex::NoLeader)?;
        (leader, peer.raft_addr.clone())
    };
    if leader == dialer.node_id {
        // Boxed: the two kinds of rounds name each other.
        return Box::pin(leads.join()).await.unwrap_or(Err(NoIndex::Unconfirmed));
    }
    let used = connection.take().filter(|(id, _)| *id == leader).map(|(_, connection)| connection);
    let asking = async {
        let mut open = match used {
            Some(open) => open,
            None => dialer.open(leader, &addr, patience).await?,
        };
        let answer = open.call(&Request::ReadIndex, patience).await?;
        Ok::<_, CallError>((answer, open))
    };
    // One that died without a word, or was cut off, answers no more: the next leader shall be asked at once.
    let wait = raft.wait(Some(2 * patience));
    let lost = wait.metrics(|m| m.current_leader != Some(leader), "follow another");
    tokio::select! {
        asked = asking => match asked {
            Ok((answer, open)) => {
                *connection = Some((leader, open));
                if let Response::ReadIndex(index) = answer { Ok(index) } else { Err(NoIndex::Unconfirmed) }
            }
            Err(_) => Err(NoIndex::Unconfirmed),
        },
        _ = lost => Err(NoIndex::Unconfirmed),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

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
        let rounds = Rounds::new("rounds", round, CancellationToken::new(), Failure::default());
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
        while rounds.waiting.capacity() > WAITING_MAX - 10 {
            tokio::task::yield_now().await;
        }
        gate.notify_one();
        assert_eq!(first.await.unwrap(), Some(1));
        gate.notify_one();
        for one in late {
            assert_eq!(one.await.unwrap(), Some(2));
        }
    }
}
