//! One named tree inside a write transaction.

use std::ops::RangeBounds;

use super::prune::Bounds;
use super::{Appender, WriteTxn};
use crate::cursor::Cursor;
use crate::limits::check_key;
use crate::place;
use crate::range::Range;
use crate::read::ValueRef;
use crate::{Error, MAX_VALUE_BYTES};

/// Pages that a put needs at most beside its value, twice over.
const ROOM_PAGES: u64 = 64;

/// A named tree that can be changed. What it reads includes the transaction's own changes.
#[derive(Debug)]
pub struct TreeMut<'txn> {
    txn: &'txn mut WriteTxn,
    index: usize,
}

/// Refuses an entry that cannot be stored; the length of its value.
pub(super) fn check_entry(key: &[u8], parts: &[&[u8]]) -> Result<usize, Error> {
    check_key(key)?;
    let len = parts.iter().map(|part| part.len()).sum();
    if len > MAX_VALUE_BYTES { Err(Error::ValueTooLong { len }) } else { Ok(len) }
}

impl<'txn> TreeMut<'txn> {
    pub(super) fn new(txn: &'txn mut WriteTxn, index: usize) -> Self {
        Self { txn, index }
    }

    /// How many keys the tree holds.
    ///
    /// # Errors
    ///
    /// [`Error::TxnFailed`], [`Error::Poisoned`].
    pub fn len(&self) -> Result<u64, Error> {
        self.txn.check_usable()?;
        Ok(self.txn.trees[self.index].state.keys)
    }

    /// Whether the tree holds no keys.
    ///
    /// # Errors
    ///
    /// As [`TreeMut::len`].
    pub fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.len()? == 0)
    }

    /// The value of `key`, borrowed from the transaction.
    ///
    /// # Errors
    ///
    /// [`Error::KeyEmpty`], [`Error::KeyTooLong`], [`Error::Corrupt`], [`Error::TxnFailed`].
    pub fn get(&self, key: &[u8]) -> Result<Option<ValueRef<'_>>, Error> {
        check_key(key)?;
        self.txn.check_usable()?;
        place::get(&*self.txn, self.txn.trees[self.index].state, key)
    }

    /// A cursor over the tree as the transaction sees it now. Where the transaction can only be dropped, the cursor
    /// answers [`Error::TxnFailed`], and so do ranges.
    #[must_use]
    pub fn cursor(&self) -> Cursor<'_> {
        Cursor::new(&*self.txn, self.txn.trees[self.index].state)
    }

    /// The entries whose keys begin with `prefix`, in ascending order; from both ends.
    #[must_use]
    pub fn prefix(&self, prefix: &[u8]) -> Range<'_> {
        Range::prefix(&*self.txn, self.txn.trees[self.index].state, prefix)
    }

    /// The entries whose keys lie within `bounds`, in ascending order; from both ends.
    pub fn range<'k>(&self, bounds: impl RangeBounds<&'k [u8]>) -> Range<'_> {
        Range::new(&*self.txn, self.txn.trees[self.index].state, &bounds)
    }

    /// Sets the value of `key`.
    ///
    /// # Errors
    ///
    /// [`Error::KeyEmpty`], [`Error::KeyTooLong`], [`Error::ValueTooLong`], [`Error::Full`] and [`Error::NoSpace`] change
    /// nothing. After [`Error::Corrupt`] and [`Error::Io`] the transaction can only be dropped.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.put_parts(key, &[value])
    }

    /// Sets the value of `key` to the parts, one after the other.
    ///
    /// # Errors
    ///
    /// As [`TreeMut::put`].
    pub fn put_parts(&mut self, key: &[u8], parts: &[&[u8]]) -> Result<(), Error> {
        let len = check_entry(key, parts)?;
        self.txn.check_room(len)?;
        self.change(|txn, state| txn.put_in(state, key, parts))
    }

    /// Removes `key`; whether it was there.
    ///
    /// # Errors
    ///
    /// [`Error::KeyEmpty`] and [`Error::KeyTooLong`] change nothing. After [`Error::NoSpace`], [`Error::Corrupt`] and
    /// [`Error::Io`] the transaction can only be dropped; where there is no space, smaller ones may yet get through.
    pub fn delete(&mut self, key: &[u8]) -> Result<bool, Error> {
        check_key(key)?;
        self.change(|txn, state| txn.delete_in(state, key))
    }

    /// Removes all keys within `bounds` and returns how many there were. Takes a time that depends on the number of
    /// leaves, not of keys: of the leaves between the first and the last only the headers are looked at, and the
    /// values that stand outside of them.
    ///
    /// # Errors
    ///
    /// After [`Error::NoSpace`], [`Error::Corrupt`] and [`Error::Io`] the transaction can only be dropped.
    pub fn delete_range<'k>(&mut self, bounds: impl RangeBounds<&'k [u8]>) -> Result<u64, Error> {
        let bounds =
            Bounds { lower: bounds.start_bound().map(|key| *key), upper: bounds.end_bound().map(|key| *key) };
        self.change(|txn, state| txn.delete_range_in(state, bounds))
    }

    /// Adds entries behind the last one: sorted, without doubles, and all keys above those of the tree. Pages are filled
    /// densely, each once; memory is bounded by [`crate::Options::dirty_bytes_max`]. Followed by a durable commit, this
    /// costs two syncs however much it was.
    ///
    /// # Errors
    ///
    /// [`Error::TxnFailed`], [`Error::Corrupt`].
    pub fn appender(&mut self) -> Result<Appender<'_>, Error> {
        Appender::new(self.txn, self.index)
    }

    /// Adds all of `entries`, as [`TreeMut::appender`] does; how many they are.
    ///
    /// # Errors
    ///
    /// [`Error::Unsorted`], [`Error::KeyEmpty`], [`Error::KeyTooLong`], [`Error::ValueTooLong`], [`Error::Full`] and
    /// [`Error::NoSpace`] refuse an entry: those before it are in the tree, and the transaction can go on. After [`Error::Corrupt`] and
    /// [`Error::Io`] it can only be dropped.
    pub fn load_sorted<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        &mut self,
        entries: impl IntoIterator<Item = (K, V)>,
    ) -> Result<u64, Error> {
        let mut appender = self.appender()?;
        let refused = entries
            .into_iter()
            .try_for_each(|(key, value)| appender.push(key.as_ref(), value.as_ref()))
            .err();
        match refused {
            None => appender.finish(),
            Some(error) if error.changed_nothing() => appender.finish().and(Err(error)),
            Some(error) => Err(error),
        }
    }

    fn change<T>(
        &mut self,
        f: impl FnOnce(&mut WriteTxn, &mut crate::meta::TreeState) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.txn.check_usable()?;
        let mut state = self.txn.trees[self.index].state;
        self.txn.failed = true;
        let result = f(self.txn, &mut state)?;
        self.txn.spill_if_large()?;
        self.txn.failed = false;
        self.txn.trees[self.index].state = state;
        Ok(result)
    }
}

impl WriteTxn {
    /// Refuses a put for which there is no room: where the file would become longer than it may be, or the disk is full.
    ///
    /// A put may copy and split the way down from the root; that many pages more are kept, so that deletes go on.
    pub(super) fn check_room(&mut self, value_len: usize) -> Result<(), Error> {
        let needed = value_len as u64 / self.page_size() as u64 + ROOM_PAGES;
        let writer = self.writer();
        let (end, ready) = (u64::from(writer.space.end()), writer.space.ready_pages());
        if let Some(limit_bytes) = self.shared.options.file_bytes_max {
            let unused = (limit_bytes / self.page_size() as u64).saturating_sub(end);
            if unused + ready < needed {
                return Err(Error::Full { limit_bytes });
            }
        }
        if u64::from(writer.view.pages()).saturating_sub(end) + ready >= needed {
            return Ok(());
        }
        let pages = u32::try_from(end + needed - ready).unwrap_or(u32::MAX);
        let shared = std::sync::Arc::clone(&self.shared);
        crate::commit::grow_to(&shared, self.writer_mut(), pages)
    }
}
