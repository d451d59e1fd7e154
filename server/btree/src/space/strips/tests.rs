//! Small commits, by what they write to the disk.

use std::sync::Arc;

use conure_io::{Random, SimDisk};

use crate::{CompactOptions, Db, Durability, Options};

const LOADED: u64 = 20_000;

fn key(number: u64) -> [u8; 8] {
    // A bijection, so that the keys of neighbours lie apart.
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()
}

/// A file with keys all over it, and room to grow.
fn loaded(options: Options) -> (SimDisk, Db) {
    let disk = SimDisk::new();
    let db = Db::open(Arc::new(disk.clone()), "tree.db", options).unwrap();
    let mut txn = db.begin_write().unwrap();
    (0..LOADED).try_for_each(|number| txn.tree("t").unwrap().put(&key(number), &[7; 150])).unwrap();
    txn.commit(Durability::Durable).unwrap();
    (disk, db)
}

fn commit_one(db: &Db, number: u64, value: u8) {
    let mut txn = db.begin_write().unwrap();
    txn.tree("t").unwrap().put(&key(number), &[value; 150]).unwrap();
    txn.commit(Durability::Durable).unwrap();
}

/// Writes and syncs of a commit, in the mean of many.
fn mean_ops(disk: &SimDisk, db: &Db, random: &mut Random) -> f64 {
    let before = disk.ops();
    (0..400).for_each(|round| commit_one(db, random.below(LOADED), u8::try_from(round % 256).unwrap()));
    (disk.ops() - before) as f64 / 400.0
}

#[test]
fn a_small_commit_writes_a_leaf_a_branch_and_one_strip() {
    let (disk, db) = loaded(Options::default());
    let random = &mut Random::new(4);
    mean_ops(&disk, &db, random);
    // Leaf, branch, strip (which may be longer than one write), meta page, sync.
    let mean = mean_ops(&disk, &db, random);
    assert!(mean < 5.6, "{mean} writes and syncs for a commit");
    assert!(db.check().unwrap().is_clean());

    drop(db);
    let db = Db::open(Arc::new(disk.clone()), "tree.db", Options::default()).unwrap();
    let pages = db.stats().pages;
    mean_ops(&disk, &db, random);
    let mean = mean_ops(&disk, &db, random);
    assert!(mean < 5.6, "{mean} writes and syncs for a commit after the file was opened again");
    assert_eq!(db.stats().pages, pages, "strips of before are used again");
}

#[test]
fn strips_neither_grow_the_file_beyond_its_limit_nor_for_ever() {
    let (_, probe) = loaded(Options::default());
    let end = probe.stats().pages;
    for limit in [None, Some(end + 70), Some(end + 90)] {
        let options = Options { file_bytes_max: limit.map(|pages| pages * 4096), ..Options::default() };
        let (_, db) = loaded(options);
        // It holds all pages that the commits give up, so that no strip becomes ready again.
        let reader = db.begin_read().unwrap();
        for number in 0..300 {
            let mut txn = db.begin_write().unwrap();
            let result = txn.tree("t").unwrap().put(&key(number), &[1; 150]);
            if limit.is_some() && matches!(result, Err(crate::Error::Full { .. })) {
                break;
            }
            result.unwrap();
            txn.commit(Durability::Durable).unwrap();
        }
        assert!(limit.is_none_or(|limit| db.stats().pages <= limit), "{:?}", db.stats());
        drop(reader);
        (0..50).for_each(|number| commit_one(&db, number, 2));
        let pages = db.stats().pages;
        (0..2000).for_each(|number| commit_one(&db, number, 3));
        assert_eq!(db.stats().pages, pages, "what the reader held is used again");
        assert!(db.check().unwrap().is_clean());
    }
}

#[test]
fn a_transaction_that_is_dropped_gives_its_strip_back() {
    let (_, db) = loaded(Options::default());
    let before = db.stats();
    for number in 0..50 {
        let mut txn = db.begin_write().unwrap();
        txn.tree("t").unwrap().put(&key(number), &[9; 150]).unwrap();
        drop(txn);
    }
    assert_eq!(db.stats().pages, before.pages);
    commit_one(&db, 1, 9);
    assert!(db.check().unwrap().is_clean());
}

#[test]
fn strips_do_not_keep_a_file_long_that_is_compacted_between_small_commits() {
    let (_, db) = loaded(Options::default());
    (0..400).for_each(|number| commit_one(&db, number, 1));
    let mut txn = db.begin_write().unwrap();
    (2000..LOADED).try_for_each(|number| txn.tree("t").unwrap().delete(&key(number)).map(|_| ())).unwrap();
    txn.commit(Durability::Durable).unwrap();
    let mut compaction = db.compaction(CompactOptions { step_pages: 64, ..CompactOptions::default() });
    let mut number = 0;
    while compaction.step().unwrap() {
        commit_one(&db, number % 2000, 2);
        number += 1;
    }
    let stats = db.stats();
    let live = stats.pages - stats.free_pages;
    assert!(stats.pages < live + live / 4 + 64, "{stats:?}");
    assert!(db.check().unwrap().is_clean());
}

#[test]
fn a_strip_at_the_end_of_what_pages_can_be_numbered_is_none() {
    let space = super::Space::new(512, vec![0; 16], 99, 0);
    for start in [90, 98, u32::MAX - 20, u32::MAX - 8, u32::MAX] {
        assert_eq!(space.ready_on(start), None);
    }
}
