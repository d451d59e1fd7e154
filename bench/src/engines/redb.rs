//! redb, with its default durability (`Immediate`) and the cache of its published benchmark.

use std::path::Path;

use anyhow::{Result, ensure};
use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};

use crate::engine::{Engine, Reads, Sorted, Writes};
use crate::engines::CACHE_BYTES;

const FILE: &str = "redb.db";
const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("bench");

/// redb with a database open.
#[derive(Debug)]
pub struct Redb(Database);

impl Engine for Redb {
    const NAME: &'static str = "redb";

    fn open(dir: &Path, _keys: u64) -> Result<Self> {
        let cache = usize::try_from(CACHE_BYTES)?;
        Ok(Self(Database::builder().set_cache_size(cache).create(dir.join(FILE))?))
    }

    fn write(&self, work: &mut dyn FnMut(&mut dyn Writes) -> Result<()>) -> Result<()> {
        let mut txn = self.0.begin_write()?;
        txn.set_durability(Durability::Immediate)?;
        work(&mut Transaction(txn.open_table(TABLE)?))?;
        Ok(txn.commit()?)
    }

    fn read(&self, work: &mut dyn FnMut(&dyn Reads) -> Result<()>) -> Result<()> {
        let txn = self.0.begin_read()?;
        work(&Snapshot(txn.open_table(TABLE)?))
    }

    /// It has no way of its own: puts in ascending order are what is fastest.
    fn load_sorted(&self, entries: &mut Sorted<'_>) -> Result<()> {
        self.write(&mut |txn| {
            for (key, value) in &mut *entries {
                txn.put(key, value)?;
            }
            Ok(())
        })
    }

    fn compact(mut self, _dir: &Path) -> Result<(Self, Option<()>)> {
        self.0.compact()?;
        Ok((self, Some(())))
    }
}

struct Transaction<'txn>(redb::Table<'txn, &'static [u8], &'static [u8]>);

impl Writes for Transaction<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.0.insert(key, value)?;
        Ok(())
    }

    fn remove(&mut self, key: &[u8]) -> Result<()> {
        ensure!(self.0.remove(key)?.is_some(), "a key is not there");
        Ok(())
    }
}

struct Snapshot(redb::ReadOnlyTable<&'static [u8], &'static [u8]>);

impl Reads for Snapshot {
    fn get(&self, key: &[u8], see: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let value = ReadableTable::get(&self.0, key)?;
        if let Some(value) = &value {
            see(value.value());
        }
        Ok(value.is_some())
    }

    fn range(&self, from: &[u8], limit: usize, see: &mut dyn FnMut(&[u8], &[u8])) -> Result<()> {
        for entry in ReadableTable::range(&self.0, from..)?.take(limit) {
            let (key, value) = entry?;
            see(key.value(), value.value());
        }
        Ok(())
    }
}
