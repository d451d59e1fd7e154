//! Workloads: random things done to an engine on a simulated disk, and what each durable commit of them left.

use std::sync::Arc;

use conure_btree::{CompactOptions, Db, Durability, Error, Options, ReadTxn};
use conure_io::{Random, SimDisk};

use crate::change::change_trees;
use crate::model::{Finding, Model, contents, one_of, open, options};

/// A state that a durable commit left or, where a fault broke it off, may have left.
#[derive(Debug, Clone)]
pub struct Commit {
    /// Operations that the disk had seen when the commit began.
    pub began: usize,
    /// Operations that it had seen when the commit returned; none for one that failed.
    pub returned: Option<usize>,
    /// What the database holds with it.
    pub model: Arc<Model>,
}

/// A disk with its journal, and the durable commits made on it.
#[derive(Debug)]
pub struct Recorded {
    /// The disk.
    pub disk: SimDisk,
    /// In the order in which they were made. The first is what was there at the beginning; it returned when the database
    /// had been opened.
    pub commits: Vec<Commit>,
    /// How the database was opened.
    pub options: Options,
}

impl Recorded {
    /// What may be found after a crash at `prefix`: the last durable commit that had returned, or one that was
    /// being made.
    #[must_use]
    pub fn allowed(&self, prefix: usize) -> Vec<&Model> {
        let returned = |commit: &Commit| commit.returned.is_some_and(|returned| returned <= prefix);
        let from = self.commits.iter().rposition(returned).unwrap_or(0);
        let later = self.commits.iter().skip(from);
        later
            .enumerate()
            .filter(|(at, commit)| *at == 0 || commit.began < prefix)
            .map(|(_, commit)| commit.model.as_ref())
            .collect()
    }
}

/// What a workload is made of.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// No step is begun when the disk has seen this many operations since the workload began.
    pub ops: usize,
    /// At most this many steps.
    pub steps: u64,
    /// Whether the disk may refuse a write or a sync on the way.
    pub faults: bool,
}

/// Options for a workload: pages, growth, memory and a size limit as the seed chooses.
pub fn random_options(random: &mut Random) -> Options {
    let mut options = options(one_of(random, &[512, 512, 1024, 4096]));
    options.growth_bytes_min = one_of(random, &[2, 16, 128]) * 1024;
    if random.chance(30) {
        options.dirty_bytes_max = 4 * 1024;
    }
    if random.chance(15) {
        options.file_bytes_max = Some(256 * 1024);
    }
    options
}

struct Recorder {
    db: Option<Db>,
    now: Model,
    durable: Arc<Model>,
    readers: Vec<ReadTxn>,
    recorded: Recorded,
}

/// Does random things to the database on `disk`, which holds `start`, and remembers its durable commits.
///
/// # Errors
///
/// What the engine should not have refused or answered.
pub fn record(
    disk: SimDisk,
    start: Model,
    options: Options,
    random: &mut Random,
    shape: Shape,
) -> Result<Recorded, Finding> {
    let durable = Arc::new(start.clone());
    let recorded = Recorded { disk, commits: Vec::new(), options };
    let mut recorder = Recorder { db: None, now: start, durable, readers: Vec::new(), recorded };
    recorder.open(0)?;
    let space = one_of(random, &[15, 120, 1500]);
    let durables_percent = one_of(random, &[20, 60, 100]);
    let begun = recorder.recorded.disk.ops();
    for _ in 0..shape.steps {
        if recorder.recorded.disk.ops() - begun >= shape.ops {
            break;
        }
        recorder.step(random, space, durables_percent, shape.faults)?;
    }
    let report = recorder.db()?.check()?;
    Finding::unless(report.is_clean(), || format!("the file is not sound: {:?}", report.problems))?;
    Ok(recorder.recorded)
}

impl Recorder {
    fn ops(&self) -> usize {
        self.recorded.disk.ops()
    }

    fn db(&self) -> Result<&Db, Finding> {
        self.db.as_ref().ok_or_else(|| Finding::Differs("the database is closed".to_owned()))
    }

    /// Opens the database, which holds what the last durable commit left, and notes that it does.
    fn open(&mut self, began: usize) -> Result<(), Finding> {
        let db = open(&self.recorded.disk, self.recorded.options.clone())?;
        let found = contents(&db.begin_read()?)?;
        let broken_off = self.recorded.commits.last().filter(|commit| commit.returned.is_none());
        if let Some(commit) = broken_off
            && *commit.model == found
        {
            // From now on it must stay.
            self.durable = Arc::clone(&commit.model);
        }
        Finding::unless(*self.durable == found, || "opened again, it holds something else".to_owned())?;
        self.now = found;
        self.db = Some(db);
        self.note(began, true);
        Ok(())
    }

    fn note(&mut self, began: usize, returned: bool) {
        let returned = returned.then(|| self.ops());
        self.recorded.commits.push(Commit { began, returned, model: Arc::clone(&self.durable) });
    }

    fn step(
        &mut self,
        random: &mut Random,
        space: u64,
        durables_percent: u64,
        faults: bool,
    ) -> Result<(), Finding> {
        match random.below(20) {
            0 => return self.reopen(random),
            1 => {
                let read = self.db()?.begin_read()?;
                self.readers.push(read);
            }
            2 => drop(self.readers.pop()),
            3 => {
                // Given up: nothing of it may be seen.
                let mut txn = self.db()?.begin_write()?;
                return change_trees(random, &mut txn, &mut self.now.clone(), space);
            }
            4 => return self.sync(),
            7 | 8 => return self.compact(random),
            5 | 6 if faults => return self.fail(random, space),
            _ => {}
        }
        let durability =
            if random.chance(durables_percent) { Durability::Durable } else { Durability::Eventual };
        let began = self.ops();
        let mut txn = self.db()?.begin_write()?;
        let mut now = self.now.clone();
        change_trees(random, &mut txn, &mut now, space)?;
        txn.commit(durability)?;
        self.now = now;
        if durability == Durability::Durable {
            self.durable = Arc::new(self.now.clone());
            self.note(began, true);
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Finding> {
        let began = self.ops();
        self.db()?.sync()?;
        self.durable = Arc::new(self.now.clone());
        self.note(began, true);
        Ok(())
    }

    /// A compaction, or the beginning of one, beside whatever readers there are. It makes earlier commits durable as soon
    /// as it changes anything.
    fn compact(&mut self, random: &mut Random) -> Result<(), Finding> {
        let began = self.ops();
        let mut chosen = CompactOptions::default();
        chosen.step_pages = one_of(random, &[1, 8, 4096]);
        let mut compaction = self.db()?.compaction(chosen);
        let steps = one_of(random, &[1, 3, 1000]);
        for _ in 0..steps {
            if !compaction.step()? {
                break;
            }
        }
        self.holds_now()?;
        let stats = self.db()?.stats();
        if stats.durable_commit == stats.commit {
            self.durable = Arc::new(self.now.clone());
            self.note(began, true);
        }
        Ok(())
    }

    /// What the database holds is what it should.
    fn holds_now(&self) -> Result<(), Finding> {
        let found = contents(&self.db()?.begin_read()?)?;
        Finding::unless(found == self.now, || "it holds something else than it should".to_owned())
    }

    /// Closed and opened, or killed and opened: only durable commits are still there.
    fn reopen(&mut self, random: &mut Random) -> Result<(), Finding> {
        self.readers.clear();
        let began = self.ops();
        if random.chance(50) {
            self.recorded.disk.kill_process();
        }
        self.db = None;
        self.open(began)
    }

    /// A commit during which the disk refuses a write or a sync. Whether it is there is seen only when the database is
    /// opened again.
    fn fail(&mut self, random: &mut Random, space: u64) -> Result<(), Finding> {
        let began = self.ops();
        let before = self.now.clone();
        let mut txn = self.db()?.begin_write()?;
        let mut now = self.now.clone();
        match random.below(3) {
            0 => self.recorded.disk.fail_sync_after(random.below(2)),
            1 => self.recorded.disk.fail_write_after(random.below(6)),
            _ => self.recorded.disk.limit_bytes(self.db()?.stats().file_bytes + random.below(8192)),
        }
        let changed = change_trees(random, &mut txn, &mut now, space);
        let result = changed.and_then(|()| Ok(txn.commit(Durability::Durable)?));
        self.recorded.disk.clear_faults();
        let kept = std::mem::replace(&mut self.durable, Arc::new(now.clone()));
        self.now = now;
        self.note(began, result.is_ok());
        match result {
            Ok(()) => return Ok(()),
            Err(Finding::Refused(Error::NoSpace { .. })) => {
                // A full disk ends the transaction and nothing else.
                self.recorded.commits.pop();
                self.durable = kept;
                self.now = before;
                return self.holds_now();
            }
            Err(Finding::Refused(Error::Io { .. })) => {}
            Err(finding) => return Err(finding),
        }
        self.durable = kept;
        let refused = self.db()?.begin_write().err();
        Finding::unless(matches!(refused, Some(Error::Poisoned { .. })), || {
            format!("after a failed commit, a write was answered {refused:?}")
        })?;
        self.readers.clear();
        let began = self.ops();
        self.db = None;
        self.open(began)
    }
}
