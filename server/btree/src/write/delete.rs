//! Removing a key, and joining nodes that have become too empty.

use super::{Path, WriteTxn};
use crate::Error;
use crate::cells::{Cells, branch_cell};
use crate::meta::TreeState;
use crate::page::PageId;
use crate::view::Source;

impl WriteTxn {
    pub(super) fn delete_in(&mut self, tree: &mut TreeState, key: &[u8]) -> Result<bool, Error> {
        if tree.root == 0 {
            return Ok(false);
        }
        let (mut path, leaf, found) = self.find(*tree, key)?;
        let Ok((slot, outside)) = found else { return Ok(false) };
        let leaf = self.own_path(tree, &mut path, leaf)?;
        if let Some((page, len)) = outside {
            self.release_value(page, len)?;
        }
        self.edit(leaf).remove(slot);
        tree.keys = tree.keys.saturating_sub(1);
        self.mend(tree, &mut path, leaf, 0)?;
        Ok(true)
    }

    /// Brings a node that lost a cell, at the end of `path`, and those above it back into shape.
    pub(super) fn mend(
        &mut self,
        tree: &mut TreeState,
        path: &mut Path,
        mut id: PageId,
        mut level: u8,
    ) -> Result<(), Error> {
        loop {
            let node = self.node(id, level)?;
            let (count, used) = (node.count(), node.used());
            let Some((parent, slot)) = path.pop() else {
                return self.mend_root(tree, id, level);
            };
            if count == 0 {
                self.release(id)?;
                let mut node = self.edit(parent);
                node.remove(slot);
                if slot == 0 && node.node().count() > 0 {
                    node.clear_first_key();
                }
            } else if used < self.usable() / 4 || (level > 0 && count < 2) {
                if !self.join(tree, path, parent, slot, level)? {
                    return Ok(());
                }
            } else {
                return Ok(());
            }
            id = parent;
            level += 1;
        }
    }

    pub(super) fn mend_root(
        &mut self,
        tree: &mut TreeState,
        mut id: PageId,
        mut level: u8,
    ) -> Result<(), Error> {
        loop {
            let node = self.node(id, level)?;
            match (node.count(), level) {
                (0, _) => {
                    self.release(id)?;
                    (tree.root, tree.level) = (0, 0);
                    return Ok(());
                }
                (1, 1..) => {
                    let child = node.child(0);
                    self.release(id)?;
                    level -= 1;
                    id = child;
                    (tree.root, tree.level) = (id, level);
                }
                _ => return Ok(()),
            }
        }
    }

    /// Joins the child in `slot` with a neighbour, or evens the two out where one node cannot hold both. Whether
    /// the parent may need mending now.
    fn join(
        &mut self,
        tree: &mut TreeState,
        path: &mut Path,
        parent: PageId,
        slot: usize,
        level: u8,
    ) -> Result<bool, Error> {
        let node = self.node(parent, level + 1)?;
        if node.count() < 2 {
            // The only child: the parent is mended next and takes it along.
            return Ok(true);
        }
        // The left neighbour first: keys removed in ascending order leave sparse nodes on that side.
        let mut chosen = None;
        for left in [slot.checked_sub(1), (slot + 1 < node.count()).then_some(slot)].into_iter().flatten() {
            let (left_node, right_node) =
                (self.node(node.child(left), level)?, self.node(node.child(left + 1), level)?);
            let mut cells = Cells::of(left_node);
            if level == 0 {
                cells.extend(right_node, 0..right_node.count());
            } else {
                cells.push(&branch_cell(node.key(left + 1), right_node.child(0)));
                cells.extend(right_node, 1..right_node.count());
            }
            let fits = cells.needed(0..cells.len()) <= self.usable();
            let few = level > 0 && (left_node.count() < 2 || right_node.count() < 2);
            if fits || (few && chosen.is_none()) {
                chosen = Some((left, cells));
            }
            if fits {
                break;
            }
        }
        let Some((left, cells)) = chosen else { return Ok(false) };
        let (left_id, right_id) = (node.child(left), node.child(left + 1));
        self.release(right_id)?;
        self.edit(parent).remove(left + 1);
        path.push((parent, left));
        self.place(tree, path, left_id, level, cells, false)
    }
}
