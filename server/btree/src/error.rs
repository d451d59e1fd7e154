//! What can go wrong.

use std::io;

/// Why the engine refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The disk refused. After a failed write or sync every later call answers [`Error::Poisoned`].
    #[error("cannot {what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// What the disk said.
        source: io::Error,
    },
    /// The file holds what no commit of this engine wrote there: restore it from a backup or another member.
    #[error("the database file is corrupt at page {page}: {reason}")]
    Corrupt {
        /// The number of the page: its offset in the file divided by the page size.
        page: u32,
        /// What is wrong with it.
        reason: String,
    },
    /// The file is not a database of this engine.
    #[error("{name:?} is not a ConureDB tree file: {reason}")]
    NotADatabase {
        /// The file's name.
        name: String,
        /// What it lacks.
        reason: &'static str,
    },
    /// The file was written by another version of the format.
    #[error(
        "{name:?} has format version {found}, this program reads version {wanted}: use the program that wrote it"
    )]
    Version {
        /// The file's name.
        name: String,
        /// The version in the file.
        found: u32,
        /// The version that this program reads.
        wanted: u32,
    },
    /// The file was written with another byte order.
    #[error("{name:?} was written with another byte order")]
    ByteOrder {
        /// The file's name.
        name: String,
    },
    /// An option cannot be used.
    #[error("bad option: {0}")]
    BadOption(&'static str),
    /// Another open database holds the file.
    #[error("{name:?} is locked: another process has it open")]
    Locked {
        /// The file's name.
        name: String,
    },
    /// Another write transaction is in progress.
    #[error("another write transaction is in progress")]
    WriterBusy,
    /// A write or a sync failed earlier: what is on disk is unknown until the database is opened again.
    #[error("the database stopped after an I/O error ({reason}): open it again")]
    Poisoned {
        /// The first failure.
        reason: String,
    },
    /// The transaction met an error halfway through a change and can only be dropped.
    #[error("the transaction met an error earlier and cannot go on")]
    TxnFailed,
    /// A key has at least one byte.
    #[error("the key is empty")]
    KeyEmpty,
    /// The key is longer than [`crate::MAX_KEY_BYTES`].
    #[error("the key has {len} bytes, the limit is {}", crate::MAX_KEY_BYTES)]
    KeyTooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// The value is longer than [`crate::MAX_VALUE_BYTES`].
    #[error("the value has {len} bytes, the limit is {}", crate::MAX_VALUE_BYTES)]
    ValueTooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// A tree's name has 1 to [`crate::MAX_TREE_NAME_BYTES`] bytes.
    #[error("the tree name has {len} bytes, 1 to {} are allowed", crate::MAX_TREE_NAME_BYTES)]
    BadTreeName {
        /// Its length in bytes.
        len: usize,
    },
    /// An entry of sorted input is not above the ones before it, or not above those that the tree holds.
    #[error(
        "entry {position} of the input is not above the entries before it: sort the input by key, without doubles"
    )]
    Unsorted {
        /// How many entries came before it.
        position: u64,
    },
    /// The disk has no room for a longer file. Reads and deletes go on: puts are refused while some pages are still free
    /// for them.
    #[error(
        "the disk has no room to make the database file {len_bytes} bytes long: free some of it ({source})"
    )]
    NoSpace {
        /// The length that the file needed, in bytes.
        len_bytes: u64,
        /// What the disk said.
        source: io::Error,
    },
    /// The file or its directory may not be written to.
    #[error("{name:?} cannot be opened for writing: {source}")]
    ReadOnly {
        /// The file's name.
        name: String,
        /// What the disk said.
        source: io::Error,
    },
    /// The file has reached its size limit; reads and deletes go on.
    #[error("the database has reached its limit of {limit_bytes} bytes: delete something or raise the limit")]
    Full {
        /// The limit in bytes.
        limit_bytes: u64,
    },
}

impl Error {
    pub(crate) fn io(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, source }
    }

    /// Whether it refuses a single entry and leaves the transaction as it was.
    pub(crate) fn changed_nothing(&self) -> bool {
        matches!(
            self,
            Self::KeyEmpty
                | Self::KeyTooLong { .. }
                | Self::ValueTooLong { .. }
                | Self::Unsorted { .. }
                | Self::Full { .. }
                | Self::NoSpace { .. }
        )
    }

    pub(crate) fn corrupt(page: u32, reason: impl Into<String>) -> Self {
        Self::Corrupt { page, reason: reason.into() }
    }
}
