//! A leaf or branch in memory, for changing.

use crate::bytes::{get_u16, put_u16, put_u32, small, word};
use crate::cells::Cells;
use crate::node::{BRANCH_CELL, Node, is_outside};
use crate::page::{self, COUNT, EXTRA, GARBAGE, HEADER, Kind, OUTSIDE_COUNT, PageId};

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
        let mut at = data.len();
        let slots_end = HEADER + 2 * range.len();
        let mut outside = 0;
        for (slot, i) in range.enumerate() {
            let cell = cells.get(i);
            outside += usize::from(level == 0 && is_outside(cell));
            at -= cell.len();
            data[at..at + cell.len()].copy_from_slice(cell);
            put_u16(data, HEADER + 2 * slot, small(at));
        }
        // What the page held before must not reach the disk again.
        data[slots_end..at].fill(0);
        put_u32(data, EXTRA, word(at));
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
        let slots_end = HEADER + 2 * count;
        let needed = cell.len() + 2;
        let free = self.node().cells_start() - slots_end;
        if free < needed {
            if free + self.node().garbage() < needed {
                return false;
            }
            self.compact();
        }
        let at = self.node().cells_start() - cell.len();
        self.data[at..at + cell.len()].copy_from_slice(cell);
        let slot = HEADER + 2 * i;
        self.data.copy_within(slot..slots_end, slot + 2);
        put_u16(self.data, slot, small(at));
        put_u16(self.data, COUNT, small(count + 1));
        put_u32(self.data, EXTRA, word(at));
        if self.node().is_leaf() && is_outside(cell) {
            put_u16(self.data, OUTSIDE_COUNT, small(self.node().outside_count() + 1));
        }
        true
    }

    pub(crate) fn remove(&mut self, i: usize) {
        let node = self.node();
        let (count, len, start, garbage) =
            (node.count(), node.cell(i).len(), node.cells_start(), node.garbage());
        let outside = node.outside_count() - usize::from(node.is_leaf() && is_outside(node.cell(i)));
        let lowest = usize::from(get_u16(self.data, HEADER + 2 * i)) == start;
        let slot = HEADER + 2 * i;
        self.data.copy_within(slot + 2..HEADER + 2 * count, slot);
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
