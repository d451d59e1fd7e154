//! Setting a key, and sharing out the cells of a node that has become too full.

use super::{Path, WriteTxn};
use crate::Error;
use crate::bytes::{put_u16, put_u32, small, word};
use crate::cells::{Cells, branch_cell, leaf_key, separator};
use crate::meta::TreeState;
use crate::node::{LEAF_CELL, LeafValue, OUTSIDE, REFERENCE, SLOT};
use crate::page::PageId;
use crate::view::Source;

/// A slot of a leaf: one that holds the key, with the pages of its value where that stands outside, or the one where
/// it would go.
pub(super) type Found = Result<(usize, Option<(PageId, u32)>), usize>;

/// How many levels lie below the root on a way; a tree has few.
fn small_level(depth: usize) -> u8 {
    u8::try_from(depth).unwrap_or(u8::MAX)
}

impl WriteTxn {
    pub(super) fn put_in(&mut self, tree: &mut TreeState, key: &[u8], parts: &[&[u8]]) -> Result<(), Error> {
        let mut cell = std::mem::take(&mut self.scratch);
        self.leaf_cell(&mut cell, key, parts)?;
        let result = self.put_cell(tree, key, &cell);
        self.scratch = cell;
        result
    }

    fn put_cell(&mut self, tree: &mut TreeState, key: &[u8], cell: &[u8]) -> Result<(), Error> {
        if tree.root == 0 {
            let mut cells = Cells::default();
            cells.push(cell);
            *tree = TreeState { root: self.new_node(0, &cells, 0..1)?, level: 0, keys: 1 };
            return Ok(());
        }
        let (mut path, leaf, found) = self.find(*tree, key)?;
        let leaf = self.own_path(tree, &mut path, leaf)?;
        let slot = match found {
            Ok((slot, outside)) => {
                if let Some((page, len)) = outside {
                    self.release_value(page, len)?;
                }
                slot
            }
            Err(slot) => {
                tree.keys = tree.keys.saturating_add(1);
                slot
            }
        };
        let mut node = self.edit(leaf);
        if found.is_ok() {
            node.remove(slot);
        }
        if node.insert(slot, cell) {
            return Ok(());
        }
        let node = self.edit(leaf);
        let node = node.node();
        let count = node.count();
        let mut cells = Cells::default();
        cells.extend(node, 0..slot);
        cells.push(cell);
        cells.extend(node, slot..count);
        let append = slot == count && self.is_rightmost(&path, 0)?;
        self.place(tree, &mut path, leaf, 0, cells, append)?;
        Ok(())
    }

    /// Lets go of a value's pages.
    pub(super) fn release_value(&mut self, page: PageId, len: u32) -> Result<(), Error> {
        self.value(page, len)?;
        self.release(page)
    }

    /// The way to the leaf that `key` belongs to, and the slot that holds it or where it would go.
    pub(super) fn find(&self, tree: TreeState, key: &[u8]) -> Result<(Path, PageId, Found), Error> {
        let mut path = Path::with_capacity(usize::from(tree.level));
        let mut id = tree.root;
        let mut node = self.node(id, tree.level)?;
        for level in (0..tree.level).rev() {
            let slot = node.child_slot(key);
            path.push((id, slot));
            id = node.child(slot);
            node = self.node(id, level)?;
        }
        let found = node.search(key).map(|slot| match node.value(slot) {
            LeafValue::Outside { page, len } => (slot, Some((page, len))),
            LeafValue::Inline(_) => (slot, None),
        });
        Ok((path, id, found))
    }

    /// Makes all nodes of a way, and the node that it leads to, the transaction's own; where that one is now.
    pub(super) fn own_path(
        &mut self,
        tree: &mut TreeState,
        path: &mut Path,
        end: PageId,
    ) -> Result<PageId, Error> {
        for at in 0..=path.len() {
            let id = path.get(at).map_or(end, |(id, _)| *id);
            let level = tree.level - small_level(at);
            let owned = self.own(id, level, at == 0)?;
            if owned != id {
                match at.checked_sub(1) {
                    None => tree.root = owned,
                    Some(above) => {
                        let (parent, slot) = path[above];
                        self.edit(parent).set_child(slot, owned);
                    }
                }
            }
            match path.get_mut(at) {
                Some((id, _)) => *id = owned,
                None => return Ok(owned),
            }
        }
        Ok(end)
    }

    /// Whether the node of `level` at the end of `path` is the last of its level.
    fn is_rightmost(&self, path: &Path, mut level: u8) -> Result<bool, Error> {
        for (id, slot) in path.iter().rev() {
            level += 1;
            if slot + 1 != self.node(*id, level)?.count() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Makes the cell of an entry, its value outside where it would take more than half a page.
    pub(super) fn leaf_cell(&mut self, cell: &mut Vec<u8>, key: &[u8], parts: &[&[u8]]) -> Result<(), Error> {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        let outside = LEAF_CELL + key.len() + len + SLOT > self.usable() / 2 && len > REFERENCE;
        cell.clear();
        cell.resize(LEAF_CELL, 0);
        put_u16(cell, 0, small(key.len()));
        put_u16(cell, 2, if outside { OUTSIDE } else { small(len) });
        cell.extend_from_slice(key);
        if outside {
            let page = self.new_value(parts, len)?;
            let at = cell.len();
            cell.resize(at + REFERENCE, 0);
            put_u32(cell, at, page);
            put_u32(cell, at + 4, word(len));
        } else {
            for part in parts {
                cell.extend_from_slice(part);
            }
        }
        Ok(())
    }

    /// Makes `id`, at the end of `path`, hold `cells`: on one node, or on several that its parent learns of.
    /// All branches of the path are the transaction's own. Whether the parent, if there is one, is where it was; if
    /// not, it was shared out itself and `path` leads nowhere.
    pub(super) fn place(
        &mut self,
        tree: &mut TreeState,
        path: &mut Path,
        id: PageId,
        level: u8,
        mut cells: Cells,
        append: bool,
    ) -> Result<bool, Error> {
        let least = if level == 0 { 1 } else { 2 };
        let parts = cells.split(self.usable(), least, append);
        // The keys between the parts, from the last to the first, so that taking one leaves the earlier cells alone.
        let mut keys = Vec::with_capacity(parts.len());
        for part in parts.iter().skip(1).rev() {
            keys.push(if level == 0 {
                separator(leaf_key(cells.get(part.start - 1)), leaf_key(cells.get(part.start))).to_vec()
            } else {
                cells.take_branch_key(part.start)
            });
        }
        keys.reverse();
        self.release(id)?;
        let mut ids = Vec::with_capacity(parts.len());
        for part in parts {
            ids.push(self.new_node(level, &cells, part)?);
        }
        self.adopt(tree, path, level, &ids, &keys)
    }

    /// Puts nodes in the place of the one that `path` led to.
    fn adopt(
        &mut self,
        tree: &mut TreeState,
        path: &mut Path,
        level: u8,
        ids: &[PageId],
        keys: &[Vec<u8>],
    ) -> Result<bool, Error> {
        let Some((parent, slot)) = path.pop() else {
            tree.root = ids[0];
            tree.level = level;
            if ids.len() > 1 {
                let mut cells = Cells::default();
                cells.push(&branch_cell(&[], ids[0]));
                for (key, id) in keys.iter().zip(&ids[1..]) {
                    cells.push(&branch_cell(key, *id));
                }
                let root = self.new_node(level + 1, &cells, 0..0)?;
                self.place(tree, path, root, level + 1, cells, false)?;
            }
            return Ok(true);
        };
        self.edit(parent).set_child(slot, ids[0]);
        for (i, (key, id)) in keys.iter().zip(&ids[1..]).enumerate() {
            if self.edit(parent).insert(slot + 1 + i, &branch_cell(key, *id)) {
                continue;
            }
            let node = self.edit(parent);
            let node = node.node();
            let mut cells = Cells::default();
            cells.extend(node, 0..slot + 1 + i);
            for (key, id) in keys.iter().zip(&ids[1..]).skip(i) {
                cells.push(&branch_cell(key, *id));
            }
            let count = node.count();
            cells.extend(node, slot + 1 + i..count);
            let append = slot + 1 + i == count && self.is_rightmost(path, level + 1)?;
            self.place(tree, path, parent, level + 1, cells, append)?;
            return Ok(false);
        }
        Ok(true)
    }
}
