//! The read transaction: one snapshot.

use std::ops::RangeBounds;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::Error;
use crate::cursor::Cursor;
use crate::db::{Shared, Snapshot};
use crate::limits::{check_key, check_tree_name};
use crate::meta::TreeState;
use crate::place;
use crate::range::Range;
use crate::view::Source;

/// A value, borrowed from its snapshot's map.
pub type ValueRef<'a> = &'a [u8];

/// A key and its value, borrowed from their snapshot's map.
pub type Entry<'a> = (&'a [u8], &'a [u8]);

/// A snapshot: all trees as they were when it began, whatever is committed meanwhile. It may move between threads and
/// be used by many at once; clones share it. While it lives, the pages that it reaches are not used again.
#[derive(Debug)]
pub struct ReadTxn {
    snapshot: Arc<Snapshot>,
    /// Keeps the file open.
    shared: Arc<Shared>,
}

impl Clone for ReadTxn {
    fn clone(&self) -> Self {
        self.snapshot.readers.fetch_add(1, Ordering::Relaxed);
        Self { snapshot: Arc::clone(&self.snapshot), shared: Arc::clone(&self.shared) }
    }
}

impl Drop for ReadTxn {
    fn drop(&mut self) {
        self.snapshot.readers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl ReadTxn {
    /// One whose snapshot counts it already.
    pub(crate) fn new(shared: Arc<Shared>, snapshot: Arc<Snapshot>) -> Self {
        Self { snapshot, shared }
    }

    /// The commit that the snapshot shows.
    #[must_use]
    pub fn commit_number(&self) -> u64 {
        self.snapshot.txn
    }

    /// The tree of that name, if there was one.
    ///
    /// # Errors
    ///
    /// [`Error::BadTreeName`]; [`Error::Corrupt`].
    pub fn tree(&self, name: &str) -> Result<Option<Tree<'_>>, Error> {
        check_tree_name(name)?;
        let found = place::get(&*self.snapshot, self.snapshot.catalogue, name.as_bytes())?;
        let state = found.map(TreeState::decode).transpose()?;
        Ok(state.map(|state| Tree { snapshot: &self.snapshot, state }))
    }

    /// The names of all trees.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`].
    pub fn tree_names(&self) -> Result<Vec<String>, Error> {
        let entries = Range::new(&*self.snapshot, self.snapshot.catalogue, &(..));
        entries.map(|entry| entry.map(|(name, _)| String::from_utf8_lossy(name).into_owned())).collect()
    }
}

/// A named tree of a snapshot.
#[derive(Debug, Clone, Copy)]
pub struct Tree<'a> {
    snapshot: &'a Snapshot,
    state: TreeState,
}

impl<'a> Tree<'a> {
    /// How many keys the tree holds.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.state.keys
    }

    /// Whether the tree holds no keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of `key`, not copied.
    ///
    /// # Errors
    ///
    /// [`Error::KeyEmpty`], [`Error::KeyTooLong`]; [`Error::Corrupt`] when a page on the way is not what was written.
    pub fn get(&self, key: &[u8]) -> Result<Option<ValueRef<'a>>, Error> {
        check_key(key)?;
        place::get(self.snapshot, self.state, key)
    }

    /// The first entry.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`].
    pub fn first(&self) -> Result<Option<Entry<'a>>, Error> {
        self.cursor().first()
    }

    /// The last entry.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`].
    pub fn last(&self) -> Result<Option<Entry<'a>>, Error> {
        self.cursor().last()
    }

    /// A cursor, which can be sought and moved both ways.
    #[must_use]
    pub fn cursor(&self) -> Cursor<'a> {
        Cursor::new(self.snapshot, self.state)
    }

    /// The entries whose keys begin with `prefix`, in ascending order; from both ends.
    #[must_use]
    pub fn prefix(&self, prefix: &[u8]) -> Range<'a> {
        Range::prefix(self.snapshot, self.state, prefix)
    }

    /// The entries whose keys lie within `bounds`, in ascending order; from both ends. To go on from a key, begin a range
    /// with `(Bound::Excluded(key), Bound::Unbounded)`.
    pub fn range<'k>(&self, bounds: impl RangeBounds<&'k [u8]>) -> Range<'a> {
        Range::new(self.snapshot, self.state, &bounds)
    }
}

/// A snapshot must be able to outlive the call that made it, on any thread.
const fn _assert_owned<T: Send + Sync + 'static>() {}
const _: () = _assert_owned::<ReadTxn>();

impl Snapshot {
    /// Whether the page may be reached at this commit at all.
    pub(crate) fn covers(&self, id: u32, pages: u32) -> bool {
        id >= crate::page::FIRST_PAGE && u64::from(id) + u64::from(pages) <= u64::from(self.end)
    }
}

/// Reads the page anew, whatever is known of it.
pub(crate) struct Anew<'a>(pub(crate) &'a Snapshot);

impl Source for Anew<'_> {
    fn run(&self, id: u32) -> Result<&[u8], Error> {
        self.0.view.run_anew(id)
    }

    fn txn(&self) -> u64 {
        self.0.txn
    }
}
