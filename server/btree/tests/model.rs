//! Whatever is done to it, the engine holds what a `BTreeMap` would.

#![allow(clippy::unwrap_used, reason = "a test's helpers may fail the test")]

use std::ops::Bound;

use conure_btree::{Compaction, CompactOptions, Cursor, Db, Durability, Options, Range, ReadTxn, Tree};
use conure_io::{Random, SimDisk};
use conure_proof::change::{change_key, change_trees, entries_within};
use conure_proof::model::{Entries, Model, assert_clean, contents, open, options, random_key};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

#[derive(Debug, Clone)]
enum Step {
    /// A transaction with changes that this seed chooses.
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
    Sync,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (any::<u64>(), any::<bool>()).prop_map(|(seed, durable)| Step::Commit { seed, durable }),
        1 => any::<u64>().prop_map(|seed| Step::Abort { seed }),
        2 => Just(Step::BeginRead),
        2 => any::<usize>().prop_map(|which| Step::EndRead { which }),
        1 => Just(Step::Reopen),
        1 => Just(Step::Sync),
    ]
}

/// The engine and what it should hold.
struct Pair {
    disk: SimDisk,
    db: Option<Db>,
    now: Model,
    durable: Model,
    readers: Vec<(ReadTxn, Model)>,
    page_size: u32,
    space: u64,
}

impl Pair {
    fn new(page_size: u32, space: u64) -> Self {
        let disk = SimDisk::new();
        let db = open(&disk, options(page_size)).unwrap();
        Self {
            disk,
            db: Some(db),
            now: Model::new(),
            durable: Model::new(),
            readers: Vec::new(),
            page_size,
            space,
        }
    }

    fn db(&self) -> &Db {
        self.db.as_ref().unwrap()
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Commit { seed, durable } => {
                let mut txn = self.db().begin_write().unwrap();
                change_trees(&mut Random::new(*seed), &mut txn, &mut self.now, self.space).unwrap();
                txn.commit(if *durable { Durability::Durable } else { Durability::Eventual }).unwrap();
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
            Step::Reopen => {
                self.readers.clear();
                self.db = None;
                self.db = Some(open(&self.disk, options(self.page_size)).unwrap());
                self.now = self.durable.clone();
            }
            Step::Sync => {
                self.db().sync().unwrap();
                self.durable = self.now.clone();
            }
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

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 40,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/model.regressions.txt"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_engine_does_what_a_map_does(
        steps in prop::collection::vec(step(), 1..60),
        page_size in prop::sample::select(vec![512_u32, 1024, 4096]),
        space in prop::sample::select(vec![20_u64, 300, 5000]),
    ) {
        let mut pair = Pair::new(page_size, space);
        for (i, step) in steps.iter().enumerate() {
            pair.step(step);
            if i % 8 == 0 {
                pair.compare();
            }
        }
        pair.compare();
    }

    #[test]
    fn ranges_are_those_of_a_map(
        seed in any::<u64>(),
        bounds in prop::collection::vec((0_u64..400, 0_u64..400, 0_u8..9), 1..30),
    ) {
        let disk = SimDisk::new();
        let db = open(&disk, options(512)).unwrap();
        let mut random = Random::new(seed);
        let mut model = Entries::new();
        let mut txn = db.begin_write().unwrap();
        let mut tree = txn.tree("t").unwrap();
        for _ in 0..random.below(300) {
            change_key(&mut random, &mut tree, &mut model, 400, 30).unwrap();
        }
        // Seen by the transaction itself, before it commits, and by a reader afterwards.
        for (lower, upper, kinds) in bounds.iter().copied() {
            check_range(|slices| tree.range(slices), &model, lower, upper, kinds)?;
        }
        txn.commit(Durability::Eventual).unwrap();
        let read = db.begin_read().unwrap();
        let tree = read.tree("t").unwrap().unwrap();
        for (lower, upper, kinds) in bounds {
            check_range(|slices| tree.range(slices), &model, lower, upper, kinds)?;
        }
    }
}

type Slices<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

fn bound(key: &[u8], kind: u8) -> Bound<Vec<u8>> {
    match kind {
        0 => Bound::Unbounded,
        1 => Bound::Included(key.to_vec()),
        _ => Bound::Excluded(key.to_vec()),
    }
}

fn owned(item: Result<(&[u8], &[u8]), conure_btree::Error>) -> (Vec<u8>, Vec<u8>) {
    let (key, value) = item.unwrap();
    (key.to_vec(), value.to_vec())
}

/// One range, walked forwards, backwards, and from both ends in turn.
fn check_range<'t>(
    range: impl Fn(Slices<'_>) -> Range<'t>,
    model: &Entries,
    lower: u64,
    upper: u64,
    kinds: u8,
) -> Result<(), TestCaseError> {
    let (lower, upper) = (random_key(&mut Random::new(lower), 400), random_key(&mut Random::new(upper), 400));
    let (lower, upper) = (lower.clone().min(upper.clone()), lower.max(upper));
    if lower == upper {
        return Ok(());
    }
    let bounds = (bound(&lower, kinds % 3), bound(&upper, kinds / 3));
    let wanted: Vec<(Vec<u8>, Vec<u8>)> =
        model.range::<Vec<u8>, _>(bounds.clone()).map(|(key, value)| (key.clone(), value.clone())).collect();
    let slices = (bounds.0.as_ref().map(Vec::as_slice), bounds.1.as_ref().map(Vec::as_slice));

    prop_assert_eq!(&range(slices).map(owned).collect::<Vec<_>>(), &wanted);
    let mut backwards = range(slices).rev().map(owned).collect::<Vec<_>>();
    backwards.reverse();
    prop_assert_eq!(&backwards, &wanted);

    let mut both = range(slices);
    let (mut front, mut back) = (Vec::new(), Vec::new());
    while let Some(item) = both.next() {
        front.push(owned(item));
        let Some(item) = both.next_back() else { break };
        back.push(owned(item));
    }
    back.reverse();
    front.extend(back);
    prop_assert_eq!(&front, &wanted);
    Ok(())
}

#[test]
fn a_transaction_reads_its_own_changes() {
    let disk = SimDisk::new();
    let db = open(&disk, options(512)).unwrap();
    let mut random = Random::new(5);
    let mut model = Entries::new();
    for round in 0..6 {
        let mut txn = db.begin_write().unwrap();
        let mut tree = txn.tree("t").unwrap();
        for _ in 0..120 {
            change_key(&mut random, &mut tree, &mut model, 300, 40).unwrap();
        }
        let found: Entries = tree
            .range(..)
            .map(|entry| entry.map(|(key, value)| (key.to_vec(), value.to_vec())).unwrap())
            .collect();
        assert_eq!(found, model);
        for (key, value) in &model {
            assert_eq!(tree.get(key).unwrap(), Some(value.as_slice()));
        }
        assert_eq!(tree.len(), model.len() as u64);
        txn.commit(if round % 2 == 0 { Durability::Eventual } else { Durability::Durable }).unwrap();
        assert_clean(&db);
    }
}

#[test]
fn a_transaction_larger_than_its_memory_is_written_ahead_and_commits_whole() {
    let disk = SimDisk::new();
    let mut small = options(1024);
    small.dirty_bytes_max = 8 * 1024;
    let db = open(&disk, small).unwrap();
    let mut random = Random::new(11);
    let mut model = Entries::new();
    for round in 0..4 {
        let mut kept = model.clone();
        let mut txn = db.begin_write().unwrap();
        let mut tree = txn.tree("t").unwrap();
        for _ in 0..1500 {
            change_key(&mut random, &mut tree, &mut kept, 3000, 25).unwrap();
        }
        if round != 2 {
            txn.commit(Durability::Durable).unwrap();
            model = kept;
        } else {
            drop(txn);
        }
        let read = db.begin_read().unwrap();
        assert!(contents(&read).unwrap().remove("t").unwrap() == model, "not what the model holds");
        assert_clean(&db);
    }
}

#[test]
fn large_values_over_many_zones_of_pages_come_and_go() {
    let disk = SimDisk::new();
    let mut db = open(&disk, options(512)).unwrap();
    let mut random = Random::new(8);
    let mut model = Entries::new();
    for round in 0..12_u8 {
        let mut txn = db.begin_write().unwrap();
        let mut tree = txn.tree("t").unwrap();
        for key in 0..4_u8 {
            if random.chance(40) {
                assert_eq!(tree.delete(&[key]).unwrap(), model.remove(&[key][..]).is_some());
            } else {
                let len = usize::try_from(random.below(1 << 21)).unwrap();
                tree.put(&[key], &vec![round; len]).unwrap();
                model.insert(vec![key], vec![round; len]);
            }
        }
        txn.commit(if round % 4 == 0 { Durability::Eventual } else { Durability::Durable }).unwrap();
        if round % 4 == 2 {
            drop(db);
            db = open(&disk, options(512)).unwrap();
        }
        assert!(contents(&db.begin_read().unwrap()).unwrap()["t"] == model, "not what the model holds");
        assert_clean(&db);
    }
    assert!(db.stats().pages > 3 * 3840, "one zone was enough");
}

#[test]
fn a_tree_that_lost_most_of_its_keys_has_few_pages_and_one_without_keys_none() {
    let disk = SimDisk::new();
    let db = open(&disk, options(512)).unwrap();
    let tree_report = || db.check().unwrap().trees.into_iter().find(|tree| tree.name == "t").unwrap();
    let delete = |kept: u32| {
        let mut txn = db.begin_write().unwrap();
        let mut tree = txn.tree("t").unwrap();
        for key in (0..4000_u32).filter(|key| kept == 0 || key % kept != 0) {
            tree.delete(&key.to_be_bytes()).unwrap();
        }
        txn.commit(Durability::Durable).unwrap();
        tree_report()
    };
    let mut txn = db.begin_write().unwrap();
    for key in 0..4000_u32 {
        txn.tree("t").unwrap().put(&key.to_be_bytes(), &[9; 20]).unwrap();
    }
    txn.commit(Durability::Durable).unwrap();
    let full = tree_report();
    assert!(
        full.levels >= 3 && full.leaf_pages < 4000 * 34 / 480 * 11 / 10,
        "sorted keys fill their pages: {full:?}"
    );
    let sparse = delete(20);
    assert_eq!(sparse.keys, 200);
    assert!(sparse.leaf_pages < full.leaf_pages / 4, "{full:?} became {sparse:?}");
    assert!(sparse.levels < full.levels);
    let empty = delete(0);
    assert_eq!((empty.keys, empty.levels, empty.leaf_pages, empty.branch_pages), (0, 0, 0, 0));
    assert_clean(&db);
}
