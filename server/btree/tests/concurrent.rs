//! Readers and the one writer do not disturb each other, and what readers no longer need is used again.
#![allow(clippy::unwrap_used, reason = "a test's helpers may fail the test")]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use conure_btree::{Durability, Options};
use conure_io::{Random, SimDisk};
use conure_proof::model::{assert_clean, open, options};

const KEYS: u64 = 400;

/// Every key holds the number of the commit that wrote all of them, in values of many lengths.
fn value(round: u64, key: u64) -> Vec<u8> {
    let len = usize::try_from((key * 37 + round * 11) % 900 + if key.is_multiple_of(50) { 6000 } else { 8 })
        .unwrap();
    let mut value = round.to_le_bytes().to_vec();
    value.resize(len.max(8), u8::try_from(round % 251).unwrap());
    value
}

#[test]
fn readers_beside_a_writer_each_see_one_whole_commit() {
    const ROUNDS: u64 = 120;
    let disk = SimDisk::new();
    let mut chosen = Options::default();
    chosen.growth_bytes_min = 64 * 1024;
    let db = open(&disk, chosen).unwrap();
    let (done, committed, reads) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for reader in 0..3 {
            let (db, done, committed, reads) = (&db, &done, &committed, &reads);
            scope.spawn(move || {
                let mut random = Random::new(reader);
                let mut held = Vec::new();
                while !done.load(Ordering::Acquire) {
                    let floor = committed.load(Ordering::Acquire);
                    let read = db.begin_read().unwrap();
                    let Some(tree) = read.tree("t").unwrap() else { continue };
                    let mut seen = None;
                    let mut count = 0;
                    for entry in tree.range(..) {
                        let (key, found) = entry.unwrap();
                        let round = u64::from_le_bytes(*found.first_chunk().unwrap());
                        assert_eq!(*seen.get_or_insert(round), round, "two commits in one snapshot");
                        assert_eq!(found, value(round, u64::from_be_bytes(key.try_into().unwrap())));
                        count += 1;
                    }
                    assert_eq!(count, KEYS);
                    assert!(seen.unwrap() >= floor, "an older commit than one that had returned");
                    reads.fetch_add(1, Ordering::Relaxed);
                    let key = random.below(KEYS);
                    let found = tree.get(&key.to_be_bytes()).unwrap().unwrap();
                    assert_eq!(found, value(seen.unwrap(), key));
                    // Some snapshots stay for a while and must not change meanwhile.
                    held.push((read.clone(), seen.unwrap()));
                    if held.len() > 5 {
                        let (read, round) = held.swap_remove(usize::try_from(random.below(5)).unwrap());
                        let tree = read.tree("t").unwrap().unwrap();
                        let key = random.below(KEYS);
                        assert_eq!(tree.get(&key.to_be_bytes()).unwrap().unwrap(), value(round, key));
                    }
                }
            });
        }
        for round in 1..=ROUNDS {
            let mut txn = db.begin_write().unwrap();
            let mut tree = txn.tree("t").unwrap();
            for key in 0..KEYS {
                tree.put(&key.to_be_bytes(), &value(round, key)).unwrap();
            }
            txn.commit(if round % 4 == 0 { Durability::Durable } else { Durability::Eventual }).unwrap();
            committed.store(round, Ordering::Release);
        }
        done.store(true, Ordering::Release);
    });
    assert!(reads.load(Ordering::Relaxed) > 10);
    assert_eq!(db.stats().readers, 0);
    assert_clean(&db);
}

#[test]
fn pages_come_back_without_readers_and_wait_for_those_that_stay() {
    let disk = SimDisk::new();
    let db = open(&disk, options(4096)).unwrap();
    let write = |round: u64, durability| {
        let mut txn = db.begin_write().unwrap();
        let mut tree = txn.tree("t").unwrap();
        for key in 0..KEYS {
            tree.put(&key.to_be_bytes(), &value(round % 7, key)).unwrap();
        }
        txn.commit(durability).unwrap();
    };
    for durability in [Durability::Durable, Durability::Eventual] {
        for round in 0..10 {
            write(round, durability);
        }
        let settled = db.stats().pages;
        for round in 0..40 {
            write(round, durability);
        }
        assert!(
            db.stats().pages <= settled + settled / 10,
            "{durability:?}: the file grows though nobody reads"
        );
    }

    let settled = db.stats().pages;
    for round in 0..20 {
        let mut txn = db.begin_write().unwrap();
        let mut tree = txn.tree("t").unwrap();
        for key in 0..KEYS {
            tree.put(&key.to_be_bytes(), &value(round % 7, key)).unwrap();
        }
        drop(txn);
        write(round, Durability::Durable);
    }
    assert!(db.stats().pages <= settled + settled / 10, "transactions that were given up kept their pages");

    for round in 0..40 {
        write(round, Durability::Eventual);
    }
    let read = db.begin_read().unwrap();
    let seen = read.commit_number();
    let before = db.stats().pages;
    for round in 0..40 {
        write(round, Durability::Eventual);
    }
    let stats = db.stats();
    assert_eq!((stats.readers, stats.oldest_reader_commit), (1, Some(seen)));
    // The reader keeps its own snapshot's pages, not those of all commits since.
    assert!(stats.pages <= before + before / 2, "{before} pages became {}", stats.pages);
    let tree = read.tree("t").unwrap().unwrap();
    for key in 0..KEYS {
        assert_eq!(tree.get(&key.to_be_bytes()).unwrap().unwrap(), value(39 % 7, key));
    }
    drop(read);
    assert_eq!(db.stats().oldest_reader_commit, None);
    assert_clean(&db);
}

#[test]
fn commits_cost_the_syncs_that_they_say() {
    let disk = SimDisk::new();
    let db = open(&disk, options(4096)).unwrap();
    let put = |keys: u64, durability| {
        let before = disk.syncs();
        let mut txn = db.begin_write().unwrap();
        for key in 0..keys {
            txn.tree("t").unwrap().put(&key.to_be_bytes(), &[1; 150]).unwrap();
        }
        txn.commit(durability).unwrap();
        disk.syncs() - before
    };
    assert_eq!(put(10, Durability::Eventual), 0);
    assert_eq!(put(10, Durability::Durable), 1, "a small durable commit takes one sync");
    assert_eq!(put(0, Durability::Durable), 0, "nothing changed, nothing to sync");
    assert_eq!(put(1, Durability::Eventual), 0);
    assert_eq!(put(0, Durability::Durable), 1, "commits before are made durable too");
    assert_eq!(put(20_000, Durability::Durable), 2, "a bulk one takes two");
    assert_eq!(db.stats().durable_commit, db.stats().commit);
    let before = disk.syncs();
    db.sync().unwrap();
    assert_eq!(disk.syncs(), before);
}
