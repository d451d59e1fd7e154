//! A leaf or branch as it stands on its pages, for reading.
//!
//! After the header come the slots, six bytes each: the offsets of the cells in key order, each with the head of its
//! key, the four bytes that come after what all keys of the node begin with. A search seldom needs to look further
//! than the heads. The cells fill the run from its end downwards. A leaf's cell is `key length u16, value length u16, key, value`, a branch's
//! `key length u16, child u32, key`. The first key of a branch is empty: it stands for everything below the second.
//!
//! **Invariant:** no content of a page makes these functions panic; [`Node::validate`] has been through a page before
//! its answers are trusted.

use std::cmp::Ordering;
use std::ops::Range;

use smallvec::SmallVec;

use crate::bytes::{get_u16, get_u32};
use crate::page::{COUNT, EXTRA, FIRST_PAGE, GARBAGE, HEADER, Kind, LEVEL, OUTSIDE_COUNT, PageId, SKIP};

/// Value length that says: the value stands on pages of its own.
pub(crate) const OUTSIDE: u16 = u16::MAX;
/// Bytes of a reference to such a value: its first page and its length.
pub(crate) const REFERENCE: usize = 8;
/// Bytes of a slot.
pub(crate) const SLOT: usize = 6;
pub(crate) const LEAF_CELL: usize = 4;
pub(crate) const BRANCH_CELL: usize = 6;
/// Whether the value of a leaf's cell stands outside.
pub(crate) fn is_outside(leaf_cell: &[u8]) -> bool {
    get_u16(leaf_cell, 2) == OUTSIDE
}

/// Bytes of the longest run that a node can have.
const LEN_MAX: usize = 1 << 16;

/// Levels above the leaves that a tree may have; 2^32 pages need fewer.
pub(crate) const LEVEL_MAX: u8 = 40;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeafValue<'a> {
    Inline(&'a [u8]),
    Outside { page: PageId, len: u32 },
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Node<'a> {
    data: &'a [u8],
}

impl<'a> Node<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self { data }
    }

    pub(crate) fn level(&self) -> u8 {
        self.data.get(LEVEL).copied().unwrap_or(0)
    }

    pub(crate) fn is_leaf(&self) -> bool {
        self.level() == 0
    }

    pub(crate) fn count(&self) -> usize {
        usize::from(get_u16(self.data, COUNT))
    }

    pub(crate) fn cells_start(&self) -> usize {
        get_u32(self.data, EXTRA) as usize
    }

    pub(crate) fn garbage(&self) -> usize {
        usize::from(get_u16(self.data, GARBAGE))
    }

    /// In a leaf: how many of its values stand on pages of their own.
    pub(crate) fn outside_count(&self) -> usize {
        usize::from(get_u16(self.data, OUTSIDE_COUNT))
    }

    /// Bytes in use by slots and cells.
    pub(crate) fn used(&self) -> usize {
        let cells = self.data.len().saturating_sub(self.cells_start()).saturating_sub(self.garbage());
        cells + SLOT * self.count()
    }

    fn offset(&self, i: usize) -> usize {
        usize::from(get_u16(self.data, HEADER + SLOT * i))
    }

    /// How many bytes all keys begin with alike and the heads leave out.
    pub(crate) fn skip(&self) -> usize {
        usize::from(get_u16(self.data, SKIP))
    }

    fn slots(&self) -> &'a [[u8; SLOT]] {
        self.data.get(HEADER..HEADER + SLOT * self.count()).unwrap_or_default().as_chunks().0
    }

    /// The first slot whose key counts: the first key of a branch is empty.
    fn first_key_slot(&self) -> usize {
        usize::from(!self.is_leaf())
    }

    fn part(&self, at: usize, len: usize) -> &'a [u8] {
        self.data.get(at..at + len).unwrap_or_default()
    }

    pub(crate) fn key(&self, i: usize) -> &'a [u8] {
        let at = self.offset(i);
        let len = usize::from(get_u16(self.data, at));
        self.part(at + if self.is_leaf() { LEAF_CELL } else { BRANCH_CELL }, len)
    }

    pub(crate) fn child(&self, i: usize) -> PageId {
        get_u32(self.data, self.offset(i) + 2)
    }

    /// Where in the page the child's number stands.
    pub(crate) fn child_at(&self, i: usize) -> usize {
        self.offset(i) + 2
    }

    /// Where in the page the number of the first page of an outside value stands.
    pub(crate) fn value_page_at(&self, i: usize) -> usize {
        let at = self.offset(i);
        at + LEAF_CELL + usize::from(get_u16(self.data, at))
    }

    pub(crate) fn value(&self, i: usize) -> LeafValue<'a> {
        let at = self.offset(i);
        let value_at = self.value_page_at(i);
        match get_u16(self.data, at + 2) {
            OUTSIDE => LeafValue::Outside {
                page: get_u32(self.data, value_at),
                len: get_u32(self.data, value_at + 4),
            },
            len => LeafValue::Inline(self.part(value_at, usize::from(len))),
        }
    }

    fn cell_range(&self, i: usize) -> Range<usize> {
        let at = self.offset(i);
        let key_len = usize::from(get_u16(self.data, at));
        let len = if self.is_leaf() {
            let value_len = match get_u16(self.data, at + 2) {
                OUTSIDE => REFERENCE,
                len => usize::from(len),
            };
            LEAF_CELL + key_len + value_len
        } else {
            BRANCH_CELL + key_len
        };
        at..at + len
    }

    pub(crate) fn cell(&self, i: usize) -> &'a [u8] {
        self.data.get(self.cell_range(i)).unwrap_or_default()
    }

    /// The first slot from `from` on whose key is not `below`, which is asked of keys with the same head as `key`. Right
    /// only where `key` begins as all keys of the node do.
    fn partition(&self, key: &[u8], from: usize, below: impl Fn(&[u8]) -> bool) -> usize {
        let slots = self.slots();
        let wanted = u32::from_be_bytes(head(key, self.skip()));
        let (mut low, mut high) = (from, slots.len());
        while low < high {
            let middle = low.midpoint(high);
            let [_, _, a, b, c, d] = slots[middle];
            let found = u32::from_be_bytes([a, b, c, d]);
            let is_below = if found == wanted { below(self.key(middle)) } else { found < wanted };
            if is_below {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// How `key` stands to what all keys of the node begin with; equal when it begins so too.
    fn compare_skipped(&self, key: &[u8]) -> Ordering {
        let skip = self.skip();
        if skip == 0 {
            return Ordering::Equal;
        }
        let common = self.key(self.first_key_slot());
        key[..skip.min(key.len())].cmp(&common[..skip.min(common.len())])
    }

    /// In a leaf: the slot that holds `key`, or where it would go.
    pub(crate) fn search(&self, key: &[u8]) -> Result<usize, usize> {
        let slot = self.partition(key, 0, |found| found < key);
        if slot < self.count() && self.key(slot) == key {
            return Ok(slot);
        }
        // Looked at only now: where the key is found, this would cost another look into memory for nothing.
        Err(match self.compare_skipped(key) {
            Ordering::Less => 0,
            Ordering::Equal => slot,
            Ordering::Greater => self.count(),
        })
    }

    /// In a branch: the slot of the child that `key` belongs to.
    pub(crate) fn child_slot(&self, key: &[u8]) -> usize {
        let after = match self.compare_skipped(key) {
            Ordering::Less => 1,
            Ordering::Equal => self.partition(key, 1, |found| found <= key),
            Ordering::Greater => self.count(),
        };
        after.saturating_sub(1)
    }

    /// Whether every slot and cell lies where it may, so that the node can be read and changed. The order of keys is not
    /// looked at.
    pub(crate) fn validate(data: &'a [u8]) -> Result<(), &'static str> {
        let node = Self::new(data);
        let kind = Kind::of(data);
        if kind != Some(if node.is_leaf() { Kind::Leaf } else { Kind::Branch }) {
            return Err("its kind does not fit its level");
        }
        if node.level() > LEVEL_MAX {
            return Err("its level is impossible");
        }
        // Slots and the header say offsets and lengths in 16 bits.
        if data.len() > LEN_MAX {
            return Err("it is longer than any node can be");
        }
        let slots_end = HEADER + SLOT * node.count();
        let start = node.cells_start();
        if node.count() == 0 || slots_end > start || start > data.len() || node.garbage() > data.len() - start
        {
            return Err("its slots and cells overlap");
        }
        let (mut cells, mut outside) = (0, 0);
        for i in 0..node.count() {
            let range = node.cell_range(i);
            cells += range.len();
            if range.start < start || range.end > data.len() {
                return Err("a cell lies outside of the page");
            }
            if node.is_leaf() {
                if node.key(i).is_empty() || node.key(i).len() > crate::MAX_KEY_BYTES {
                    return Err("a key has an impossible length");
                }
                if let LeafValue::Outside { page, len } = node.value(i) {
                    outside += 1;
                    if page < FIRST_PAGE || len as usize > crate::MAX_VALUE_BYTES {
                        return Err("a reference to a value is impossible");
                    }
                }
            } else if node.child(i) < FIRST_PAGE || (i == 0) != node.key(i).is_empty() {
                return Err("a child entry is impossible");
            } else if node.key(i).len() > crate::MAX_KEY_BYTES {
                return Err("a key has an impossible length");
            }
        }
        // So that the cells always fit when the node is built anew.
        if cells + node.garbage() != data.len() - start {
            return Err("its cells do not fill it");
        }
        if outside != node.outside_count() {
            return Err("it miscounts the values outside of it");
        }
        if !node.heads_are_right() {
            return Err("a slot does not hold the head of its key");
        }
        if !node.cells_are_disjoint() {
            return Err("its cells overlap");
        }
        Ok(())
    }

    /// Whether no two cells share a byte, as changing the node takes for granted.
    fn cells_are_disjoint(&self) -> bool {
        let mut taken: SmallVec<[u64; 64]> = SmallVec::from_elem(0, self.data.len().div_ceil(64));
        (0..self.count()).all(|i| {
            let Range { start: mut at, end } = self.cell_range(i);
            while at < end {
                let upto = end.min((at / 64 + 1) * 64);
                let bits = (u64::MAX >> (64 - (upto - at))) << (at % 64);
                let Some(word) = taken.get_mut(at / 64).filter(|word| **word & bits == 0) else {
                    return false;
                };
                *word |= bits;
                at = upto;
            }
            true
        })
    }

    fn heads_are_right(&self) -> bool {
        let (first, skip) = (self.first_key_slot(), self.skip());
        let common = if first < self.count() { self.key(first).get(..skip) } else { Some(&[][..]) };
        let Some(common) = common else { return false };
        self.slots().iter().enumerate().skip(first).all(|(i, slot)| {
            let key = self.key(i);
            key.starts_with(common) && slot[2..] == head(key, skip)
        })
    }
}

/// The four bytes of a key behind the first `skip`; zeros where it ends.
pub(crate) fn head(key: &[u8], skip: usize) -> [u8; 4] {
    let rest = key.get(skip..).unwrap_or_default();
    if let Some(head) = rest.first_chunk() {
        return *head;
    }
    let mut head = [0; 4];
    head[..rest.len()].copy_from_slice(rest);
    head
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use conure_io::Random;

    use super::*;
    use crate::bytes::{put_u16, small};
    use crate::cells::branch_cell;
    use crate::node_mut::NodeMut;

    fn random_key(random: &mut Random, prefix: usize) -> Vec<u8> {
        let mut key = vec![b'p'; usize::try_from(random.below(2)).unwrap() * prefix];
        for _ in 0..1 + random.below(7) {
            key.push([0, 1, b'p', b'q', 255][usize::try_from(random.below(5)).unwrap()]);
        }
        key
    }

    fn leaf_cell(key: &[u8]) -> Vec<u8> {
        let mut cell = vec![0; LEAF_CELL];
        put_u16(&mut cell, 0, small(key.len()));
        cell.extend_from_slice(key);
        cell
    }

    #[test]
    fn heads_lead_where_whole_keys_would() {
        let random = &mut Random::new(12);
        for round in 0..300 {
            let level = u8::from(round % 2 == 1);
            let prefix = [0, 1, 3, 9][round % 4];
            let mut data = vec![0; 4096];
            NodeMut::empty(&mut data, level);
            let mut keys = BTreeSet::new();
            if level == 1 {
                NodeMut::new(&mut data).insert(0, &branch_cell(&[], 2));
                keys.insert(Vec::new());
            }
            for _ in 0..60 {
                let key = random_key(random, prefix);
                let at = keys.range(..key.clone()).count();
                let mut node = NodeMut::new(&mut data);
                if random.chance(25) && keys.contains(&key) {
                    node.remove(at);
                    keys.remove(&key);
                } else if keys.insert(key.clone()) {
                    let cell = if level == 0 { leaf_cell(&key) } else { branch_cell(&key, 3) };
                    assert!(node.insert(at, &cell));
                }
            }
            assert_eq!(Node::validate(&data), Ok(()));
            let node = Node::new(&data);
            for _ in 0..100 {
                let key = random_key(random, prefix);
                let below = keys.range(..key.clone()).count();
                if level == 0 {
                    let wanted = if keys.contains(&key) { Ok(below) } else { Err(below) };
                    assert_eq!(node.search(&key), wanted, "{key:?} in {keys:?}");
                } else {
                    let wanted = if keys.contains(&key) { below } else { below - 1 };
                    assert_eq!(node.child_slot(&key), wanted, "{key:?} in {keys:?}");
                }
            }
        }
    }
}
