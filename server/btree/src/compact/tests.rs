//! Compaction keeps what there is, beside readers and writers, and gives the rest of the file back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use conure_io::{Random, SimDisk};

use super::{CompactOptions, Stage};
use crate::testing::{Model, assert_clean, assert_reads, open_on};
use crate::{Db, Durability, Error};

fn small_steps() -> CompactOptions {
    CompactOptions { step_pages: 60, ..CompactOptions::default() }
}

/// One random change: long and short keys, values inside and outside of leaves.
fn change(random: &mut Random, tree: &mut crate::TreeMut<'_>, model: &mut Model, keys: u64, deletes: u64) {
    let number = random.below(keys);
    let mut key = format!("{number:06}").into_bytes();
    match number % 47 {
        5 => key.resize(4096, b'k'),
        6..=9 => key.resize(150, b'x'),
        _ => {}
    }
    if random.chance(deletes) {
        assert_eq!(tree.delete(&key).unwrap(), model.remove(&key).is_some());
    } else {
        let len = if random.chance(4) { random.below(20_000) } else { random.below(70) };
        let value = vec![u8::try_from(random.below(256)).unwrap(); usize::try_from(len).unwrap()];
        tree.put(&key, &value).unwrap();
        model.insert(key, value);
    }
}

fn changes(db: &Db, random: &mut Random, model: &mut Model, count: u64, keys: u64, deletes: u64) {
    let mut txn = db.begin_write_within(Duration::from_secs(60)).unwrap();
    let mut tree = txn.tree("t").unwrap();
    for _ in 0..count {
        change(random, &mut tree, model, keys, deletes);
    }
    txn.commit(if random.chance(50) { Durability::Durable } else { Durability::Eventual }).unwrap();
}

#[test]
fn compaction_beside_readers_and_changes_keeps_what_there_is() {
    for page_size in [512, 1024, 4096] {
        for seed in 0..6 {
            let random = &mut Random::new(seed * 3 + u64::from(page_size));
            let disk = SimDisk::new();
            let mut db = open_on(&disk, page_size);
            let mut model = Model::new();
            changes(&db, random, &mut model, 2500, 2000, 10);
            changes(&db, random, &mut model, 2500, 2000, 80);
            let mut readers = Vec::new();
            let mut compaction = db.compaction(small_steps());
            let mut steps = 0;
            while compaction.step().unwrap() {
                steps += 1;
                assert!(steps < 5000, "it goes on for ever");
                // It must come to an end whatever the others do, so they do less and less.
                if random.below(200) > steps {
                    match random.below(3) {
                        0 => readers.push((db.begin_read().unwrap(), model.clone())),
                        1 => drop(readers.pop()),
                        _ => changes(&db, random, &mut model, 20, 2000, 50),
                    }
                }
                if steps % 10 == 0 {
                    assert_clean(&db);
                    for (read, model) in &readers {
                        assert_reads(read, "t", model);
                    }
                }
            }
            assert_reads(&db.begin_read().unwrap(), "t", &model);
            for (read, model) in &readers {
                assert_reads(read, "t", model);
            }
            assert_clean(&db);
            readers.clear();
            drop(compaction);
            // Once all readers are gone, nothing but what is in use is left.
            let report = db.compact(small_steps()).unwrap();
            let stats = db.stats();
            assert_eq!(report.file_bytes_after, stats.pages * u64::from(page_size));
            let live = stats.pages - stats.free_pages;
            // Values of up to forty pages do not fit every gap.
            assert!(stats.pages <= live + live / 2 + 32, "{stats:?}");
            db.sync().unwrap();
            drop(db);
            db = open_on(&disk, page_size);
            assert_reads(&db.begin_read().unwrap(), "t", &model);
            assert_clean(&db);
        }
    }
}

#[test]
fn leaves_are_packed_and_a_second_compaction_has_nothing_to_do() {
    let disk = SimDisk::new();
    let db = open_on(&disk, 4096);
    let mut random = Random::new(5);
    let mut txn = db.begin_write().unwrap();
    for _ in 0..30_000 {
        txn.tree("t").unwrap().put(&random.next_u64().to_be_bytes(), &[1; 100]).unwrap();
    }
    txn.commit(Durability::Durable).unwrap();
    let before = db.stats();
    let report = db.compact(CompactOptions::default()).unwrap();
    assert_clean(&db);
    let tree = db.check().unwrap().trees.remove(1);
    let full = tree.keys.div_ceil(4064 / 118);
    assert!(tree.leaf_pages <= full + full / 32, "{tree:?}, {full} would do");
    let dense = (tree.leaf_pages + tree.branch_pages) * 4096;
    assert!(report.file_bytes_after < dense * 102 / 100 + 40 * 4096, "{report:?}");
    assert!(report.file_bytes_after < before.file_bytes * 3 / 4, "{report:?}");
    let again = db.compact(CompactOptions::default()).unwrap();
    assert!(again.passes == 1 && again.file_bytes_after <= report.file_bytes_after, "{again:?}");
}

#[test]
fn a_reader_of_the_longer_file_keeps_it_long_until_it_ends() {
    let disk = SimDisk::new();
    let db = open_on(&disk, 512);
    let mut random = Random::new(6);
    let mut model = Model::new();
    changes(&db, &mut random, &mut model, 3000, 2000, 0);
    let before = (db.begin_read().unwrap(), model.clone());
    let long = db.stats().file_bytes;
    changes(&db, &mut random, &mut model, 3000, 2000, 95);
    let report = db.compact(small_steps()).unwrap();
    assert!(report.file_bytes_after >= long, "{report:?}: its map reaches further");
    assert_reads(&before.0, "t", &before.1);
    let stats = db.stats();
    assert_eq!(stats.oldest_reader_commit, Some(before.0.commit_number()));
    assert!(stats.oldest_reader_waiting_pages > 1000, "{stats:?}");
    assert!(stats.waiting_pages >= stats.oldest_reader_waiting_pages && stats.oldest_reader_age_ms.is_some());
    drop(before);
    let stats = db.stats();
    assert_eq!((stats.readers, stats.oldest_reader_age_ms, stats.oldest_reader_waiting_pages), (0, None, 0));
    let report = db.compact(small_steps()).unwrap();
    assert!(report.file_bytes_after < long / 3, "{report:?}");
    assert_reads(&db.begin_read().unwrap(), "t", &model);
    assert_clean(&db);
}

#[test]
fn an_empty_database_and_dropped_trees_are_compacted_to_a_few_pages() {
    let disk = SimDisk::new();
    let db = open_on(&disk, 512);
    db.compact(small_steps()).unwrap();
    let mut random = Random::new(8);
    changes(&db, &mut random, &mut Model::new(), 4000, 3000, 0);
    let mut txn = db.begin_write().unwrap();
    txn.drop_tree("t").unwrap();
    txn.commit(Durability::Eventual).unwrap();
    let report = db.compact(small_steps()).unwrap();
    assert!(report.file_bytes_after < 20 * 512, "{report:?}");
    assert_clean(&db);
}

#[test]
fn a_compaction_waits_for_its_turn_and_lets_others_have_theirs() {
    let disk = SimDisk::new();
    let db = open_on(&disk, 512);
    let mut random = Random::new(9);
    let mut model = Model::new();
    changes(&db, &mut random, &mut model, 3000, 2000, 0);
    changes(&db, &mut random, &mut model, 3000, 2000, 90);

    let txn = db.begin_write().unwrap();
    let impatient = CompactOptions { wait_max: Duration::ZERO, ..small_steps() };
    assert!(matches!(db.compact(impatient), Err(Error::WriterBusy)));
    drop(txn);

    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                db.compact(small_steps()).unwrap();
            }
        });
        for _ in 0..40 {
            changes(&db, &mut random, &mut model, 20, 2000, 50);
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_reads(&db.begin_read().unwrap(), "t", &model);
    assert_clean(&db);
}

#[test]
fn steps_of_no_page_look_at_one() {
    let disk = SimDisk::new();
    let db = open_on(&disk, 512);
    let mut random = Random::new(10);
    let mut model = Model::new();
    changes(&db, &mut random, &mut model, 600, 2000, 0);
    let mut compaction = db.compaction(CompactOptions { step_pages: 0, ..CompactOptions::default() });
    let mut steps = 0;
    while compaction.step().unwrap() {
        steps += 1;
        assert!(steps < 5000, "it goes on for ever");
    }
    assert_reads(&db.begin_read().unwrap(), "t", &model);
    assert_clean(&db);
}

#[test]
fn a_step_that_found_no_room_is_taken_again() {
    let disk = SimDisk::new();
    let db = open_on(&disk, 512);
    let mut random = Random::new(11);
    let mut model = Model::new();
    changes(&db, &mut random, &mut model, 3000, 4000, 0);
    db.sync().unwrap();
    disk.limit_bytes(db.stats().file_bytes);
    let mut compaction = db.compaction(CompactOptions::default());
    let error = compaction.step().unwrap_err();
    assert!(matches!(error, Error::NoSpace { .. }), "{error}");
    assert_eq!((compaction.report().passes, &compaction.stage), (0, &Stage::Begin));
    assert_reads(&db.begin_read().unwrap(), "t", &model);
    disk.clear_faults();
    while compaction.step().unwrap() {}
    assert_reads(&db.begin_read().unwrap(), "t", &model);
    assert_clean(&db);
}
