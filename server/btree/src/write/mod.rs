//! The write transaction: the pages that it changed, over those of the commit that it began from.
//!
//! A page is changed by giving it a new place; the old one is freed. A page that the transaction made itself is
//! changed where it is.
//!
//! **Invariant:** nothing that another snapshot can reach is changed; dropping the transaction leaves no trace but
//! free pages with other bytes in them.

mod append;
mod delete;
mod insert;
mod prune;
mod repack;
mod tree;

use std::sync::Arc;

use crate::bytes::word;
use crate::cells::Cells;
use crate::commit;
use crate::db::{Shared, Writer};
use crate::hash::PageMap;
use crate::limits::check_tree_name;
use crate::meta::TreeState;
use crate::node_mut::NodeMut;
use crate::page::{self, HEADER, Kind, PageId};
use crate::pins::Freed;
use crate::place;
use crate::range::Range;
use crate::view::Source;
use crate::{Durability, Error};

pub use append::Appender;
pub(crate) use repack::Position;
pub use tree::TreeMut;
use tree::check_entry;

/// The one write transaction of a database.
#[derive(Debug)]
pub struct WriteTxn {
    shared: Arc<Shared>,
    /// Taken out only when the transaction ends.
    writer: Option<Box<Writer>>,
    txn: u64,
    end_before: u32,
    catalogue: TreeState,
    trees: Vec<OpenTree>,
    dirty: PageMap<Vec<u8>>,
    dirty_bytes: usize,
    allocated: Vec<(PageId, u32)>,
    freed: Vec<Freed>,
    /// A change was left half done by an error.
    failed: bool,
    /// The commit cuts free pages off the file's end.
    cut: bool,
    /// What is changed is the catalogue, which the next commit changes again.
    in_catalogue: bool,
    /// Where cells are made.
    scratch: Vec<u8>,
}

#[derive(Debug)]
struct OpenTree {
    name: String,
    state: TreeState,
    /// What the catalogue says; none when the tree is new.
    stored: Option<TreeState>,
    /// Whether it is to be there after the commit even if nothing is put into it.
    made: bool,
}

/// The way from the root to a node: each branch on it with the slot that was taken.
type Path = Vec<(PageId, usize)>;

impl WriteTxn {
    pub(crate) fn new(shared: Arc<Shared>, mut writer: Box<Writer>) -> Self {
        let base = shared.current();
        writer.space.begin();
        Self {
            txn: base.txn + 1,
            end_before: writer.space.end(),
            catalogue: base.catalogue,
            shared,
            writer: Some(writer),
            trees: Vec::new(),
            dirty: PageMap::default(),
            dirty_bytes: 0,
            allocated: Vec::new(),
            freed: Vec::new(),
            failed: false,
            cut: false,
            in_catalogue: false,
            scratch: Vec::new(),
        }
    }

    /// The tree of that name, made when there is none.
    ///
    /// # Errors
    ///
    /// [`Error::BadTreeName`]; [`Error::Corrupt`].
    pub fn tree(&mut self, name: &str) -> Result<TreeMut<'_>, Error> {
        let index = self.tree_state(name)?;
        self.trees[index].made = true;
        Ok(TreeMut::new(self, index))
    }

    /// The tree of that name, if there is one; none is made.
    ///
    /// # Errors
    ///
    /// As [`WriteTxn::tree`].
    pub fn existing_tree(&mut self, name: &str) -> Result<Option<TreeMut<'_>>, Error> {
        let index = self.tree_state(name)?;
        let tree = &self.trees[index];
        Ok((tree.made || tree.stored.is_some()).then(|| TreeMut::new(self, index)))
    }

    /// Where in `trees` the tree of that name is.
    fn tree_state(&mut self, name: &str) -> Result<usize, Error> {
        check_tree_name(name)?;
        self.check_usable()?;
        if let Some(index) = self.trees.iter().position(|tree| tree.name == name) {
            return Ok(index);
        }
        let stored = place::get(self, self.catalogue, name.as_bytes())?.map(TreeState::decode).transpose()?;
        self.trees.push(OpenTree {
            name: name.to_owned(),
            state: stored.unwrap_or_default(),
            stored,
            made: false,
        });
        Ok(self.trees.len() - 1)
    }

    /// The names of all trees, as the transaction sees them, in order.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`]; [`Error::TxnFailed`].
    pub fn tree_names(&self) -> Result<Vec<String>, Error> {
        self.check_usable()?;
        let mut names = Range::new(self, self.catalogue, &(..))
            .map(|entry| entry.map(|(name, _)| String::from_utf8_lossy(name).into_owned()))
            .collect::<Result<Vec<_>, _>>()?;
        for tree in self.trees.iter().filter(|tree| tree.made) {
            if let Err(at) = names.binary_search(&tree.name) {
                names.insert(at, tree.name.clone());
            }
        }
        Ok(names)
    }

    /// Removes a tree with all that it holds; whether there was one. Looks at the tree's branches, the headers of its
    /// leaves, and the values that stand outside of leaves.
    ///
    /// # Errors
    ///
    /// [`Error::BadTreeName`] changes nothing. After [`Error::NoSpace`], [`Error::Corrupt`] and [`Error::Io`] the
    /// transaction can only be dropped.
    pub fn drop_tree(&mut self, name: &str) -> Result<bool, Error> {
        self.tree_state(name)?;
        self.failed = true;
        let open = self.trees.iter().position(|tree| tree.name == name).map(|at| self.trees.swap_remove(at));
        let Some(open) = open.filter(|tree| tree.made || tree.stored.is_some()) else {
            self.failed = false;
            return Ok(false);
        };
        self.release_all(open.state)?;
        if open.stored.is_some() {
            let mut catalogue = self.catalogue;
            self.delete_in(&mut catalogue, name.as_bytes())?;
            self.catalogue = catalogue;
        }
        self.failed = false;
        Ok(true)
    }

    /// Makes all changes visible to new readers at once, and with [`Durability::Durable`] safe from any crash,
    /// together with all commits before.
    ///
    /// A transaction without changes commits without I/O, unless it is durable and earlier commits are not yet.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], after which the database is poisoned and only opening it again tells whether the commit
    /// is on the disk. [`Error::NoSpace`], [`Error::TxnFailed`] and [`Error::Poisoned`], after which nothing has changed.
    /// [`Error::Corrupt`] when a page of the catalogue or of the list of free pages is not what was written: nothing has
    /// changed, but where the commit is durable the database may be poisoned, as after [`Error::Io`].
    pub fn commit(mut self, durability: Durability) -> Result<(), Error> {
        self.check_usable()?;
        // Whatever fails from here on leaves the transaction useless.
        self.failed = true;
        self.store_trees()?;
        let changed = self.has_changes();
        let durable = durability == Durability::Durable && (changed || self.cut || self.writer().written.any);
        if !changed && !durable {
            return Ok(());
        }
        let mut runs = Vec::new();
        if durable {
            let shared = Arc::clone(&self.shared);
            commit::reserve(&shared, self.writer_mut())?;
            // They are written together with the pages of the list of free pages, beside which they may stand.
            runs = self.take_dirty();
        } else {
            self.spill()?;
        }
        let (txn, catalogue, cut) = (self.txn, self.catalogue, self.cut);
        let mut freed = std::mem::take(&mut self.freed);
        let shared = Arc::clone(&self.shared);
        let writer = self.writer_mut();
        for run in &freed {
            writer.written.remove(run.id);
        }
        writer.written.any = true;
        if durable {
            // Halfway through, what is in memory no longer says what is on disk.
            commit::make_durable(&shared, writer, txn, catalogue, runs, &mut freed, cut)
                .inspect_err(|error| shared.poison(error))?;
        }
        shared.publish(commit::snapshot(writer, txn, catalogue));
        if let Some(mut writer) = self.writer.take() {
            let pins = shared.pinned(writer.durable.txn);
            let Writer { space, pins: waiting, .. } = writer.as_mut();
            waiting.file(freed, &pins, |run| space.ready(run.id, run.pages));
            // The commit has succeeded; where the file cannot be cut, later calls are refused.
            let _ = shared.sweep(&mut writer);
            shared.put_back(writer);
        }
        Ok(())
    }

    /// Whether a commit would have something to write.
    pub(crate) fn has_changes(&self) -> bool {
        !self.dirty.is_empty() || !self.allocated.is_empty() || !self.freed.is_empty()
    }

    /// Where the pages in use end, and how many are in use before that.
    pub(crate) fn pages(&self) -> (u64, u64) {
        let space = &self.writer().space;
        (u64::from(space.end()), u64::from(space.end()).saturating_sub(space.free_pages()))
    }

    fn check_usable(&self) -> Result<(), Error> {
        self.shared.check_poison()?;
        if self.failed { Err(Error::TxnFailed) } else { Ok(()) }
    }

    /// Writes what the open trees have become into the catalogue.
    fn store_trees(&mut self) -> Result<(), Error> {
        self.in_catalogue = true;
        for tree in std::mem::take(&mut self.trees) {
            if tree.stored != Some(tree.state) && (tree.made || tree.stored.is_some()) {
                let mut catalogue = self.catalogue;
                self.put_in(&mut catalogue, tree.name.as_bytes(), &[&tree.state.encode()])?;
                self.catalogue = catalogue;
            }
        }
        Ok(())
    }

    fn writer(&self) -> &Writer {
        self.writer.as_deref().expect("the writer is there until the transaction ends")
    }

    fn writer_mut(&mut self) -> &mut Writer {
        self.writer.as_deref_mut().expect("the writer is there until the transaction ends")
    }

    fn page_size(&self) -> usize {
        self.writer().view.page_size()
    }

    /// Bytes of a page that slots and cells may use.
    fn usable(&self) -> usize {
        self.page_size() - HEADER
    }

    /// Takes a run of pages; `passing` where the next commit will most likely give it up again.
    fn alloc(&mut self, pages: u32, passing: bool) -> Result<PageId, Error> {
        let shared = Arc::clone(&self.shared);
        let writer = self.writer_mut();
        let view = Arc::clone(&writer.view);
        let id = match pages {
            1 if passing => writer.space.alloc_on_strip(&view)?,
            1 => writer.space.alloc_lone(&view)?,
            _ => writer.space.alloc(pages, &view)?,
        };
        // Remembered before anything else can fail, so that giving up the transaction gives the pages back.
        self.allocated.push((id, pages));
        if self.dirty.contains_key(&id) {
            return Err(Error::corrupt(id, "it is in use and free at once"));
        }
        let writer = self.writer_mut();
        commit::grow(&shared, writer)?;
        writer.view.distrust(id, pages);
        Ok(id)
    }

    /// Lets go of a run that the tree no longer reaches.
    fn release(&mut self, id: PageId) -> Result<(), Error> {
        let txn = self.txn;
        let page_size = self.page_size();
        if let Some(data) = self.dirty.remove(&id) {
            self.dirty_bytes -= data.len();
            return self.release_own(id, word(data.len() / page_size));
        }
        let run = self.writer().view.run(id)?;
        let (born, pages) = (page::txn_of(run), page::run_of(run));
        if born == txn {
            return self.release_own(id, pages);
        }
        self.writer().space.check_in_use(id, pages)?;
        self.writer_mut().space.free(id, pages);
        self.freed.push(Freed { id, pages, born, freed: txn });
        Ok(())
    }

    /// Lets go of a run that this transaction took: nobody else has ever seen it.
    fn release_own(&mut self, id: PageId, pages: u32) -> Result<(), Error> {
        self.writer().space.check_in_use(id, pages)?;
        let writer = self.writer_mut();
        writer.written.remove(id);
        writer.space.free(id, pages);
        writer.space.ready(id, pages);
        Ok(())
    }

    /// Makes the node one that may be changed, and returns where it is now. A commit changes the root of whatever tree it
    /// changes, but of the other nodes rarely those that the commit before changed.
    fn own(&mut self, id: PageId, level: u8, is_root: bool) -> Result<PageId, Error> {
        if self.dirty.contains_key(&id) {
            return Ok(id);
        }
        self.node(id, level)?;
        let mut data = self.writer_mut().spare.pop().unwrap_or_default();
        let run = self.writer().view.run(id)?;
        data.clear();
        data.extend_from_slice(run);
        let (born, pages) = (page::txn_of(run), page::run_of(run));
        let new = if born == self.txn {
            id
        } else {
            let new = self.alloc(pages, is_root || self.in_catalogue)?;
            self.release(id)?;
            new
        };
        self.dirty_bytes += data.len();
        self.dirty.insert(new, data);
        Ok(new)
    }

    fn edit(&mut self, id: PageId) -> NodeMut<'_> {
        NodeMut::new(
            self.dirty.get_mut(&id).expect("a node is made the transaction's own before it is changed"),
        )
    }

    /// A new node with these cells; more than a page only where a single page cannot hold them.
    fn new_node(&mut self, level: u8, cells: &Cells, range: std::ops::Range<usize>) -> Result<PageId, Error> {
        let page_size = self.page_size();
        let pages = (HEADER + cells.needed(range.clone())).div_ceil(page_size);
        let id = self.alloc(word(pages), self.in_catalogue)?;
        // Whatever a page in memory held before, building the node leaves none of it.
        let mut data = self.writer_mut().spare.pop().unwrap_or_default();
        data.resize(pages * page_size, 0);
        NodeMut::build(&mut data, level, cells, range);
        self.dirty_bytes += data.len();
        self.dirty.insert(id, data);
        Ok(id)
    }

    /// Writes a value onto pages of its own.
    fn new_value(&mut self, parts: &[&[u8]], len: usize) -> Result<PageId, Error> {
        let page_size = self.page_size();
        let pages = (HEADER + len).div_ceil(page_size);
        let id = self.alloc(word(pages), false)?;
        let mut run = Vec::with_capacity(pages * page_size);
        run.resize(HEADER, 0);
        for part in parts {
            run.extend_from_slice(part);
        }
        run.resize(pages * page_size, 0);
        page::init(&mut run, Kind::Value, 0, 0, word(len));
        let (shared, txn) = (Arc::clone(&self.shared), self.txn);
        commit::write_runs(&shared, self.writer_mut(), txn, vec![(id, run)])?;
        Ok(id)
    }

    /// Writes the changed nodes to the file; the transaction goes on and may change them again.
    fn spill(&mut self) -> Result<(), Error> {
        let runs = self.take_dirty();
        let (shared, txn) = (Arc::clone(&self.shared), self.txn);
        commit::write_runs(&shared, self.writer_mut(), txn, runs)
    }

    fn take_dirty(&mut self) -> Vec<(PageId, Vec<u8>)> {
        self.dirty_bytes = 0;
        self.dirty.drain().collect()
    }

    fn spill_if_large(&mut self) -> Result<(), Error> {
        if self.dirty_bytes > self.shared.options.dirty_bytes_max { self.spill() } else { Ok(()) }
    }

    /// Gives everything back that the transaction took.
    fn undo(&mut self) {
        let Some(mut writer) = self.writer.take() else { return };
        for (id, pages) in self.allocated.drain(..) {
            writer.written.remove(id);
            for page in (id..id + pages).filter(|page| *page < self.end_before) {
                if !writer.space.is_free(page) {
                    writer.space.free(page, 1);
                }
                writer.space.ready(page, 1);
            }
        }
        writer.space.cut(self.end_before);
        for run in self.freed.drain(..) {
            writer.space.unfree(run.id, run.pages);
        }
        self.shared.put_back(writer);
    }
}

impl Source for WriteTxn {
    fn run(&self, id: PageId) -> Result<&[u8], Error> {
        match self.dirty.get(&id) {
            Some(data) => Ok(data),
            None => self.writer().view.run(id),
        }
    }

    fn txn(&self) -> u64 {
        self.txn
    }

    fn check_readable(&self) -> Result<(), Error> {
        self.check_usable()
    }
}

impl Drop for WriteTxn {
    fn drop(&mut self) {
        self.undo();
    }
}

impl TreeState {
    const BYTES: usize = 16;

    fn encode(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        crate::bytes::put_u32(&mut bytes, 0, self.root);
        bytes[4] = self.level;
        crate::bytes::put_u64(&mut bytes, 8, self.keys);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let bytes: &[u8; Self::BYTES] = bytes
            .try_into()
            .map_err(|_| Error::corrupt(0, "an entry of the catalogue has a wrong length"))?;
        Ok(Self {
            root: crate::bytes::get_u32(bytes, 0),
            level: bytes[4],
            keys: crate::bytes::get_u64(bytes, 8),
        })
    }
}

#[cfg(test)]
mod tests;
