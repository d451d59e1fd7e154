//! A snapshot on its way in.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::frame::FrameError;
use super::message::CHUNK_MAX;
use crate::platform;
use crate::raft::intake::{Intake, Turn};
use crate::raft::records::{Joiner, TreeId};
use crate::raft::state::{APPLIED_KEY, Applied};
use crate::raft::state_machine::SnapshotData;
use crate::raft::store::Store;
use crate::raft::types::{SnapshotMeta, Vote};

/// Chunks that wait for the disk.
const WAITING: usize = 2;

/// What the writer is given. A channel that closes without an end was broken off.
#[derive(Debug)]
enum Piece {
    Chunk(Bytes),
    End,
}

/// Takes the chunks of one snapshot, and gives what they make when they are all there.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) vote: Vote,
    pub(crate) meta: SnapshotMeta,
    chunks: Option<mpsc::Sender<Piece>>,
    writer: JoinHandle<io::Result<SnapshotData>>,
    len: u64,
    crc: u32,
    /// Which one it is, where it can be resumed.
    id: Option<u64>,
    /// Cancelled when a later one comes in: nothing more is received then.
    pub(crate) superseded: CancellationToken,
}

impl Incoming {
    /// Begins to receive; the state machine is not touched before the whole is installed. The turn is the writer's, and
    /// then that of what it made: one snapshot at a time, however early its sender goes.
    pub(crate) fn begin(
        store: &Arc<Store>,
        vote: Vote,
        meta: SnapshotMeta,
        with_data: bool,
        id: Option<u64>,
        turn: Turn,
        superseded: CancellationToken,
    ) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        let store = Arc::clone(store);
        let writer = platform::consume(receiver, move |pieces| {
            if with_data { receive_tree(&store, turn, pieces) } else { receive_bare(turn, pieces) }
        });
        Self { vote, meta, chunks: Some(sender), writer, len: 0, crc: 0, id, superseded }
    }

    /// Up to here, in bytes, its chunks came.
    pub(crate) fn received(&self) -> u64 {
        self.len
    }

    /// Whether it may go on should it come again.
    pub(crate) fn can_resume(&self) -> bool {
        self.id.is_some() && self.len > 0 && self.chunks.is_some()
    }

    /// Whether it is the one called so.
    pub(crate) fn is(&self, id: u64, meta: &SnapshotMeta) -> bool {
        self.id == Some(id) && self.meta.last_log_id == meta.last_log_id
    }

    /// Takes the next chunk.
    pub(crate) async fn push(&mut self, chunk: Bytes) -> Result<(), FrameError> {
        if chunk.len() > CHUNK_MAX {
            return Err(FrameError::TooLong { len: chunk.len(), max: CHUNK_MAX });
        }
        self.len += chunk.len() as u64;
        self.crc = crc32c::crc32c_append(self.crc, &chunk);
        if let Some(chunks) = &self.chunks
            && chunks.send(Piece::Chunk(chunk)).await.is_err()
        {
            // The writer met an error: it is told at the end, and the rest is not needed.
            self.chunks = None;
        }
        Ok(())
    }

    /// All chunks came: the whole, if it is what was sent.
    pub(crate) async fn finish(
        mut self,
        len: u64,
        crc: u32,
    ) -> io::Result<(Vote, SnapshotMeta, SnapshotData)> {
        let intact = self.len == len && self.crc == crc;
        if !intact {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the snapshot did not arrive as it was sent",
            ));
        }
        if let Some(chunks) = self.chunks.take() {
            // Where the writer is gone already, its error is the answer.
            let _ = chunks.send(Piece::End).await;
        }
        let data = (&mut self.writer).await.map_err(io::Error::other)??;
        Ok((self.vote, self.meta.clone(), data))
    }
}

fn invalid(text: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// Hands every chunk to `sink`; an error where the stream breaks off.
fn each_chunk(
    pieces: &mut dyn Iterator<Item = Piece>,
    mut sink: impl FnMut(&Bytes) -> io::Result<()>,
) -> io::Result<()> {
    loop {
        match pieces.next() {
            Some(Piece::Chunk(chunk)) => sink(&chunk)?,
            Some(Piece::End) => return Ok(()),
            None => return Err(invalid("the snapshot broke off")),
        }
    }
}

fn receive_tree(
    store: &Store,
    turn: Turn,
    pieces: &mut dyn Iterator<Item = Piece>,
) -> io::Result<SnapshotData> {
    let mut intake = Intake::create(store.disk(), turn)?;
    each_chunk(pieces, |chunk| intake.push(chunk))?;
    Ok(SnapshotData::Received(Box::new(intake.finish()?)))
}

fn receive_bare(_turn: Turn, pieces: &mut dyn Iterator<Item = Piece>) -> io::Result<SnapshotData> {
    let (mut joiner, mut applied) = (Joiner::default(), None);
    each_chunk(pieces, |chunk| {
        joiner.push(chunk, |tree, key, value| {
            if tree != TreeId::Meta || key != APPLIED_KEY {
                return Err(invalid("a snapshot without data has data"));
            }
            applied = Some(Applied::decode(value)?);
            Ok(())
        })
    })?;
    let applied = applied.ok_or_else(|| invalid("the snapshot is empty"))?;
    Ok(SnapshotData::Bare(Box::new(applied)))
}

/// How long a snapshot whose connection broke is remembered, on both sides.
pub(crate) const RESUME_PATIENCE: Duration = Duration::from_secs(60);

/// Room for one snapshot whose connection broke. While it is here it keeps its turn.
#[derive(Debug, Default)]
pub(crate) struct Parked {
    slot: Mutex<Option<(Instant, Incoming)>>,
    /// Cancelled when another one comes in.
    latest: Mutex<CancellationToken>,
}

impl Parked {
    fn slot(&self) -> MutexGuard<'_, Option<(Instant, Incoming)>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more comes in. The connection of one that is still coming in is dead, and only this side does not know yet: a leader
    /// sends one at a time. That one is ended, and parked where it can be resumed.
    pub(crate) fn supersede(&self) -> CancellationToken {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *latest, CancellationToken::new()).cancel();
        latest.clone()
    }

    /// Remembers it, if it can be resumed.
    pub(crate) fn put(&self, incoming: Incoming) {
        if incoming.can_resume() {
            *self.slot() = Some((Instant::now(), incoming));
        }
    }

    /// The one called `id`. Any other is let go of: whoever comes now has the turn.
    pub(crate) fn take(&self, id: Option<u64>, meta: &SnapshotMeta) -> Option<Incoming> {
        let (_, incoming) = self.slot().take()?;
        id.is_some_and(|id| incoming.is(id, meta)).then_some(incoming)
    }

    /// Lets go of one that nobody came back for.
    pub(crate) fn sweep(&self) {
        let mut slot = self.slot();
        if slot.as_ref().is_some_and(|(since, _)| since.elapsed() > RESUME_PATIENCE) {
            *slot = None;
        }
    }

    pub(crate) fn clear(&self) {
        *self.slot() = None;
    }
}
