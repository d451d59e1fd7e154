//! A leaf or branch in memory, for changing.

use crate::bytes::{get_u16, put_u16, put_u32, small, word};
use crate::cells::Cells;
use crate::node::{BRANCH_CELL, LEAF_CELL, Node, SLOT, head, is_outside};
use crate::page::{self, COUNT, EXTRA, GARBAGE, HEADER, Kind, OUTSIDE_COUNT, PageId, SKIP};

/// The whole run of a node that belongs to the write transaction alone.
#[derive(Debug)]
pub(crate) struct NodeMut<'a> {
    data: &'a mut [u8],
}

impl<'a> NodeMut<'a> {
    pub(crate) fn new(data: &'a mut [u8]) -> Self {
        Self { data }
    }

    /// Makes the run a node without cells.
    pub(crate) fn empty(data: &mut [u8], level: u8) {
        Self::build(data, level, &Cells::default(), 0..0);
    }

    /// Makes the run a node that holds exactly the cells `range` of `cells`, which must fit.
    pub(crate) fn build(data: &mut [u8], level: u8, cells: &Cells, range: std::ops::Range<usize>) {
        let kind = if level == 0 { Kind::Leaf } else { Kind::Branch };
        page::init(data, kind, level, small(range.len()), 0);
        let first = range.start + usize::from(level > 0);
        let skip = if first < range.end {
            common_len(key_of(cells.get(first), level), key_of(cells.get(range.end - 1), level))
        } else {
            0
        };
        let mut at = data.len();
        let slots_end = HEADER + SLOT * range.len();
        let mut outside = 0;
        for (slot, i) in range.enumerate() {
            let cell = cells.get(i);
            outside += usize::from(level == 0 && is_outside(cell));
            at -= cell.len();
            data[at..at + cell.len()].copy_from_slice(cell);
            put_slot(data, slot, at, head(key_of(cell, level), skip));
        }
        // What the page held before must not reach the disk again.
        data[slots_end..at].fill(0);
        put_u32(data, EXTRA, word(at));
        put_u16(data, SKIP, small(skip));
        put_u16(data, OUTSIDE_COUNT, small(outside));
    }

    pub(crate) fn node(&self) -> Node<'_> {
        Node::new(self.data)
    }

    pub(crate) fn set_child(&mut self, i: usize, child: PageId) {
        let at = self.node().child_at(i);
        put_u32(self.data, at, child);
    }

    /// In a leaf: says that the value of slot `i`, which stands outside, has moved.
    pub(crate) fn set_value_page(&mut self, i: usize, page: PageId) {
        let at = self.node().value_page_at(i);
        put_u32(self.data, at, page);
    }

    /// Puts a cell into slot `i`; false when it does not fit.
    pub(crate) fn insert(&mut self, i: usize, cell: &[u8]) -> bool {
        let count = self.node().count();
        let slots_end = HEADER + SLOT * count;
        let needed = cell.len() + SLOT;
        let free = self.node().cells_start() - slots_end;
        if free < needed {
            if free + self.node().garbage() < needed {
                return false;
            }
            self.compact();
        }
        let level = self.node().level();
        let key = key_of(cell, level);
        let first = usize::from(level > 0);
        if i >= first {
            self.share_skip(key, if i > first { i - 1 } else { i });
        }
        let at = self.node().cells_start() - cell.len();
        self.data[at..at + cell.len()].copy_from_slice(cell);
        let slot = HEADER + SLOT * i;
        self.data.copy_within(slot..slots_end, slot + SLOT);
        put_slot(self.data, i, at, head(key, self.node().skip()));
        put_u16(self.data, COUNT, small(count + 1));
        put_u32(self.data, EXTRA, word(at));
        if self.node().is_leaf() && is_outside(cell) {
            put_u16(self.data, OUTSIDE_COUNT, small(self.node().outside_count() + 1));
        }
        true
    }

    /// Makes the heads such that `key` may come among the others, of which `neighbour` is one if there are any.
    fn share_skip(&mut self, key: &[u8], neighbour: usize) {
        let node = self.node();
        let first = usize::from(!node.is_leaf());
        let (count, skip) = (node.count(), node.skip());
        if count <= first {
            put_u16(self.data, SKIP, small(key.len()));
            return;
        }
        if skip == 0 {
            return;
        }
        let common = common_len(key, node.key(neighbour));
        if common >= skip {
            return;
        }
        for i in first..count {
            let at = usize::from(get_u16(self.data, HEADER + SLOT * i));
            let head = head(self.node().key(i), common);
            put_slot(self.data, i, at, head);
        }
        put_u16(self.data, SKIP, small(common));
    }

    pub(crate) fn remove(&mut self, i: usize) {
        let node = self.node();
        let (count, len, start, garbage) =
            (node.count(), node.cell(i).len(), node.cells_start(), node.garbage());
        let outside = node.outside_count() - usize::from(node.is_leaf() && is_outside(node.cell(i)));
        let lowest = usize::from(get_u16(self.data, HEADER + SLOT * i)) == start;
        let slot = HEADER + SLOT * i;
        self.data.copy_within(slot + SLOT..HEADER + SLOT * count, slot);
        put_u16(self.data, COUNT, small(count - 1));
        if lowest {
            put_u32(self.data, EXTRA, word(start + len));
        } else {
            put_u16(self.data, GARBAGE, small(garbage + len));
        }
        put_u16(self.data, OUTSIDE_COUNT, small(outside));
    }

    /// In a branch: makes the key of the first child empty, as it must be.
    pub(crate) fn clear_first_key(&mut self) {
        let child = self.node().child(0);
        self.remove(0);
        let mut cell = [0; BRANCH_CELL];
        put_u32(&mut cell, 2, child);
        let fits = self.insert(0, &cell);
        debug_assert!(fits, "a shorter cell fits where a longer one was");
    }

    fn compact(&mut self) {
        let cells = Cells::of(self.node());
        let level = self.node().level();
        Self::build(self.data, level, &cells, 0..cells.len());
    }
}

/// How many bytes both begin with.
pub(crate) fn common_len(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

fn key_of(cell: &[u8], level: u8) -> &[u8] {
    let at = if level == 0 { LEAF_CELL } else { BRANCH_CELL };
    &cell[at..at + usize::from(get_u16(cell, 0))]
}

fn put_slot(data: &mut [u8], i: usize, at: usize, head: [u8; 4]) {
    let slot = HEADER + SLOT * i;
    put_u16(data, slot, small(at));
    data[slot + 2..slot + SLOT].copy_from_slice(&head);
}
