//! fjall, an LSM tree: write batches whose journal is synced at their commit (`PersistMode::SyncData`), the cache of
//! redb's published benchmark, everything else as it comes. Its flushes and compactions run on threads of its own.

use std::path::Path;

use anyhow::Result;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode, Readable, Snapshot};

use crate::engine::{Engine, Reads, Sorted, Writes};
use crate::engines::CACHE_BYTES;

/// fjall with a database open.
pub struct Fjall {
    keyspace: Keyspace,
    db: Database,
}

impl Engine for Fjall {
    const NAME: &'static str = "fjall";

    fn open(dir: &Path, _keys: u64) -> Result<Self> {
        let db = Database::builder(dir).cache_size(CACHE_BYTES).open()?;
        let keyspace = db.keyspace("bench", KeyspaceCreateOptions::default)?;
        Ok(Self { keyspace, db })
    }

    fn write(&self, work: &mut dyn FnMut(&mut dyn Writes) -> Result<()>) -> Result<()> {
        let batch = self.db.batch().durability(Some(PersistMode::SyncData));
        let mut txn = Transaction { keyspace: &self.keyspace, batch };
        work(&mut txn)?;
        Ok(txn.batch.commit()?)
    }

    fn read(&self, work: &mut dyn FnMut(&dyn Reads) -> Result<()>) -> Result<()> {
        work(&Read { keyspace: &self.keyspace, snapshot: self.db.snapshot() })
    }

    /// Its way for sorted input is an ingestion, which writes tables and no journal.
    fn load_sorted(&self, entries: &mut Sorted<'_>) -> Result<()> {
        let mut ingestion = self.keyspace.start_ingestion()?;
        for (key, value) in entries {
            ingestion.write(key, value)?;
        }
        Ok(ingestion.finish()?)
    }

    /// It compacts by itself all the time; this is the whole tree at once.
    fn compact(self, _dir: &Path) -> Result<(Self, Option<()>)> {
        self.keyspace.rotate_memtable_and_wait()?;
        self.keyspace.major_compact()?;
        Ok((self, Some(())))
    }
}

struct Transaction<'db> {
    keyspace: &'db Keyspace,
    batch: OwnedWriteBatch,
}

impl Writes for Transaction<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.batch.insert(self.keyspace, key, value);
        Ok(())
    }

    fn remove(&mut self, key: &[u8]) -> Result<()> {
        self.batch.remove(self.keyspace, key);
        Ok(())
    }
}

struct Read<'db> {
    keyspace: &'db Keyspace,
    snapshot: Snapshot,
}

impl Reads for Read<'_> {
    fn get(&self, key: &[u8], see: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let value = self.snapshot.get(self.keyspace, key)?;
        if let Some(value) = &value {
            see(value);
        }
        Ok(value.is_some())
    }

    fn range(&self, from: &[u8], limit: usize, see: &mut dyn FnMut(&[u8], &[u8])) -> Result<()> {
        for entry in self.snapshot.range(self.keyspace, from..).take(limit) {
            let (key, value) = entry.into_inner()?;
            see(&key, &value);
        }
        Ok(())
    }
}
