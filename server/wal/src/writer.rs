//! The one writer: takes all that waits, writes it as one batch, syncs once, calls back.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;

use conure_io::{Disk, File};

use crate::cache::{Entries, Slot};
use crate::format::{
    BATCH_HEADER_BYTES, BatchHeader, Position, RECORD_HEADER_BYTES, Record, SegmentHeader, padded,
    put_record, seal_batch,
};
use crate::logical::Logical;
use crate::recover::{Log, Recovered, Scan, Tail};
use crate::segment::Segment;
use crate::shared::{Done, Job, Op, Shared, State};
use crate::{Error, Mark, Options, Stats};

/// A buffer larger than this is given back after its batch.
const BUFFER_BYTES_KEPT: usize = 4 << 20;

/// Where in the batch an entry's record is.
struct Placed {
    index: u64,
    serial: u64,
    within: usize,
    payload_bytes: usize,
}

/// The batch being made.
struct Batch {
    /// Room for the header, then the records.
    bytes: Vec<u8>,
    records: u32,
    placed: Vec<Placed>,
    /// The callbacks of what this batch completes.
    done: Vec<Done>,
    /// What the log says with this batch.
    after: Logical,
}

pub(crate) struct Writer {
    disk: Arc<dyn Disk>,
    segment_bytes: usize,
    body_bytes_max: usize,
    log_id: u64,
    /// Oldest first; the last one is written to.
    segments: Vec<Segment>,
    /// Where the last sync ended and the next batch begins.
    end: Position,
    batch: u64,
    chain: u32,
    durable: Logical,
    last_batch_holds_records: bool,
    _lock: Arc<dyn File>,
}

/// Fails the log when the writer ends in any other way than by closing.
struct Guard<'a>(&'a Shared);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        let (error, jobs) = self.0.fail(Error::Closed);
        for job in jobs {
            (job.done)(Err(error.clone()));
        }
    }
}

/// A number that no other log has: from the keys that the standard library draws from the system.
fn random_id() -> u64 {
    RandomState::new().build_hasher().finish()
}

impl Writer {
    /// Makes the disk ready to be written to: starts a log or cuts the torn tail, and makes sure that all that
    /// was read is durable.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        options: &Options,
        scan: Scan,
        lock: Arc<dyn File>,
    ) -> Result<(Self, Arc<Shared>, Recovered), Error> {
        for name in &scan.leftovers {
            disk.remove(name).map_err(Error::io("removing", name))?;
        }
        // After this the names read are durable too, whoever made them and died.
        disk.sync_dir().map_err(Error::io("syncing", "directory"))?;
        let created = scan.log.is_none();
        let log = match scan.log {
            Some(log) => log,
            None => start(disk.as_ref())?,
        };
        let recovered = Recovered {
            created,
            vote: log.logical.vote.clone(),
            first_index: log.logical.entries.map(|(first, _)| first),
            last_index: log.logical.entries.map(|(_, last)| last),
            purged: log.logical.purged.clone(),
            torn_tail_bytes_cut: log.torn_bytes,
            segments: log.segments.len() as u64,
        };
        let files = log.segments.iter().map(|segment| (segment.number, Arc::clone(&segment.file))).collect();
        let shared = Arc::new(new_shared(&log, files, options));
        let mut writer = Self {
            disk,
            segment_bytes: options.segment_bytes as usize,
            body_bytes_max: options.body_bytes_max(),
            log_id: log.id,
            segments: log.segments,
            end: log.end,
            batch: log.batch,
            chain: log.chain,
            durable: log.logical,
            last_batch_holds_records: log.tail.holds_records,
            _lock: lock,
        };
        if !created {
            writer.settle_tail(log.tail)?;
            writer.prove(&shared)?;
        }
        writer.publish_sizes(&shared);
        Ok((writer, shared, recovered))
    }

    fn active(&self) -> Result<&Segment, Error> {
        self.segments.last().ok_or(Error::Closed)
    }

    /// Cuts what is behind the last whole batch and makes that batch durable. It is written again, because after
    /// a failed sync Linux shows pages that the disk does not have and a further sync would not write.
    fn settle_tail(&mut self, tail: Tail) -> Result<(), Error> {
        let end = self.end.offset;
        let segment = self.segments.last_mut().ok_or(Error::Closed)?;
        let name = segment.name();
        if segment.bytes > end {
            segment.file.set_len(end.into()).map_err(Error::io("cutting the torn tail of", &name))?;
            segment.bytes = end;
        }
        let mut bytes = vec![0; tail.bytes as usize];
        segment.file.read_exact_at(&mut bytes, tail.at.offset.into()).map_err(Error::io("reading", &name))?;
        segment.file.write_all_at(&bytes, tail.at.offset.into()).map_err(Error::io("writing", &name))?;
        segment.file.sync_data().map_err(Error::io("syncing", &name))
    }

    /// Writes an empty batch, whose header says that the batch before it was synced: from then on damage to
    /// that batch is no longer taken for a torn tail.
    fn prove(&mut self, shared: &Shared) -> Result<(), Error> {
        if !self.last_batch_holds_records {
            return Ok(());
        }
        let mut batch = self.new_batch(Vec::new());
        self.write_batch(&mut batch)?;
        self.note_durable(shared, &batch);
        Ok(())
    }

    /// Works until the log closes or fails.
    pub(crate) fn run(mut self, shared: &Shared) {
        let guard = Guard(shared);
        shared.lock().writer = Some(std::thread::current().id());
        let mut buffer = Vec::new();
        while let Some(jobs) = shared.take() {
            match self.work(shared, jobs, std::mem::take(&mut buffer)) {
                Ok(used) => buffer = used,
                Err(()) => return,
            }
        }
        // All is durable already: a failure here takes nothing back.
        let _ = self.prove(shared);
        drop(guard);
    }

    fn new_batch(&self, mut bytes: Vec<u8>) -> Batch {
        bytes.clear();
        if bytes.capacity() > BUFFER_BYTES_KEPT {
            bytes = Vec::new();
        }
        bytes.resize(BATCH_HEADER_BYTES, 0);
        Batch { bytes, records: 0, placed: Vec::new(), done: Vec::new(), after: self.durable.clone() }
    }

    /// Writes `jobs` as one batch, or as several where one cannot hold them.
    fn work(&mut self, shared: &Shared, jobs: VecDeque<Job>, buffer: Vec<u8>) -> Result<Vec<u8>, ()> {
        let mut batch = self.new_batch(buffer);
        let mut jobs = jobs.into_iter();
        while let Some(job) = jobs.next() {
            for op in job.ops {
                let record_bytes = RECORD_HEADER_BYTES + op.payload_bytes();
                if batch.bytes.len() - BATCH_HEADER_BYTES + record_bytes > self.body_bytes_max {
                    if let Err(error) = self.finish(shared, &mut batch) {
                        fail(shared, error, batch.done, Some(job.done), jobs);
                        return Err(());
                    }
                    batch = self.new_batch(batch.bytes);
                }
                batch.put(&op);
            }
            batch.done.push(job.done);
        }
        if let Err(error) = self.finish(shared, &mut batch) {
            fail(shared, error, batch.done, None, jobs);
            return Err(());
        }
        Ok(batch.bytes)
    }

    /// Makes the batch durable and calls back what it completes.
    fn finish(&mut self, shared: &Shared, batch: &mut Batch) -> Result<(), Error> {
        if batch.records > 0 {
            self.write_batch(batch)?;
        }
        self.note_durable(shared, batch);
        for done in batch.done.drain(..) {
            done(Ok(()));
        }
        self.remove_purged(shared)
    }

    /// Writes and syncs. Moves on only when both succeeded.
    fn write_batch(&mut self, batch: &mut Batch) -> Result<(), Error> {
        if self.end.offset as usize + padded(batch.bytes.len()) > self.segment_bytes {
            self.begin_segment()?;
        }
        let header = BatchHeader {
            log_id: self.log_id,
            number: self.batch.checked_add(1).ok_or(Error::Closed)?,
            at: self.end,
            synced_end: self.end,
            body_bytes: 0,
            body_crc: 0,
            records: batch.records,
            chain: self.chain,
        };
        let chain = seal_batch(&mut batch.bytes, header);
        let active = self.active()?;
        let name = active.name();
        active
            .file
            .write_all_at(&batch.bytes, self.end.offset.into())
            .map_err(Error::io("writing", &name))?;
        active.file.sync_data().map_err(Error::io("syncing", &name))?;
        let index_max = batch.placed.iter().map(|placed| placed.index).max();
        self.end.offset += u32::try_from(batch.bytes.len()).unwrap_or(u32::MAX);
        self.batch += 1;
        self.chain = chain;
        self.durable = batch.after.clone();
        self.last_batch_holds_records = batch.records > 0;
        let end = self.end.offset;
        if let Some(active) = self.segments.last_mut() {
            active.index_max = active.index_max.max(index_max);
            active.bytes = end;
        }
        Ok(())
    }

    fn begin_segment(&mut self) -> Result<(), Error> {
        let number = self.end.segment.checked_add(1).ok_or(Error::Closed)?;
        let header = SegmentHeader {
            log_id: self.log_id,
            segment: number,
            previous_end: self.end.offset,
            first_batch: self.batch + 1,
            chain: self.chain,
            base: self.durable.clone(),
        };
        let (segment, chain) = Segment::create(self.disk.as_ref(), &header)?;
        self.end = Position { segment: number, offset: segment.bytes };
        self.chain = chain;
        self.segments.push(segment);
        Ok(())
    }

    fn note_durable(&self, shared: &Shared, batch: &Batch) {
        let mut state = shared.lock();
        if batch.bytes.len() > BATCH_HEADER_BYTES {
            // A batch lies at the end of the log once it is written.
            let start = self.end.offset as usize - batch.bytes.len();
            for placed in &batch.placed {
                let slot = Slot {
                    segment: self.end.segment,
                    offset: u32::try_from(start + placed.within).unwrap_or(u32::MAX),
                    payload_bytes: u32::try_from(placed.payload_bytes).unwrap_or(u32::MAX),
                };
                state.entries.durable(placed.index, placed.serial, slot);
                state.stats.appended_bytes += placed.payload_bytes as u64;
            }
            state.stats.appended_entries += batch.placed.len() as u64;
            state.stats.batches += 1;
            state.stats.syncs += 1;
        }
        if let Some(active) = self.segments.last()
            && !state.files.contains_key(&active.number)
        {
            state.files.insert(active.number, Arc::clone(&active.file));
            state.stats.syncs += 1;
        }
        state.stats.submissions += batch.done.len() as u64;
        state.stats.largest_group = state.stats.largest_group.max(batch.done.len() as u64);
        state.stats.segments = self.segments.len() as u64;
        state.stats.disk_bytes = self.segments.iter().map(|segment| u64::from(segment.bytes)).sum();
        state.entries.evict();
        state.durable = self.durable.clone();
        state.mark = Mark { log_id: self.log_id, batch: self.batch };
    }

    fn publish_sizes(&self, shared: &Shared) {
        let mut state = shared.lock();
        state.stats.segments = self.segments.len() as u64;
        state.stats.disk_bytes = self.segments.iter().map(|segment| u64::from(segment.bytes)).sum();
    }

    /// Removes the oldest segments that hold nothing but purged entries. The purge is durable, and the state in
    /// the next segment's header holds votes and markers, so that nothing is missed; that the removal itself is not
    /// synced does no harm.
    fn remove_purged(&mut self, shared: &Shared) -> Result<(), Error> {
        let purged = self.durable.purged.as_ref().map(|purged| purged.index);
        let is_gone = |segment: &Segment| segment.index_max <= purged;
        let removable = self.segments.len().saturating_sub(1);
        let count = self.segments.iter().take(removable).take_while(|segment| is_gone(segment)).count();
        if count == 0 {
            return Ok(());
        }
        for segment in self.segments.drain(..count) {
            let name = segment.name();
            self.disk.remove(&name).map_err(Error::io("removing", &name))?;
            shared.lock().files.remove(&segment.number);
        }
        self.publish_sizes(shared);
        Ok(())
    }
}

/// Ends all writing and answers, in order, what the failed batch held, the submission half in it, the ones
/// behind it and what waits in the queue.
fn fail(
    shared: &Shared,
    error: Error,
    batch: Vec<Done>,
    current: Option<Done>,
    behind: impl Iterator<Item = Job>,
) {
    let (error, queued) = shared.fail(error);
    let behind = behind.chain(queued).map(|job| job.done);
    for done in batch.into_iter().chain(current).chain(behind) {
        done(Err(error.clone()));
    }
}

impl Op {
    fn payload_bytes(&self) -> usize {
        match self {
            Self::Entry { payload, .. } | Self::Vote(payload) | Self::Purge(_, payload) => payload.len(),
            Self::Truncate(_) => 0,
        }
    }
}

impl Batch {
    fn put(&mut self, op: &Op) {
        let within = self.bytes.len();
        let record = match op {
            Op::Entry { index, payload, serial } => {
                self.after.append(*index);
                let payload_bytes = payload.len();
                self.placed.push(Placed { index: *index, serial: *serial, within, payload_bytes });
                Record::Entry { index: *index, payload }
            }
            Op::Vote(vote) => {
                self.after.vote = Some(vote.clone());
                Record::Vote { vote }
            }
            Op::Truncate(from) => {
                self.after.truncate(*from);
                Record::Truncate { from: *from }
            }
            Op::Purge(upto, marker) => {
                self.after.purge(*upto, marker.clone());
                Record::Purge { upto: *upto, marker }
            }
        };
        put_record(&mut self.bytes, record);
        self.records += 1;
    }
}

/// A new, empty log.
fn start(disk: &dyn Disk) -> Result<Log, Error> {
    let id = random_id();
    let header = SegmentHeader {
        log_id: id,
        segment: 1,
        previous_end: 0,
        first_batch: 1,
        chain: 0,
        base: Logical::default(),
    };
    let (segment, chain) = Segment::create(disk, &header)?;
    let bytes = segment.bytes;
    Ok(Log {
        id,
        segments: vec![segment],
        logical: Logical::default(),
        slots: VecDeque::new(),
        end: Position { segment: 1, offset: bytes },
        batch: 0,
        chain,
        tail: Tail { at: Position { segment: 1, offset: 0 }, bytes, holds_records: false },
        torn_bytes: 0,
    })
}

fn new_shared(log: &Log, files: BTreeMap<u32, Arc<dyn File>>, options: &Options) -> Shared {
    let first = log.logical.entries.map_or(0, |(first, _)| first);
    let state = State {
        logical: log.logical.clone(),
        durable: log.logical.clone(),
        mark: Mark { log_id: log.id, batch: log.batch },
        entries: Entries::new(first, log.slots.clone(), options.cache_bytes),
        files,
        queue: VecDeque::new(),
        queue_bytes: 0,
        serial: 0,
        failed: None,
        closing: false,
        stats: Stats { syncs: 1, ..Stats::default() },
        wakers: Vec::new(),
        writer: None,
    };
    Shared::new(state, options.queue_bytes, options.queue_len)
}
