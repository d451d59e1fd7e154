//! Finding a key, and places in a tree that can be moved both ways.

use std::ops::Bound;

use smallvec::SmallVec;

use crate::Error;
use crate::meta::TreeState;
use crate::node::{LEVEL_MAX, LeafValue, Node};
use crate::view::Source;

/// The value of `key`.
pub(crate) fn get<'a, S: Source + ?Sized>(
    source: &'a S,
    tree: TreeState,
    key: &[u8],
) -> Result<Option<&'a [u8]>, Error> {
    if tree.root == 0 {
        return Ok(None);
    }
    let mut node = source.node(tree.root, tree.level)?;
    for level in (0..tree.level).rev() {
        node = source.node(node.child(node.child_slot(key)), level)?;
    }
    match node.search(key) {
        Ok(slot) => value(source, node, slot).map(Some),
        Err(_) => Ok(None),
    }
}

fn value<'a, S: Source + ?Sized>(source: &'a S, leaf: Node<'a>, slot: usize) -> Result<&'a [u8], Error> {
    match leaf.value(slot) {
        LeafValue::Inline(value) => Ok(value),
        LeafValue::Outside { page, len } => source.value(page, len),
    }
}

/// A place in a tree: the nodes from the root to a leaf, each with a slot.
#[derive(Debug, Default)]
pub(crate) struct Place<'a> {
    // Higher trees than that have billions of keys.
    stack: SmallVec<[(Node<'a>, usize); 6]>,
}

/// Which way to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Up,
    Down,
}

impl<'a> Place<'a> {
    /// Goes down from `id` to a leaf, where `slot` says which slot to take in each branch.
    fn descend(
        &mut self,
        source: &'a (dyn Source + Sync),
        mut id: u32,
        level: u8,
        slot: impl Fn(&Node<'a>) -> usize,
    ) -> Result<Node<'a>, Error> {
        for level in (1..=level).rev() {
            let node = source.node(id, level)?;
            let slot = slot(&node);
            self.stack.push((node, slot));
            id = node.child(slot);
        }
        source.node(id, 0)
    }

    /// Stands on the first entry within the lower bound, or the last within the upper one; false when there is none.
    pub(crate) fn seek(
        &mut self,
        source: &'a (dyn Source + Sync),
        tree: TreeState,
        bound: Bound<&[u8]>,
        way: Way,
    ) -> Result<bool, Error> {
        self.stack.clear();
        source.check_readable()?;
        if tree.root == 0 {
            return Ok(false);
        }
        if tree.level > LEVEL_MAX {
            return Err(Error::corrupt(tree.root, "its tree is higher than any tree can be"));
        }
        let leaf = self.descend(source, tree.root, tree.level, |node| match (bound, way) {
            (Bound::Included(key) | Bound::Excluded(key), _) => node.child_slot(key),
            (Bound::Unbounded, Way::Up) => 0,
            (Bound::Unbounded, Way::Down) => node.count().saturating_sub(1),
        })?;
        // The slot of the first entry on the far side of the bound.
        let slot = match bound {
            Bound::Unbounded if way == Way::Up => 0,
            Bound::Unbounded => leaf.count(),
            Bound::Included(key) => match leaf.search(key) {
                Ok(slot) if way == Way::Down => slot + 1,
                Ok(slot) | Err(slot) => slot,
            },
            Bound::Excluded(key) => match leaf.search(key) {
                Ok(slot) if way == Way::Up => slot + 1,
                Ok(slot) | Err(slot) => slot,
            },
        };
        match way {
            Way::Up if slot < leaf.count() => self.stack.push((leaf, slot)),
            Way::Down if slot > 0 => self.stack.push((leaf, slot - 1)),
            _ => return self.next_leaf(source, way),
        }
        Ok(true)
    }

    /// Whether the step before, that way, was one within the leaf.
    pub(crate) fn came_from_same_leaf(&self, way: Way) -> bool {
        self.stack.last().is_some_and(|(leaf, slot)| match way {
            Way::Up => *slot > 0,
            Way::Down => slot + 1 < leaf.count(),
        })
    }

    /// The key of the entry that it stands on.
    pub(crate) fn key(&self) -> Option<&'a [u8]> {
        self.stack.last().map(|(leaf, slot)| leaf.key(*slot))
    }

    /// The value of the entry that it stands on.
    pub(crate) fn value(&self, source: &'a (dyn Source + Sync)) -> Result<Option<&'a [u8]>, Error> {
        self.stack.last().map(|(leaf, slot)| value(source, *leaf, *slot)).transpose()
    }

    /// Moves one entry on; false past the last.
    pub(crate) fn step(&mut self, source: &'a (dyn Source + Sync), way: Way) -> Result<bool, Error> {
        match self.stack.last_mut() {
            None => return Ok(false),
            Some((leaf, slot)) if way == Way::Up && *slot + 1 < leaf.count() => *slot += 1,
            Some((_, slot)) if way == Way::Down && *slot > 0 => *slot -= 1,
            Some(_) => {
                self.stack.pop();
                return self.next_leaf(source, way);
            }
        }
        Ok(true)
    }

    /// With only branches on the stack: goes to the nearest leaf beyond the one that they led to.
    fn next_leaf(&mut self, source: &'a (dyn Source + Sync), way: Way) -> Result<bool, Error> {
        while let Some((node, slot)) = self.stack.pop() {
            let next = match way {
                Way::Up if slot + 1 < node.count() => slot + 1,
                Way::Down if slot > 0 => slot - 1,
                _ => continue,
            };
            self.stack.push((node, next));
            let end = |node: &Node<'a>| if way == Way::Up { 0 } else { node.count().saturating_sub(1) };
            let leaf = self.descend(source, node.child(next), node.level().saturating_sub(1), end)?;
            self.stack.push((leaf, end(&leaf)));
            return Ok(true);
        }
        Ok(false)
    }
}
