//! The log store as openraft sees it, over conure-wal.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use conure_wal::Wal;
use futures::{Stream, stream};
use openraft::OptionalSend;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use super::store::{FloorOf, last_holder};
use super::types::{Entry, LogId, TypeConfig, Vote};
use crate::failure::{Failure, Fault};
use crate::planted::Planted;
use crate::transport::acknowledged::Position;

/// So many bytes of entries are read at once for a follower, or one entry.
const REPLICATE_BYTES: usize = 2 << 20;
/// So many bytes of entries are read at once to be applied, or one entry.
const APPLY_BYTES: usize = 4 << 20;

/// The log, shared by everyone who appends and reads.
#[derive(Debug, Clone)]
pub(crate) struct LogStore {
    /// Empty once it was closed: Raft's tasks may outlive it a little, the files' lock must not.
    wal: Arc<RwLock<Option<Arc<Wal>>>>,
    failure: Failure,
}

fn wal_error(error: conure_wal::Error) -> io::Error {
    io::Error::other(error)
}

fn encode<T: Serialize>(value: &T) -> io::Result<Bytes> {
    postcard::to_stdvec(value).map(Bytes::from).map_err(io::Error::other)
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    postcard::from_bytes(bytes)
        .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, format!("the log holds what it cannot: {e}")))
}

/// The index after the last of `entries`, where those are without a gap and begin with `start`.
fn follows(start: u64, entries: &[Entry]) -> io::Result<u64> {
    let missing = |index: u64| {
        let what = format!("entry {index} is missing from the log");
        io::Error::new(io::ErrorKind::InvalidData, what)
    };
    if entries.is_empty() {
        return Err(missing(start));
    }
    entries.iter().try_fold(start, |expected, entry| {
        if entry.log_id.index() == expected { Ok(expected + 1) } else { Err(missing(expected)) }
    })
}

impl LogStore {
    pub(crate) fn new(wal: Arc<Wal>, failure: Failure) -> Self {
        Self { wal: Arc::new(RwLock::new(Some(wal))), failure }
    }

    /// The log underneath.
    pub(crate) fn wal(&self) -> io::Result<Arc<Wal>> {
        let wal = self.wal.read().unwrap_or_else(PoisonError::into_inner).clone();
        wal.ok_or_else(|| io::Error::other("the log is closed"))
    }

    /// What a checkpoint records of this log.
    pub(crate) fn floor(&self) -> FloorOf {
        let log = self.clone();
        Arc::new(move |applied| Ok(log.wal()?.floor(applied.map(|log_id| log_id.index())).encode()))
    }

    /// Writes and syncs what waits and lets go of the files. Blocks.
    pub(crate) fn close(&self) {
        let wal = self.wal.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(wal) = wal {
            last_holder(wal);
        }
    }

    fn read(&self, range: Range<u64>, bytes_max: usize) -> io::Result<Vec<Entry>> {
        let entries = self.wal()?.read(range, bytes_max).map_err(|e| {
            let fault = Fault::from(&e);
            // Raft hands on no more than a text.
            if fault.damaged {
                self.failure.set(fault);
            }
            wal_error(e)
        })?;
        entries.iter().map(|entry| decode(&entry.payload)).collect()
    }

    /// The first entries of `range`, all of which must be there, and the index after them.
    fn read_committed(&self, range: Range<u64>) -> io::Result<(u64, Vec<Entry>)> {
        let entries = self.read(range.clone(), APPLY_BYTES)?;
        // Raft hands on no more than a text.
        let next = follows(range.start, &entries)
            .inspect_err(|e| self.failure.set(Fault::of("applying the log", e)))?;
        Ok((next, entries))
    }

    /// The callback of a submission, and what waits for it.
    fn ticket(&self) -> (impl FnOnce(Result<(), conure_wal::Error>) + Send + 'static, Ticket) {
        let (sender, receiver) = oneshot::channel();
        let failure = self.failure.clone();
        let done = move |result: Result<(), conure_wal::Error>| {
            let result = result.map_err(|e| {
                failure.set(&e);
                wal_error(e)
            });
            // Nobody waits any more where Raft has stopped.
            let _ = sender.send(result);
        };
        (done, Ticket(receiver))
    }

    /// The last entry that it holds or purged.
    pub(crate) fn last(&self) -> io::Result<Option<LogId>> {
        match self.wal()?.last_index() {
            Some(last) => Ok(self.read(last..last + 1, 1)?.pop().map(|entry| entry.log_id)),
            None => self.purged(),
        }
    }

    /// How far it reaches, and its vote, durable or not. The vote is read last: see [`Position`].
    pub(crate) fn position(&self) -> io::Result<Position> {
        let wal = self.wal()?;
        let index = wal.last_index().or_else(|| wal.purged().map(|purged| purged.index));
        Ok(Position { index, vote: wal.vote().map(|vote| decode(&vote)).transpose()? })
    }

    fn purged(&self) -> io::Result<Option<LogId>> {
        self.wal()?.purged().map(|purged| decode(&purged.marker)).transpose()
    }
}

struct Ticket(oneshot::Receiver<io::Result<()>>);

impl Ticket {
    async fn wait(self) -> io::Result<()> {
        self.0.await.unwrap_or_else(|_| Err(io::Error::other("the log is closed")))
    }
}

fn bounds(range: &impl RangeBounds<u64>) -> Range<u64> {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    start..end
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> Result<Vec<Entry>, io::Error>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let mut range = bounds(&range);
        let mut entries: Vec<Entry> = Vec::new();
        while !range.is_empty() {
            let more = self.read(range.clone(), APPLY_BYTES)?;
            let Some(last) = more.last() else { break };
            let next = last.log_id.index() + 1;
            // Missing at the beginning are entries that were purged; a purge between two reads must leave no hole.
            if !entries.is_empty() {
                follows(range.start, &more)?;
            }
            range.start = next;
            entries.extend(more);
        }
        Ok(entries)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        self.wal()?.vote().map(|vote| decode(&vote)).transpose()
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, io::Error> {
        let entries = self.read(start..end, REPLICATE_BYTES)?;
        // Entries purged meanwhile: openraft takes nothing for a heartbeat. What does not follow must not be sent.
        if self.wal()?.purged().is_some_and(|purged| purged.index >= start) {
            return Ok(Vec::new());
        }
        if start < end {
            follows(start, &entries)?;
        }
        Ok(entries)
    }

    /// What is applied: entries that are committed, so none of them may be missing. openraft counts all of `range` as
    /// applied once the stream has ended well, and purges none before that.
    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = Result<Entry, io::Error>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let state = (self.clone(), bounds(&range), Vec::new().into_iter());
        stream::unfold(Some(state), |state| async move {
            let (log, mut range, mut entries) = state?;
            loop {
                if let Some(entry) = entries.next() {
                    return Some((Ok(entry), Some((log, range, entries))));
                }
                if range.is_empty() {
                    return None;
                }
                match log.read_committed(range.clone()) {
                    Err(e) => return Some((Err(e), None)),
                    Ok((next, more)) => {
                        range.start = next;
                        entries = more.into_iter();
                    }
                }
            }
        })
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        Ok(LogState { last_purged_log_id: self.purged()?, last_log_id: self.last()? })
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let (done, ticket) = self.ticket();
        self.wal()?.save_vote(encode(vote)?, done);
        if Planted::VoteNotDurable.is_on() {
            return Ok(());
        }
        ticket.wait().await
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<conure_wal::Entry> = entries
            .into_iter()
            .map(|entry| Ok(conure_wal::Entry { index: entry.log_id.index(), payload: encode(&entry)? }))
            .collect::<io::Result<_>>()?;
        let wal = self.wal()?;
        wal.room().await;
        let failure = self.failure.clone();
        if Planted::AcksBeforeFsync.is_on() {
            callback.io_completed(Ok(()));
            wal.append(entries, move |result| {
                if let Err(error) = result {
                    failure.set(&error);
                }
            });
            return Ok(());
        }
        wal.append(entries, move |result| match result {
            Ok(()) => callback.io_completed(Ok(())),
            Err(error) => {
                let fault = Fault::from(&error);
                failure.set_after(fault, || callback.io_completed(Err(wal_error(error))));
            }
        });
        Ok(())
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        let (done, ticket) = self.ticket();
        self.wal()?.truncate(last_log_id.map_or(0, |log_id| log_id.index() + 1), done);
        ticket.wait().await
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        let (done, ticket) = self.ticket();
        self.wal()?.purge(log_id.index(), encode(&log_id)?, done);
        ticket.wait().await
    }
}

#[cfg(test)]
mod tests;
