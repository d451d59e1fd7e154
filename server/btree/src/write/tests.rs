//! Removal of ranges, dropped trees and sorted input, against a `BTreeMap`.

use std::ops::Bound;
use std::sync::Arc;

use conure_io::{Random, SimDisk};

use crate::testing::{Model, assert_clean, assert_reads, open_on};
use crate::{Db, Durability, Error, Options};

fn open(page_size_bytes: u32) -> Db {
    open_on(&SimDisk::new(), page_size_bytes)
}

fn below(random: &mut Random, bound: u64) -> usize {
    usize::try_from(random.below(bound)).unwrap()
}

/// Short keys, long keys, and values inside and outside of leaves.
fn entry(random: &mut Random, number: u64) -> (Vec<u8>, Vec<u8>) {
    let mut key = format!("{number:06}").into_bytes();
    match number % 37 {
        5 => key.resize(4096, b'k'),
        6..=9 => key.resize(200, b'x'),
        _ => {}
    }
    let len = if random.chance(5) { below(random, 9000) } else { below(random, 60) };
    (key, vec![u8::try_from(number % 251).unwrap(); len])
}

fn filled(random: &mut Random, keys: u64) -> Model {
    (0..keys).map(|number| entry(random, number)).collect()
}

#[track_caller]
fn assert_holds(db: &Db, name: &str, model: &Model) {
    assert_reads(&db.begin_read().unwrap(), name, model);
    assert_clean(db);
}

fn bound(random: &mut Random, keys: u64) -> Bound<Vec<u8>> {
    let key = match random.below(3) {
        0 => format!("{:06}", random.below(keys)).into_bytes(),
        1 => entry(&mut Random::new(0), random.below(keys)).0,
        _ => return Bound::Unbounded,
    };
    if random.chance(50) { Bound::Included(key) } else { Bound::Excluded(key) }
}

/// Whether a map would refuse these bounds: it panics where the engine finds nothing.
fn is_inverted(lower: &Bound<Vec<u8>>, upper: &Bound<Vec<u8>>) -> bool {
    match (lower, upper) {
        (Bound::Included(lower), Bound::Included(upper)) => lower > upper,
        (
            Bound::Included(lower) | Bound::Excluded(lower),
            Bound::Included(upper) | Bound::Excluded(upper),
        ) => lower >= upper,
        _ => false,
    }
}

#[test]
fn a_removed_range_is_gone_and_nothing_else() {
    for page_size in [512, 1024, 4096] {
        let random = &mut Random::new(u64::from(page_size));
        for _ in 0..25 {
            let db = open(page_size);
            let keys = 1 + random.below(1500);
            let mut model = filled(random, keys);
            let mut txn = db.begin_write().unwrap();
            txn.tree("t").unwrap().load_sorted(&model).unwrap();
            if random.chance(50) {
                txn.commit(Durability::Durable).unwrap();
                txn = db.begin_write().unwrap();
            }
            for _ in 0..4 {
                let (lower, upper) = (bound(random, keys), bound(random, keys));
                let removed = txn
                    .tree("t")
                    .unwrap()
                    .delete_range((lower.as_ref().map(Vec::as_slice), upper.as_ref().map(Vec::as_slice)))
                    .unwrap();
                let gone: Vec<_> = if is_inverted(&lower, &upper) {
                    Vec::new()
                } else {
                    model.range((lower, upper)).map(|(key, _)| key.clone()).collect()
                };
                assert_eq!(removed, gone.len() as u64);
                for key in gone {
                    model.remove(&key);
                }
                for _ in 0..random.below(20) {
                    let number = random.below(keys);
                    let (key, value) = entry(random, number);
                    txn.tree("t").unwrap().put(&key, &value).unwrap();
                    model.insert(key, value);
                }
            }
            txn.commit(Durability::Durable).unwrap();
            assert_holds(&db, "t", &model);
        }
    }
}

#[test]
fn a_removed_range_leaves_few_pages() {
    let db = open(512);
    let mut txn = db.begin_write().unwrap();
    let keys = (0..20_000_u32).map(|key| (key.to_be_bytes(), [1; 20]));
    txn.tree("t").unwrap().load_sorted(keys).unwrap();
    txn.commit(Durability::Durable).unwrap();
    let mut txn = db.begin_write().unwrap();
    let (lower, upper) = (10_u32.to_be_bytes(), 19_990_u32.to_be_bytes());
    assert_eq!(txn.tree("t").unwrap().delete_range(&lower[..]..&upper[..]).unwrap(), 19_980);
    txn.commit(Durability::Durable).unwrap();
    let report = db.check().unwrap();
    assert!(report.is_clean(), "{:?}", report.problems);
    let tree = &report.trees[1];
    assert!(tree.leaf_pages <= 3 && tree.branch_pages <= 1, "{tree:?}");
}

#[test]
fn a_dropped_tree_is_gone_and_its_pages_are_free() {
    let db = open(512);
    let random = &mut Random::new(7);
    let model = filled(random, 800);
    let mut txn = db.begin_write().unwrap();
    txn.tree("kept").unwrap().put(b"k", b"v").unwrap();
    txn.tree("t").unwrap().load_sorted(&model).unwrap();
    txn.commit(Durability::Durable).unwrap();
    let mut txn = db.begin_write().unwrap();
    assert!(!txn.drop_tree("none").unwrap());
    assert!(txn.existing_tree("none").unwrap().is_none());
    assert_eq!(txn.tree_names().unwrap(), ["kept", "t"]);
    txn.tree("t").unwrap().put(b"more", &[3; 4000]).unwrap();
    assert!(txn.drop_tree("t").unwrap());
    assert!(!txn.drop_tree("t").unwrap());
    assert!(txn.existing_tree("t").unwrap().is_none());
    assert_eq!(txn.tree_names().unwrap(), ["kept"]);
    txn.tree("made").unwrap();
    assert_eq!(txn.tree_names().unwrap(), ["kept", "made"]);
    assert!(txn.drop_tree("made").unwrap());
    txn.commit(Durability::Durable).unwrap();
    let stats = db.stats();
    assert_eq!(stats.trees, 1);
    assert!(stats.pages - stats.free_pages < 12, "{stats:?}");
    assert_eq!(db.begin_read().unwrap().tree_names().unwrap(), ["kept"]);
    // A tree of that name begins anew.
    let mut txn = db.begin_write().unwrap();
    txn.tree("t").unwrap().put(b"k", b"v").unwrap();
    assert!(txn.drop_tree("t").unwrap());
    txn.tree("t").unwrap().put(b"l", b"w").unwrap();
    txn.commit(Durability::Durable).unwrap();
    assert_holds(&db, "t", &Model::from([(b"l".to_vec(), b"w".to_vec())]));
}

#[test]
fn sorted_input_in_parts_is_what_a_map_holds() {
    for page_size in [512, 1024, 4096] {
        let random = &mut Random::new(u64::from(page_size) + 1);
        for _ in 0..12 {
            let db = open(page_size);
            let mut model = Model::new();
            let mut number = 0;
            for _ in 0..=random.below(5) {
                let mut txn = db.begin_write().unwrap();
                let mut tree = txn.tree("t").unwrap();
                let mut appender = tree.appender().unwrap();
                for _ in 0..random.below(700) {
                    number += 1 + random.below(3);
                    let (key, value) = entry(random, number);
                    let cut = value.len() / 2;
                    appender.push_parts(&key, &[&value[..cut], &value[cut..]]).unwrap();
                    model.insert(key, value);
                }
                appender.finish().unwrap();
                for _ in 0..random.below(30) {
                    let number = random.below(number + 1);
                    let (key, value) = entry(random, number);
                    tree.put(&key, &value).unwrap();
                    model.insert(key, value);
                }
                txn.commit(Durability::Durable).unwrap();
                assert_holds(&db, "t", &model);
            }
        }
    }
}

#[test]
fn unsorted_input_is_refused_and_what_came_before_it_stays() {
    let db = open(512);
    let mut txn = db.begin_write().unwrap();
    let mut tree = txn.tree("t").unwrap();
    let result = tree.load_sorted([("a", "1"), ("c", "2"), ("b", "3"), ("d", "4")]);
    assert!(matches!(result, Err(Error::Unsorted { position: 2 })), "{result:?}");
    let result = tree.load_sorted([("c", "2")]);
    assert!(matches!(result, Err(Error::Unsorted { position: 0 })), "{result:?}");
    assert_eq!(tree.len().unwrap(), 2);
    let mut appender = tree.appender().unwrap();
    assert!(matches!(appender.push(b"", b""), Err(Error::KeyEmpty)));
    appender.push(b"d", b"4").unwrap();
    assert!(matches!(appender.push(b"d", b""), Err(Error::Unsorted { position: 1 })));
    assert_eq!(appender.finish().unwrap(), 1);
    txn.commit(Durability::Durable).unwrap();
    let model = [("a", "1"), ("c", "2"), ("d", "4")];
    assert_holds(&db, "t", &model.map(|(key, value)| (key.into(), value.into())).into());

    let mut txn = db.begin_write().unwrap();
    drop(txn.tree("t").unwrap().appender().unwrap());
    assert!(matches!(txn.commit(Durability::Durable), Err(Error::TxnFailed)));
    assert_holds(&db, "t", &model.map(|(key, value)| (key.into(), value.into())).into());
}

#[test]
fn a_bulk_load_fills_its_pages_and_costs_two_syncs_and_little_memory() {
    let options = Options { dirty_bytes_max: 256 * 1024, ..Options::default() };
    let db = Db::open(Arc::new(SimDisk::new()), "tree.db", options).unwrap();
    let syncs = db.stats().syncs;
    let mut txn = db.begin_write().unwrap();
    let mut tree = txn.tree("t").unwrap();
    let mut appender = tree.appender().unwrap();
    for key in 0..40_000_u64 {
        appender.push(&key.to_be_bytes(), &[5; 100]).unwrap();
    }
    appender.finish().unwrap();
    assert!(txn.dirty_bytes <= 512 * 1024, "{} bytes in memory", txn.dirty_bytes);
    txn.commit(Durability::Durable).unwrap();
    assert_eq!(db.stats().syncs - syncs, 2);
    let report = db.check().unwrap();
    assert!(report.is_clean(), "{:?}", report.problems);
    let leaves = 40_000_u64.div_ceil(4064 / (8 + 100 + 10));
    assert!(report.trees[1].leaf_pages <= leaves + 1, "{:?}, {leaves} leaves would do", report.trees[1]);
}
