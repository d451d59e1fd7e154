//! A log as it lies on the disk, for whoever looks at it without running a member on it.
//!
//! **Invariant:** nothing here writes, cuts or removes.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use conure_io::{Disk, File};

use crate::cache::{Entries, Found};
use crate::recover::{self, Log, Scan};
use crate::{Entry, Error, Floor, Purged, reader};

/// A log that was read as [`Wal::open`](crate::Wal::open) reads it, and left as it was found. The caller keeps whoever
/// might write to it away: no lock is taken here.
#[derive(Debug)]
pub struct Inspection {
    scan: Scan,
    entries: Entries,
    files: BTreeMap<u32, Arc<dyn File>>,
}

/// A segment file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentFile {
    /// Its name in the log's directory.
    pub name: String,
    /// Its length in bytes.
    pub bytes: u64,
}

impl Inspection {
    /// Reads every segment on `disk` and verifies every batch.
    ///
    /// # Errors
    ///
    /// Those of [`Wal::open`](crate::Wal::open): the first damage that is found ends the reading.
    pub fn read(disk: &dyn Disk) -> Result<Self, Error> {
        let scan = recover::scan(disk)?;
        let (entries, files) = match &scan.log {
            None => (Entries::new(0, VecDeque::new(), 0), BTreeMap::new()),
            Some(log) => {
                let first = log.logical.entries.map_or(0, |(first, _)| first);
                let files = log.segments.iter().map(|one| (one.number, Arc::clone(&one.file))).collect();
                (Entries::new(first, log.slots.clone(), 0), files)
            }
        };
        Ok(Self { scan, entries, files })
    }

    fn log(&self) -> Option<&Log> {
        self.scan.log.as_ref()
    }

    /// Whether the log goes as far as a checkpoint of the database says that it went.
    ///
    /// # Errors
    ///
    /// [`Error::BehindCheckpoint`], or [`Error::Damaged`] where the end is torn before what the checkpoint names.
    pub fn check_floor(&self, floor: &Floor) -> Result<(), Error> {
        recover::check_floor(&self.scan, Some(floor), true)
    }

    /// The log's random identity; `None` where there is no log.
    pub fn log_id(&self) -> Option<u64> {
        self.log().map(|log| log.id)
    }

    /// The number of the last whole batch.
    pub fn last_batch(&self) -> Option<u64> {
        self.log().map(|log| log.batch)
    }

    /// The last vote saved.
    pub fn vote(&self) -> Option<Bytes> {
        self.log().and_then(|log| log.logical.vote.clone())
    }

    /// How far the log was purged.
    pub fn purged(&self) -> Option<Purged> {
        self.log().and_then(|log| log.logical.purged.clone())
    }

    /// The first and the last index held.
    pub fn indexes(&self) -> Option<(u64, u64)> {
        self.log().and_then(|log| log.logical.entries)
    }

    /// The segment files in use, the oldest first.
    pub fn segments(&self) -> Vec<SegmentFile> {
        let segments = self.log().map(|log| log.segments.as_slice()).unwrap_or_default();
        segments.iter().map(|one| SegmentFile { name: one.name(), bytes: one.bytes.into() }).collect()
    }

    /// Bytes behind the last whole batch, which opening the log would cut: what an unfinished write left.
    pub fn torn_tail_bytes(&self) -> u64 {
        self.log().map_or(0, |log| log.torn_bytes)
    }

    /// Files that opening the log would remove.
    pub fn leftovers(&self) -> &[String] {
        &self.scan.leftovers
    }

    /// The entries of `range` that the log holds, in order: at most `bytes_max` payload bytes, but at least one entry.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], and [`Error::Damaged`] where the disk changes what it gave before.
    pub fn entries(&self, range: Range<u64>, bytes_max: usize) -> Result<Vec<Entry>, Error> {
        let found: Vec<Found> = self.entries.find(range.start, range.end, bytes_max);
        reader::fetch(found, &self.files)
    }
}
