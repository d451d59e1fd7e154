//! A disk that refuses, lies or is not ours: an error that names the thing, never a panic, never silence.
#![allow(clippy::unwrap_used, reason = "a test's helpers may fail the test")]

mod common;

use std::sync::Arc;

use common::{Model, NAME, assert_clean, contents, open, options, random_changes};
use conure_btree::{Db, Durability, Error, MAX_KEY_BYTES, MAX_VALUE_BYTES, Options};
use conure_io::{Disk, OpenMode, Random, RealDisk, SimDisk};

/// A database after a few durable commits, and what it holds.
fn filled(page_size: u32, seed: u64) -> (SimDisk, Model) {
    let disk = SimDisk::new();
    let db = open(&disk, options(page_size)).unwrap();
    let mut model = Model::new();
    let mut random = Random::new(seed);
    for _ in 0..12 {
        let mut txn = db.begin_write().unwrap();
        random_changes(&mut random, &mut txn, &mut model, 200).unwrap();
        txn.commit(Durability::Durable).unwrap();
    }
    drop(db);
    (disk, model)
}

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
fn a_full_disk_poisons_and_the_last_commit_comes_back() {
    let disk = SimDisk::new();
    let db = open(&disk, options(4096)).unwrap();
    put(&db, b"kept", Durability::Durable).unwrap();
    disk.limit_bytes(200 * 1024);
    let mut i = 0_u32;
    let error = loop {
        i += 1;
        let mut txn = db.begin_write().unwrap();
        let result = txn.tree("t").unwrap().put(&i.to_be_bytes(), &[1; 9000]);
        match result.and_then(|()| txn.commit(Durability::Eventual)) {
            Ok(()) => assert!(i < 1000, "the disk never filled"),
            Err(error) => break error,
        }
    };
    assert!(
        matches!(&error, Error::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull),
        "{error}"
    );
    assert_poisoned(&db);
    drop(db);
    disk.clear_faults();
    let db = open(&disk, options(4096)).unwrap();
    let found = contents(&db.begin_read().unwrap()).unwrap();
    assert_eq!(found["t"].len(), 1);
    assert_clean(&db);
}

#[test]
fn a_database_at_its_limit_still_reads_and_deletes_and_recovers() {
    let disk = SimDisk::new();
    let mut limited = options(4096);
    limited.file_bytes_max = Some(2 << 20);
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
    assert!(matches!(error, Error::Full { limit_bytes } if limit_bytes == 2 << 20), "{error}");
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
    assert!(db.stats().pages * 4096 < 3 << 20);
    assert_clean(&db);
}

#[test]
fn every_bit_flip_is_found() {
    for page_size in [512, 4096] {
        let (disk, model) = filled(page_size, 42);
        let file = disk.open(NAME, OpenMode::Read).unwrap();
        let len = file.len().unwrap();
        let mut random = Random::new(u64::from(page_size));
        let (mut found, mut harmless) = (0, 0);
        for i in 0..1500_u64 {
            // The meta pages are met as often as all the rest together.
            let range = if i % 2 == 0 { 2 * u64::from(page_size) } else { len };
            let (at, bit) = (random.below(range), random.below(8));
            let image = disk.image().unwrap();
            let file = image.open(NAME, OpenMode::Existing).unwrap();
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ 1 << bit], at).unwrap();
            drop(file);

            let db = match open(&image, options(page_size)) {
                Ok(db) => db,
                Err(error) => {
                    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
                    found += 1;
                    continue;
                }
            };
            let read = contents(&db.begin_read().unwrap());
            let clean = db.check().unwrap().is_clean();
            match read {
                Ok(read) => assert!(read == model, "byte {at} bit {bit}: a read met it and said nothing"),
                Err(Error::Corrupt { .. }) => assert!(!clean, "byte {at} bit {bit}: the check missed it"),
                Err(error) => panic!("{error}"),
            }
            if clean {
                // A free page, or the tail of a file that grows in steps: nothing was there.
                harmless += 1;
            } else {
                found += 1;
            }
        }
        assert!(found > 500 && harmless < 1000, "{found} found, {harmless} harmless");
    }
}

#[test]
fn damage_under_an_open_database_is_found_by_check() {
    let disk = SimDisk::new();
    let db = open(&disk, options(512)).unwrap();
    for i in 0..50_u8 {
        put(&db, &[i], Durability::Durable).unwrap();
    }
    assert_clean(&db);
    let file = disk.open(NAME, OpenMode::Existing).unwrap();
    let pages = db.stats().pages;
    let mut found = 0;
    for page in 0..pages {
        let mut byte = [0];
        file.read_exact_at(&mut byte, page * 512 + 200).unwrap();
        file.write_all_at(&[!byte[0]], page * 512 + 200).unwrap();
        let report = db.check().unwrap();
        found += u64::from(!report.is_clean());
        file.write_all_at(&byte, page * 512 + 200).unwrap();
    }
    assert_eq!(found, pages - db.stats().free_pages);
}

#[test]
fn hostile_files_are_refused_without_a_panic() {
    let (disk, _) = filled(512, 3);
    let file = disk.open(NAME, OpenMode::Read).unwrap();
    let mut whole = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_exact_at(&mut whole, 0).unwrap();
    let mut random = Random::new(99);
    for _ in 0..400 {
        let mut bytes = whole.clone();
        match random.below(3) {
            0 => bytes.truncate(usize::try_from(random.below(bytes.len() as u64)).unwrap()),
            1 => bytes.resize(bytes.len() + 5000, 0xab),
            _ => {
                // Whole pages change places: their checksums are right, but not where they stand.
                let pages = bytes.len() as u64 / 512;
                for _ in 0..5 {
                    let (a, b) = (random.below(pages) * 512, random.below(pages) * 512);
                    let (a, b) = (usize::try_from(a).unwrap(), usize::try_from(b).unwrap());
                    let page = bytes[a..a + 512].to_vec();
                    bytes.copy_within(b..b + 512, a);
                    bytes[b..b + 512].copy_from_slice(&page);
                }
            }
        }
        let hostile = SimDisk::new();
        hostile.open(NAME, OpenMode::CreateNew).unwrap().write_all_at(&bytes, 0).unwrap();
        if let Ok(db) = open(&hostile, options(512)) {
            let _ = contents(&db.begin_read().unwrap());
            let _ = db.check().unwrap();
            if let Ok(mut txn) = db.begin_write() {
                for i in 0..40_u8 {
                    let _ = txn.tree("tree1").and_then(|mut tree| tree.put(&[i], &[i; 200]));
                }
                let _ = txn.commit(Durability::Durable);
            }
        }
    }
}

fn disk_with(bytes: &[u8]) -> SimDisk {
    let disk = SimDisk::new();
    disk.open(NAME, OpenMode::CreateNew).unwrap().write_all_at(bytes, 0).unwrap();
    disk
}

#[test]
fn a_file_of_something_else_is_named_as_such() {
    for bytes in [&b""[..], b"hello", &[0; 100_000], &[b'x'; 4096]] {
        let error = open(&disk_with(bytes), Options::default()).unwrap_err();
        assert!(matches!(&error, Error::NotADatabase { name, .. } if name == NAME), "{error}");
    }
}

#[test]
fn a_second_open_is_refused_and_possible_after_the_first_is_closed() {
    let directory = tempfile::tempdir().unwrap();
    let open = || Db::open(Arc::new(RealDisk::new(directory.path()).unwrap()), NAME, Options::default());
    let db = open().unwrap();
    put(&db, b"k", Durability::Durable).unwrap();
    assert!(matches!(open(), Err(Error::Locked { name }) if name == NAME));
    let reader = db.begin_read().unwrap();
    drop(db);
    assert!(matches!(open(), Err(Error::Locked { .. })), "a snapshot keeps the file open");
    drop(reader);
    let db = open().unwrap();
    assert_eq!(db.begin_read().unwrap().tree("t").unwrap().unwrap().len(), 1);
    assert_clean(&db);
}

#[test]
fn a_creation_that_a_crash_interrupted_is_begun_anew() {
    let disk = SimDisk::new();
    disk.open("tree.db.new", OpenMode::CreateNew).unwrap().write_all_at(b"half", 0).unwrap();
    let db = open(&disk, options(4096)).unwrap();
    put(&db, b"k", Durability::Durable).unwrap();
    assert_eq!(disk.list().unwrap(), [NAME]);
}

#[test]
fn bad_arguments_are_named_and_change_nothing() {
    let disk = SimDisk::new();
    let db = open(&disk, options(4096)).unwrap();
    let mut txn = db.begin_write().unwrap();
    assert!(matches!(db.begin_write(), Err(Error::WriterBusy)));
    assert!(matches!(txn.tree(""), Err(Error::BadTreeName { len: 0 })));
    assert!(matches!(txn.tree(&"x".repeat(256)), Err(Error::BadTreeName { len: 256 })));
    let mut tree = txn.tree("t").unwrap();
    let long = vec![b'k'; MAX_KEY_BYTES + 1];
    let large = vec![0; MAX_VALUE_BYTES + 1];
    assert!(matches!(tree.put(b"", b"v"), Err(Error::KeyEmpty)));
    assert!(matches!(tree.get(b""), Err(Error::KeyEmpty)));
    assert!(matches!(tree.delete(b""), Err(Error::KeyEmpty)));
    assert!(matches!(tree.put(&long, b"v"), Err(Error::KeyTooLong { len }) if len == MAX_KEY_BYTES + 1));
    assert!(matches!(tree.put(b"k", &large), Err(Error::ValueTooLong { .. })));
    assert!(matches!(tree.put_parts(b"k", &[b"x", &large[1..], b"y"]), Err(Error::ValueTooLong { .. })));
    tree.put(&long[1..], &large[1..]).unwrap();
    tree.put(b"", b"").unwrap_err();
    txn.commit(Durability::Durable).unwrap();
    let read = db.begin_read().unwrap();
    let tree = read.tree("t").unwrap().unwrap();
    assert_eq!(tree.get(&long[1..]).unwrap(), Some(&large[1..]));
    assert_eq!(tree.len(), 1);
    assert!(matches!(open(&SimDisk::new(), options(1000)), Err(Error::BadOption(_))));
    assert_clean(&db);
}
