//! What a tree and its pages look like after much was done to it.

#![allow(clippy::unwrap_used, reason = "a test's helpers may fail the test")]

use conure_btree::Durability;
use conure_io::{Random, SimDisk};
use conure_proof::change::change_key;
use conure_proof::model::{Entries, assert_clean, contents, open, options};

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
        assert_eq!(tree.len().unwrap(), model.len() as u64);
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

#[test]
fn a_check_tells_how_far_it_is() {
    let db = open(&SimDisk::new(), options(512)).unwrap();
    let mut txn = db.begin_write().unwrap();
    for key in 0..9000_u32 {
        txn.tree("t").unwrap().put(&key.to_be_bytes(), &[7; 150]).unwrap();
    }
    txn.commit(Durability::Durable).unwrap();
    let mut told = Vec::new();
    let report = db.check_with_progress(&mut |done, all| told.push((done, all))).unwrap();
    let in_use = report.pages - report.free_pages;
    assert!(report.is_clean());
    assert!(told.len() > 3 && told.is_sorted(), "{told:?}");
    assert!(told.iter().all(|(_, all)| *all == in_use));
    assert_eq!(told.last(), Some(&(in_use, in_use)), "at the end all pages were looked at");
}
