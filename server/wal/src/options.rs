//! The log's sizes and bounds.

use crate::Error;
use crate::format::{BATCH_HEADER_BYTES, RECORD_HEADER_BYTES, SEGMENT_HEADER_BYTES};

/// The largest segment file.
pub const SEGMENT_BYTES_MAX: u32 = 64 << 20;
/// The smallest `segment_bytes`: the header and a few sectors.
pub const SEGMENT_BYTES_MIN: u32 = 8 << 10;
/// The largest vote and the largest purge marker: both are repeated in every segment's header.
pub const OPAQUE_BYTES_MAX: usize = 1024;

/// Sizes and bounds of a log.
#[derive(Debug, Clone)]
pub struct Options {
    /// How large a segment file may grow; it also bounds the largest entry.
    pub segment_bytes: u32,
    /// A segment file takes so much room on the disk ahead of what is written.
    pub allocate_bytes: u32,
    /// Submitters wait while this many payload bytes wait to be written.
    pub queue_bytes: usize,
    /// Submitters wait while this many submissions wait to be written.
    pub queue_len: usize,
    /// Recent entries kept in memory, in payload bytes. Entries not yet durable stay whatever this says.
    pub cache_bytes: usize,
    /// Refuse to start a new log: for a directory that is known to have had one.
    pub must_exist: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: SEGMENT_BYTES_MAX,
            allocate_bytes: 4 << 20,
            queue_bytes: 32 << 20,
            queue_len: 16 << 10,
            cache_bytes: 16 << 20,
            must_exist: false,
        }
    }
}

impl Options {
    pub(crate) fn check(&self) -> Result<(), Error> {
        if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&self.segment_bytes) {
            return Err(Error::Option {
                name: "segment_bytes",
                value: self.segment_bytes.into(),
                mend: "it must be from 8 KiB to 64 MiB",
            });
        }
        if self.queue_bytes == 0 || self.queue_len == 0 {
            return Err(Error::Option {
                name: "queue_bytes or queue_len",
                value: 0,
                mend: "it must not be zero",
            });
        }
        Ok(())
    }

    /// How many bytes of records fit into one batch of an empty segment.
    pub(crate) fn body_bytes_max(&self) -> usize {
        (self.segment_bytes as usize / crate::format::SECTOR_BYTES) * crate::format::SECTOR_BYTES
            - SEGMENT_HEADER_BYTES
            - BATCH_HEADER_BYTES
    }

    /// The largest payload of one entry.
    pub(crate) fn payload_bytes_max(&self) -> usize {
        self.body_bytes_max() - RECORD_HEADER_BYTES
    }
}
