//! Compaction while readers and the writer go on: in bounded steps, each an ordinary write transaction.
//!
//! A pass goes through all trees in the order of their keys. Leaves and branches that could be fewer are packed densely, and
//! what lies far out moves to free pages nearer to the file's beginning. When a pass is over, the end of the file is free,
//! and is cut where no reader and no map reaches.

use std::time::Duration;

use crate::write::Position;
use crate::{Db, Durability, Error};

/// Passes made at most; the first packs, those after it move what the first had no room for.
const PASSES_MAX: u32 = 6;
/// Commits at most that wait for the end of the file to become free after a pass.
const CUTS_MAX: u32 = 4;

/// How a compaction goes about it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CompactOptions {
    /// Pages that a step looks at before it commits: how long other writers wait for it, how much it writes at most, and
    /// by how much the file may grow while it is compacted. At least one is looked at. Default 8,192.
    pub step_pages: u32,
    /// How long a step waits for another write transaction to end. Default 60 s.
    pub wait_max: Duration,
}

impl Default for CompactOptions {
    fn default() -> Self {
        Self { step_pages: 8192, wait_max: Duration::from_secs(60) }
    }
}

/// What a compaction did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CompactReport {
    /// The file's length in bytes before the first step.
    pub file_bytes_before: u64,
    /// The file's length in bytes after the last step. It becomes smaller yet where a reader that still lives holds a map
    /// of the longer file, as soon as something is written after that reader ended.
    pub file_bytes_after: u64,
    /// Steps that changed something.
    pub steps: u32,
    /// Times that the trees were gone through.
    pub passes: u32,
}

/// A compaction that is under way. It may be dropped at any time, and what was done stays done.
#[derive(Debug)]
pub struct Compaction {
    db: Db,
    options: CompactOptions,
    report: CompactReport,
    stage: Stage,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    /// A pass is to begin.
    Begin,
    /// A pass is in the tree of that name; what reaches past `target` moves.
    Pass {
        tree: String,
        position: Position,
        target: u32,
        moved: bool,
    },
    /// A pass is over; its pages become free.
    Cut {
        target: u32,
        moved: bool,
        cuts: u32,
    },
    /// All is where it shall be, and the file is cut piece by piece.
    Trim {
        file_bytes: u64,
    },
    Done,
}

impl Db {
    /// Begins a compaction, which goes on as [`Compaction::step`] is called.
    #[must_use]
    pub fn compaction(&self, options: CompactOptions) -> Compaction {
        let file_bytes = self.stats().file_bytes;
        let report = CompactReport {
            file_bytes_before: file_bytes,
            file_bytes_after: file_bytes,
            ..CompactReport::default()
        };
        Compaction { db: self.clone(), options, report, stage: Stage::Begin }
    }

    /// Makes the file as short as it can be, while readers and other writers go on between its steps. Each step is a
    /// durable commit of two syncs at most, so a crash loses nothing that was durable, and the steps before it last.
    /// Earlier eventual commits become durable with the first step.
    ///
    /// # Errors
    ///
    /// [`Error::WriterBusy`] when another write transaction did not end in time; [`Error::NoSpace`] and [`Error::Full`]
    /// when there is no room for the copies that moving makes, after which the steps before that one last;
    /// [`Error::Corrupt`], [`Error::Io`], [`Error::Poisoned`].
    pub fn compact(&self, options: CompactOptions) -> Result<CompactReport, Error> {
        let mut compaction = self.compaction(options);
        while compaction.step()? {}
        Ok(compaction.report())
    }
}

impl Compaction {
    /// What was done so far.
    #[must_use]
    pub fn report(&self) -> CompactReport {
        self.report
    }

    /// Takes one step; whether there is more to do. Waits for its turn to write as long as the options say.
    ///
    /// # Errors
    ///
    /// [`Error::WriterBusy`], [`Error::NoSpace`] and [`Error::Full`], after which it may be called again;
    /// [`Error::Corrupt`], [`Error::Io`], [`Error::Poisoned`].
    pub fn step(&mut self) -> Result<bool, Error> {
        if self.stage == Stage::Done {
            return Ok(false);
        }
        let (stage, report) = (self.stage.clone(), self.report);
        self.try_step().inspect_err(|_| {
            // What the step did is undone, and is done again by the next one.
            (self.stage, self.report) = (stage, report);
        })
    }

    fn try_step(&mut self) -> Result<bool, Error> {
        let mut txn = self.db.begin_write_within(self.options.wait_max)?;
        let (end, live) = txn.pages();
        let mut looked_at = 0;
        while looked_at < self.options.step_pages.max(1) {
            match &self.stage {
                Stage::Begin => {
                    self.report.passes += 1;
                    // Some pages stay free for the copies that moving makes. Where long runs found no place in what
                    // the first passes left, everything moves for which there is a place nearer to the beginning.
                    let target = if self.report.passes <= 2 { live + live / 256 + 8 } else { 0 };
                    let target = crate::bytes::word(crate::bytes::index(target.min(end)));
                    self.stage = Stage::Pass {
                        tree: String::new(),
                        position: Position::first(),
                        target,
                        moved: false,
                    };
                }
                Stage::Pass { tree, position, target, moved } => {
                    let (target, moved) = (*target, *moved);
                    let (next, pages) = txn.compact_window(tree, position, target)?;
                    looked_at += pages;
                    // Else a corrupt file could keep it going round.
                    if next.as_ref().is_some_and(|next| *next <= *position) {
                        return Err(Error::corrupt(
                            0,
                            format!("the branches of tree {tree:?} are out of order"),
                        ));
                    }
                    self.stage = match next {
                        Some(position) => Stage::Pass { tree: tree.clone(), position, target, moved },
                        None => match txn.tree_after(Some(tree))? {
                            Some(tree) => Stage::Pass { tree, position: Position::first(), target, moved },
                            None => Stage::Cut { target, moved, cuts: 0 },
                        },
                    };
                }
                Stage::Cut { .. } | Stage::Trim { .. } | Stage::Done => break,
            }
        }
        if let Stage::Cut { target, moved, cuts } = self.stage {
            let moved = moved || txn.has_changes();
            txn.cut_at_commit(target)?;
            txn.commit(Durability::Durable)?;
            self.report.steps += 1;
            self.after_cut(target, moved, cuts, end);
        } else if let Stage::Trim { file_bytes } = self.stage {
            // A transaction's beginning cuts a piece, if no map is in the way.
            drop(txn);
            let left = self.db.stats().file_bytes;
            self.stage = if left < file_bytes { Stage::Trim { file_bytes: left } } else { Stage::Done };
        } else if txn.has_changes() {
            if let Stage::Pass { moved, .. } = &mut self.stage {
                *moved = true;
            }
            txn.commit(Durability::Durable)?;
            self.report.steps += 1;
        }
        self.report.file_bytes_after = self.db.stats().file_bytes;
        Ok(self.stage != Stage::Done)
    }

    fn after_cut(&mut self, target: u32, moved: bool, cuts: u32, former_end: u64) {
        let stats = self.db.stats();
        // A corrupt file may count more free pages than it has pages.
        let live = stats.pages.saturating_sub(stats.free_pages);
        // The pages that the last step freed can be cut when the next commit is durable.
        self.stage = if cuts < CUTS_MAX && (cuts == 0 || stats.pages < former_end) {
            Stage::Cut { target, moved, cuts: cuts + 1 }
        } else if stats.pages > live + live / 128 + 16 && self.report.passes < PASSES_MAX && moved {
            Stage::Begin
        } else {
            Stage::Trim { file_bytes: stats.file_bytes }
        };
    }
}

#[cfg(test)]
mod tests;
