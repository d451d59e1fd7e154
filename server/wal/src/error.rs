//! What can go wrong, said so that a user knows the mend.

use std::io;
use std::sync::Arc;

/// Why the log did not do what it was asked. Cheap to clone: one failure answers many callbacks.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The disk failed. After a failed write or sync nothing more is written: what reached the disk is unknown.
    #[error("the log's {file}: {action} failed: {source}; see to the disk, then restart the member")]
    Io {
        /// What was done.
        action: &'static str,
        /// The file or directory that it was done to.
        file: String,
        /// What the disk answered.
        source: Arc<io::Error>,
    },
    /// Bytes that had been synced are not what was written.
    #[error(
        "the log's {file} is damaged at byte {offset}, before the end of what was synced: {what}; this member's \
         log cannot be trusted: remove the member from its cluster, empty its data directory and let it join again"
    )]
    Damaged {
        /// The segment's file name.
        file: String,
        /// Where the damage begins, in bytes.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// A segment that holds entries of the log is not there.
    #[error(
        "the log's {file} is missing: {what}; put the file back, or remove the member from its cluster, empty its \
         data directory and let it join again"
    )]
    MissingSegment {
        /// The missing segment's file name.
        file: String,
        /// Why it must be there.
        what: String,
    },
    /// A segment belongs to another log.
    #[error(
        "the log's {file} belongs to another log ({found:016x}, not {expected:016x}); move it out of the directory"
    )]
    ForeignSegment {
        /// The segment's file name.
        file: String,
        /// The log that the segment names.
        found: u64,
        /// The log that the other segments name.
        expected: u64,
    },
    /// A segment was written in a format that this version does not know.
    #[error(
        "the log's {file} has format version {found}, this program knows up to {known}; start a newer program"
    )]
    Version {
        /// The segment's file name.
        file: String,
        /// The version that the file names.
        found: u32,
        /// The newest version that this program reads.
        known: u32,
    },
    /// The log ends before what the caller knows to have been durable.
    #[error(
        "the log ends behind the database's checkpoint: {what}; the log was lost or replaced: put it back, or remove \
         the member from its cluster, empty its data directory and let it join again"
    )]
    BehindCheckpoint {
        /// What the checkpoint has and the log lacks.
        what: String,
    },
    /// Another process, or another handle of this one, has the log open.
    #[error("the log is in use by another process; stop that process first")]
    Locked,
    /// An option is out of its range.
    #[error("the log's option {name} is {value}; {mend}")]
    Option {
        /// The option's name.
        name: &'static str,
        /// What it was set to.
        value: u64,
        /// What it may be.
        mend: &'static str,
    },
    /// An entry, vote or marker is larger than the log takes.
    #[error("{what} of {bytes} bytes is over the log's limit of {limit} bytes")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// How large it is.
        bytes: usize,
        /// How large it may be.
        limit: usize,
    },
    /// An appended entry does not follow the last one.
    #[error("entry {found} cannot be appended: the next entry must be {expected}")]
    Gap {
        /// The index that follows the last entry.
        expected: u64,
        /// The index that was given.
        found: u64,
    },
    /// The log is closed, or its writer died.
    #[error("the log is closed")]
    Closed,
}

impl Error {
    pub(crate) fn io(action: &'static str, file: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let file = file.into();
        move |source| Self::Io { action, file, source: Arc::new(source) }
    }

    pub(crate) fn damaged(file: impl Into<String>, offset: u64, what: impl Into<String>) -> Self {
        Self::Damaged { file: file.into(), offset, what: what.into() }
    }
}
