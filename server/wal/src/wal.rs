//! The log's front: submissions, reads, figures.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;
use conure_io::{Disk, File, OpenMode};

use crate::cache::Found;
use crate::options::OPAQUE_BYTES_MAX;
use crate::recover::{self, Recovered};
use crate::shared::{Op, Room, Shared};
use crate::writer::Writer;
use crate::{Entry, Error, Floor, Options, Purged, Stats, reader};

const LOCK_NAME: &str = "log.lock";

/// An open log. Share it in an `Arc`. Dropping it writes and syncs what still waits, and answers it.
///
/// Each submission takes a callback that is called exactly once: with `Ok` when the work, and all submitted
/// before it, is durable; with the error when it was refused or the disk failed. A refusal is called back on
/// the submitting thread before the method returns; all else in order on the writer's thread, so a callback
/// must be quick. What was submitted can be read at once, durable or not.
///
/// The queue is bounded: a submission waits, its thread blocked, while [`Options::queue_bytes`] or
/// [`Options::queue_len`] is reached. An async caller awaits [`Wal::room`] first, and then does not block.
#[derive(Debug)]
pub struct Wal {
    shared: Arc<Shared>,
    writer: Option<Worker>,
    payload_bytes_max: usize,
}

/// Who runs the writer.
#[derive(Debug)]
enum Worker {
    Thread(JoinHandle<()>),
    #[cfg(feature = "stepped")]
    Stepper(crate::Stepper),
}

impl Wal {
    /// Opens the log on `disk`, or starts one where there is none. What a power loss tore is cut; damage to what
    /// was synced, a missing file, a foreign one, or a log that ends behind `floor` is refused, and then
    /// nothing on the disk was changed.
    pub fn open(
        disk: Arc<dyn Disk>,
        options: Options,
        floor: Option<&Floor>,
    ) -> Result<(Self, Recovered), Error> {
        let (writer, shared, recovered) = begin(disk, &options, floor)?;
        let payload_bytes_max = options.payload_bytes_max();
        let shared_by_writer = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("conure-wal".to_owned())
            .spawn(move || writer.run(&shared_by_writer))
            .map_err(Error::io("starting the writer thread", "log"))?;
        Ok((Self { shared, writer: Some(Worker::Thread(thread)), payload_bytes_max }, recovered))
    }

    /// As [`Wal::open`], with a writer that works when it is told to and on no thread of its own.
    #[cfg(feature = "stepped")]
    pub fn open_stepped(
        disk: Arc<dyn Disk>,
        options: Options,
        floor: Option<&Floor>,
    ) -> Result<(Self, crate::Stepper, Recovered), Error> {
        let (writer, shared, recovered) = begin(disk, &options, floor)?;
        let payload_bytes_max = options.payload_bytes_max();
        let stepper = crate::Stepper::new(writer, Arc::clone(&shared));
        let worker = Some(Worker::Stepper(stepper.clone()));
        Ok((Self { shared, writer: worker, payload_bytes_max }, stepper, recovered))
    }

    /// Appends `entries`, which must follow the last entry (or the last purged one) without a gap; the first
    /// entry of a log that never had one may have any index. Nothing is appended where one is refused.
    pub fn append(&self, entries: Vec<Entry>, done: impl FnOnce(Result<(), Error>) + Send + 'static) {
        self.shared.submit(Box::new(done), |state| {
            let mut bytes = 0;
            let mut logical = state.logical.clone();
            for entry in &entries {
                let limit = self.payload_bytes_max;
                if entry.payload.len() > limit {
                    return Err(Error::TooLarge { what: "an entry", bytes: entry.payload.len(), limit });
                }
                logical
                    .follows(entry.index)
                    .map_err(|expected| Error::Gap { expected, found: entry.index })?;
                logical.append(entry.index);
                bytes += entry.payload.len();
            }
            state.logical = logical;
            let mut ops = Vec::with_capacity(entries.len());
            for Entry { index, payload } in entries {
                state.serial += 1;
                state.entries.push(index, payload.clone(), state.serial);
                ops.push(Op::Entry { index, payload, serial: state.serial });
            }
            Ok((ops, bytes))
        });
    }

    /// Saves the vote, at most [`OPAQUE_BYTES_MAX`] bytes, in the place of the one before.
    pub fn save_vote(&self, vote: Bytes, done: impl FnOnce(Result<(), Error>) + Send + 'static) {
        self.shared.submit(Box::new(done), |state| {
            check_opaque("a vote", &vote)?;
            state.logical.vote = Some(vote.clone());
            let bytes = vote.len();
            Ok((vec![Op::Vote(vote)], bytes))
        });
    }

    /// Drops the entries from `from` on, which conflict with the leader's.
    pub fn truncate(&self, from: u64, done: impl FnOnce(Result<(), Error>) + Send + 'static) {
        self.shared.submit(Box::new(done), |state| {
            state.logical.truncate(from);
            state.entries.truncate(from);
            Ok((vec![Op::Truncate(from)], 0))
        });
    }

    /// Drops the entries up to `upto`, remembering `marker` (at most [`OPAQUE_BYTES_MAX`] bytes). Segments that
    /// hold nothing else go once the purge is durable. A purge behind an earlier one changes nothing.
    pub fn purge(&self, upto: u64, marker: Bytes, done: impl FnOnce(Result<(), Error>) + Send + 'static) {
        self.shared.submit(Box::new(done), |state| {
            check_opaque("a purge marker", &marker)?;
            state.logical.purge(upto, marker.clone());
            state.entries.purge(upto);
            let bytes = marker.len();
            Ok((vec![Op::Purge(upto, marker)], bytes))
        });
    }

    /// Resolves when the queue has room (or the log failed, and a submission answers at once).
    pub fn room(&self) -> Room<'_> {
        Room(&self.shared)
    }

    /// The entries of `range` that the log holds, in order, those not yet durable included: at most `bytes_max`
    /// payload bytes, but at least one entry. Reads the disk for those that are not in memory.
    pub fn read(&self, range: Range<u64>, bytes_max: usize) -> Result<Vec<Entry>, Error> {
        let (found, files) = {
            let state = self.shared.lock();
            if let Some(error) = &state.failed {
                return Err(error.clone());
            }
            let found = state.entries.find(range.start, range.end, bytes_max);
            let mut files: BTreeMap<u32, Arc<dyn File>> = BTreeMap::new();
            for one in &found {
                if let Found::Disk { slot, .. } = one
                    && let Some(file) = state.files.get(&slot.segment)
                {
                    files.entry(slot.segment).or_insert_with(|| Arc::clone(file));
                }
            }
            (found, files)
        };
        reader::fetch(found, &files)
    }

    /// The first index held, durable or not.
    pub fn first_index(&self) -> Option<u64> {
        self.shared.lock().logical.entries.map(|(first, _)| first)
    }

    /// The last index held, durable or not.
    pub fn last_index(&self) -> Option<u64> {
        self.shared.lock().logical.entries.map(|(_, last)| last)
    }

    /// The last index that is durable, or was purged.
    pub fn durable_index(&self) -> Option<u64> {
        self.shared.lock().durable.reaches()
    }

    /// The index from which on the entries held have at most `bytes_max` payload bytes together.
    pub fn tail_within(&self, bytes_max: u64) -> u64 {
        self.shared.lock().entries.tail_within(bytes_max)
    }

    /// How far the log was purged, durably or not.
    pub fn purged(&self) -> Option<Purged> {
        self.shared.lock().logical.purged.clone()
    }

    /// The last vote saved, durable or not.
    pub fn vote(&self) -> Option<Bytes> {
        self.shared.lock().logical.vote.clone()
    }

    /// What is durable now, for a checkpoint whose state holds the entries up to `committed`. It names
    /// `committed` only as far as the log itself durably reaches, so it is right after an installed snapshot too.
    pub fn floor(&self, committed: Option<u64>) -> Floor {
        let state = self.shared.lock();
        let committed_index =
            committed.zip(state.durable.reaches()).map(|(committed, last)| committed.min(last));
        Floor { mark: Some(state.mark), vote: state.durable.vote.clone(), committed_index }
    }

    /// Why the log writes no more; `None` while it does. The process should leave.
    pub fn failure(&self) -> Option<Error> {
        self.shared.lock().failed.clone()
    }

    /// Figures.
    pub fn stats(&self) -> Stats {
        let state = self.shared.lock();
        let (cached_entries, cached_bytes) = state.entries.cached();
        Stats {
            queue_len: state.queue.len() as u64,
            queue_bytes: state.queue_bytes as u64,
            cached_entries,
            cached_bytes,
            sync_average: self.shared.pace.average(),
            writing_for: self.shared.pace.writing_for(),
            ..state.stats.clone()
        }
    }
}

impl Drop for Wal {
    fn drop(&mut self) {
        self.shared.close();
        match self.writer.take() {
            None => {}
            // Dropped inside a callback, the writer ends by itself; a panic of it was answered to every callback already.
            Some(Worker::Thread(writer)) if writer.thread().id() != std::thread::current().id() => {
                let _ = writer.join();
            }
            Some(Worker::Thread(_)) => {}
            #[cfg(feature = "stepped")]
            Some(Worker::Stepper(stepper)) => stepper.finish(),
        }
    }
}

/// Takes the lock, reads what is there and makes it ready to be written to.
fn begin(
    disk: Arc<dyn Disk>,
    options: &Options,
    floor: Option<&Floor>,
) -> Result<(Writer, Arc<Shared>, Recovered), Error> {
    options.check()?;
    let lock = take_lock(disk.as_ref())?;
    let scan = recover::scan(disk.as_ref())?;
    recover::check_floor(&scan, floor, options.must_exist)?;
    Writer::open(disk, options, scan, lock)
}

fn check_opaque(what: &'static str, bytes: &Bytes) -> Result<(), Error> {
    if bytes.len() > OPAQUE_BYTES_MAX {
        return Err(Error::TooLarge { what, bytes: bytes.len(), limit: OPAQUE_BYTES_MAX });
    }
    Ok(())
}

/// The lock that keeps a second process away, held as long as the file is open.
fn take_lock(disk: &dyn Disk) -> Result<Arc<dyn File>, Error> {
    let file = match disk.open(LOCK_NAME, OpenMode::Existing) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            disk.open(LOCK_NAME, OpenMode::CreateNew)
        }
        other => other,
    };
    let file = file.map_err(Error::io("opening", LOCK_NAME))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Err(Error::Locked),
        Err(error) => Err(Error::io("locking", LOCK_NAME)(error)),
    }
}
