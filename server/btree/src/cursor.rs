//! Finding a key, and walking over many.

use std::fmt;
use std::ops::{Bound, RangeBounds};

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
struct Cursor<'a> {
    stack: Vec<(Node<'a>, usize)>,
}

/// Which way to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

impl<'a> Cursor<'a> {
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
    fn seek(
        &mut self,
        source: &'a (dyn Source + Sync),
        tree: TreeState,
        bound: Bound<&[u8]>,
        way: Way,
    ) -> Result<bool, Error> {
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

    /// Moves one entry on; false past the last.
    fn step(&mut self, source: &'a (dyn Source + Sync), way: Way) -> Result<bool, Error> {
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

/// The entries of a tree within bounds, in ascending order, from both ends. Keys and values are borrowed from the
/// snapshot without copying. An error is the last item.
pub struct Range<'a> {
    source: &'a (dyn Source + Sync),
    tree: TreeState,
    lower: Bound<Vec<u8>>,
    upper: Bound<Vec<u8>>,
    front: Option<Cursor<'a>>,
    back: Option<Cursor<'a>>,
    front_key: Option<&'a [u8]>,
    back_key: Option<&'a [u8]>,
    done: bool,
}

fn owned(bound: Bound<&&[u8]>) -> Bound<Vec<u8>> {
    bound.map(|key| key.to_vec())
}

fn borrowed(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    bound.as_ref().map(Vec::as_slice)
}

type Entry<'a> = (&'a [u8], &'a [u8]);

impl<'a> Range<'a> {
    pub(crate) fn new<'k>(
        source: &'a (dyn Source + Sync),
        tree: TreeState,
        bounds: &impl RangeBounds<&'k [u8]>,
    ) -> Self {
        Self {
            source,
            tree,
            lower: owned(bounds.start_bound()),
            upper: owned(bounds.end_bound()),
            front: None,
            back: None,
            front_key: None,
            back_key: None,
            done: false,
        }
    }

    fn move_on(&mut self, way: Way) -> Result<Option<Entry<'a>>, Error> {
        let (cursor, bound) = match way {
            Way::Up => (&mut self.front, &self.lower),
            Way::Down => (&mut self.back, &self.upper),
        };
        let found = match cursor {
            Some(cursor) => cursor.step(self.source, way)?,
            None => cursor.insert(Cursor::default()).seek(self.source, self.tree, borrowed(bound), way)?,
        };
        let Some((leaf, slot)) = cursor.as_ref().and_then(|cursor| cursor.stack.last()).filter(|_| found)
        else {
            return Ok(None);
        };
        let key = leaf.key(*slot);
        // Keys that do not rise would let a corrupt file send a reader in circles.
        let (risen, inside, met) = match way {
            Way::Up => (
                self.front_key.is_none_or(|former| former < key),
                match &self.upper {
                    Bound::Unbounded => true,
                    Bound::Included(upper) => key <= upper.as_slice(),
                    Bound::Excluded(upper) => key < upper.as_slice(),
                },
                self.back_key.is_some_and(|back| key >= back),
            ),
            Way::Down => (
                self.back_key.is_none_or(|former| former > key),
                match &self.lower {
                    Bound::Unbounded => true,
                    Bound::Included(lower) => key >= lower.as_slice(),
                    Bound::Excluded(lower) => key > lower.as_slice(),
                },
                self.front_key.is_some_and(|front| key <= front),
            ),
        };
        if !risen {
            return Err(Error::corrupt(self.tree.root, "the keys of its tree are out of order"));
        }
        if !inside || met {
            return Ok(None);
        }
        let value = value(self.source, *leaf, *slot)?;
        match way {
            Way::Up => self.front_key = Some(key),
            Way::Down => self.back_key = Some(key),
        }
        Ok(Some((key, value)))
    }

    fn item(&mut self, way: Way) -> Option<Result<Entry<'a>, Error>> {
        if self.done {
            return None;
        }
        let item = self.move_on(way).transpose();
        self.done = !matches!(item, Some(Ok(_)));
        item
    }
}

impl<'a> Iterator for Range<'a> {
    type Item = Result<Entry<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.item(Way::Up)
    }
}

impl DoubleEndedIterator for Range<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.item(Way::Down)
    }
}

impl std::iter::FusedIterator for Range<'_> {}

impl fmt::Debug for Range<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Range")
            .field("lower", &self.lower)
            .field("upper", &self.upper)
            .finish_non_exhaustive()
    }
}
