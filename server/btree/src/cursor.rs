//! A place in a tree that a caller moves about.

use std::fmt;
use std::ops::Bound;

use crate::Error;
use crate::meta::TreeState;
use crate::place::{Place, Way};
use crate::read::Entry;
use crate::view::Source;

/// Where a cursor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Nowhere yet: both ways begin at their end of the tree.
    Nowhere,
    Before,
    Entry,
    After,
}

/// A place in a tree that can be sought and moved both ways. Keys and values are borrowed from the snapshot without
/// copying. A new cursor is nowhere: [`Cursor::next`] takes it to the first entry, [`Cursor::prev`] to the last.
///
/// After an error it is nowhere again.
///
/// ```
/// # use std::sync::Arc;
/// # use conure_btree::{Db, Durability, Options};
/// # fn main() -> Result<(), conure_btree::Error> {
/// # let db = Db::open(Arc::new(conure_io::SimDisk::new()), "tree.db", Options::default())?;
/// let mut txn = db.begin_write()?;
/// let mut tree = txn.tree("t")?;
/// for key in ["a", "c", "e"] {
///     tree.put(key.as_bytes(), b"")?;
/// }
/// let mut cursor = tree.cursor();
/// assert_eq!(cursor.seek(b"b")?, Some((&b"c"[..], &b""[..])));
/// assert_eq!(cursor.prev()?, Some((&b"a"[..], &b""[..])));
/// assert_eq!(cursor.prev()?, None);
/// assert_eq!(cursor.next()?, Some((&b"a"[..], &b""[..])));
/// # Ok(())
/// # }
/// ```
pub struct Cursor<'a> {
    source: &'a (dyn Source + Sync),
    tree: TreeState,
    place: Place<'a>,
    at: At,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(source: &'a (dyn Source + Sync), tree: TreeState) -> Self {
        Self { source, tree, place: Place::default(), at: At::Nowhere }
    }

    /// Goes to the first entry.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`], here and in all other methods; [`Error::TxnFailed`] and [`Error::Poisoned`] where the cursor is
    /// of a write transaction that can only be dropped.
    pub fn first(&mut self) -> Result<Option<Entry<'a>>, Error> {
        self.go(Bound::Unbounded, Way::Up)
    }

    /// Goes to the last entry.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`].
    pub fn last(&mut self) -> Result<Option<Entry<'a>>, Error> {
        self.go(Bound::Unbounded, Way::Down)
    }

    /// Goes to the first entry whose key is not below `key`; past the last entry when there is none. `key` is a place
    /// among the keys: as the bounds of ranges, it may be empty, or longer than a key can be.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`].
    pub fn seek(&mut self, key: &[u8]) -> Result<Option<Entry<'a>>, Error> {
        self.go(Bound::Included(key), Way::Up)
    }

    /// Goes to the last entry whose key is not above `key`; before the first entry when there is none. `key` may be
    /// anything, as in [`Cursor::seek`].
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`].
    pub fn seek_back(&mut self, key: &[u8]) -> Result<Option<Entry<'a>>, Error> {
        self.go(Bound::Included(key), Way::Down)
    }

    /// Moves to the next entry; past the last there is none, and [`Cursor::prev`] comes back.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`].
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator could not go back, nor answer an error once"
    )]
    pub fn next(&mut self) -> Result<Option<Entry<'a>>, Error> {
        match self.at {
            At::Nowhere | At::Before => self.first(),
            At::Entry => self.step(Way::Up),
            At::After => Ok(None),
        }
    }

    /// Moves to the entry before; before the first there is none, and [`Cursor::next`] comes back.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`].
    pub fn prev(&mut self) -> Result<Option<Entry<'a>>, Error> {
        match self.at {
            At::Nowhere | At::After => self.last(),
            At::Entry => self.step(Way::Down),
            At::Before => Ok(None),
        }
    }

    /// The entry that the cursor stands on.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`].
    pub fn current(&self) -> Result<Option<Entry<'a>>, Error> {
        if self.at != At::Entry {
            return Ok(None);
        }
        Ok(self.place.key().zip(self.place.value(self.source)?))
    }

    fn go(&mut self, bound: Bound<&[u8]>, way: Way) -> Result<Option<Entry<'a>>, Error> {
        self.at = At::Nowhere;
        let found = self.place.seek(self.source, self.tree, bound, way)?;
        self.arrive(found, way)
    }

    fn step(&mut self, way: Way) -> Result<Option<Entry<'a>>, Error> {
        self.at = At::Nowhere;
        let former = self.place.key();
        let found = self.place.step(self.source, way)?;
        let wrong = if way == Way::Up { former >= self.place.key() } else { former <= self.place.key() };
        // Keys that do not rise would let a corrupt file send a reader in circles.
        if found && wrong {
            return Err(Error::corrupt(self.tree.root, "the keys of its tree are out of order"));
        }
        self.arrive(found, way)
    }

    fn arrive(&mut self, found: bool, way: Way) -> Result<Option<Entry<'a>>, Error> {
        if !found {
            self.at = if way == Way::Up { At::After } else { At::Before };
            return Ok(None);
        }
        let entry = self.place.key().zip(self.place.value(self.source)?);
        self.at = At::Entry;
        Ok(entry)
    }
}

impl fmt::Debug for Cursor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cursor").field("at", &self.at).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use conure_io::{Random, SimDisk};

    use crate::{Db, Durability, Options};

    fn key(number: u64) -> [u8; 8] {
        number.to_be_bytes()
    }

    #[test]
    fn a_cursor_goes_where_a_map_says() {
        let options = Options { page_size_bytes: 512, ..Options::default() };
        let db = Db::open(Arc::new(SimDisk::new()), "tree.db", options).unwrap();
        let mut random = Random::new(3);
        let model: BTreeMap<u64, u64> = (0..900).map(|_| (random.below(3000), random.next_u64())).collect();
        let mut txn = db.begin_write().unwrap();
        for (number, value) in &model {
            txn.tree("t").unwrap().put(&key(*number), &value.to_le_bytes()).unwrap();
        }
        txn.commit(Durability::Eventual).unwrap();
        let read = db.begin_read().unwrap();
        let tree = read.tree("t").unwrap().unwrap();
        let mut cursor = tree.cursor();
        assert_eq!(cursor.current().unwrap(), None);
        // Where the cursor should be: an entry, or the gap before the first above, or behind the last.
        let mut at = None;
        for _ in 0..20_000 {
            let number = random.below(3100);
            let (found, wanted) = match random.below(6) {
                0 => (cursor.seek(&key(number)), model.range(number..).next()),
                1 => (cursor.seek_back(&key(number)), model.range(..=number).next_back()),
                2 => (cursor.first(), model.iter().next()),
                3 => (cursor.last(), model.iter().next_back()),
                4 => match at {
                    None => continue,
                    Some(at) => (cursor.next(), model.range(at + 1..).next()),
                },
                _ => match at {
                    None => continue,
                    Some(at) => (cursor.prev(), model.range(..at).next_back()),
                },
            };
            let found = found.unwrap().map(|(key, value)| (key.to_vec(), value.to_vec()));
            let wanted_entry =
                wanted.map(|(number, value)| (key(*number).to_vec(), value.to_le_bytes().to_vec()));
            assert_eq!(found, wanted_entry);
            assert_eq!(cursor.current().unwrap().map(|(key, _)| key.to_vec()), found.map(|(key, _)| key));
            at = wanted.map(|(number, _)| *number);
        }
    }

    #[test]
    fn a_cursor_turns_round_at_both_ends() {
        let db = Db::open(Arc::new(SimDisk::new()), "tree.db", Options::default()).unwrap();
        let mut txn = db.begin_write().unwrap();
        let mut tree = txn.tree("t").unwrap();
        assert_eq!(tree.cursor().next().unwrap(), None);
        assert_eq!(tree.cursor().prev().unwrap(), None);
        tree.put(b"a", b"1").unwrap();
        tree.put(b"b", b"2").unwrap();
        let (a, b) = (Some((&b"a"[..], &b"1"[..])), Some((&b"b"[..], &b"2"[..])));
        let mut cursor = tree.cursor();
        let mut walked = Vec::new();
        for _ in 0..2 {
            walked.extend([cursor.next().unwrap(), cursor.next().unwrap(), cursor.next().unwrap()]);
            assert_eq!(cursor.next().unwrap(), None);
            walked.extend([cursor.prev().unwrap(), cursor.prev().unwrap(), cursor.prev().unwrap()]);
            assert_eq!(cursor.prev().unwrap(), None);
        }
        assert_eq!(walked, [a, b, None, b, a, None, a, b, None, b, a, None]);
        assert_eq!(tree.cursor().prev().unwrap(), b);
    }

    #[test]
    fn a_prefix_is_all_that_begins_with_it() {
        let db = Db::open(Arc::new(SimDisk::new()), "tree.db", Options::default()).unwrap();
        let mut txn = db.begin_write().unwrap();
        let mut tree = txn.tree("t").unwrap();
        let keys: [&[u8]; 7] = [b"a", b"ab", b"ab\xff", b"ab\xff\xff", b"ac", b"\xff", b"\xff\xffz"];
        for key in keys {
            tree.put(key, b"").unwrap();
        }
        for prefix in [&b""[..], b"a", b"ab", b"ab\xff", b"b", b"\xff", b"\xff\xff", b"\xff\xff\xff"] {
            let wanted: Vec<&[u8]> = keys.into_iter().filter(|key| key.starts_with(prefix)).collect();
            let found: Vec<&[u8]> = tree.prefix(prefix).map(|entry| entry.unwrap().0).collect();
            assert_eq!(found, wanted, "{prefix:?}");
        }
    }
}
