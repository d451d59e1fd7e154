//! One named tree inside a write transaction.

use std::ops::RangeBounds;

use super::WriteTxn;
use crate::cursor::{self, Range};
use crate::read::ValueRef;
use crate::{Error, MAX_KEY_BYTES, MAX_VALUE_BYTES};

/// A named tree that can be changed. What it reads includes the transaction's own changes.
#[derive(Debug)]
pub struct TreeMut<'txn> {
    txn: &'txn mut WriteTxn,
    index: usize,
}

fn check_key(key: &[u8]) -> Result<(), Error> {
    match key.len() {
        0 => Err(Error::KeyEmpty),
        1..=MAX_KEY_BYTES => Ok(()),
        len => Err(Error::KeyTooLong { len }),
    }
}

impl<'txn> TreeMut<'txn> {
    pub(super) fn new(txn: &'txn mut WriteTxn, index: usize) -> Self {
        Self { txn, index }
    }

    /// How many keys the tree holds.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.txn.trees[self.index].state.keys
    }

    /// Whether the tree holds no keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of `key`, borrowed from the transaction.
    ///
    /// # Errors
    ///
    /// [`Error::KeyEmpty`], [`Error::KeyTooLong`], [`Error::Corrupt`], [`Error::TxnFailed`].
    pub fn get(&self, key: &[u8]) -> Result<Option<ValueRef<'_>>, Error> {
        check_key(key)?;
        self.txn.check_usable()?;
        cursor::get(&*self.txn, self.txn.trees[self.index].state, key)
    }

    /// The entries whose keys lie within `bounds`, in ascending order; from both ends.
    pub fn range<'k>(&self, bounds: impl RangeBounds<&'k [u8]>) -> Range<'_> {
        Range::new(&*self.txn, self.txn.trees[self.index].state, &bounds)
    }

    /// Sets the value of `key`.
    ///
    /// # Errors
    ///
    /// [`Error::KeyEmpty`], [`Error::KeyTooLong`], [`Error::ValueTooLong`] and [`Error::Full`] change nothing. After
    /// [`Error::Corrupt`] and [`Error::Io`] the transaction can only be dropped.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.put_parts(key, &[value])
    }

    /// Sets the value of `key` to the parts, one after the other.
    ///
    /// # Errors
    ///
    /// As [`TreeMut::put`].
    pub fn put_parts(&mut self, key: &[u8], parts: &[&[u8]]) -> Result<(), Error> {
        check_key(key)?;
        let len: usize = parts.iter().map(|part| part.len()).sum();
        if len > MAX_VALUE_BYTES {
            return Err(Error::ValueTooLong { len });
        }
        self.txn.check_room(len)?;
        self.change(|txn, state| txn.put_in(state, key, parts))
    }

    /// Removes `key`; whether it was there.
    ///
    /// # Errors
    ///
    /// [`Error::KeyEmpty`] and [`Error::KeyTooLong`] change nothing. After [`Error::Corrupt`] and [`Error::Io`] the
    /// transaction can only be dropped.
    pub fn delete(&mut self, key: &[u8]) -> Result<bool, Error> {
        check_key(key)?;
        self.change(|txn, state| txn.delete_in(state, key))
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
    /// Refuses a put that would make the file longer than it may be.
    fn check_room(&self, value_len: usize) -> Result<(), Error> {
        let Some(limit_bytes) = self.shared.options.file_bytes_max else { return Ok(()) };
        let writer = self.writer();
        let page_size = self.page_size() as u64;
        // A put may copy and split the way down from the root; that many pages more are kept for deletes.
        let needed = value_len as u64 / page_size + 64;
        let unused = (limit_bytes / page_size).saturating_sub(u64::from(writer.space.end()));
        if unused + writer.space.ready_pages() < needed { Err(Error::Full { limit_bytes }) } else { Ok(()) }
    }
}
