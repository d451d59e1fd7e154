//! A snapshot on its way in: a new tree file beside the present one.

use std::io;
use std::sync::Arc;

use conure_btree::{Db, Durability, Options};
use conure_io::Disk;

use super::records::{Joiner, TreeId};
use super::state::Applied;
use super::store::{INCOMING_FILE, applied_in, engine};
use super::types::LogId;
use crate::planted::Planted;

/// So many bytes of records go into one commit of the new tree.
const COMMIT_BYTES: usize = 8 << 20;
/// Changed pages held in memory at once while a snapshot comes in.
const DIRTY_BYTES: usize = 8 << 20;

/// Receives the record stream. Blocks; dropped before [`Intake::finish`] it leaves the present tree as it was.
#[derive(Debug)]
pub(crate) struct Intake {
    db: Db,
    joiner: Joiner,
    since_commit: usize,
    waiting: Vec<u8>,
}

/// A whole snapshot, durable in [`INCOMING_FILE`].
#[derive(Debug)]
pub(crate) struct Received {
    db: Db,
}

impl Intake {
    /// Begins anew, over whatever an earlier attempt left.
    pub(crate) fn create(disk: Arc<dyn Disk>) -> io::Result<Self> {
        match disk.remove(INCOMING_FILE) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let mut options = Options::default();
        options.dirty_bytes_max = DIRTY_BYTES;
        let db = Db::open(disk, INCOMING_FILE, options).map_err(engine)?;
        Ok(Self { db, joiner: Joiner::default(), since_commit: 0, waiting: Vec::new() })
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
        Ok(Received { db: self.db })
    }
}

impl Received {
    /// What its state says of itself.
    pub(crate) fn applied(&self) -> io::Result<Applied> {
        applied_in(&self.db.begin_read().map_err(engine)?)
    }

    /// The tree, if it is the one that goes up to `last`.
    pub(crate) fn into_db(self, last: Option<LogId>) -> io::Result<Db> {
        if self.applied()?.log_id != last {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the snapshot does not end where it says",
            ));
        }
        Ok(self.db)
    }
}
