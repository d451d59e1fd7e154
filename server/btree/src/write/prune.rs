//! Removing many keys at once: what lies wholly within the bounds goes page by page, without a look at its cells.

use std::ops::Bound;

use super::WriteTxn;
use crate::Error;
use crate::meta::TreeState;
use crate::node::{LEVEL_MAX, LeafValue, Node};
use crate::page::PageId;
use crate::view::Source;

/// Which keys go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds<'k> {
    pub(super) lower: Bound<&'k [u8]>,
    pub(super) upper: Bound<&'k [u8]>,
}

impl Bounds<'_> {
    fn is_empty(self) -> bool {
        match (self.lower, self.upper) {
            (Bound::Included(lower), Bound::Included(upper)) => lower > upper,
            (Bound::Included(lower) | Bound::Excluded(lower), Bound::Excluded(upper))
            | (Bound::Excluded(lower), Bound::Included(upper)) => lower >= upper,
            _ => false,
        }
    }

    /// The slots of a leaf whose keys lie within.
    fn slots(self, leaf: Node<'_>) -> std::ops::Range<usize> {
        let first = match self.lower {
            Bound::Unbounded => 0,
            Bound::Included(key) => leaf.search(key).unwrap_or_else(|slot| slot),
            Bound::Excluded(key) => leaf.search(key).map_or_else(|slot| slot, |slot| slot + 1),
        };
        let end = match self.upper {
            Bound::Unbounded => leaf.count(),
            Bound::Included(key) => leaf.search(key).map_or_else(|slot| slot, |slot| slot + 1),
            Bound::Excluded(key) => leaf.search(key).unwrap_or_else(|slot| slot),
        };
        first..end.max(first)
    }
}

fn key_of(bound: Bound<&[u8]>) -> Option<&[u8]> {
    match bound {
        Bound::Included(key) | Bound::Excluded(key) => Some(key),
        Bound::Unbounded => None,
    }
}

impl WriteTxn {
    /// Removes the keys within the bounds and returns how many there were.
    pub(super) fn delete_range_in(&mut self, tree: &mut TreeState, bounds: Bounds<'_>) -> Result<u64, Error> {
        if tree.root == 0 || bounds.is_empty() {
            return Ok(0);
        }
        check_level(*tree)?;
        let (root, removed) = self.prune(tree.root, tree.level, bounds)?;
        tree.keys = tree.keys.saturating_sub(removed);
        match root {
            Some(root) => tree.root = root,
            None => (tree.root, tree.level) = (0, 0),
        }
        if removed > 0 {
            for key in [key_of(bounds.lower).unwrap_or_default(), key_of(bounds.upper).unwrap_or(&[])] {
                self.mend_way(tree, |node| node.child_slot(key))?;
            }
            if bounds.upper == Bound::Unbounded {
                self.mend_rightmost(tree)?;
            }
        }
        Ok(removed)
    }

    /// Removes what lies within the bounds below a node: where the node is now, if any of it is left, and how
    /// many keys went.
    fn prune(&mut self, id: PageId, level: u8, bounds: Bounds<'_>) -> Result<(Option<PageId>, u64), Error> {
        let node = self.node(id, level)?;
        if level == 0 {
            return self.prune_leaf(id, bounds);
        }
        let count = node.count();
        let first = key_of(bounds.lower).map_or(0, |key| node.child_slot(key));
        let last = key_of(bounds.upper).map_or(count - 1, |key| node.child_slot(key)).max(first);
        if bounds.lower == Bound::Unbounded && bounds.upper == Bound::Unbounded {
            return Ok((None, self.release_tree(id, level)?));
        }
        let mut children: Vec<(usize, PageId)> =
            (first..=last).map(|slot| (slot, node.child(slot))).collect();
        let mut gone = Vec::new();
        let mut removed = 0;
        for (slot, child) in &mut children {
            // Only the first and the last child may hold keys outside of the bounds.
            let below = Bounds {
                lower: if *slot == first { bounds.lower } else { Bound::Unbounded },
                upper: if *slot == last { bounds.upper } else { Bound::Unbounded },
            };
            let (left, keys) = self.prune(*child, level - 1, below)?;
            removed += keys;
            match left {
                Some(left) => *child = left,
                None => gone.push(*slot),
            }
        }
        if removed == 0 {
            return Ok((Some(id), 0));
        }
        if gone.len() == count {
            self.release(id)?;
            return Ok((None, removed));
        }
        let id = self.own(id, level, false)?;
        let mut node = self.edit(id);
        for (slot, child) in children {
            node.set_child(slot, child);
        }
        for slot in gone.iter().rev() {
            node.remove(*slot);
        }
        if gone.first() == Some(&0) {
            node.clear_first_key();
        }
        Ok((Some(id), removed))
    }

    fn prune_leaf(&mut self, id: PageId, bounds: Bounds<'_>) -> Result<(Option<PageId>, u64), Error> {
        let leaf = self.node(id, 0)?;
        let slots = bounds.slots(leaf);
        if slots.is_empty() {
            return Ok((Some(id), 0));
        }
        if slots.len() == leaf.count() {
            return Ok((None, self.release_tree(id, 0)?));
        }
        let outside = outside_values(leaf, slots.clone());
        for (page, len) in outside {
            self.release_value(page, len)?;
        }
        let id = self.own(id, 0, false)?;
        let mut node = self.edit(id);
        for slot in slots.clone().rev() {
            node.remove(slot);
        }
        Ok((Some(id), slots.len() as u64))
    }

    /// Lets go of a node and all below it; how many keys that were. Of a leaf whose values are all inside, only
    /// the header is looked at.
    pub(super) fn release_tree(&mut self, id: PageId, level: u8) -> Result<u64, Error> {
        let node = self.node(id, level)?;
        let mut keys = 0;
        if level == 0 {
            keys = node.count() as u64;
            if node.outside_count() > 0 {
                for (page, len) in outside_values(node, 0..node.count()) {
                    self.release_value(page, len)?;
                }
            }
        } else {
            let children: Vec<PageId> = (0..node.count()).map(|slot| node.child(slot)).collect();
            for child in children {
                keys += self.release_tree(child, level - 1)?;
            }
        }
        self.release(id)?;
        Ok(keys)
    }

    /// Lets go of all pages of a tree.
    pub(super) fn release_all(&mut self, tree: TreeState) -> Result<(), Error> {
        if tree.root == 0 {
            return Ok(());
        }
        check_level(tree)?;
        let keys = self.release_tree(tree.root, tree.level)?;
        if keys != tree.keys {
            return Err(Error::corrupt(tree.root, "its tree does not have as many keys as it should"));
        }
        Ok(())
    }

    /// Brings the nodes on one way from the root to a leaf back into shape, from the leaf up; `slot` says which way.
    pub(super) fn mend_way(
        &mut self,
        tree: &mut TreeState,
        slot: impl Fn(Node<'_>) -> usize,
    ) -> Result<(), Error> {
        let mut level = 0;
        while tree.root != 0 && level <= tree.level {
            let (mut path, id) = self.own_way(tree, level, &slot)?;
            self.mend(tree, &mut path, id, level)?;
            level += 1;
        }
        Ok(())
    }

    pub(super) fn mend_rightmost(&mut self, tree: &mut TreeState) -> Result<(), Error> {
        self.mend_way(tree, |node| node.count().saturating_sub(1))
    }
}

fn check_level(tree: TreeState) -> Result<(), Error> {
    if tree.level > LEVEL_MAX {
        return Err(Error::corrupt(tree.root, "its tree is higher than any tree can be"));
    }
    Ok(())
}

fn outside_values(leaf: Node<'_>, slots: std::ops::Range<usize>) -> Vec<(PageId, u32)> {
    slots
        .filter_map(|slot| match leaf.value(slot) {
            LeafValue::Outside { page, len } => Some((page, len)),
            LeafValue::Inline(_) => None,
        })
        .collect()
}
