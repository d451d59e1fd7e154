//! Figures about a log.

use std::time::Duration;

/// Counters since the log was opened, and sizes as they are now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Syncs of segment files, those of opening and of new segments included.
    pub syncs: u64,
    /// Batches written.
    pub batches: u64,
    /// Submissions made durable.
    pub submissions: u64,
    /// Most submissions that one batch took.
    pub largest_group: u64,
    /// Entries made durable.
    pub appended_entries: u64,
    /// Their payload bytes.
    pub appended_bytes: u64,
    /// Segment files.
    pub segments: u64,
    /// Bytes of all segment files.
    pub disk_bytes: u64,
    /// Submissions that wait now.
    pub queue_len: u64,
    /// Their payload bytes.
    pub queue_bytes: u64,
    /// How long writing and syncing a batch took lately: an average in which the last one counts an eighth.
    pub sync_average: Duration,
    /// How long the batch that is being written now has taken so far; zero where none is.
    pub writing_for: Duration,
    /// Entries kept in memory now.
    pub cached_entries: u64,
    /// Their payload bytes.
    pub cached_bytes: u64,
}
