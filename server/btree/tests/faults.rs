//! A disk that fails or is full: the engine refuses, stops, says why, and opens again to the last commit.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers may fail the test")]

use conure_btree::{CompactOptions, Db, Durability, Error};
use conure_io::{Random, SimDisk};
use conure_proof::change::change_trees;
use conure_proof::model::{Model, assert_clean, contents, open, options};

fn put(db: &Db, key: &[u8], durability: Durability) -> Result<(), Error> {
    let mut txn = db.begin_write()?;
    txn.tree("t")?.put(key, &[7; 300])?;
    txn.commit(durability)
}

fn assert_poisoned(db: &Db) {
    assert!(matches!(db.begin_read(), Err(Error::Poisoned { .. })));
    assert!(matches!(db.begin_write(), Err(Error::Poisoned { .. })));
    assert!(matches!(db.sync(), Err(Error::Poisoned { .. })));
    assert!(matches!(db.check(), Err(Error::Poisoned { .. })));
}

#[test]
fn a_failed_write_or_sync_poisons_and_the_last_commit_comes_back() {
    // Each fault is met at every moment of a durable commit, until the commit gets through.
    for sync in [false, true] {
        for n in 0.. {
            let disk = SimDisk::new();
            let db = open(&disk, options(512)).unwrap();
            put(&db, b"kept", Durability::Durable).unwrap();
            let reader = db.begin_read().unwrap();
            let before = contents(&reader).unwrap();
            if sync {
                disk.fail_sync_after(n);
            } else {
                disk.fail_write_after(n);
            }
            let result = put(&db, b"lost", Durability::Durable);
            if result.is_ok() {
                assert!(n > 0, "the fault was never met");
                break;
            }
            assert!(matches!(result, Err(Error::Io { .. })), "{result:?}");
            let ops = disk.ops();
            assert_poisoned(&db);
            assert_eq!(contents(&reader).unwrap(), before, "a snapshot that was open goes on");
            drop((db, reader));
            assert_eq!(disk.ops(), ops, "nothing is tried again");

            let image = disk.crash_image(disk.ops(), n).unwrap();
            let db = open(&image, options(512)).unwrap();
            let found = contents(&db.begin_read().unwrap()).unwrap();
            assert!(found["t"].contains_key(&b"kept"[..]));
            assert_clean(&db);
        }
    }
}

#[test]
fn a_full_disk_refuses_what_needs_room_and_the_rest_goes_on() {
    let disk = SimDisk::new();
    let db = open(&disk, options(4096)).unwrap();
    put(&db, b"kept", Durability::Durable).unwrap();
    disk.limit_bytes(1 << 20);
    let mut keys = 0_u32;
    let mut fill = |durability| {
        for _ in 0..1000 {
            let mut txn = db.begin_write().unwrap();
            let result = txn.tree("t").unwrap().put(&keys.to_be_bytes(), &[1; 9000]);
            if let Err(error) = result.and_then(|()| txn.commit(durability)) {
                return error;
            }
            keys += 1;
        }
        panic!("the disk never filled");
    };
    for durability in [Durability::Eventual, Durability::Durable] {
        let error = fill(durability);
        assert!(matches!(&error, Error::NoSpace { .. }), "{error}");
    }
    let found = contents(&db.begin_read().unwrap()).unwrap();
    assert_eq!(found["t"].len(), keys as usize + 1, "what was refused left no trace");
    assert_clean(&db);
    // What is deleted makes room, without a longer file.
    let mut deleted = 0;
    while deleted < keys {
        let mut txn = db.begin_write().unwrap();
        txn.tree("t").unwrap().delete(&deleted.to_be_bytes()).unwrap();
        match txn.commit(Durability::Durable) {
            Ok(()) => deleted += 1,
            Err(error) => panic!("after {deleted} deletes of {keys}: {error}"),
        }
    }
    put(&db, b"again", Durability::Durable).unwrap();
    assert_clean(&db);
    drop(db);
    let db = open(&disk, options(4096)).unwrap();
    let found = contents(&db.begin_read().unwrap()).unwrap();
    assert_eq!(found["t"].len(), 2);
    assert_clean(&db);
}

#[test]
fn a_database_at_its_limit_still_reads_and_deletes_and_recovers() {
    for limit in [700_000, 1 << 20, (1 << 20) + 300_001, 2 << 20, 3 << 20] {
        let disk = SimDisk::new();
        let mut limited = options(4096);
        limited.file_bytes_max = Some(limit);
        let db = open(&disk, limited).unwrap();
        let mut keys = Vec::new();
        let error = loop {
            let key = u32::try_from(keys.len()).unwrap().to_be_bytes();
            match put(&db, &key, Durability::Durable) {
                Ok(()) => keys.push(key),
                Err(error) => break error,
            }
            assert!(keys.len() < 20_000, "the limit was never met");
        };
        assert!(matches!(error, Error::Full { limit_bytes } if limit_bytes == limit), "{error}");
        let full = db.stats().file_bytes;
        assert!(full <= limit, "the file has {full} bytes, the limit is {limit}");
        // The room that it keeps for deletes is what is left, and not half of the file.
        assert!(full > limit - 400 * 1024, "the file has {full} bytes, the limit is {limit}");
        let read = db.begin_read().unwrap();
        assert_eq!(read.tree("t").unwrap().unwrap().len(), keys.len() as u64);
        drop(read);
        for chunk in keys.chunks(100) {
            let mut txn = db.begin_write().unwrap();
            for key in chunk {
                assert!(txn.tree("t").unwrap().delete(key).unwrap());
            }
            txn.commit(Durability::Durable).unwrap();
        }
        put(&db, b"again", Durability::Durable).unwrap();
        let after = db.stats().file_bytes;
        assert!(after <= limit, "deletes of a hundred keys made {full} bytes {after}, the limit is {limit}");
        assert_clean(&db);
    }
}

#[test]
fn where_the_file_cannot_be_cut_the_commit_stands_and_later_calls_are_refused() {
    let mut met = [0; 2];
    for n in 0..6 {
        let disk = SimDisk::new();
        let db = open(&disk, options(512)).unwrap();
        for round in 0..40_u8 {
            let mut txn = db.begin_write().unwrap();
            (0..20).try_for_each(|key| txn.tree("t").unwrap().put(&[round, key], &[7; 300])).unwrap();
            txn.commit(Durability::Durable).unwrap();
        }
        let mut txn = db.begin_write().unwrap();
        txn.tree("t").unwrap().delete_range(&[2][..]..).unwrap();
        txn.commit(Durability::Durable).unwrap();
        let before = contents(&db.begin_read().unwrap()).unwrap();
        // A reader of the longer file, until whose end nothing can be cut: the next transaction's beginning does it.
        let reader = (n % 2 == 1).then(|| db.begin_read().unwrap());
        let long = db.stats().file_bytes;
        disk.fail_cut_after(0);
        let compacted = db.compact(CompactOptions::default());
        let error = if reader.is_some() {
            compacted.unwrap();
            drop(reader);
            assert_eq!(db.stats().file_bytes, long, "nothing was cut under a reader");
            let error = db.begin_write().unwrap_err();
            assert!(matches!(error, Error::Io { what: "cut the database file", .. }), "{error}");
            error
        } else {
            compacted.unwrap_err()
        };
        met[usize::from(matches!(error, Error::Poisoned { .. }))] += 1;
        assert!(error.to_string().contains("cut the database file"), "it says why: {error}");
        assert_poisoned(&db);
        assert_eq!(db.stats().file_bytes, long);
        let commit = db.stats().durable_commit;
        assert_eq!(db.stats().commit, commit, "the commit before the cut succeeded");
        drop(db);
        for again in [disk.crash_image(disk.ops(), n).unwrap(), disk] {
            let db = open(&again, options(512)).unwrap();
            assert!(db.stats().commit >= commit);
            assert!(contents(&db.begin_read().unwrap()).unwrap() == before, "what was committed is there");
            assert_clean(&db);
            db.compact(CompactOptions::default()).unwrap();
            assert!(db.stats().file_bytes < long / 2, "the next one cuts it");
        }
    }
    assert_eq!(met, [3, 3], "a transaction's beginning and a commit's end both met it");
}

#[test]
fn a_directory_that_cannot_be_synced_is_told_and_the_database_opens_when_it_can() {
    // While it is made, and when it is opened.
    for made in [false, true] {
        let disk = SimDisk::new();
        if made {
            put(&open(&disk, options(512)).unwrap(), b"kept", Durability::Durable).unwrap();
        }
        disk.fail_dir_sync_after(0);
        let error = open(&disk, options(512)).unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{error}");
        let db = open(&disk, options(512)).unwrap();
        let found = contents(&db.begin_read().unwrap()).unwrap();
        assert_eq!(found.contains_key("t"), made);
        put(&db, b"more", Durability::Durable).unwrap();
        // Whoever was told that it is there finds it after a power failure.
        for seed in 0..20 {
            let again = open(&disk.crash_image(disk.ops(), seed).unwrap(), options(512)).unwrap();
            let found = contents(&again.begin_read().unwrap()).unwrap();
            assert_eq!(found["t"].len(), 1 + usize::from(made));
        }
    }
}

/// What a fault may meet.
fn use_it(db: &Db, random: &mut Random, model: &mut Model) -> Result<(), Error> {
    let mut txn = db.begin_write()?;
    match change_trees(random, &mut txn, model, 300) {
        Ok(()) => {}
        Err(conure_proof::model::Finding::Refused(error)) => return Err(error),
        Err(finding) => panic!("{finding}"),
    }
    txn.commit(if random.chance(50) { Durability::Durable } else { Durability::Eventual })?;
    if random.chance(10) {
        db.compact(CompactOptions::default())?;
    }
    Ok(())
}

#[test]
fn a_fault_at_any_moment_of_any_work_is_told_and_the_last_commit_comes_back() {
    for n in 0..200 {
        let disk = SimDisk::new();
        let mut chosen = options(512);
        chosen.growth_bytes_min = 4096;
        // Written ahead of commits, too.
        chosen.dirty_bytes_max = 4096;
        let db = open(&disk, chosen.clone()).unwrap();
        let (mut random, mut model) = (Random::new(n % 5), Model::new());
        match n % 4 {
            0 => disk.fail_sync_after(n / 6),
            1 => disk.fail_write_after(n * 3),
            2 => disk.fail_cut_after(n % 7),
            _ => disk.limit_bytes(8192 + n * 3000),
        }
        let (error, before) = loop {
            let before = model.clone();
            if let Err(error) = use_it(&db, &mut random, &mut model) {
                break (error, before);
            }
        };
        if let Error::NoSpace { .. } = error {
            // A full disk ends one transaction and nothing else.
            assert!(contents(&db.begin_read().unwrap()).unwrap() == before, "fault {n}: half a commit");
            assert_clean(&db);
            disk.clear_faults();
            model = before;
            use_it(&db, &mut random, &mut model).unwrap();
            assert!(contents(&db.begin_read().unwrap()).unwrap() == model, "fault {n}: not what is there");
            assert_clean(&db);
            continue;
        }
        assert_poisoned(&db);
        let Err(Error::Poisoned { reason }) = db.begin_read() else { panic!("it reads on") };
        match &error {
            Error::Io { .. } => assert_eq!(reason, error.to_string(), "it says why"),
            // A commit stands whose file cannot be cut, and the call after it hears of that.
            Error::Poisoned { reason } => {
                assert!(reason.contains("cut the database file"), "fault {n}: {error}")
            }
            _ => panic!("fault {n}: {error}"),
        }
        let durable = db.stats().durable_commit;
        drop(db);
        disk.clear_faults();
        // On the same running system, and after a power failure.
        for again in [disk.clone(), disk.crash_image(disk.ops(), n).unwrap()] {
            let db = open(&again, chosen.clone()).unwrap();
            assert!(db.stats().commit >= durable, "fault {n}: a durable commit is gone");
            contents(&db.begin_read().unwrap()).unwrap();
            assert_clean(&db);
        }
    }
}
