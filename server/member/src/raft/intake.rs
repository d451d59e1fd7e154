//! A snapshot on its way in: a new tree file beside the present one.
//!
//! **Invariant:** whoever holds such a file holds the turn too, from before it is made until it is in the tree's place or gone.

use std::io;
use std::sync::Arc;

use conure_btree::{Db, Durability, Options};
use conure_io::Disk;
use tokio::sync::OwnedMutexGuard;

use super::records::{Joiner, TreeId};
use super::state::Applied;
use super::store::{applied_in, engine};
use super::types::LogId;
use crate::identity::new_node_id;
use crate::planted::Planted;

/// So many bytes of records go into one commit of the new tree.
const COMMIT_BYTES: usize = 8 << 20;
/// Changed pages held in memory at once while a snapshot comes in.
const DIRTY_BYTES: usize = 8 << 20;

/// What the name of every tree begins with that a snapshot is received into.
const INCOMING_PREFIX: &str = "incoming";

/// The right to receive a snapshot: there is one for each store.
pub(crate) type Turn = OwnedMutexGuard<()>;

/// Removes what snapshots left that came in when the process ended.
pub(crate) fn remove_leftovers(disk: &dyn Disk) -> io::Result<()> {
    for name in disk.list()?.iter().filter(|name| name.starts_with(INCOMING_PREFIX)) {
        disk.remove(name)?;
    }
    Ok(())
}

/// The name of a tree that comes in. Dropped under that name the file goes, and the turn after it.
#[derive(Debug)]
pub(crate) struct IncomingFile {
    disk: Arc<dyn Disk>,
    name: String,
    renamed: bool,
    _turn: Turn,
}

impl IncomingFile {
    fn new(disk: Arc<dyn Disk>, turn: Turn) -> Self {
        // No other is ever called so: what is renamed is what was received.
        let name = format!("{INCOMING_PREFIX}-{:016x}.db", new_node_id());
        Self { disk, name, renamed: false, _turn: turn }
    }

    /// Puts it in the place of `name`, durably.
    pub(crate) fn rename(mut self, name: &str) -> io::Result<()> {
        self.disk.rename(&self.name, name)?;
        self.renamed = true;
        self.disk.sync_dir()
    }
}

impl Drop for IncomingFile {
    fn drop(&mut self) {
        if self.renamed {
            return;
        }
        match self.disk.remove(&self.name) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(file = self.name, error = %e, "what came of a snapshot was not removed");
            }
            _ => {}
        }
    }
}

/// Receives the record stream. Blocks; dropped before [`Intake::finish`] it leaves the present tree as it was.
#[derive(Debug)]
pub(crate) struct Intake {
    db: Db,
    // Behind the tree: dropped after it.
    file: IncomingFile,
    joiner: Joiner,
    since_commit: usize,
    waiting: Vec<u8>,
}

/// A whole snapshot, durable in a file of its own.
#[derive(Debug)]
pub(crate) struct Received {
    db: Db,
    file: IncomingFile,
}

impl Intake {
    /// Begins anew.
    pub(crate) fn create(disk: Arc<dyn Disk>, turn: Turn) -> io::Result<Self> {
        let file = IncomingFile::new(Arc::clone(&disk), turn);
        let mut options = Options::default();
        options.dirty_bytes_max = DIRTY_BYTES;
        let db = Db::open(disk, &file.name, options).map_err(engine)?;
        // Unless it is installed the file goes.
        db.seal_on_drop(false);
        Ok(Self { db, file, joiner: Joiner::default(), since_commit: 0, waiting: Vec::new() })
    }

    /// Takes the next chunk.
    pub(crate) fn push(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.waiting.extend_from_slice(chunk);
        self.since_commit += chunk.len();
        if self.since_commit >= COMMIT_BYTES { self.commit(Durability::Eventual) } else { Ok(()) }
    }

    fn commit(&mut self, durability: Durability) -> io::Result<()> {
        let mut txn = self.db.begin_write().map_err(engine)?;
        let waiting = std::mem::take(&mut self.waiting);
        self.joiner.push(&waiting, |tree, key, value| {
            if tree == TreeId::Meta && Planted::SnapshotWithoutMembership.is_on() {
                let bare = Applied { membership: Default::default(), ..Applied::decode(value)? }.encode()?;
                return txn.tree(tree.name()).map_err(engine)?.put(key, &bare).map_err(engine);
            }
            txn.tree(tree.name()).map_err(engine)?.put(key, value).map_err(engine)
        })?;
        self.since_commit = 0;
        txn.commit(durability).map_err(engine)
    }

    /// The stream has ended: makes what came durable.
    pub(crate) fn finish(mut self) -> io::Result<Received> {
        self.commit(Durability::Durable)?;
        if !self.joiner.is_whole() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the snapshot ends inside a record"));
        }
        Ok(Received { db: self.db, file: self.file })
    }
}

impl Received {
    /// What its state says of itself.
    pub(crate) fn applied(&self) -> io::Result<Applied> {
        applied_in(&self.db.begin_read().map_err(engine)?)
    }

    /// The tree and its file, if it is the one that goes up to `last`.
    pub(crate) fn into_tree(self, last: Option<LogId>) -> io::Result<(Db, IncomingFile)> {
        if self.applied()?.log_id != last {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the snapshot does not end where it says",
            ));
        }
        Ok((self.db, self.file))
    }
}
