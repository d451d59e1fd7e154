//! From what was read to a log that can be written to.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;

use conure_io::{Disk, File};

use crate::cache::Entries;
use crate::format::{Position, SegmentHeader};
use crate::logical::Logical;
use crate::recover::{Log, Recovered, Scan, Tail};
use crate::segment::Segment;
use crate::shared::{Shared, State};
use crate::writer::Writer;
use crate::{Error, Mark, Options, Stats};

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
            allocate_bytes: options.allocate_bytes,
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

    /// Cuts what is behind the last whole batch and makes that batch durable. It is written again, because after
    /// a failed sync Linux shows pages that the disk does not have and a further sync would not write.
    fn settle_tail(&mut self, tail: Tail) -> Result<(), Error> {
        let end = self.end.offset;
        let segment = self.segments.last_mut().ok_or(Error::Closed)?;
        let name = segment.name();
        if segment.bytes > end {
            segment.file.set_len(end.into()).map_err(Error::io("cutting the torn tail of", &name))?;
            segment.bytes = end;
            segment.allocated = end;
        }
        let mut bytes = vec![0; tail.bytes as usize];
        segment.file.read_exact_at(&mut bytes, tail.at.offset.into()).map_err(Error::io("reading", &name))?;
        segment.file.write_all_at(&bytes, tail.at.offset.into()).map_err(Error::io("writing", &name))?;
        segment.file.sync_data().map_err(Error::io("syncing", &name))
    }
}

/// A number that no other log has: from the keys that the standard library draws from the system.
fn random_id() -> u64 {
    RandomState::new().build_hasher().finish()
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
