//! Whatever is done to it, the engine holds what a `BTreeMap` would.

#![allow(clippy::unwrap_used, reason = "a test's helpers may fail the test")]

use std::cell::Cell;
use std::path::Path;
use std::sync::OnceLock;

use conure_btree::{CompactOptions, Compaction, Db, Durability, Options, ReadTxn};
use conure_io::{Random, SimDisk};
use conure_proof::change::change_trees;
use conure_proof::model::{Model, assert_clean, contents, open, options};
use proptest::prelude::*;
use proptest::test_runner::{FileFailurePersistence, TestRunner};

#[derive(Debug, Clone)]
enum Step {
    /// A transaction with changes that this seed chooses: keys, ranges, sorted entries, whole trees.
    Commit {
        seed: u64,
        durable: bool,
    },
    Abort {
        seed: u64,
    },
    BeginRead,
    EndRead {
        which: usize,
    },
    /// Close and open again; a graceful end loses nothing that was durable.
    Reopen,
    /// The process is killed and another one opens the file.
    Kill,
    Sync,
    /// Some steps of a compaction, which is begun where none is under way and goes on beside whatever comes next.
    Compact {
        step_pages: u32,
        steps: u8,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (any::<u64>(), any::<bool>()).prop_map(|(seed, durable)| Step::Commit { seed, durable }),
        1 => any::<u64>().prop_map(|seed| Step::Abort { seed }),
        2 => Just(Step::BeginRead),
        2 => any::<usize>().prop_map(|which| Step::EndRead { which }),
        1 => Just(Step::Reopen),
        1 => Just(Step::Kill),
        1 => Just(Step::Sync),
        2 => (1_u32..40, any::<u8>()).prop_map(|(step_pages, steps)| Step::Compact { step_pages, steps }),
    ]
}

/// The engine and what it should hold.
struct Pair {
    disk: SimDisk,
    db: Option<Db>,
    options: Options,
    now: Model,
    durable: Model,
    readers: Vec<(ReadTxn, Model)>,
    compaction: Option<Compaction>,
    space: u64,
}

impl Pair {
    fn new(options: Options, space: u64) -> Self {
        let disk = SimDisk::new();
        let db = Some(open(&disk, options.clone()).unwrap());
        let (now, durable) = (Model::new(), Model::new());
        Self { disk, db, options, now, durable, readers: Vec::new(), compaction: None, space }
    }

    fn db(&self) -> &Db {
        self.db.as_ref().unwrap()
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Commit { seed, durable } => {
                let mut txn = self.db().begin_write().unwrap();
                let mut now = self.now.clone();
                change_trees(&mut Random::new(*seed), &mut txn, &mut now, self.space).unwrap();
                txn.commit(if *durable { Durability::Durable } else { Durability::Eventual }).unwrap();
                self.now = now;
                if *durable {
                    self.durable = self.now.clone();
                }
            }
            Step::Abort { seed } => {
                let mut txn = self.db().begin_write().unwrap();
                change_trees(&mut Random::new(*seed), &mut txn, &mut self.now.clone(), self.space).unwrap();
            }
            Step::BeginRead => self.readers.push((self.db().begin_read().unwrap(), self.now.clone())),
            Step::EndRead { which } => {
                if !self.readers.is_empty() {
                    let (read, model) = self.readers.swap_remove(which % self.readers.len());
                    assert!(contents(&read).unwrap() == model, "not what the model holds");
                }
            }
            Step::Reopen => self.reopen(),
            Step::Kill => {
                self.disk.kill_process();
                self.reopen();
            }
            Step::Sync => {
                self.db().sync().unwrap();
                self.durable = self.now.clone();
            }
            Step::Compact { step_pages, steps } => self.compact(*step_pages, *steps),
        }
    }

    fn reopen(&mut self) {
        self.readers.clear();
        self.compaction = None;
        self.db = None;
        self.db = Some(open(&self.disk, self.options.clone()).unwrap());
        self.now = self.durable.clone();
    }

    fn compact(&mut self, step_pages: u32, steps: u8) {
        let mut chosen = CompactOptions::default();
        chosen.step_pages = step_pages;
        let mut compaction = match self.compaction.take() {
            Some(compaction) => compaction,
            None => self.db().compaction(chosen),
        };
        let mut more = true;
        for _ in 0..=steps {
            more = more && compaction.step().unwrap();
        }
        if more {
            self.compaction = Some(compaction);
        }
        // Its steps are durable commits, where there was anything to do.
        let stats = self.db().stats();
        if stats.durable_commit == stats.commit {
            self.durable = self.now.clone();
        }
    }

    fn compare(&self) {
        let read = self.db().begin_read().unwrap();
        assert!(contents(&read).unwrap() == self.now, "not what the model holds");
        for (read, model) in &self.readers {
            assert!(contents(read).unwrap() == *model, "not what the model holds");
        }
        assert_clean(self.db());
    }
}

/// Where the seeds of cases that failed are kept, to be committed: each run begins with those. Wherever it is run from.
const REGRESSIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/model.regressions.txt");

fn config(cases: u32, regressions: &'static str) -> ProptestConfig {
    ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(regressions))),
        ..ProptestConfig::with_cases(cases)
    }
}

proptest! {
    #![proptest_config(config(cases(200), REGRESSIONS))]

    #[test]
    fn the_engine_does_what_a_map_does(
        steps in prop::collection::vec(step(), 1..60),
        page_size in prop::sample::select(vec![512_u32, 1024, 4096]),
        space in prop::sample::select(vec![20_u64, 300, 5000]),
        limit_bytes in prop::sample::select(vec![None, None, Some(64_u64 << 10), Some(512 << 10)]),
        dirty_bytes in prop::sample::select(vec![2048_usize, 1 << 20]),
    ) {
        let mut chosen = options(page_size);
        chosen.file_bytes_max = limit_bytes;
        chosen.dirty_bytes_max = dirty_bytes;
        let mut pair = Pair::new(chosen, space);
        for (i, step) in steps.iter().enumerate() {
            pair.step(step);
            if i % 8 == 0 {
                pair.compare();
            }
        }
        pair.compare();
    }
}

/// How many cases: so many, unless the environment says otherwise.
fn cases(usual: u32) -> u32 {
    std::env::var("PROPTEST_CASES").map_or(usual, |text| text.parse().unwrap())
}

#[test]
fn a_compacted_database_holds_what_it_did_in_a_shorter_file() {
    let mut pair = Pair::new(options(512), 2000);
    for seed in 0..40 {
        pair.step(&Step::Commit { seed, durable: seed % 3 == 0 });
    }
    let mut txn = pair.db().begin_write().unwrap();
    for (name, entries) in &mut pair.now {
        let mut tree = txn.tree(name).unwrap();
        for key in entries.keys().filter(|key| key[0] % 4 != 0) {
            tree.delete(key).unwrap();
        }
        entries.retain(|key, _| key[0] % 4 == 0);
    }
    txn.commit(Durability::Durable).unwrap();
    pair.durable = pair.now.clone();
    pair.step(&Step::BeginRead);
    let before = pair.db().stats().file_bytes;
    pair.step(&Step::Compact { step_pages: 16, steps: 255 });
    pair.compare();
    pair.readers.clear();
    pair.step(&Step::Compact { step_pages: 4096, steps: 255 });
    pair.step(&Step::Sync);
    pair.compare();
    let after = pair.db().stats().file_bytes;
    assert!(after < before / 2, "{before} bytes became {after}");
    pair.step(&Step::Kill);
    pair.compare();
}

#[test]
fn a_failing_seed_is_kept_and_comes_first_from_then_on() {
    // The runner wants its path for ever.
    static PATH: OnceLock<String> = OnceLock::new();
    let folder = Path::new(REGRESSIONS).parent().unwrap();
    assert!(folder.join("model.rs").is_file(), "{} is not where this file is", folder.display());
    let kept = tempfile::tempdir().unwrap();
    let path: &'static str =
        PATH.get_or_init(|| kept.path().join("regressions.txt").to_str().unwrap().to_owned());
    let failing = |seen: &Cell<Option<u64>>| {
        let mut runner = TestRunner::new(config(256, path));
        runner.run(&any::<u64>(), |number| {
            seen.set(seen.get().or(Some(number)));
            if number % 4 == 0 { Err(TestCaseError::fail("a multiple of four")) } else { Ok(()) }
        })
    };
    failing(&Cell::new(None)).unwrap_err();
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.lines().any(|line| line.starts_with("cc ")), "no seed in {text:?}");
    let first = Cell::new(None);
    failing(&first).unwrap_err();
    assert_eq!(first.get().unwrap() % 4, 0, "the first case is the one that failed");
}
