//! One window of compaction: the children of a branch packed densely, and runs far out moved to free pages nearer
//! the file's beginning.

use std::ops::Range;

use super::{Path, WriteTxn};
use crate::Error;
use crate::bytes::word;
use crate::cells::{self, Cells, branch_cell, leaf_key, separator};
use crate::commit;
use crate::meta::TreeState;
use crate::node::{LeafValue, Node};
use crate::page::{HEADER, PageId};
use crate::place;
use crate::range::Range as Entries;
use crate::view::Source;

/// Children looked at in one window, so that what a window holds in memory is bounded.
const WINDOW: usize = 256;

/// The fewest cells of a node of that level.
fn least(level: u8) -> usize {
    if level == 0 { 1 } else { 2 }
}

/// Where a compaction is in a tree; it goes upwards.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    /// The branches whose children are next, by their level; one more than the root's level for the root itself.
    pub(crate) level: u8,
    /// The key from which on that level's nodes are to be looked at.
    pub(crate) key: Vec<u8>,
}

impl Position {
    /// The beginning of a tree.
    pub(crate) fn first() -> Self {
        Self { level: 1, key: Vec::new() }
    }
}

impl WriteTxn {
    /// The first tree whose name is above `after`; the catalogue has the empty name, and comes first.
    pub(crate) fn tree_after(&self, after: Option<&str>) -> Result<Option<String>, Error> {
        let Some(after) = after else { return Ok(Some(String::new())) };
        let lower = std::ops::Bound::Excluded(after.as_bytes());
        let mut names = Entries::new(self, self.catalogue, &(lower, std::ops::Bound::Unbounded));
        let Some((name, _)) = names.next().transpose()? else { return Ok(None) };
        // Another name, or one that is not above, could lead in circles.
        match std::str::from_utf8(name) {
            Ok(name) if name > after => Ok(Some(name.to_owned())),
            _ => Err(Error::corrupt(
                self.catalogue.root,
                "the names of the trees are no text, or out of order",
            )),
        }
    }

    /// Works on the next window of the tree called `name`. Runs that reach past page `target` are moved nearer to the
    /// beginning where there is room. Where to go on, if not at the tree's end, and how many pages were looked at.
    pub(crate) fn compact_window(
        &mut self,
        name: &str,
        position: &Position,
        target: PageId,
    ) -> Result<(Option<Position>, u32), Error> {
        let state = if name.is_empty() {
            Some(self.catalogue)
        } else {
            place::get(self, self.catalogue, name.as_bytes())?.map(TreeState::decode).transpose()?
        };
        let Some(mut tree) = state.filter(|tree| tree.root != 0) else { return Ok((None, 1)) };
        self.writer_mut().space.pack_low();
        self.failed = true;
        let result = if position.level > tree.level {
            self.move_root(&mut tree, target)?;
            (None, 1)
        } else {
            let (next_key, looked_at) = self.window(&mut tree, position, target)?;
            let next = match next_key {
                Some(key) => Position { level: position.level, key },
                None => Position { level: position.level + 1, key: Vec::new() },
            };
            (Some(next), looked_at)
        };
        if name.is_empty() {
            self.catalogue = tree;
        } else if state != Some(tree) {
            let mut catalogue = self.catalogue;
            self.put_in(&mut catalogue, name.as_bytes(), &[&tree.encode()])?;
            self.catalogue = catalogue;
        }
        self.spill_if_large()?;
        self.failed = false;
        Ok(result)
    }

    fn move_root(&mut self, tree: &mut TreeState, target: PageId) -> Result<(), Error> {
        if self.node(tree.root, tree.level)?.count() == 1 {
            self.mend_root(tree, tree.root, tree.level)?;
        }
        if let Some(root) = self.moved(tree.root, tree.level, target)? {
            tree.root = root;
        }
        if tree.level == 0 && self.has_far_values(tree.root, target)? {
            tree.root = self.own(tree.root, 0, true)?;
            self.move_values(tree.root, target)?;
        }
        Ok(())
    }

    /// Packs some children of the branch at `position`; the key at which to go on, if not at the level's end.
    fn window(
        &mut self,
        tree: &mut TreeState,
        position: &Position,
        target: PageId,
    ) -> Result<(Option<Vec<u8>>, u32), Error> {
        let level = position.level;
        let (mut node, mut next) = (self.node(tree.root, tree.level)?, None);
        for below in (level..tree.level).rev() {
            let slot = node.child_slot(&position.key);
            if slot + 1 < node.count() {
                next = Some(node.key(slot + 1));
            }
            node = self.node(node.child(slot), below)?;
        }
        let first = node.child_slot(&position.key);
        let end = (first + WINDOW).min(node.count());
        if end < node.count() {
            next = Some(node.key(end));
        }
        let next = next.map(<[u8]>::to_vec);
        let plan = self.plan(node, level - 1, first..end, target)?;
        let looked_at = word(end - first);
        if plan.pack.is_none() && plan.values.is_empty() && plan.moves.is_empty() {
            return Ok((next, looked_at));
        }
        let (mut path, parent) = self.own_way(tree, level, |node| node.child_slot(&position.key))?;
        for slot in plan.values {
            let leaf = self.node(parent, level)?.child(slot);
            let owned = self.own(leaf, 0, false)?;
            self.edit(parent).set_child(slot, owned);
            self.move_values(owned, target)?;
        }
        for slot in plan.moves {
            let child = self.node(parent, level)?.child(slot);
            if let Some(moved) = self.moved(child, level - 1, target)? {
                self.edit(parent).set_child(slot, moved);
            }
        }
        if let Some(from) = plan.pack {
            self.pack(tree, &mut path, parent, level, from..end)?;
        }
        Ok((next, looked_at))
    }

    /// The way from the root to a node of `level`, all of it the transaction's own.
    pub(super) fn own_way(
        &mut self,
        tree: &mut TreeState,
        level: u8,
        slot: impl Fn(Node<'_>) -> usize,
    ) -> Result<(Path, PageId), Error> {
        let mut path = Path::new();
        let mut id = tree.root;
        for above in (level + 1..=tree.level).rev() {
            let node = self.node(id, above)?;
            let slot = slot(node);
            path.push((id, slot));
            id = node.child(slot);
        }
        let id = self.own_path(tree, &mut path, id)?;
        Ok((path, id))
    }

    /// What is to be done with the children in `slots` of a branch.
    fn plan(&self, parent: Node<'_>, level: u8, slots: Range<usize>, target: PageId) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        let page_size = self.page_size();
        let (mut ends, mut parts) = (Vec::new(), Vec::with_capacity(slots.len()));
        let (mut at, mut pages, mut thin) = (0, 0, false);
        for slot in slots.clone() {
            let id = parent.child(slot);
            let child = self.node(id, level)?;
            let run_pages = word(self.run(id)?.len() / page_size);
            pages += run_pages as usize;
            thin |= level > 0 && child.count() < 2;
            if level == 0 && self.has_far_values(id, target)? {
                plan.values.push(slot);
            }
            if id.saturating_add(run_pages) > target {
                plan.moves.push(slot);
            }
            let first = ends.len();
            for i in 0..child.count() {
                // The first key of a branch's child stands in the parent.
                let key = if level > 0 && i == 0 && slot > slots.start { parent.key(slot).len() } else { 0 };
                at += child.cell(i).len() + key;
                ends.push(at);
            }
            parts.push(first..ends.len());
        }
        let needed = |range: Range<usize>| cells::needed(&ends, range);
        let wanted = cells::dense(ends.len(), page_size, least(level), needed);
        let wanted_pages: usize =
            wanted.iter().map(|part| (HEADER + needed(part.clone())).div_ceil(page_size)).sum();
        // Where less than one page in thirty-two is won, writing all of them again is not worth it.
        let saved = pages.saturating_sub(wanted_pages);
        if thin || (saved > 0 && saved >= pages / 32) {
            plan.pack =
                parts.iter().zip(&wanted).position(|(is, wanted)| is != wanted).map(|at| slots.start + at);
        }
        Ok(plan)
    }

    /// Makes the children in `slots` of a branch as few as can hold their cells.
    fn pack(
        &mut self,
        tree: &mut TreeState,
        path: &mut Path,
        parent: PageId,
        level: u8,
        slots: Range<usize>,
    ) -> Result<(), Error> {
        let node = self.node(parent, level)?;
        let children: Vec<PageId> = slots.clone().map(|slot| node.child(slot)).collect();
        let mut cells = Cells::default();
        for (slot, id) in slots.clone().zip(&children) {
            let child = self.node(*id, level - 1)?;
            if level > 1 {
                let key = if slot == slots.start { &[] } else { node.key(slot) };
                cells.push(&branch_cell(key, child.child(0)));
                cells.extend(child, 1..child.count());
            } else {
                cells.extend(child, 0..child.count());
            }
        }
        let mut above = Cells::default();
        above.extend(node, 0..slots.start);
        let first_key = node.key(slots.start).to_vec();
        let parts = cells.dense(self.page_size(), least(level - 1));
        let mut keys = Vec::with_capacity(parts.len());
        for part in parts.iter().skip(1).rev() {
            keys.push(if level == 1 {
                separator(leaf_key(cells.get(part.start - 1)), leaf_key(cells.get(part.start))).to_vec()
            } else {
                cells.take_branch_key(part.start)
            });
        }
        keys.push(first_key);
        for id in children {
            self.release(id)?;
        }
        for (part, key) in parts.into_iter().zip(keys.iter().rev()) {
            let id = self.new_node(level - 1, &cells, part)?;
            above.push(&branch_cell(key, id));
        }
        let node = self.node(parent, level)?;
        above.extend(node, slots.end..node.count());
        self.place(tree, path, parent, level, above, false)?;
        Ok(())
    }

    /// Moves a node that reaches past `target` to free pages before where it is, if there are such.
    fn moved(&mut self, id: PageId, level: u8, target: PageId) -> Result<Option<PageId>, Error> {
        self.node(id, level)?;
        let run = self.run(id)?;
        let pages = word(run.len() / self.page_size());
        if id.saturating_add(pages) <= target {
            return Ok(None);
        }
        self.node(id, level)?;
        let data = run.to_vec();
        let Some(new) = self.alloc_below(pages, id)? else { return Ok(None) };
        self.release(id)?;
        self.dirty_bytes += data.len();
        self.dirty.insert(new, data);
        Ok(Some(new))
    }

    /// Whether values of this leaf stand on pages past `target`.
    fn has_far_values(&self, leaf: PageId, target: PageId) -> Result<bool, Error> {
        let node = self.node(leaf, 0)?;
        if node.outside_count() == 0 {
            return Ok(false);
        }
        let page_size = self.page_size();
        Ok((0..node.count()).any(|slot| match node.value(slot) {
            LeafValue::Outside { page, len } => {
                page.saturating_add(word((HEADER + len as usize).div_ceil(page_size))) > target
            }
            LeafValue::Inline(_) => false,
        }))
    }

    /// Moves the values of a leaf of the transaction's own that reach past `target`.
    fn move_values(&mut self, leaf: PageId, target: PageId) -> Result<(), Error> {
        for slot in 0..self.node(leaf, 0)?.count() {
            let LeafValue::Outside { page, len } = self.node(leaf, 0)?.value(slot) else { continue };
            self.value(page, len)?;
            let run = self.run(page)?;
            let pages = word(run.len() / self.page_size());
            if page.saturating_add(pages) <= target {
                continue;
            }
            let data = run.to_vec();
            let Some(new) = self.alloc_below(pages, page)? else { continue };
            self.release(page)?;
            let (shared, txn) = (std::sync::Arc::clone(&self.shared), self.txn);
            commit::write_runs(&shared, self.writer_mut(), txn, vec![(new, data)])?;
            self.edit(leaf).set_value_page(slot, new);
        }
        Ok(())
    }

    fn alloc_below(&mut self, pages: u32, limit: PageId) -> Result<Option<PageId>, Error> {
        let writer = self.writer_mut();
        let view = std::sync::Arc::clone(&writer.view);
        let Some(id) = writer.space.alloc_below(pages, limit, &view)? else { return Ok(None) };
        writer.view.distrust(id, pages);
        self.allocated.push((id, pages));
        if self.dirty.contains_key(&id) {
            return Err(Error::corrupt(id, "it is in use and free at once"));
        }
        Ok(Some(id))
    }

    /// Makes the next commit give pages of the list of free pages new places where they lie past `target`, and end the
    /// file behind the last page in use.
    pub(crate) fn cut_at_commit(&mut self, target: PageId) -> Result<(), Error> {
        let writer = self.writer_mut();
        let view = std::sync::Arc::clone(&writer.view);
        writer.space.load_all(&view)?;
        writer.space.pack_low();
        writer.space.move_own_pages_from(target);
        self.cut = true;
        Ok(())
    }
}

/// What a window needs, by the slots of its children.
#[derive(Debug, Default)]
struct Plan {
    /// From here on the children are packed anew.
    pack: Option<usize>,
    /// Leaves with values to be moved.
    values: Vec<usize>,
    /// Children to be moved.
    moves: Vec<usize>,
}
