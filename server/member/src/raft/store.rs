//! The tree and what is known of it: shared by the state machine, the readers, and checkpoints.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use bytes::Bytes;
use conure_btree::{Db, Durability, ReadTxn, WriteTxn};
use conure_client::api::Role;
use conure_io::{Disk, OpenMode, Unreadable};
use openraft::EntryPayload;
use tokio::sync::watch;

use super::intake::{IncomingFile, Turn};
use super::shelf::Shelf;
use super::state::{APPLIED_KEY, Applied, FLOOR_KEY, KV_TREE, META_TREE};
use super::types::{Command, Entry, LogId, Outcome, StoredMembership};
use crate::facade::{Found, ReadAnswer};
use crate::failure::{Failure, Fault};
use crate::identity::new_node_id;
use crate::planted::Planted;
use crate::platform;

/// The tree's file.
pub(crate) const TREE_FILE: &str = "tree.db";

/// Gives the log's floor for a checkpoint that has applied up to this entry.
pub(crate) type FloorOf = Arc<dyn Fn(Option<LogId>) -> io::Result<Vec<u8>> + Send + Sync>;

/// One member's state machine.
pub(crate) struct Store {
    disk: Arc<dyn Disk>,
    /// Replaced as a whole when a snapshot is installed; readers keep the one that they began with. Empty once it
    /// was closed.
    db: RwLock<Option<Arc<Db>>>,
    /// Whoever changes the tree holds this, and with it what was applied last.
    writer: Mutex<Applied>,
    /// The same for everyone else, sent once the change can be read.
    applied: watch::Sender<Arc<Applied>>,
    role: Role,
    failure: Failure,
    /// A snapshot that is to be sent again.
    pub(crate) shelf: Shelf,
    /// Held while a snapshot comes in, until it is installed or given up.
    incoming: Arc<tokio::sync::Mutex<()>>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("role", &self.role).finish_non_exhaustive()
    }
}

/// A read snapshot and what was applied when it began.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) read: ReadTxn,
    pub(crate) applied: Applied,
    /// Tells it from all others.
    pub(crate) id: u64,
    /// Where it may wait for its next use.
    pub(crate) shelf: Shelf,
    /// Told where what is read is not what was written.
    pub(crate) failure: Failure,
}

/// How often whoever lets something go looks whether others still hold it.
const HOLDER_NAPS_MAX: usize = 2_000;

/// Waits until nobody else holds it, within reason, and drops it.
pub(crate) fn last_holder<T>(mut shared: Arc<T>) {
    for _ in 0..HOLDER_NAPS_MAX {
        match Arc::try_unwrap(shared) {
            Ok(alone) => return drop(alone),
            Err(held) => shared = held,
        }
        platform::nap();
    }
}

/// A tree whose file has no name any more. To drop it gives its blocks back to the file system, which may take long.
#[derive(Debug)]
#[must_use = "it is to be dropped where nobody waits"]
pub(crate) struct Replaced(Option<Arc<Db>>);

impl Replaced {
    /// Nothing that is left of it is worth a sync.
    fn new(former: Option<Arc<Db>>) -> Self {
        if let Some(db) = &former {
            db.seal_on_drop(false);
        }
        Self(former)
    }

    /// Waits until nobody reads it, within reason, and drops it: not a reader, who would block others. Blocks.
    pub(crate) fn discard(self) {
        let Some(db) = self.0 else { return };
        for _ in 0..HOLDER_NAPS_MAX {
            if Arc::strong_count(&db) == 1 && db.stats().readers == 0 {
                break;
            }
            platform::nap();
        }
    }
}

/// An engine error for those who know only the standard one.
pub(crate) fn engine(error: conure_btree::Error) -> io::Error {
    match error {
        // As it is: whoever judges it must see that it is damage.
        conure_btree::Error::Io { ref source, .. } if Unreadable::is(source) => io::Error::other(error),
        conure_btree::Error::Io { source, what } => {
            io::Error::new(source.kind(), format!("cannot {what}: {source}"))
        }
        other => io::Error::other(other),
    }
}

/// What the tree says was applied.
pub(crate) fn applied_in(read: &ReadTxn) -> io::Result<Applied> {
    let Some(meta) = read.tree(META_TREE).map_err(engine)? else { return Ok(Applied::default()) };
    meta.get(APPLIED_KEY).map_err(engine)?.map_or_else(|| Ok(Applied::default()), Applied::decode)
}

/// The log's floor at the last durable checkpoint of the tree, if there was one.
pub(crate) fn floor_in(read: &ReadTxn) -> io::Result<Option<Vec<u8>>> {
    let Some(meta) = read.tree(META_TREE).map_err(engine)? else { return Ok(None) };
    Ok(meta.get(FLOOR_KEY).map_err(engine)?.map(<[u8]>::to_vec))
}

impl Store {
    /// The store over an opened tree.
    pub(crate) fn new(disk: Arc<dyn Disk>, db: Arc<Db>, role: Role, failure: Failure) -> io::Result<Self> {
        let applied = applied_in(&db.begin_read().map_err(engine)?)?;
        let (sender, _) = watch::channel(Arc::new(applied.clone()));
        Ok(Self {
            disk,
            db: RwLock::new(Some(db)),
            writer: Mutex::new(applied),
            applied: sender,
            role,
            failure,
            shelf: Shelf::default(),
            incoming: Arc::default(),
        })
    }

    pub(crate) fn role(&self) -> Role {
        self.role
    }

    /// What was applied, as it goes on.
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<Applied>> {
        self.applied.subscribe()
    }

    /// What was applied.
    pub(crate) fn applied(&self) -> Arc<Applied> {
        Arc::clone(&self.applied.borrow())
    }

    /// The tree as it is now.
    pub(crate) fn db(&self) -> io::Result<Arc<Db>> {
        let db = self.db.read().unwrap_or_else(PoisonError::into_inner).clone();
        db.ok_or_else(|| io::Error::other("the database is closed"))
    }

    /// Lets go of the tree's file once nobody uses it. Blocks.
    pub(crate) fn close(&self) {
        self.shelf.clear();
        let db = self.db.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(db) = db {
            last_holder(db);
        }
    }

    /// The right to receive a snapshot, if nobody else has it.
    pub(crate) fn try_incoming(&self) -> Option<Turn> {
        Arc::clone(&self.incoming).try_lock_owned().ok()
    }

    /// The same, as soon as nobody else has it.
    pub(crate) async fn incoming(&self) -> Turn {
        Arc::clone(&self.incoming).lock_owned().await
    }

    /// Its directory as a disk.
    pub(crate) fn disk(&self) -> Arc<dyn Disk> {
        Arc::clone(&self.disk)
    }

    /// The value of `key` and the revision of the whole.
    pub(crate) fn get(&self, key: &[u8]) -> io::Result<ReadAnswer> {
        // The revision is taken first: an answer may be newer than it says, never older.
        let revision = self.applied.borrow().revision;
        let read = self.db()?.begin_read().map_err(engine)?;
        let found = match read.tree(KV_TREE).map_err(engine)? {
            Some(kv) => kv.get(key).map_err(engine)?.map(found_in).transpose()?,
            None => None,
        };
        let revision = found.as_ref().map_or(revision, |found| found.revision.max(revision));
        Ok(ReadAnswer { found, revision })
    }

    /// A snapshot of everything.
    pub(crate) fn view(&self) -> io::Result<View> {
        let read = self.db()?.begin_read().map_err(engine)?;
        let applied = applied_in(&read)?;
        let (shelf, failure) = (self.shelf.clone(), self.failure.clone());
        Ok(View { read, applied, id: new_node_id(), shelf, failure })
    }

    /// Names the cluster that the data belongs to, durably.
    pub(crate) fn found_cluster(&self, cluster_id: &str, incarnation: u64) -> io::Result<()> {
        self.change(Durability::Durable, |applied, _| {
            applied.cluster_id = cluster_id.to_owned();
            applied.incarnation = incarnation;
            Ok(())
        })
    }

    /// Leaves out the revisions up to `revision`, as durably as what follows: the next change takes the one after.
    pub(crate) fn skip_to(&self, revision: u64) -> io::Result<()> {
        self.change(Durability::Eventual, |applied, _| {
            applied.revision = applied.revision.max(revision);
            Ok(())
        })
    }

    /// Ends the state's life in one incarnation of its cluster, durably: `next` is what is known of it in the next one.
    /// What the log held is of the old one and forgotten.
    pub(crate) fn begin_incarnation(&self, next: Applied) -> io::Result<()> {
        self.change(Durability::Durable, |applied, txn| {
            txn.tree(META_TREE).map_err(engine)?.delete(FLOOR_KEY).map_err(engine)?;
            *applied = next;
            Ok(())
        })
    }

    /// Applies entries in order, all in one commit. The outcomes are in the entries' order; readers see the
    /// changes before this returns. Not durable before the next checkpoint.
    pub(crate) fn apply(&self, mut entries: Vec<Entry>) -> io::Result<Vec<Outcome>> {
        if Planted::AppliesOutOfOrder.is_on() {
            entries.reverse();
        }
        self.change(Durability::Eventual, |applied, txn| {
            entries.into_iter().map(|entry| self.apply_one(applied, txn, entry)).collect()
        })
    }

    fn apply_one(&self, applied: &mut Applied, txn: &mut WriteTxn, entry: Entry) -> io::Result<Outcome> {
        applied.log_id = Some(entry.log_id);
        match entry.payload {
            EntryPayload::Blank => Ok(Outcome::Nothing),
            EntryPayload::Membership(membership) => {
                applied.set_membership(StoredMembership::new(Some(entry.log_id), membership));
                Ok(Outcome::Nothing)
            }
            EntryPayload::Normal(command) => self.apply_command(applied, txn, command),
        }
    }

    fn apply_command(
        &self,
        applied: &mut Applied,
        txn: &mut WriteTxn,
        command: Command,
    ) -> io::Result<Outcome> {
        if applied.released_for.is_some() {
            return Ok(Outcome::Gone);
        }
        match command {
            Command::Release { by } => {
                let mut voters = applied.membership.voter_ids();
                let alone = voters.next().is_some() && voters.next().is_none();
                let free = alone && applied.revision == 0 && applied.membership.nodes().count() == 1;
                if free {
                    applied.released_for = Some(by);
                }
                Ok(Outcome::Released(free))
            }
            // An arbiter holds no data, so it cannot know which deletes counted, and counts nothing.
            Command::Put { .. } | Command::Delete { .. } if self.role == Role::Arbiter => {
                Ok(Outcome::Nothing)
            }
            Command::Put { key, value } => {
                applied.revision += 1;
                let revision = applied.revision;
                let mut kv = txn.tree(KV_TREE).map_err(engine)?;
                kv.put_parts(&key, &[&revision.to_le_bytes(), &value]).map_err(engine)?;
                Ok(Outcome::Put { revision })
            }
            Command::Delete { key } => {
                let deleted = txn.tree(KV_TREE).map_err(engine)?.delete(&key).map_err(engine)?;
                applied.revision += u64::from(deleted);
                Ok(Outcome::Deleted { deleted, revision: applied.revision })
            }
        }
    }

    /// Writes most of what a checkpoint will have to write, while changes go on.
    pub(crate) fn flush_ahead(&self) -> io::Result<()> {
        // Held meanwhile: the files are not let go of under it.
        let _open = self.db()?;
        let flush = || self.disk.open(TREE_FILE, OpenMode::Read)?.sync_data();
        flush().inspect_err(|e| self.failure.set(Fault::of("the database", e)))
    }

    /// Makes the file shorter, step by step, as long as `go_on` says so; by how many bytes. Changes go on between the steps.
    pub(crate) fn compact(&self, go_on: impl Fn() -> bool) -> io::Result<u64> {
        let mut compaction = self.db()?.compaction(conure_btree::CompactOptions::default());
        let failed = |e: &io::Error| self.failure.set(Fault::of("the database", e));
        while go_on() {
            // Held, so that no change waits for its turn in the tree.
            let _writer = self.writer();
            match compaction.step() {
                Ok(true) => {}
                Ok(false) => break,
                // Too little room even for that: what was done stays, and deletes go on.
                Err(conure_btree::Error::NoSpace { .. }) => break,
                Err(e) => return Err(engine(e)).inspect_err(failed),
            }
        }
        let report = compaction.report();
        Ok(report.file_bytes_before.saturating_sub(report.file_bytes_after))
    }

    /// Makes everything applied so far durable, together with what the log held then.
    pub(crate) fn checkpoint(&self, floor: &FloorOf) -> io::Result<Applied> {
        let durability =
            if Planted::CheckpointNotDurable.is_on() { Durability::Eventual } else { Durability::Durable };
        self.change(durability, |applied, txn| {
            let mut meta = txn.tree(META_TREE).map_err(engine)?;
            meta.put(FLOOR_KEY, &floor(applied.log_id)?).map_err(engine)?;
            Ok(applied.clone())
        })
    }

    /// Takes over the state of a snapshot without data.
    pub(crate) fn install_bare(&self, mut state: Applied, floor: &FloorOf) -> io::Result<()> {
        // An arbiter counts no revisions: it cannot know which deletes counted.
        state.revision = 0;
        self.change(Durability::Durable, |applied, txn| {
            let mut meta = txn.tree(META_TREE).map_err(engine)?;
            meta.put(FLOOR_KEY, &floor(applied.log_id)?).map_err(engine)?;
            *applied = state;
            Ok(())
        })
    }

    /// Puts the whole tree `incoming`, which is in `file`, in the place of the present one, and gives that one back. A crash
    /// leaves the old or the new.
    pub(crate) fn install(
        &self,
        (incoming, file): (Db, IncomingFile),
        floor: &FloorOf,
    ) -> io::Result<Replaced> {
        let mut writer = self.writer();
        let work = || -> io::Result<(Db, Applied)> {
            let applied = applied_in(&incoming.begin_read().map_err(engine)?)?;
            let mut txn = incoming.begin_write().map_err(engine)?;
            let mut meta = txn.tree(META_TREE).map_err(engine)?;
            // The log does not reach the snapshot yet: the floor is what the log holds now.
            meta.put(FLOOR_KEY, &floor(writer.log_id)?).map_err(engine)?;
            txn.commit(Durability::Durable).map_err(engine)?;
            file.rename(TREE_FILE)?;
            Ok((incoming, applied))
        };
        let (db, applied) =
            work().inspect_err(|e| self.failure.set(Fault::of("installing a snapshot", e)))?;
        db.seal_on_drop(true);
        self.shelf.clear();
        let former = {
            let mut current = self.db.write().unwrap_or_else(PoisonError::into_inner);
            current.replace(Arc::new(db))
        };
        *writer = applied.clone();
        self.applied.send_replace(Arc::new(applied));
        Ok(Replaced::new(former))
    }

    fn change<T>(
        &self,
        durability: Durability,
        work: impl FnOnce(&mut Applied, &mut WriteTxn) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut writer = self.writer();
        let mut applied = writer.clone();
        let db = self.db()?;
        let run = || -> io::Result<T> {
            let mut txn = db.begin_write().map_err(engine)?;
            let done = work(&mut applied, &mut txn)?;
            txn.tree(META_TREE).map_err(engine)?.put(APPLIED_KEY, &applied.encode()?).map_err(engine)?;
            txn.commit(durability).map_err(engine)?;
            Ok(done)
        };
        let done = run().inspect_err(|e| self.failure.set(Fault::of("the database", e)))?;
        *writer = applied.clone();
        self.applied.send_replace(Arc::new(applied));
        Ok(done)
    }

    fn writer(&self) -> MutexGuard<'_, Applied> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn found_in(stored: &[u8]) -> io::Result<Found> {
    let Some((revision, value)) = stored.split_first_chunk::<8>() else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a value is shorter than its revision"));
    };
    Ok(Found { revision: u64::from_le_bytes(*revision), value: Bytes::copy_from_slice(value) })
}

#[cfg(test)]
mod tests;
