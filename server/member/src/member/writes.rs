//! Puts and deletes.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::Bytes;
use conure_client::api::{DeleteAnswer, PutAnswer};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::core::{Core, Counters};
use crate::facade::Refusal;
use crate::raft::types::{Command, Outcome};

const KEY_BYTES_MAX: usize = 4_096;
const VALUE_BYTES_MAX: usize = 4 << 20;

/// Refuses what is no key.
pub(crate) fn check_key(key: &[u8]) -> Result<(), Refusal> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        return Err(Refusal::Invalid(format!(
            "the key has {} bytes; a key has 1 to {KEY_BYTES_MAX}",
            key.len()
        )));
    }
    Ok(())
}

impl Core {
    pub(crate) async fn put(&self, key: Bytes, value: Bytes) -> Result<PutAnswer, Refusal> {
        check_key(&key)?;
        if value.len() > VALUE_BYTES_MAX {
            return Err(Refusal::Invalid(format!(
                "the value has {} bytes; a value has at most {VALUE_BYTES_MAX}",
                value.len()
            )));
        }
        match self.write(Command::Put { key, value }).await? {
            Outcome::Put { revision } => Ok(PutAnswer { revision }),
            other => Err(self.unexpected(&other)),
        }
    }

    pub(crate) async fn delete(&self, key: Bytes) -> Result<DeleteAnswer, Refusal> {
        check_key(&key)?;
        match self.write(Command::Delete { key }).await? {
            Outcome::Deleted { deleted, revision } => Ok(DeleteAnswer { deleted, revision }),
            other => Err(self.unexpected(&other)),
        }
    }

    fn unexpected(&self, outcome: &Outcome) -> Refusal {
        match outcome {
            Outcome::Gone => Refusal::NotInCluster(self.why_not_in_cluster()),
            other => Refusal::UnknownOutcome(format!("it was applied as {other:?}")),
        }
    }

    async fn write(&self, command: Command) -> Result<Outcome, Refusal> {
        let node = self.leading()?;
        let busy = |_| {
            Counters::add(&self.counters.busy);
            Refusal::Busy
        };
        // Deletes make room in the end.
        if matches!(command, Command::Put { .. }) {
            self.room.admit(command.weight()).inspect_err(|_| Counters::add(&self.counters.disk_full))?;
        }
        let weight = u32::try_from(command.weight()).unwrap_or(u32::MAX);
        let slot = Arc::clone(&self.write_slots).try_acquire_owned().map_err(busy)?;
        let bytes = Arc::clone(&self.write_bytes).try_acquire_many_owned(weight).map_err(busy)?;
        if self.stopping.load(Ordering::Relaxed) {
            return Err(Refusal::Stopping);
        }
        let raft = node.raft.clone();
        let writing = ToTheEnd::new(async move {
            // Raft holds the change until then, whoever waits for it.
            let _held = (slot, bytes);
            raft.client_write(command).await
        });
        let written = timeout(node.tuning.write_timeout, writing).await;
        let outcome = node.refused(written).map(|response| response.data);
        match &outcome {
            Ok(_) => Counters::add(&self.counters.writes),
            Err(Refusal::UnknownOutcome(_)) => Counters::add(&self.counters.writes_unknown),
            Err(_) => {}
        }
        outcome
    }
}

/// Work that goes on by itself once nobody waits for it any more.
struct ToTheEnd<F: Future<Output: Send> + Send + 'static>(Option<Pin<Box<F>>>);

impl<F: Future<Output: Send> + Send + 'static> ToTheEnd<F> {
    fn new(work: F) -> Self {
        Self(Some(Box::pin(work)))
    }
}

impl<F: Future<Output: Send> + Send + 'static> Future for ToTheEnd<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let Some(work) = &mut self.0 else { return Poll::Pending };
        let polled = work.as_mut().poll(context);
        if polled.is_ready() {
            self.0 = None;
        }
        polled
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for ToTheEnd<F> {
    fn drop(&mut self) {
        if let Some(rest) = self.0.take()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(rest);
        }
    }
}
