//! The state machine as openraft sees it.

use std::io;
use std::sync::Arc;

use conure_client::api::Role;
use futures::{Stream, StreamExt as _};
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine, Snapshot};
use openraft::{EntryPayload, OptionalSend};

use super::intake::{Intake, Received};
use super::records;
use super::state::Applied;
use super::store::{FloorOf, Store, View};
use super::types::{Command, LogId, SnapshotMeta, StoredMembership, TypeConfig};
use crate::platform::{self, Worker};

/// So many entries are applied in one commit at most.
const BATCH_ENTRIES_MAX: usize = 1_024;
/// And so many bytes of keys and values, or one entry.
const BATCH_BYTES_MAX: usize = 4 << 20;

/// A snapshot, on either side.
#[derive(Debug)]
pub(crate) enum SnapshotData {
    /// The tree as some moment saw it, to be sent.
    View(Arc<View>),
    /// A whole tree that was received.
    Received(Box<Received>),
    /// What was applied and nothing else: what an arbiter has.
    Bare(Box<Applied>),
}

impl SnapshotData {
    /// What its state says of itself.
    pub(crate) fn applied(&self) -> io::Result<Applied> {
        match self {
            Self::View(view) => Ok(view.applied.clone()),
            Self::Received(received) => received.applied(),
            Self::Bare(applied) => Ok(Applied::clone(applied)),
        }
    }
}

type BuiltSnapshot = openraft::alias::SnapshotOf<TypeConfig, SnapshotData>;

/// Applies entries to a [`Store`] and makes its checkpoints.
#[derive(Clone)]
pub(crate) struct StateMachine {
    pub(crate) store: Arc<Store>,
    pub(crate) floor: FloorOf,
    /// What Raft waits for before it applies the next entries is done here: nothing else may hold that up.
    pub(crate) apply: Worker,
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    let work = move || conure_program::run_named("state machine", work);
    platform::spawn_blocking(work).await.unwrap_or_else(|e| Err(io::Error::other(e)))
}

impl StateMachine {
    fn snapshot(store: &Store) -> io::Result<Option<BuiltSnapshot>> {
        if store.role() == Role::Arbiter {
            let applied = Applied::clone(&store.applied());
            let meta = applied.snapshot_meta();
            return Ok(applied
                .log_id
                .map(|_| Snapshot { meta, snapshot: SnapshotData::Bare(Box::new(applied)) }));
        }
        let view = match store.shelf.take() {
            Some(kept) => kept,
            None => Arc::new(store.view()?),
        };
        let meta = view.applied.snapshot_meta();
        Ok(view.applied.log_id.map(|_| Snapshot { meta, snapshot: SnapshotData::View(view) }))
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        let applied = self.store.applied();
        Ok((applied.log_id, applied.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        let mut more = true;
        while more {
            let (mut batch, mut responders, mut weight) = (Vec::new(), Vec::new(), 0);
            while batch.len() < BATCH_ENTRIES_MAX && weight < BATCH_BYTES_MAX {
                let Some(next) = entries.next().await else {
                    more = false;
                    break;
                };
                let (entry, responder) = next?;
                if let EntryPayload::Normal(command) = &entry.payload {
                    weight += Command::weight(command);
                }
                batch.push(entry);
                responders.push(responder);
            }
            if batch.is_empty() {
                break;
            }
            let store = Arc::clone(&self.store);
            let applied = self.apply.run(move || {
                let outcomes = store.apply(batch)?;
                for (responder, outcome) in responders.into_iter().zip(outcomes) {
                    if let Some(responder) = responder {
                        responder.send(outcome);
                    }
                }
                Ok(())
            });
            applied.await.and_then(|applied: io::Result<()>| applied)?;
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self::SnapshotBuilder {
        self.clone()
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: SnapshotData,
    ) -> Result<(), io::Error> {
        let (store, floor, last) = (Arc::clone(&self.store), Arc::clone(&self.floor), meta.last_log_id);
        let installed = self.apply.run(move || match snapshot {
            SnapshotData::Received(received) => store.install(received.into_tree(last)?, &floor).map(Some),
            SnapshotData::Bare(applied) => store.install_bare(*applied, &floor).map(|()| None),
            SnapshotData::View(view) => {
                let turn = store.try_incoming().ok_or_else(|| io::Error::other("a snapshot comes in"))?;
                let mut intake = Intake::create(store.disk(), turn)?;
                records::send_all(&view.read, true, |chunk| intake.push(&chunk))?;
                store.install(intake.finish()?.into_tree(last)?, &floor).map(Some)
            }
        });
        let replaced = installed.await.and_then(|installed: io::Result<_>| installed)?;
        if let Some(replaced) = replaced {
            // Beside all else: what is applied next does not wait for it.
            platform::spawn_blocking(|| replaced.discard());
        }
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<BuiltSnapshot>, io::Error> {
        let store = Arc::clone(&self.store);
        self.apply.run(move || Self::snapshot(&store)).await.and_then(|snapshot| snapshot)
    }
}

impl RaftSnapshotBuilder<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotData;

    /// The snapshot is the tree itself: building one makes it durable, so that the log may go.
    async fn build_snapshot(&mut self) -> Result<BuiltSnapshot, io::Error> {
        let (store, floor) = (Arc::clone(&self.store), Arc::clone(&self.floor));
        blocking(move || {
            store.flush_ahead()?;
            let applied = store.checkpoint(&floor)?;
            // What was built is named by the checkpoint: the log is purged behind that, not behind what was
            // applied since.
            let meta = applied.snapshot_meta();
            Ok(Snapshot { meta, snapshot: SnapshotData::Bare(Box::new(applied)) })
        })
        .await
    }
}
