//! What the workloads ask of an engine.

use std::path::Path;

use anyhow::Result;

/// An engine with a database open.
pub trait Engine: Sized + Sync {
    /// The name, as it is typed and shown.
    const NAME: &'static str;

    /// Opens the database in the folder, or makes it. `keys` says how many keys it will have to hold.
    fn open(dir: &Path, keys: u64) -> Result<Self>;

    /// One write transaction, ended by a commit that no crash can undo any more.
    fn write(&self, work: &mut dyn FnMut(&mut dyn Writes) -> Result<()>) -> Result<()>;

    /// One snapshot.
    fn read(&self, work: &mut dyn FnMut(&dyn Reads) -> Result<()>) -> Result<()>;

    /// Fills the empty database by the engine's own way for sorted input; durable when it returns.
    fn load_sorted(&self, entries: &mut Sorted<'_>) -> Result<()>;

    /// Gives unused space back, by the engine's own way; durable when it returns. None where it has no way.
    fn compact(self, dir: &Path) -> Result<(Self, Option<()>)>;

    /// Closes the database.
    fn close(self) -> Result<()> {
        drop(self);
        Ok(())
    }
}

/// Entries in the order of their keys.
pub type Sorted<'a> = dyn Iterator<Item = (&'a [u8], &'a [u8])> + 'a;

/// A write transaction.
pub trait Writes {
    /// Puts an entry in the place of whatever the key had.
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()>;

    /// Removes an entry that is there.
    fn remove(&mut self, key: &[u8]) -> Result<()>;
}

/// A snapshot.
pub trait Reads {
    /// Shows the value of a key; whether there is one.
    fn get(&self, key: &[u8], see: &mut dyn FnMut(&[u8])) -> Result<bool>;

    /// Shows at most `limit` entries, the first of them the one at `from` or the next above.
    fn range(&self, from: &[u8], limit: usize, see: &mut dyn FnMut(&[u8], &[u8])) -> Result<()>;
}
