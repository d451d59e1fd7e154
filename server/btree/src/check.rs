//! Looking at the whole file: is every page reached or free exactly once, and is what it holds in order?

use std::sync::Arc;

use crate::Error;
use crate::db::{Shared, Snapshot, Writer};
use crate::meta::{self, Slot, TreeState};
use crate::node::{LEVEL_MAX, LeafValue};
use crate::page::{self, FIRST_PAGE, PageId};
use crate::read::Anew;
use crate::view::Source;

/// Problems listed before the check gives up.
const PROBLEMS_MAX: usize = 100;

/// Pages after which it is told again how many were looked at.
const PROGRESS_PAGES: u64 = 1024;

/// What [`crate::Db::check`] found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CheckReport {
    /// The commit that was looked at.
    pub commit: u64,
    /// Pages of the file in use or free.
    pub pages: u64,
    /// Pages that are free.
    pub free_pages: u64,
    /// Pages that hold the meta pages and the list of free pages.
    pub own_pages: u64,
    /// The trees, the catalogue of trees first, under an empty name.
    pub trees: Vec<TreeReport>,
    /// What is wrong; nothing, in a sound file. At most a hundred.
    pub problems: Vec<Problem>,
}

/// What a check found of one tree.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct TreeReport {
    /// Its name.
    pub name: String,
    /// Keys that were counted.
    pub keys: u64,
    /// Levels, the leaves included; zero when it is empty.
    pub levels: u8,
    /// Pages of branches.
    pub branch_pages: u64,
    /// Pages of leaves.
    pub leaf_pages: u64,
    /// Pages of values that stand outside of leaves.
    pub value_pages: u64,
}

/// Something wrong with a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The page's number.
    pub page: u32,
    /// What is wrong with it.
    pub reason: String,
}

impl CheckReport {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }
}

struct Checker<'a> {
    snapshot: &'a Snapshot,
    report: CheckReport,
    seen: Vec<bool>,
    progress: &'a mut dyn FnMut(u64, u64),
    /// Pages looked at, and how many of them were told.
    looked_at: u64,
    told: u64,
}

pub(crate) fn check(
    shared: &Shared,
    writer: &mut Writer,
    snapshot: &Arc<Snapshot>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<CheckReport, Error> {
    let mut checker = Checker {
        snapshot,
        report: CheckReport {
            commit: snapshot.txn,
            pages: u64::from(snapshot.end),
            ..CheckReport::default()
        },
        seen: vec![false; snapshot.end as usize],
        progress,
        looked_at: 0,
        told: 0,
    };
    checker.meta_pages(shared, writer)?;
    let view = Arc::clone(&writer.view);
    let free_known = match writer.space.load_all(&view) {
        Ok(()) => true,
        Err(error) => {
            checker.error(error)?;
            false
        }
    };
    for id in writer.space.own_pages() {
        if let Err(error) = view.run_anew(id) {
            checker.error(error)?;
        } else if checker.reach(id, 1) {
            checker.report.own_pages += 1;
        }
    }
    checker.trees()?;
    if free_known {
        checker.free_pages(writer);
    }
    checker.tell();
    Ok(checker.report)
}

impl<'a> Checker<'a> {
    fn problem(&mut self, page: PageId, reason: impl Into<String>) {
        if self.report.problems.len() < PROBLEMS_MAX {
            self.report.problems.push(Problem { page, reason: reason.into() });
        }
    }

    /// Notes damage; other errors end the check.
    fn error(&mut self, error: Error) -> Result<(), Error> {
        match error {
            Error::Corrupt { page, reason } => {
                self.problem(page, reason);
                Ok(())
            }
            error => Err(error),
        }
    }

    fn meta_pages(&mut self, shared: &Shared, writer: &Writer) -> Result<(), Error> {
        let page_size = writer.view.page_size();
        for slot in 0..2_u8 {
            let mut bytes = vec![0; page_size];
            let offset = u64::from(slot) * page_size as u64;
            shared.file.read_exact_at(&mut bytes, offset).map_err(Error::io("read the database file"))?;
            match meta::decode(slot, &bytes) {
                Slot::Whole(meta) if slot == writer.slot && !meta.same_state(&writer.durable) => {
                    self.problem(u32::from(slot), "this meta page is not that of the last durable commit");
                }
                Slot::Whole(_) => {}
                Slot::Torn { .. } => self.problem(u32::from(slot), "this meta page is torn"),
                Slot::Damaged { .. } => self.problem(u32::from(slot), "this meta page is damaged"),
            }
            self.seen[usize::from(slot)] = true;
            self.report.own_pages += 1;
            self.looked_at += 1;
        }
        Ok(())
    }

    /// Notes that something leads to this run; false when it may not.
    fn reach(&mut self, id: PageId, pages: u32) -> bool {
        if !self.snapshot.covers(id, pages) {
            self.problem(id, "it is reached, but lies beyond the pages in use");
            return false;
        }
        let run = id as usize..id as usize + pages as usize;
        if self.seen[run.clone()].contains(&true) {
            self.problem(id, "it is reached twice");
            return false;
        }
        self.seen[run].fill(true);
        self.looked_at += u64::from(pages);
        if self.looked_at - self.told >= PROGRESS_PAGES {
            self.tell();
        }
        true
    }

    fn tell(&mut self) {
        self.told = self.looked_at;
        (self.progress)(
            self.looked_at,
            u64::from(self.snapshot.end).saturating_sub(self.snapshot.free_pages),
        );
    }

    fn trees(&mut self) -> Result<(), Error> {
        let catalogue = self.snapshot.catalogue;
        self.tree("", catalogue)?;
        let snapshot = self.snapshot;
        for entry in crate::range::Range::new(snapshot, catalogue, &(..)) {
            match entry.and_then(|(name, value)| Ok((name, TreeState::decode(value)?))) {
                Ok((name, state)) => self.tree(&String::from_utf8_lossy(name), state)?,
                Err(error) => self.error(error)?,
            }
        }
        Ok(())
    }

    fn tree(&mut self, name: &str, state: TreeState) -> Result<(), Error> {
        let mut tree = TreeReport { name: name.to_owned(), ..TreeReport::default() };
        if state.root != 0 {
            tree.levels = state.level.saturating_add(1);
            if state.level > LEVEL_MAX {
                self.problem(state.root, "its tree is higher than any tree can be");
            } else {
                self.node(&mut tree, state.root, state.level, None, None)?;
            }
        }
        if tree.keys != state.keys {
            let reason = format!("the tree {name:?} has {} keys and should have {}", tree.keys, state.keys);
            self.problem(state.root, reason);
        }
        self.report.trees.push(tree);
        Ok(())
    }

    /// Checks the node and all below it, whose keys must lie from `lower` up to, not including, `upper`.
    fn node(
        &mut self,
        tree: &mut TreeReport,
        id: PageId,
        level: u8,
        lower: Option<&[u8]>,
        upper: Option<&[u8]>,
    ) -> Result<(), Error> {
        let source: &'a Snapshot = self.snapshot;
        let anew = Anew(source);
        let node = match anew.node(id, level) {
            Ok(node) => node,
            Err(error) => return self.error(error),
        };
        let pages = page::run_of(source.view.run(id)?);
        if !self.reach(id, pages) {
            return Ok(());
        }
        if level == 0 {
            tree.leaf_pages += u64::from(pages);
            tree.keys += node.count() as u64;
        } else {
            tree.branch_pages += u64::from(pages);
        }
        let mut former = lower;
        for slot in 0..node.count() {
            let key = node.key(slot);
            // The first key of a branch is empty and stands for the lower bound; the first of a leaf may equal it.
            let first = slot == 0;
            let risen = former.is_none_or(|former| if first { former <= key } else { former < key });
            if (level == 0 || !first) && (!risen || upper.is_some_and(|upper| key >= upper)) {
                self.problem(id, format!("its key {slot} is out of order"));
            }
            if level == 0 || !first {
                former = Some(key);
            }
            if level > 0 {
                let below = if first { lower } else { Some(key) };
                let above = if slot + 1 < node.count() { Some(node.key(slot + 1)) } else { upper };
                self.node(tree, node.child(slot), level - 1, below, above)?;
            } else if let LeafValue::Outside { page, len } = node.value(slot) {
                match anew.value(page, len) {
                    Ok(_) => {
                        let pages = page::run_of(source.view.run(page)?);
                        self.reach(page, pages);
                        tree.value_pages += u64::from(pages);
                    }
                    Err(error) => self.error(error)?,
                }
            }
        }
        Ok(())
    }

    fn free_pages(&mut self, writer: &Writer) {
        for id in FIRST_PAGE..self.snapshot.end {
            let free = writer.space.is_free(id);
            self.report.free_pages += u64::from(free);
            match (self.seen[id as usize], free) {
                (true, true) => self.problem(id, "it is in use and free at once"),
                (false, false) => self.problem(id, "it is neither in use nor free"),
                _ => {}
            }
        }
        if self.report.free_pages != self.snapshot.free_pages {
            let reason = format!(
                "{} pages are free and {} should be",
                self.report.free_pages, self.snapshot.free_pages
            );
            self.problem(u32::from(writer.slot), reason);
        }
    }
}
