//! LMDB through heed, with its default flags: durable commits, no writable map. Its map is made long enough for all
//! that a run writes, since it cannot grow by itself.

use std::fs::{self, File};
use std::ops::Bound;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use heed::types::Bytes;
use heed::{CompactionOption, Database, Env, EnvOpenOptions, PutFlags, RoTxn, RwTxn, WithTls};

use crate::data::{KEY_BYTES, VALUE_BYTES};
use crate::engine::{Engine, Reads, Sorted, Writes};

const FILE: &str = "data.mdb";

/// The map is this many times as long as the keys and values, and at least [`MAP_BYTES_MIN`]: the pages of a
/// transaction stand beside those that it replaces.
const MAP_FACTOR: u64 = 10;
const MAP_BYTES_MIN: u64 = 4 << 30;

/// LMDB with a database open.
#[derive(Debug)]
pub struct Lmdb {
    env: Env,
    db: Database<Bytes, Bytes>,
    keys: u64,
}

/// heed asks for it because a file that another process changes beneath the map breaks Rust's rules.
#[expect(unsafe_code, reason = "heed offers no other way to open an environment")]
fn open_env(options: &EnvOpenOptions, dir: &Path) -> heed::Result<Env> {
    // SAFETY: the folder was made by this program for this run, is known to no other process, and what LMDB keeps in
    // it is changed by LMDB alone while the environment is open; `compact` replaces the file after it was closed.
    unsafe { options.open(dir) }
}

impl Engine for Lmdb {
    const NAME: &'static str = "lmdb";

    fn open(dir: &Path, keys: u64) -> Result<Self> {
        fs::create_dir_all(dir)?;
        let entry_bytes = u64::try_from(KEY_BYTES + VALUE_BYTES)?;
        let map_bytes = (keys * entry_bytes * MAP_FACTOR).max(MAP_BYTES_MIN).next_multiple_of(1 << 20);
        let mut options = EnvOpenOptions::new();
        options.map_size(usize::try_from(map_bytes)?);
        let env = open_env(&options, dir)?;
        let there = env.open_database(&*env.read_txn()?, None)?;
        let db = match there {
            Some(db) => db,
            None => {
                let mut txn = env.write_txn()?;
                let db = env.create_database(&mut txn, None)?;
                txn.commit()?;
                db
            }
        };
        Ok(Self { env, db, keys })
    }

    fn write(&self, work: &mut dyn FnMut(&mut dyn Writes) -> Result<()>) -> Result<()> {
        let mut txn = Transaction { db: self.db, txn: self.env.write_txn()? };
        work(&mut txn)?;
        Ok(txn.txn.commit()?)
    }

    fn read(&self, work: &mut dyn FnMut(&dyn Reads) -> Result<()>) -> Result<()> {
        work(&Snapshot { db: self.db, txn: self.env.read_txn()? })
    }

    /// Its way for sorted input is the flag that says so (`MDB_APPEND`).
    fn load_sorted(&self, entries: &mut Sorted<'_>) -> Result<()> {
        let mut txn = self.env.write_txn()?;
        for (key, value) in entries {
            self.db.put_with_flags(&mut txn, PutFlags::APPEND, key, value)?;
        }
        Ok(txn.commit()?)
    }

    /// Its way is a compact copy (`MDB_CP_COMPACT`) that takes the place of the file.
    fn compact(self, dir: &Path) -> Result<(Self, Option<()>)> {
        let keys = self.keys;
        let copy = dir.join("copy.mdb");
        let mut file = File::create_new(&copy)?;
        self.env.copy_to_file(&mut file, CompactionOption::Enabled)?;
        file.sync_all()?;
        self.close()?;
        fs::rename(&copy, dir.join(FILE))?;
        File::open(dir)?.sync_all()?;
        Ok((Self::open(dir, keys)?, Some(())))
    }

    fn close(self) -> Result<()> {
        self.env.prepare_for_closing().wait();
        Ok(())
    }
}

struct Transaction<'env> {
    db: Database<Bytes, Bytes>,
    txn: RwTxn<'env>,
}

impl Writes for Transaction<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        Ok(self.db.put(&mut self.txn, key, value)?)
    }

    fn remove(&mut self, key: &[u8]) -> Result<()> {
        ensure!(self.db.delete(&mut self.txn, key)?, "a key is not there");
        Ok(())
    }
}

struct Snapshot<'env> {
    db: Database<Bytes, Bytes>,
    txn: RoTxn<'env, WithTls>,
}

impl Reads for Snapshot<'_> {
    fn get(&self, key: &[u8], see: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let value = self.db.get(&self.txn, key)?;
        if let Some(value) = value {
            see(value);
        }
        Ok(value.is_some())
    }

    fn range(&self, from: &[u8], limit: usize, see: &mut dyn FnMut(&[u8], &[u8])) -> Result<()> {
        let bounds = (Bound::Included(from), Bound::Unbounded);
        for entry in self.db.range(&self.txn, &bounds).context("cannot begin a range")?.take(limit) {
            let (key, value) = entry?;
            see(key, value);
        }
        Ok(())
    }
}
