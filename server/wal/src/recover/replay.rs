//! Replaying the segments' batches, and telling a torn tail from damage.

use std::collections::VecDeque;

use bytes::Bytes;

use super::segments::Headed;
use super::{Log, Tail};
use crate::Error;
use crate::cache::Slot;
use crate::format::{
    BATCH_HEADER, BATCH_HEADER_BYTES, BatchHeader, Position, Record, SECTOR_BYTES, SEGMENT_HEADER,
    segment_name,
};
use crate::segment::Segment;

/// How much is read at once in the search for batches behind a broken one.
const SEARCH_BYTES: u32 = 1 << 20;

/// Replays all segments, which are unbroken in number and not empty.
pub(super) fn replay(found: Vec<Headed>) -> Result<Log, Error> {
    let mut log: Option<Log> = None;
    for headed in found {
        let mut log_now = match log {
            None => begin(&headed),
            Some(log) => go_on(log, &headed)?,
        };
        log_now.segments.push(headed.segment);
        while log_now.replay_batch()? {}
        log = Some(log_now);
    }
    let mut log = log.ok_or(Error::Closed)?;
    log.check_tail()?;
    log.check_complete()?;
    Ok(log)
}

fn begin(headed: &Headed) -> Log {
    let header = &headed.header;
    let at = Position { segment: header.segment, offset: 0 };
    Log {
        id: header.log_id,
        segments: Vec::new(),
        logical: header.base.clone(),
        slots: VecDeque::new(),
        end: Position { segment: header.segment, offset: SEGMENT_HEADER },
        batch: header.first_batch.saturating_sub(1),
        chain: headed.crc,
        tail: Tail { at, bytes: SEGMENT_HEADER, holds_records: false },
        torn_bytes: 0,
    }
}

/// Checks that the segment goes on where `log` ended, and moves into it.
fn go_on(mut log: Log, headed: &Headed) -> Result<Log, Error> {
    let header = &headed.header;
    if header.previous_end != log.end.offset
        || header.chain != log.chain
        || Some(header.first_batch) != log.batch.checked_add(1)
    {
        let what = format!(
            "{} says that {} bytes of it were synced",
            segment_name(header.segment),
            header.previous_end
        );
        return Err(Error::damaged(segment_name(log.end.segment), log.end.offset.into(), what));
    }
    if header.base != log.logical {
        let what = "the state in its header is not the one that the segments before it give";
        return Err(Error::damaged(segment_name(header.segment), 0, what));
    }
    log.end = Position { segment: header.segment, offset: SEGMENT_HEADER };
    log.chain = headed.crc;
    log.tail = Tail { at: Position { offset: 0, ..log.end }, bytes: SEGMENT_HEADER, holds_records: false };
    Ok(log)
}

/// What stands where the next batch should be.
enum Next {
    Batch {
        header: BatchHeader,
        crc: u32,
        body: Vec<u8>,
        disk_bytes: u32,
    },
    /// A header that reads well but is not of the batch that follows.
    Stray,
    /// Nothing whole.
    Broken,
}

impl Log {
    fn damaged(&self, what: impl Into<String>) -> Error {
        Error::damaged(segment_name(self.end.segment), self.end.offset.into(), what)
    }

    fn current(&self) -> Result<&Segment, Error> {
        self.segments.last().ok_or(Error::Closed)
    }

    fn read(&self, len: usize, offset: u32) -> Result<Vec<u8>, Error> {
        let segment = self.current()?;
        let mut bytes = vec![0; len];
        segment
            .file
            .read_exact_at(&mut bytes, offset.into())
            .map_err(Error::io("reading", segment.name()))?;
        Ok(bytes)
    }

    fn next(&self) -> Result<Next, Error> {
        let left = self.current()?.bytes.saturating_sub(self.end.offset);
        if (left as usize) < BATCH_HEADER_BYTES {
            return Ok(Next::Broken);
        }
        let head = self.read(BATCH_HEADER_BYTES, self.end.offset)?;
        let Some((header, crc)) = BatchHeader::parse(&head) else { return Ok(Next::Broken) };
        let follows = header.log_id == self.id
            && Some(header.number) == self.batch.checked_add(1)
            && header.at == self.end
            && header.synced_end == self.end
            && header.chain == self.chain;
        if !follows {
            return Ok(Next::Stray);
        }
        let Some(disk_bytes) = header.disk_bytes().filter(|bytes| *bytes <= left) else {
            return Ok(Next::Broken);
        };
        // At least the header's own 64 bytes by the way it is counted.
        let padded_body = disk_bytes as usize - BATCH_HEADER_BYTES;
        let body = self.read(padded_body, self.end.offset + BATCH_HEADER)?;
        if crc32c::crc32c(&body) != header.body_crc {
            return Ok(Next::Broken);
        }
        Ok(Next::Batch { header, crc, body, disk_bytes })
    }

    /// Applies the batch at the end, if there is one.
    fn replay_batch(&mut self) -> Result<bool, Error> {
        let (header, crc, body, disk_bytes) = match self.next()? {
            Next::Batch { header, crc, body, disk_bytes } => (header, crc, body, disk_bytes),
            Next::Stray => return Err(self.damaged("the batch here is not the one that follows")),
            Next::Broken => return Ok(false),
        };
        let records = body.get(..header.body_bytes as usize).unwrap_or_default();
        let mut rest = records;
        for _ in 0..header.records {
            let (record, tail) =
                Record::parse(rest).ok_or_else(|| self.damaged("a record of the batch does not read"))?;
            let within = u32::try_from(BATCH_HEADER_BYTES + records.len() - rest.len()).unwrap_or(u32::MAX);
            self.apply(record, self.end.offset + within)?;
            rest = tail;
        }
        if !rest.is_empty() {
            return Err(self.damaged("the batch has more bytes than records"));
        }
        self.tail = Tail { at: self.end, bytes: disk_bytes, holds_records: header.records > 0 };
        self.end.offset += disk_bytes;
        self.batch = header.number;
        self.chain = crc;
        Ok(true)
    }

    fn apply(&mut self, record: Record<'_>, offset: u32) -> Result<(), Error> {
        match record {
            Record::Entry { index, payload } => {
                self.logical.follows(index).map_err(|expected| {
                    self.damaged(format!("entry {index} stands where entry {expected} follows"))
                })?;
                self.logical.append(index);
                let payload_bytes = u32::try_from(payload.len()).unwrap_or(u32::MAX);
                self.slots.push_back(Slot { segment: self.end.segment, offset, payload_bytes });
                if let Some(segment) = self.segments.last_mut() {
                    segment.index_max = segment.index_max.max(Some(index));
                }
            }
            Record::Vote { vote } => self.logical.vote = Some(Bytes::copy_from_slice(vote)),
            Record::Truncate { from } => self.truncate(from),
            Record::Purge { upto, marker } => self.purge(upto, Bytes::copy_from_slice(marker)),
        }
        Ok(())
    }

    /// Drops the slots of the entries from `from` on. Slots are those of the last entries: entries in segments
    /// before the first one here have none.
    fn truncate(&mut self, from: u64) {
        let Some((_, last)) = self.logical.entries else { return };
        self.logical.truncate(from);
        let gone = match self.logical.entries {
            Some((_, kept)) => usize::try_from(last - kept).unwrap_or(usize::MAX),
            None => usize::MAX,
        };
        self.slots.truncate(self.slots.len().saturating_sub(gone));
    }

    /// Drops the slots of the entries up to `upto`.
    fn purge(&mut self, upto: u64, marker: Bytes) {
        self.logical.purge(upto, marker);
        let held = self.logical.entries.map_or(0, |(first, last)| (last - first).saturating_add(1));
        while self.slots.len() as u64 > held {
            self.slots.pop_front();
        }
    }

    /// Refuses where something whole lies behind the end: then what stands at the end had been synced.
    fn check_tail(&mut self) -> Result<(), Error> {
        let mut from = self.end.offset;
        while from < self.current()?.bytes {
            let left = self.current()?.bytes - from;
            let chunk = self.read(left.min(SEARCH_BYTES) as usize, from)?;
            // Zeros are room that was allocated ahead of any write.
            if let Some(last) = chunk.iter().rposition(|byte| *byte != 0) {
                self.torn_bytes = u64::from(from - self.end.offset) + last as u64 + 1;
            }
            for (at, sector) in (from..).step_by(SECTOR_BYTES).zip(chunk.chunks(SECTOR_BYTES)) {
                if at != self.end.offset
                    && let Some((header, _)) = BatchHeader::parse(sector)
                    && header.log_id == self.id
                    && header.at == (Position { offset: at, ..self.end })
                    && header.synced_end > self.end
                {
                    let what = format!("batch {} at byte {at} says that it was synced", header.number);
                    return Err(self.damaged(what));
                }
            }
            from = from.saturating_add(SEARCH_BYTES);
        }
        Ok(())
    }

    /// Refuses where entries held lie in a segment that is not here.
    fn check_complete(&self) -> Result<(), Error> {
        let Some((first, last)) = self.logical.entries else { return Ok(()) };
        let missing = (last - first).saturating_add(1).saturating_sub(self.slots.len() as u64);
        let Some(oldest) = self.segments.first().filter(|_| missing > 0) else { return Ok(()) };
        Err(Error::MissingSegment {
            file: segment_name(oldest.number.saturating_sub(1)),
            what: format!("it holds entries from {first} to {}", first.saturating_add(missing - 1)),
        })
    }
}
