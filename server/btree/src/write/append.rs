//! Adding sorted entries behind all others: the tree grows along its right edge, each page filled before the next
//! one is begun, and none is looked at again.
//!
//! **Invariant:** what is in memory is one unfinished node a level, and finished ones up to the transaction's limit.

use super::{WriteTxn, check_entry};
use crate::Error;
use crate::bytes::word;
use crate::cells::{branch_cell, leaf_key, separator};
use crate::meta::TreeState;
use crate::node::Node;
use crate::node_mut::NodeMut;
use crate::page::{HEADER, PageId};
use crate::view::Source;

/// Adds entries behind the last one of a tree, in ascending order of their keys, and fills the pages densely.
///
/// An entry that is refused changes nothing, and the next one may be tried. The entries are in the tree when
/// [`Appender::finish`] has returned; an appender that is dropped without it leaves a transaction that can
/// only be dropped too.
#[derive(Debug)]
pub struct Appender<'txn> {
    txn: &'txn mut WriteTxn,
    index: usize,
    tree: TreeState,
    /// The unfinished node of each level, the leaf first.
    levels: Vec<Unfinished>,
    last_key: Vec<u8>,
    pushed: u64,
    /// An error left an entry half added.
    broken: bool,
}

/// A node that is not full yet.
#[derive(Debug)]
struct Unfinished {
    data: Vec<u8>,
    /// The key under which its parent will know it.
    key: Vec<u8>,
}

impl Unfinished {
    fn new(page_size: usize, level: u8, key: Vec<u8>) -> Self {
        let mut data = vec![0; page_size];
        NodeMut::empty(&mut data, level);
        Self { data, key }
    }

    fn count(&self) -> usize {
        Node::new(&self.data).count()
    }

    /// Adds a cell behind the others; false when it does not fit.
    fn push(&mut self, cell: &[u8]) -> bool {
        let count = self.count();
        NodeMut::new(&mut self.data).insert(count, cell)
    }

    /// Makes the node's run long enough for one more cell.
    fn widen(&mut self, page_size: usize, level: u8, cell: &[u8]) {
        let mut cells = crate::cells::Cells::default();
        let node = Node::new(&self.data);
        cells.extend(node, 0..node.count());
        cells.push(cell);
        let len = (HEADER + cells.needed(0..cells.len())).next_multiple_of(page_size);
        self.data = vec![0; len];
        NodeMut::build(&mut self.data, level, &cells, 0..cells.len());
    }
}

impl<'txn> Appender<'txn> {
    pub(super) fn new(txn: &'txn mut WriteTxn, index: usize) -> Result<Self, Error> {
        txn.check_usable()?;
        // Until it is finished, the right edge of the tree is nowhere but here.
        txn.failed = true;
        let tree = txn.trees[index].state;
        let mut appender =
            Self { txn, index, tree, levels: Vec::new(), last_key: Vec::new(), pushed: 0, broken: false };
        appender.take_edge()?;
        Ok(appender)
    }

    /// Takes the nodes of the right edge out of the tree.
    fn take_edge(&mut self) -> Result<(), Error> {
        if self.tree.root == 0 {
            return Ok(());
        }
        let (mut id, mut key) = (self.tree.root, Vec::new());
        for level in (0..=self.tree.level).rev() {
            let node = self.txn.node(id, level)?;
            let last = node.count() - 1;
            let (child, child_key) = if level == 0 {
                self.last_key = node.key(last).to_vec();
                (0, Vec::new())
            } else {
                (node.child(last), node.key(last).to_vec())
            };
            let mut data = self.txn.run(id)?.to_vec();
            self.txn.release(id)?;
            if level > 0 {
                NodeMut::new(&mut data).remove(last);
            }
            self.levels.insert(0, Unfinished { data, key });
            (id, key) = (child, child_key);
        }
        Ok(())
    }

    /// Adds an entry.
    ///
    /// # Errors
    ///
    /// [`Error::Unsorted`] when the key is not above all keys of the tree; [`Error::KeyEmpty`], [`Error::KeyTooLong`],
    /// [`Error::ValueTooLong`], [`Error::Full`] and [`Error::NoSpace`]: these change nothing. After [`Error::Corrupt`] and [`Error::Io`] the
    /// transaction can only be dropped.
    pub fn push(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.push_parts(key, &[value])
    }

    /// Adds an entry whose value is the parts, one after the other.
    ///
    /// # Errors
    ///
    /// As [`Appender::push`].
    pub fn push_parts(&mut self, key: &[u8], parts: &[&[u8]]) -> Result<(), Error> {
        let len = check_entry(key, parts)?;
        if key <= self.last_key.as_slice() {
            return Err(Error::Unsorted { position: self.pushed });
        }
        self.txn.check_room(len)?;
        if std::mem::replace(&mut self.broken, true) {
            return Err(Error::TxnFailed);
        }
        let mut cell = std::mem::take(&mut self.txn.scratch);
        self.txn.leaf_cell(&mut cell, key, parts)?;
        self.push_cell(&cell)?;
        self.txn.scratch = cell;
        self.broken = false;
        self.last_key.clear();
        self.last_key.extend_from_slice(key);
        self.pushed += 1;
        Ok(())
    }

    /// How many entries were added.
    #[must_use]
    pub fn pushed(&self) -> u64 {
        self.pushed
    }

    fn push_cell(&mut self, cell: &[u8]) -> Result<(), Error> {
        let page_size = self.txn.page_size();
        if self.levels.is_empty() {
            self.levels.push(Unfinished::new(page_size, 0, Vec::new()));
        } else if self.levels[0].push(cell) {
            return Ok(());
        }
        if self.levels[0].count() > 0 {
            let between = separator(&self.last_key, leaf_key(cell)).to_vec();
            self.close(0)?;
            self.levels[0] = Unfinished::new(page_size, 0, between);
            self.txn.spill_if_large()?;
        }
        let leaf = &mut self.levels[0];
        if !leaf.push(cell) {
            leaf.widen(page_size, 0, cell);
        }
        Ok(())
    }

    /// Gives the unfinished node of a level its place, and tells its parent of it.
    fn close(&mut self, level: u8) -> Result<(), Error> {
        let id = self.place(level)?;
        let key = std::mem::take(&mut self.levels[usize::from(level)].key);
        self.add_child(level + 1, key, id)
    }

    fn place(&mut self, level: u8) -> Result<PageId, Error> {
        let data = std::mem::take(&mut self.levels[usize::from(level)].data);
        self.txn.new_run(data)
    }

    fn add_child(&mut self, level: u8, key: Vec<u8>, child: PageId) -> Result<(), Error> {
        let page_size = self.txn.page_size();
        let at = usize::from(level);
        if self.levels.len() == at {
            self.levels.push(Unfinished::new(page_size, level, Vec::new()));
        }
        let node = &mut self.levels[at];
        // The first key of a branch is empty; its parent knows the real one.
        let cell = if node.count() == 0 { branch_cell(&[], child) } else { branch_cell(&key, child) };
        if node.push(&cell) {
            return Ok(());
        }
        if node.count() < 2 {
            node.widen(page_size, level, &cell);
            return Ok(());
        }
        self.close(level)?;
        let mut next = Unfinished::new(page_size, level, key);
        let fits = next.push(&branch_cell(&[], child));
        debug_assert!(fits, "a cell without a key fits an empty page");
        self.levels[at] = next;
        Ok(())
    }

    /// Puts the entries into the tree; how many they are.
    ///
    /// # Errors
    ///
    /// After [`Error::Corrupt`] and [`Error::Io`] the transaction can only be dropped.
    pub fn finish(mut self) -> Result<u64, Error> {
        if self.broken {
            return Err(Error::TxnFailed);
        }
        let mut level = 0;
        while usize::from(level) + 1 < self.levels.len() {
            self.close(level)?;
            level += 1;
        }
        if !self.levels.is_empty() {
            self.tree.root = self.place(level)?;
            self.tree.level = level;
            self.tree.keys = self.tree.keys.saturating_add(self.pushed);
            // The last nodes may hold little, and a branch a single child.
            let mut tree = self.tree;
            self.txn.mend_rightmost(&mut tree)?;
            self.tree = tree;
        }
        self.txn.spill_if_large()?;
        self.txn.trees[self.index].state = self.tree;
        self.txn.failed = false;
        Ok(self.pushed)
    }
}

impl WriteTxn {
    /// Gives a finished node its place.
    fn new_run(&mut self, data: Vec<u8>) -> Result<PageId, Error> {
        let id = self.alloc(word(data.len() / self.page_size()), false)?;
        self.dirty_bytes += data.len();
        self.dirty.insert(id, data);
        Ok(id)
    }
}
