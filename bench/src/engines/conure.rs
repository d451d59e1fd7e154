//! `conure-btree`, with its default options but for the memory of a large transaction.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use conure_btree::{CompactOptions, Db, Durability, Options, Tree, TreeMut};
use conure_io::RealDisk;

use super::CACHE_BYTES;
use crate::engine::{Engine, Reads, Sorted, Writes};

const FILE: &str = "tree.db";
const TREE: &str = "bench";

/// `conure-btree` with a database open.
#[derive(Debug)]
pub struct Conure(Db);

impl Engine for Conure {
    const NAME: &'static str = "conure";

    fn open(dir: &Path, _keys: u64) -> Result<Self> {
        let mut options = Options::default();
        options.dirty_bytes_max = usize::try_from(CACHE_BYTES)?;
        Ok(Self(Db::open(Arc::new(RealDisk::new(dir)?), FILE, options)?))
    }

    fn write(&self, work: &mut dyn FnMut(&mut dyn Writes) -> Result<()>) -> Result<()> {
        let mut txn = self.0.begin_write()?;
        work(&mut txn.tree(TREE)?)?;
        Ok(txn.commit(Durability::Durable)?)
    }

    fn read(&self, work: &mut dyn FnMut(&dyn Reads) -> Result<()>) -> Result<()> {
        let txn = self.0.begin_read()?;
        work(&txn.tree(TREE)?.context("the tree is not there")?)
    }

    fn load_sorted(&self, entries: &mut Sorted<'_>) -> Result<()> {
        let mut txn = self.0.begin_write()?;
        let mut tree = txn.tree(TREE)?;
        let mut appender = tree.appender()?;
        for (key, value) in entries {
            appender.push(key, value)?;
        }
        appender.finish()?;
        Ok(txn.commit(Durability::Durable)?)
    }

    fn compact(self, _dir: &Path) -> Result<(Self, Option<()>)> {
        self.0.compact(CompactOptions::default())?;
        Ok((self, Some(())))
    }
}

impl Writes for TreeMut<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        Ok(TreeMut::put(self, key, value)?)
    }

    fn remove(&mut self, key: &[u8]) -> Result<()> {
        ensure!(self.delete(key)?, "a key is not there");
        Ok(())
    }
}

impl Reads for Tree<'_> {
    fn get(&self, key: &[u8], see: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let value = Tree::get(self, key)?;
        if let Some(value) = value {
            see(value);
        }
        Ok(value.is_some())
    }

    fn range(&self, from: &[u8], limit: usize, see: &mut dyn FnMut(&[u8], &[u8])) -> Result<()> {
        for entry in Tree::range(self, from..).take(limit) {
            let (key, value) = entry?;
            see(key, value);
        }
        Ok(())
    }
}
