//! A data directory, opened for looking.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use conure_btree::{CheckReport, Db, ReadTxn};
use conure_io::{Disk as _, File, OpenMode};
use conure_wal::{Floor, Inspection};

use super::error::CHECK;
use super::founding::UNFINISHED_FILE;
use super::read_only::ReadOnlyDisk;
use super::{OfflineError, meta_pages};
use crate::access;
use crate::identity::{IDENTITY_FILE, Identity, IdentityError};
use crate::member::{LOCK_FILE, LOG_DIR};
use crate::raft::state::Applied;
use crate::raft::store::{TREE_FILE, applied_in, engine, floor_in};
use crate::raft::types::{Entry, LogId};

/// A directory whose lock is held as long as this lives.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) path: PathBuf,
    disk: Arc<ReadOnlyDisk>,
    _lock: Option<Arc<dyn File>>,
}

impl Directory {
    /// Opens `path`, which must hold a member's files, and keeps members away from it.
    pub(crate) fn open(path: &Path) -> Result<Self, OfflineError> {
        let disk = ReadOnlyDisk::new(path).map_err(|e| {
            if access::is_denied(&e) {
                return OfflineError::dir(path, format!("cannot be opened: {e}"), access::mend(path, &e));
            }
            OfflineError::dir(path, format!("cannot be opened: {e}"), "name the --data-dir of a member")
        })?;
        let lock = match disk.open(LOCK_FILE, OpenMode::Read) {
            Ok(lock) => Some(lock),
            // Nobody ever started there; the tree has a lock of its own.
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(OfflineError::unread(path, LOCK_FILE, e)),
        };
        match lock.as_ref().map(|lock| lock.try_lock()) {
            None | Some(Ok(())) => {}
            Some(Err(e)) if e.kind() == io::ErrorKind::WouldBlock => return Err(in_use(path)),
            Some(Err(e)) => return Err(OfflineError::unread(path, LOCK_FILE, e)),
        }
        let directory = Self { path: path.to_owned(), disk: Arc::new(disk), _lock: lock };
        if directory.has(UNFINISHED_FILE) && !directory.has(IDENTITY_FILE) {
            return Err(OfflineError::dir(path, "holds a restore that was broken off", "repeat the restore"));
        }
        let files = [IDENTITY_FILE, TREE_FILE, LOG_DIR];
        if !files.iter().any(|name| directory.has(name)) {
            return Err(OfflineError::dir(path, "holds no member's data", "name the --data-dir of a member"));
        }
        Ok(directory)
    }

    fn has(&self, name: &str) -> bool {
        self.path.join(name).exists()
    }

    /// The identity, `None` where the file is not there.
    pub(crate) fn identity(&self) -> Result<Option<Identity>, IdentityError> {
        Identity::load(&self.path)
    }

    /// The identity, which must be there.
    pub(crate) fn known_identity(&self) -> Result<Identity, OfflineError> {
        let mend = "restore the file \"identity\"; `conure-db check` looks at the rest";
        match self.identity() {
            Ok(Some(identity)) => Ok(identity),
            Ok(None) => Err(OfflineError::dir(&self.path, "has no identity file", mend)),
            Err(IdentityError::Io(e)) => Err(OfflineError::unread(&self.path, IDENTITY_FILE, e)),
            Err(e) => Err(OfflineError::dir(&self.path, format!("has an identity file that {e}"), mend)),
        }
    }

    /// Whether there is a file for the tree.
    pub(crate) fn has_tree(&self) -> bool {
        self.has(TREE_FILE)
    }

    /// The tree; `None` where there is no file, as in a member that belongs to no cluster yet.
    pub(crate) fn tree(&self) -> Result<Option<Db>, conure_btree::Error> {
        if !self.has_tree() {
            return Ok(None);
        }
        Db::open(Arc::clone(&self.disk) as Arc<_>, TREE_FILE, Default::default()).map(Some)
    }

    /// The tree's meta pages that are damaged, whatever opening the tree makes of them.
    pub(crate) fn damaged_meta_pages(&self, page_size: usize) -> io::Result<Vec<u8>> {
        meta_pages::damaged(self.disk.as_ref(), TREE_FILE, page_size)
    }

    /// The tree's file in bytes.
    pub(crate) fn tree_bytes(&self) -> u64 {
        self.path.join(TREE_FILE).metadata().map_or(0, |meta| meta.len())
    }

    /// The log; `None` where there is no folder.
    pub(crate) fn log(&self) -> Result<Option<Inspection>, conure_wal::Error> {
        match ReadOnlyDisk::new(&self.path.join(LOG_DIR)) {
            Ok(disk) => Inspection::read(&disk).map(Some),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(conure_wal::Error::Io {
                action: "opening",
                file: "directory".to_owned(),
                source: Arc::new(e),
            }),
        }
    }

    /// An error of the log, for users.
    pub(crate) fn log_unreadable(&self, error: conure_wal::Error) -> OfflineError {
        let damaged = |what: &str| OfflineError::dir(&self.path, format!("cannot be read: {what}"), CHECK);
        OfflineError::log(&self.path, error, damaged)
    }

    /// An error of the tree, for users.
    pub(crate) fn unreadable(&self, error: conure_btree::Error) -> OfflineError {
        match error {
            conure_btree::Error::Locked { .. } => in_use(&self.path),
            error => OfflineError::tree(&self.path, error),
        }
    }
}

pub(crate) fn in_use(path: &Path) -> OfflineError {
    OfflineError::dir(
        path,
        "is in use by another process",
        "stop that process, and look at a running member with GET /raft/stats instead",
    )
}

/// What the tree says of itself: what was applied, and how far the log was then.
pub(crate) fn described(read: &ReadTxn) -> io::Result<(Applied, Option<Floor>)> {
    let unreadable = || io::Error::new(io::ErrorKind::InvalidData, "its record of the log is unreadable");
    let floor = floor_in(read)?.map(|bytes| Floor::decode(&bytes).ok_or_else(unreadable)).transpose()?;
    Ok((applied_in(read)?, floor))
}

/// The newest entry that a directory holds, in its log or applied; `None` where there never was any.
pub(crate) fn newest(log: Option<&Inspection>, applied: Option<&Applied>) -> Result<Option<LogId>, String> {
    let mut newest = applied.and_then(|applied| applied.log_id);
    if let Some(log) = log {
        let unreadable = |e: &dyn std::fmt::Display| format!("the log's last entry cannot be read ({e})");
        let last = log.indexes().map_or(0, |(_, last)| last);
        let entries = log.entries(last..u64::MAX, 1).map_err(|e| unreadable(&e))?;
        let in_log = match (entries.last(), log.purged()) {
            (Some(entry), _) => {
                Some(postcard::from_bytes::<Entry>(&entry.payload).map_err(|e| unreadable(&e))?.log_id)
            }
            (None, Some(purged)) => Some(postcard::from_bytes(&purged.marker).map_err(|e| unreadable(&e))?),
            (None, None) => None,
        };
        newest = newest.max(in_log);
    }
    Ok(newest)
}

/// [`Db::check`], of which `percent` hears how far it is.
pub(super) fn checked(tree: &Db, percent: &mut dyn FnMut(u64)) -> Result<CheckReport, conure_btree::Error> {
    tree.check_with_progress(&mut |done, all| percent((done * 100).checked_div(all).unwrap_or(100)))
}

/// Opens a snapshot.
pub(crate) fn snapshot(db: &Db) -> io::Result<ReadTxn> {
    db.begin_read().map_err(engine)
}
