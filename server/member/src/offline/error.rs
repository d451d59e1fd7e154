//! Why a data directory, a backup or a dump cannot be worked with.

use std::fmt::Display;
use std::io;
use std::path::Path;

use crate::access;
use crate::member::LOG_DIR;
use crate::raft::store::TREE_FILE;

/// Why a command on a data directory did not do what it was asked. Each text is one line that names the thing and the
/// mend.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OfflineError {
    /// The data directory cannot be used; nothing in it was changed.
    #[error("data_dir {dir:?} {what}; {mend}")]
    DataDir {
        /// The directory.
        dir: String,
        /// What is wrong with it.
        what: String,
        /// What to do.
        mend: String,
    },
    /// What the new cluster shall be called makes no sense.
    #[error("{what} {value:?} cannot be used; {mend}")]
    Name {
        /// What was named.
        what: &'static str,
        /// The name.
        value: String,
        /// What to do.
        mend: String,
    },
    /// The backup cannot be used.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The dump cannot be used.
    #[error("line {line} of the dump: {reason}; {mend}")]
    Dump {
        /// The line, counted from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
        /// What to do.
        mend: &'static str,
    },
    /// Reading or writing failed.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        source: io::Error,
    },
}

/// Why a backup cannot be used. It was not written by a member, or it changed since.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// It does not begin as one.
    #[error("this is no backup of ConureDB; give a file that `conure-db backup` or GET /snapshot wrote")]
    NotABackup,
    /// It was written in a format that this program does not know.
    #[error(
        "the backup has format version {found}, this program knows version {known}; use the program that wrote it"
    )]
    Version {
        /// The version in the backup.
        found: u16,
        /// The version that this program reads.
        known: u16,
    },
    /// It ends before its end.
    #[error("the backup is cut off after {at} bytes; make it again, or use another one")]
    CutOff {
        /// Its length in bytes.
        at: u64,
    },
    /// It holds what no member writes.
    #[error("the backup is damaged behind byte {at}: {reason}; use another one")]
    Damaged {
        /// Up to here it is whole, in bytes.
        at: u64,
        /// What is wrong behind that.
        reason: String,
    },
}

impl OfflineError {
    pub(crate) fn dir(dir: &Path, what: impl Display, mend: impl Display) -> Self {
        Self::DataDir { dir: dir.display().to_string(), what: what.to_string(), mend: mend.to_string() }
    }

    pub(crate) fn io(what: impl Display) -> impl FnOnce(io::Error) -> Self {
        let what = what.to_string();
        move |source| Self::Io { what, source }
    }

    /// A file of the directory could not be read, which says nothing about what it holds.
    pub(crate) fn unread(dir: &Path, name: &str, error: io::Error) -> Self {
        let path = dir.join(name);
        if access::is_denied(&error) {
            return Self::dir(dir, format!("cannot be read: {name:?}: {error}"), access::mend(&path, &error));
        }
        Self::Io { what: format!("read {:?}", path.display().to_string()), source: error }
    }

    /// The tree's file refused.
    pub(crate) fn tree(dir: &Path, error: conure_btree::Error) -> Self {
        use conure_btree::Error::{ByteOrder, Io, ReadOnly, Version};
        match error {
            Io { source, .. } | ReadOnly { source, .. } if access::is_denied(&source) => {
                Self::unread(dir, TREE_FILE, source)
            }
            Io { what, source } => Self::Io { what: what.to_owned(), source },
            ReadOnly { name, source } => Self::Io { what: format!("open {name:?} for writing"), source },
            error @ (Version { .. } | ByteOrder { .. }) => {
                Self::dir(dir, format!("cannot be read: {error}"), "nothing is wrong with the data")
            }
            error => Self::dir(dir, format!("holds a database that cannot be read: {error}"), CHECK),
        }
    }
}

impl OfflineError {
    /// The log's files refused; `damaged` says it of a log that is not what was written.
    pub(crate) fn log(dir: &Path, error: conure_wal::Error, damaged: impl FnOnce(&str) -> Self) -> Self {
        use conure_wal::Error::{ForeignSegment, Io, Locked, Version};
        match error {
            Io { file, source, .. } => {
                // The list of the segments, too, is called a file.
                let path = dir.join(LOG_DIR).join(&file);
                let name = if path.exists() { format!("{LOG_DIR}/{file}") } else { LOG_DIR.to_owned() };
                Self::unread(dir, &name, io::Error::new(source.kind(), source.to_string()))
            }
            error @ (Version { .. } | Locked | ForeignSegment { .. }) => {
                Self::dir(dir, format!("cannot be read: {error}"), "nothing is wrong with the data")
            }
            error => damaged(&error.to_string()),
        }
    }
}

/// What to do about a directory that cannot be read.
pub(crate) const CHECK: &str = "`conure-db check` says what is broken; restore a backup, or empty the directory and \
     join the member again";
