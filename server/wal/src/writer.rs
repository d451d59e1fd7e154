//! The one writer: takes all that waits, writes it as one batch, syncs once, calls back.

use std::collections::VecDeque;
use std::sync::Arc;

use conure_io::{Disk, File};

use crate::batch::Batch;
use crate::cache::Slot;
use crate::format::{
    BATCH_HEADER_BYTES, BatchHeader, Position, RECORD_HEADER_BYTES, SegmentHeader, padded, seal_batch,
};
use crate::logical::Logical;
use crate::segment::Segment;
use crate::shared::{Done, Job, Shared};
use crate::{Error, Mark};

pub(crate) struct Writer {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) segment_bytes: usize,
    pub(crate) allocate_bytes: u32,
    pub(crate) body_bytes_max: usize,
    pub(crate) log_id: u64,
    /// Oldest first; the last one is written to.
    pub(crate) segments: Vec<Segment>,
    /// Where the last sync ended and the next batch begins.
    pub(crate) end: Position,
    pub(crate) batch: u64,
    pub(crate) chain: u32,
    pub(crate) durable: Logical,
    pub(crate) last_batch_holds_records: bool,
    pub(crate) _lock: Arc<dyn File>,
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

impl Writer {
    fn active(&self) -> Result<&Segment, Error> {
        self.segments.last().ok_or(Error::Closed)
    }

    /// Writes an empty batch, whose header says that the batch before it was synced: from then on damage to
    /// that batch is no longer taken for a torn tail.
    pub(crate) fn prove(&mut self, shared: &Shared) -> Result<(), Error> {
        if !self.last_batch_holds_records {
            return Ok(());
        }
        let mut batch = Batch::new(Vec::new(), &self.durable);
        self.write_batch(&mut batch)?;
        self.note_durable(shared, &batch);
        Ok(())
    }

    /// A log that is closed is as long as what it says.
    fn trim(&mut self) -> Result<(), Error> {
        self.segments.last_mut().ok_or(Error::Closed)?.trim()
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
        let _ = self.prove(shared).and_then(|()| self.trim());
        drop(guard);
    }

    /// Writes `jobs` as one batch, or as several where one cannot hold them.
    pub(crate) fn work(
        &mut self,
        shared: &Shared,
        jobs: VecDeque<Job>,
        buffer: Vec<u8>,
    ) -> Result<Vec<u8>, ()> {
        let mut batch = Batch::new(buffer, &self.durable);
        let mut jobs = jobs.into_iter();
        while let Some(job) = jobs.next() {
            for op in job.ops {
                let record_bytes = RECORD_HEADER_BYTES + op.payload_bytes();
                if batch.bytes.len() - BATCH_HEADER_BYTES + record_bytes > self.body_bytes_max {
                    if let Err(error) = self.finish(shared, &mut batch) {
                        fail(shared, error, batch.done, Some(job.done), jobs);
                        return Err(());
                    }
                    batch = Batch::new(batch.bytes, &self.durable);
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
            shared.pace.begin();
            self.write_batch(batch)?;
            shared.pace.end();
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
        let batch_end = self.end.offset.saturating_add(u32::try_from(batch.bytes.len()).unwrap_or(u32::MAX));
        let (step, max) = (self.allocate_bytes, u32::try_from(self.segment_bytes).unwrap_or(u32::MAX));
        self.segments.last_mut().ok_or(Error::Closed)?.reserve(batch_end, step, max)?;
        let active = self.active()?;
        let name = active.name();
        active
            .file
            .write_all_at(&batch.bytes, self.end.offset.into())
            .map_err(Error::io("writing", &name))?;
        active.file.sync_data().map_err(Error::io("syncing", &name))?;
        let index_max = batch.placed.iter().map(|placed| placed.index).max();
        self.end.offset = batch_end;
        self.batch += 1;
        self.chain = chain;
        self.durable = batch.after.clone();
        self.last_batch_holds_records = batch.records > 0;
        let end = self.end.offset;
        if let Some(active) = self.segments.last_mut() {
            active.index_max = active.index_max.max(index_max);
            active.bytes = end;
            active.allocated = active.allocated.max(end);
        }
        Ok(())
    }

    fn begin_segment(&mut self) -> Result<(), Error> {
        let number = self.end.segment.checked_add(1).ok_or(Error::Closed)?;
        self.trim()?;
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

    pub(crate) fn publish_sizes(&self, shared: &Shared) {
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
