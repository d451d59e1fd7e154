//! Reading the log at open: decides what is there, what is a torn tail and what is damage.
//!
//! **Invariant:** nothing here writes. So a refused log is left as it was found.

mod replay;
mod segments;

use std::collections::VecDeque;

use bytes::Bytes;
use conure_io::Disk;

use crate::cache::Slot;
use crate::format::{Position, segment_name};
use crate::logical::Logical;
use crate::segment::Segment;
use crate::{Error, Floor, Purged};

/// What [`Wal::open`](crate::Wal::open) found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovered {
    /// Whether there was no log and a new one was started.
    pub created: bool,
    /// The last vote saved.
    pub vote: Option<Bytes>,
    /// The first index held.
    pub first_index: Option<u64>,
    /// The last index held.
    pub last_index: Option<u64>,
    /// How far the log was purged.
    pub purged: Option<Purged>,
    /// Bytes behind the last whole batch that were cut: what an unfinished write left.
    pub torn_tail_bytes_cut: u64,
    /// Segment files in use.
    pub segments: u64,
}

/// What lies at the end of the log and may never have been synced, though it reads well: the last batch, or
/// the last segment's header where no batch follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tail {
    pub(crate) at: Position,
    pub(crate) bytes: u32,
    /// Whether it says something that a later batch should prove to have been synced.
    pub(crate) holds_records: bool,
}

/// An existing log as read.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) id: u64,
    pub(crate) segments: Vec<Segment>,
    pub(crate) logical: Logical,
    /// The places of all entries held.
    pub(crate) slots: VecDeque<Slot>,
    /// Where the next batch goes.
    pub(crate) end: Position,
    /// The last batch's number.
    pub(crate) batch: u64,
    /// The checksum that the next batch names.
    pub(crate) chain: u32,
    pub(crate) tail: Tail,
    /// Bytes behind `end` in the last segment, up to the last one that is not zero.
    pub(crate) torn_bytes: u64,
}

/// What the directory holds.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    pub(crate) log: Option<Log>,
    /// Files that a crash left between making and using, or between purging and removing.
    pub(crate) leftovers: Vec<String>,
}

/// Reads all segments.
pub(crate) fn scan(disk: &dyn Disk) -> Result<Scan, Error> {
    let found = segments::find(disk)?;
    let log = match found.segments.is_empty() {
        true => None,
        false => Some(replay::replay(found.segments)?),
    };
    Ok(Scan { log, leftovers: found.leftovers })
}

/// Refuses a log that ends behind what is known to have been durable.
pub(crate) fn check_floor(scan: &Scan, floor: Option<&Floor>, must_exist: bool) -> Result<(), Error> {
    let behind = |what: String| Err(Error::BehindCheckpoint { what });
    let Some(log) = &scan.log else {
        if must_exist || floor.is_some_and(|floor| *floor != Floor::default()) {
            return behind("there is no log, and there was one".to_owned());
        }
        return Ok(());
    };
    let Some(floor) = floor else { return Ok(()) };
    if let Some(mark) = floor.mark {
        if mark.log_id != log.id {
            return behind(format!(
                "the log is {:016x}, the checkpoint was made with {:016x}",
                log.id, mark.log_id
            ));
        }
        if log.batch < mark.batch && log.torn_bytes > 0 {
            return Err(Error::damaged(
                segment_name(log.end.segment),
                log.end.offset.into(),
                format!(
                    "the database's checkpoint says that batch {} was synced, the last whole one is {}",
                    mark.batch, log.batch
                ),
            ));
        }
        if log.batch < mark.batch {
            return behind(format!(
                "the checkpoint knows of batch {}, the log ends with {}",
                mark.batch, log.batch
            ));
        }
    }
    if floor.vote.is_some() && log.logical.vote.is_none() {
        return behind("the checkpoint has a vote, the log has none".to_owned());
    }
    if let Some(committed) = floor.committed_index
        && log.logical.reaches().is_none_or(|last| last < committed)
    {
        let last = log.logical.reaches().map_or("nothing".to_owned(), |last| format!("entry {last}"));
        return behind(format!("the checkpoint holds entry {committed}, the log ends with {last}"));
    }
    Ok(())
}
