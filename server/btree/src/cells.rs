//! A list of cells on their way from some pages to others, and how they are shared out.

use std::ops::Range;

use crate::bytes::{put_u16, put_u32, small};
use crate::node::{BRANCH_CELL, LEAF_CELL, Node, SLOT};
use crate::page::{HEADER, PageId};

/// Cells in key order, copied out of their pages.
#[derive(Debug, Default)]
pub(crate) struct Cells {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Cells {
    pub(crate) fn of(node: Node<'_>) -> Self {
        let mut cells = Self::default();
        cells.extend(node, 0..node.count());
        cells
    }

    pub(crate) fn extend(&mut self, node: Node<'_>, range: Range<usize>) {
        for i in range {
            self.push(node.cell(i));
        }
    }

    pub(crate) fn push(&mut self, cell: &[u8]) {
        self.bytes.extend_from_slice(cell);
        self.ends.push(self.bytes.len());
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    fn range(&self, i: usize) -> Range<usize> {
        let start = if i == 0 { 0 } else { self.ends[i - 1] };
        start..self.ends[i]
    }

    pub(crate) fn get(&self, i: usize) -> &[u8] {
        &self.bytes[self.range(i)]
    }

    /// Bytes that the cells of `range` and their slots need on a page.
    pub(crate) fn needed(&self, range: Range<usize>) -> usize {
        needed(&self.ends, range)
    }

    /// Shares the cells out over as few nodes as hold them in order.
    pub(crate) fn dense(&self, page_size: usize, least: usize) -> Vec<Range<usize>> {
        dense(self.len(), page_size, least, |range| self.needed(range))
    }

    /// Makes the key of a branch's cell empty and returns what it was.
    pub(crate) fn take_branch_key(&mut self, i: usize) -> Vec<u8> {
        let range = self.range(i);
        let key: Vec<u8> = self.bytes.drain(range.start + BRANCH_CELL..range.end).collect();
        put_u16(&mut self.bytes, range.start, 0);
        for end in &mut self.ends[i..] {
            *end -= key.len();
        }
        key
    }

    /// Shares the cells out over pages that take `usable` bytes each. A part holds at least `least` cells, and
    /// is longer than a page only where that needs it to be. With `append`, cells came at the very end of the
    /// tree and more are likely to follow: all pages but the last stay full.
    pub(crate) fn split(&self, usable: usize, least: usize, append: bool) -> Vec<Range<usize>> {
        let mut parts = Vec::with_capacity(2);
        self.split_range(0..self.len(), usable, least, append, &mut parts);
        parts
    }

    fn split_range(
        &self,
        range: Range<usize>,
        usable: usize,
        least: usize,
        append: bool,
        parts: &mut Vec<Range<usize>>,
    ) {
        let needed = self.needed(range.clone());
        if needed <= usable || range.len() < 2 * least {
            parts.push(range);
            return;
        }
        let mut middle = range.start + least;
        let last = range.end - least;
        if append && self.needed(range.start..last) <= usable {
            middle = last;
        } else {
            while middle < last
                && 2 * self.needed(range.start..middle + 1) <= needed + self.needed(middle..middle + 1)
            {
                middle += 1;
            }
        }
        self.split_range(range.start..middle, usable, least, append, parts);
        self.split_range(middle..range.end, usable, least, append, parts);
    }
}

/// Bytes that the cells of `range`, which end at `ends`, and their slots need on a page.
pub(crate) fn needed(ends: &[usize], range: Range<usize>) -> usize {
    if range.is_empty() {
        return 0;
    }
    let start = if range.start == 0 { 0 } else { ends[range.start - 1] };
    ends[range.end - 1] - start + SLOT * range.len()
}

/// Shares `count` cells out over as few nodes as hold them in order, each with at least `least` of them where there
/// are so many. A node is longer than a page only where so few cells need it to be.
pub(crate) fn dense(
    count: usize,
    page_size: usize,
    least: usize,
    needed: impl Fn(Range<usize>) -> usize,
) -> Vec<Range<usize>> {
    let mut parts: Vec<Range<usize>> = Vec::new();
    let mut start = 0;
    while start < count {
        let mut end = (start + least).min(count);
        let room = (HEADER + needed(start..end)).next_multiple_of(page_size) - HEADER;
        while end < count && needed(start..end + 1) <= room {
            end += 1;
        }
        parts.push(start..end);
        start = end;
    }
    if let [.., before, last] = parts.as_mut_slice()
        && last.len() < least
    {
        let (from, to) = (before.start, last.end);
        if to - from < 2 * least {
            parts.pop();
            parts.pop();
            parts.push(from..to);
        } else {
            before.end = to - least;
            last.start = to - least;
        }
    }
    parts
}

pub(crate) fn leaf_key(cell: &[u8]) -> &[u8] {
    let len = usize::from(crate::bytes::get_u16(cell, 0));
    &cell[LEAF_CELL..LEAF_CELL + len]
}

pub(crate) fn branch_cell(key: &[u8], child: PageId) -> Vec<u8> {
    let mut cell = vec![0; BRANCH_CELL + key.len()];
    put_u16(&mut cell, 0, small(key.len()));
    put_u32(&mut cell, 2, child);
    cell[BRANCH_CELL..].copy_from_slice(key);
    cell
}

/// The shortest key that is above `left` and not above `right`, for `left < right`.
pub(crate) fn separator<'a>(left: &[u8], right: &'a [u8]) -> &'a [u8] {
    let common = crate::node_mut::common_len(left, right);
    &right[..(common + 1).min(right.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_lie_between_their_neighbours() {
        for (left, right, wanted) in [
            ("abc", "abd", "abd"),
            ("abc", "b", "b"),
            ("a", "aab", "aa"),
            ("abc", "abcd", "abcd"),
            ("az", "czzz", "c"),
        ] {
            let found = separator(left.as_bytes(), right.as_bytes());
            assert_eq!(found, wanted.as_bytes());
            assert!(left.as_bytes() < found && found <= right.as_bytes());
        }
    }

    #[test]
    fn parts_fit_their_pages_and_lose_nothing() {
        for sizes in
            [vec![30; 10], vec![4100, 20, 20, 4100, 20], vec![400, 10, 10, 10, 400, 400], vec![2000, 2000]]
        {
            for (least, append) in [(1, false), (1, true), (2, false)] {
                let mut cells = Cells::default();
                for size in &sizes {
                    cells.push(&vec![0; *size]);
                }
                let parts = cells.split(480, least, append);
                let mut next = 0;
                for part in parts {
                    assert_eq!(part.start, next);
                    assert!(part.len() >= least);
                    assert!(cells.needed(part.clone()) <= 480 || part.len() < 2 * least);
                    next = part.end;
                }
                assert_eq!(next, sizes.len());
            }
        }
    }
}
