//! The Raft log and votes on disk.
//!
//! Entries, votes, truncations and purges go in order through one queue to one writer thread. It takes all
//! that waits, writes it as one batch, syncs once, and only then calls back: groups form without a timer.
//! Whoever is outside needs [`Wal`], [`Options`], [`Floor`] and [`Recovered`]; nothing here knows Raft, HTTP or
//! an async runtime: entries, votes and purge markers are opaque bytes.
//!
//! **Invariant:** a callback gets `Ok` only after a sync that covers its work returned; nothing is written twice
//! over synced bytes but the same bytes; a failed write or sync ends all writing.
//!
//! **Invariant:** each batch says where the sync before it ended. So on open, damage past the last synced end is
//! a torn tail and is cut, and damage before it is refused. The log never opens silently empty.

#![warn(clippy::print_stderr)]

mod batch;
mod cache;
mod error;
mod floor;
mod format;
mod inspect;
mod logical;
mod opening;
mod options;
mod pace;
mod reader;
mod recover;
mod segment;
mod shared;
mod stats;
#[cfg(feature = "stepped")]
mod stepper;
mod wal;
mod writer;

pub use error::Error;
pub use floor::{Floor, Mark};
pub use inspect::{Inspection, SegmentFile};
pub use logical::Purged;
pub use options::{OPAQUE_BYTES_MAX, Options, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
pub use recover::Recovered;
pub use shared::Room;
pub use stats::Stats;
#[cfg(feature = "stepped")]
pub use stepper::Stepper;
pub use wal::Wal;

use bytes::Bytes;

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the log; entries follow one another without a gap.
    pub index: u64,
    /// What the caller stores: never looked at.
    pub payload: Bytes,
}
