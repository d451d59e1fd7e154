//! Reads: linearizable on every data member, or of whatever this member has.

use std::sync::Arc;
use std::time::Duration;

use conure_client::api::Role;
use tokio::time::{Instant, sleep, timeout_at};

use super::core::{Core, Counters};
use super::node::Node;
use super::rounds::NoIndex;
use super::writes::check_key;
use crate::facade::{Consistency, ReadAnswer, Refusal};
use crate::failure::Fault;
use crate::planted::Planted;

/// Between two rounds that found no leader.
const RETRY: Duration = Duration::from_millis(25);

impl Core {
    pub(crate) async fn get(&self, key: &[u8], consistency: Consistency) -> Result<ReadAnswer, Refusal> {
        check_key(key)?;
        let node = self.data_node()?;
        match consistency {
            Consistency::Stale => Counters::add(&self.counters.reads_stale),
            Consistency::Linearizable => {
                self.catch_up(&node).await?;
                Counters::add(&self.counters.reads_linearizable);
            }
        }
        node.store.get(key).map_err(|e| self.unreadable(&node, &e))
    }

    /// What a failed read of the database means: it is broken, or this life has just ended.
    pub(crate) fn unreadable(&self, node: &Node, error: &std::io::Error) -> Refusal {
        if node.stop.is_cancelled() {
            return self.node().err().unwrap_or(Refusal::Stopping);
        }
        self.failure.set(Fault::of("the database", error));
        Refusal::Storage(error.to_string())
    }

    /// The present life, if it has data.
    pub(crate) fn data_node(&self) -> Result<Arc<Node>, Refusal> {
        let node = self.node()?;
        if node.role == Role::Arbiter { Err(Refusal::Arbiter(node.serving_leader())) } else { Ok(node) }
    }

    /// Waits until this member has applied every change that was acknowledged before the call.
    pub(crate) async fn catch_up(&self, node: &Node) -> Result<(), Refusal> {
        if Planted::ReadsWithoutBarrier.is_on() {
            return Ok(());
        }
        let patience = self.config.barrier_timeout;
        let deadline = Instant::now() + patience;
        let late = |no_leader: bool| {
            if no_leader && node.leader().is_none() {
                Refusal::NoLeader
            } else {
                Refusal::BarrierTimeout(patience)
            }
        };
        let index = loop {
            match timeout_at(deadline, node.reads.join()).await {
                Err(_) => return Err(late(true)),
                Ok(None) => return Err(self.node().err().unwrap_or(Refusal::NoLeader)),
                Ok(Some(Ok(index))) => break index,
                Ok(Some(Err(NoIndex::NoLeader | NoIndex::Unconfirmed))) => {
                    // Another member will answer sooner.
                    self.node()?;
                    if timeout_at(deadline, sleep(RETRY)).await.is_err() {
                        return Err(late(true));
                    }
                }
            }
        };
        Counters::add(&self.counters.read_rounds);
        let mut applied = node.store.watch();
        let reached = timeout_at(deadline, applied.wait_for(|applied| applied.index() >= index)).await;
        match reached {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(Refusal::Stopping),
            Err(_) => Err(late(false)),
        }
    }
}
