//! What a caller, a file or another process may get wrong: an error that names the thing, never a panic, never silence.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers may fail the test")]

use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use conure_btree::{Db, Durability, Error, MAX_KEY_BYTES, MAX_VALUE_BYTES, Options};
use conure_io::{Disk, OpenMode, RealDisk, SimDisk};
use conure_proof::NAME;
use conure_proof::disks::{bytes_of, disk_with};
use conure_proof::format::{read, reseal};
use conure_proof::model::{assert_clean, contents, open, options};

fn put(db: &Db, key: &[u8], durability: Durability) -> Result<(), Error> {
    let mut txn = db.begin_write()?;
    txn.tree("t")?.put(key, &[7; 300])?;
    txn.commit(durability)
}

/// A closed database of that page size.
fn some_file(page_size: u32) -> Vec<u8> {
    let disk = SimDisk::new();
    let db = open(&disk, options(page_size)).unwrap();
    for key in 0..40 {
        put(&db, &[key], Durability::Durable).unwrap();
    }
    drop(db);
    bytes_of(&disk).unwrap()
}

fn refusal(bytes: &[u8]) -> Error {
    open(&disk_with(bytes).unwrap(), Options::default()).expect_err("it is no good file")
}

#[test]
fn empty_and_too_long_keys_values_and_names_are_named_and_change_nothing() {
    let db = open(&SimDisk::new(), options(4096)).unwrap();
    let mut txn = db.begin_write().unwrap();
    assert!(matches!(txn.tree(""), Err(Error::BadTreeName { len: 0 })));
    assert!(matches!(txn.tree(&"x".repeat(256)), Err(Error::BadTreeName { len: 256 })));
    assert!(matches!(txn.drop_tree(""), Err(Error::BadTreeName { len: 0 })));
    let mut tree = txn.tree("t").unwrap();
    let long = vec![b'k'; MAX_KEY_BYTES + 1];
    let large = vec![0; MAX_VALUE_BYTES + 1];
    assert!(matches!(tree.put(b"", b"v"), Err(Error::KeyEmpty)));
    assert!(matches!(tree.get(b""), Err(Error::KeyEmpty)));
    assert!(matches!(tree.delete(b""), Err(Error::KeyEmpty)));
    assert!(matches!(tree.put(&long, b"v"), Err(Error::KeyTooLong { len }) if len == MAX_KEY_BYTES + 1));
    assert!(matches!(tree.get(&long), Err(Error::KeyTooLong { .. })));
    assert!(matches!(tree.delete(&long), Err(Error::KeyTooLong { .. })));
    assert!(matches!(tree.put(b"k", &large), Err(Error::ValueTooLong { .. })));
    assert!(matches!(tree.put_parts(b"k", &[b"x", &large[1..], b"y"]), Err(Error::ValueTooLong { .. })));
    assert!(matches!(tree.load_sorted([(&b""[..], b"v")]), Err(Error::KeyEmpty)));
    assert!(matches!(tree.load_sorted([(&long, b"v")]), Err(Error::KeyTooLong { .. })));
    assert!(matches!(tree.load_sorted([(b"k", &large)]), Err(Error::ValueTooLong { .. })));
    assert!(tree.is_empty().unwrap());
    tree.put(&long[1..], &large[1..]).unwrap();
    tree.put(b"", b"").unwrap_err();
    // Bounds of ranges may be anything.
    assert_eq!(tree.delete_range((Bound::Excluded(&long[..]), Bound::Unbounded)).unwrap(), 0);
    assert_eq!(tree.range(&b""[..]..).count(), 1);
    txn.commit(Durability::Durable).unwrap();
    let read = db.begin_read().unwrap();
    let tree = read.tree("t").unwrap().unwrap();
    assert_eq!(tree.get(&long[1..]).unwrap(), Some(&large[1..]));
    assert_eq!(tree.len(), 1);
    assert_clean(&db);
}

#[test]
fn readers_hear_of_impossible_keys_and_names_what_writers_do() {
    let db = open(&SimDisk::new(), options(512)).unwrap();
    put(&db, b"k", Durability::Eventual).unwrap();
    let read = db.begin_read().unwrap();
    assert!(matches!(read.tree(""), Err(Error::BadTreeName { len: 0 })));
    assert!(matches!(read.tree(&"x".repeat(256)), Err(Error::BadTreeName { len: 256 })));
    let tree = read.tree("t").unwrap().unwrap();
    let long = vec![b'a'; MAX_KEY_BYTES + 1];
    assert!(matches!(tree.get(b""), Err(Error::KeyEmpty)));
    assert!(matches!(tree.get(&long), Err(Error::KeyTooLong { len }) if len == MAX_KEY_BYTES + 1));
    // Places among the keys may be anything, in snapshots as in transactions.
    let mut txn = db.begin_write().unwrap();
    let writing = txn.tree("t").unwrap();
    for (mut cursor, range, prefix) in [
        (tree.cursor(), tree.range(&long[..]..), tree.prefix(&long)),
        (writing.cursor(), writing.range(&long[..]..), writing.prefix(&long)),
    ] {
        assert_eq!(cursor.seek(b"").unwrap().unwrap().0, b"k");
        assert_eq!(cursor.seek(&long).unwrap().unwrap().0, b"k");
        assert_eq!(cursor.seek_back(&long).unwrap(), None);
        assert_eq!((range.count(), prefix.count()), (1, 0));
    }
}

#[test]
fn absent_keys_and_trees_are_absent_and_no_error() {
    let db = open(&SimDisk::new(), options(512)).unwrap();
    put(&db, b"there", Durability::Eventual).unwrap();
    let read = db.begin_read().unwrap();
    assert!(read.tree("absent").unwrap().is_none());
    let tree = read.tree("t").unwrap().unwrap();
    assert_eq!(tree.get(b"absent").unwrap(), None);
    assert_eq!(tree.prefix(b"absent").count(), 0);
    assert_eq!(tree.cursor().seek(b"z").unwrap(), None);
    let mut txn = db.begin_write().unwrap();
    assert!(!txn.drop_tree("absent").unwrap());
    assert!(!txn.tree("t").unwrap().delete(b"absent").unwrap());
    assert_eq!(txn.tree("t").unwrap().delete_range(&b"x"[..]..).unwrap(), 0);
}

#[test]
fn a_transaction_that_an_error_left_half_done_can_only_be_dropped() {
    let db = open(&SimDisk::new(), options(512)).unwrap();
    put(&db, b"kept", Durability::Eventual).unwrap();
    let before = contents(&db.begin_read().unwrap()).unwrap();
    let mut txn = db.begin_write().unwrap();
    let mut tree = txn.tree("t").unwrap();
    let mut appender = tree.appender().unwrap();
    appender.push(b"lost", b"").unwrap();
    // Dropped without being finished.
    drop(appender);
    assert!(matches!(tree.put(b"k", b""), Err(Error::TxnFailed)));
    assert!(matches!(tree.get(b"k"), Err(Error::TxnFailed)));
    assert!(matches!(tree.delete(b"k"), Err(Error::TxnFailed)));
    // What was there before is not what the transaction was about to leave: it is not answered either.
    assert!(matches!(tree.len(), Err(Error::TxnFailed)));
    assert!(matches!(tree.is_empty(), Err(Error::TxnFailed)));
    let mut cursor = tree.cursor();
    for found in [cursor.seek(b"kept"), cursor.seek_back(b"kept"), cursor.first(), cursor.last()] {
        assert!(matches!(found, Err(Error::TxnFailed)), "{found:?}");
    }
    assert!(matches!((cursor.next(), cursor.prev()), (Err(Error::TxnFailed), Err(Error::TxnFailed))));
    assert_eq!(cursor.current().unwrap(), None);
    drop(cursor);
    for mut entries in [tree.range(..), tree.prefix(b"kept")] {
        assert!(matches!(entries.next(), Some(Err(Error::TxnFailed))));
        assert!(entries.next().is_none(), "the error is the last item");
    }
    assert!(matches!(tree.range(..).next_back(), Some(Err(Error::TxnFailed))));
    assert!(matches!(txn.tree("t").err(), Some(Error::TxnFailed)));
    assert!(matches!(txn.commit(Durability::Durable), Err(Error::TxnFailed)));
    assert_eq!(contents(&db.begin_read().unwrap()).unwrap(), before);
    put(&db, b"another", Durability::Durable).unwrap();
    assert_clean(&db);
}

#[test]
fn a_second_writer_is_refused_and_a_second_process_too() {
    let directory = tempfile::tempdir().unwrap();
    let open = || Db::open(Arc::new(RealDisk::new(directory.path()).unwrap()), NAME, Options::default());
    let db = open().unwrap();
    put(&db, b"k", Durability::Durable).unwrap();
    let txn = db.begin_write().unwrap();
    assert!(matches!(db.begin_write(), Err(Error::WriterBusy)));
    assert!(matches!(db.begin_write_within(Duration::from_millis(1)), Err(Error::WriterBusy)));
    assert!(matches!(db.sync(), Err(Error::WriterBusy)));
    assert!(matches!(db.check(), Err(Error::WriterBusy)));
    drop(txn);
    db.sync().unwrap();
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
fn a_file_of_something_else_is_named_as_such() {
    for bytes in [&b"hello"[..], &[b'x'; 4096]] {
        let error = refusal(bytes);
        assert!(matches!(&error, Error::NotADatabase { name, .. } if name == NAME), "{error}");
        assert!(error.to_string().contains(NAME), "{error}");
    }
}

#[test]
fn what_a_disk_leaves_of_a_file_that_it_lost_is_damage() {
    let sound = some_file(512);
    for bytes in [&b""[..], &[0; 100], &[0; 512], &[0; 100_000], &sound[..40], &sound[..511]] {
        let error = refusal(bytes);
        assert!(matches!(&error, Error::Corrupt { page: 0, .. }), "{} bytes: {error}", bytes.len());
    }
}

#[test]
fn a_file_of_another_version_or_byte_order_is_named_as_such() {
    for page_size in [512_u32, 4096] {
        let sound = some_file(page_size);
        let version = u32::from_le_bytes(*sound[24..].first_chunk().unwrap());
        let changed = |at: usize, value: u32| {
            let mut bytes = sound.clone();
            for slot in 0..2 {
                let at = slot * page_size as usize + at;
                bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
            }
            reseal(&mut bytes, page_size as usize);
            bytes
        };
        let error = refusal(&changed(24, version + 1));
        let right = matches!(&error, Error::Version { name, found, wanted }
            if name == NAME && (*found, *wanted) == (version + 1, version));
        assert!(right, "{error}");
        let error = refusal(&changed(28, 0x0d0c_0b0a));
        assert!(matches!(&error, Error::ByteOrder { name } if name == NAME), "{error}");
        for wrong in [0, 256, 1000, 65_536, page_size * 2] {
            let error = refusal(&changed(32, wrong));
            assert!(matches!(error, Error::Corrupt { .. }), "page size {wrong}: {error}");
        }
    }
}

#[test]
fn a_truncated_file_is_refused_unless_only_its_unused_tail_is_gone() {
    for page_size in [512, 4096] {
        let sound = some_file(page_size);
        let found = read(&sound).unwrap();
        let end = (found.used.len() + found.free.len() + 2) * page_size as usize;
        assert!(end < sound.len(), "the file has no tail");
        for len in (0..sound.len()).step_by(256).chain([1, sound.len() - 1, end - 1, end, end + 1]) {
            let disk = disk_with(&sound[..len]).unwrap();
            match open(&disk, Options::default()) {
                Ok(db) => {
                    assert!(len >= end, "{len} of {end} bytes are enough?");
                    assert_eq!(contents(&db.begin_read().unwrap()).unwrap(), found.trees);
                    assert_clean(&db);
                    put(&db, b"more", Durability::Durable).unwrap();
                    assert_clean(&db);
                }
                Err(error) => {
                    assert!(len < end, "{len} of {end} bytes: {error}");
                    let right = matches!(error, Error::Corrupt { .. } | Error::NotADatabase { .. });
                    assert!(right, "{len} of {end} bytes: {error}");
                }
            }
        }
    }
}

#[test]
fn a_file_that_has_grown_is_what_it_was() {
    for grown in [1, 511, 4096, 1 << 20] {
        let mut bytes = some_file(512);
        let trees = read(&bytes).unwrap().trees;
        bytes.resize(bytes.len() + grown, 0xab);
        let db = open(&disk_with(&bytes).unwrap(), Options::default()).unwrap();
        assert_eq!(contents(&db.begin_read().unwrap()).unwrap(), trees);
        assert_clean(&db);
        for key in 0..200_u8 {
            put(&db, &[key, key], Durability::Durable).unwrap();
        }
        assert_clean(&db);
    }
}

#[test]
fn options_that_cannot_be_used_are_named() {
    for page_size in [0, 256, 1000, 65_536] {
        let error = open(&SimDisk::new(), options(page_size)).unwrap_err();
        assert!(matches!(error, Error::BadOption(what) if what.contains("page_size_bytes")), "{error}");
    }
    for (growth, good) in [(0, true), (1 << 40, true), ((1 << 40) + 1, false), (u64::MAX, false)] {
        let disk = SimDisk::new();
        let mut chosen = options(512);
        chosen.growth_bytes_min = growth;
        match open(&disk, chosen) {
            Ok(_) => assert!(good, "steps of {growth} bytes"),
            Err(Error::BadOption(what)) => {
                assert!(!good && what.contains("growth_bytes_min"), "{growth}: {what}")
            }
            Err(error) => panic!("{error}"),
        }
        assert_eq!(disk.list().unwrap().len(), usize::from(good), "nothing is made where an option is bad");
    }
}

#[test]
fn a_creation_that_a_crash_interrupted_is_begun_anew() {
    let disk = SimDisk::new();
    disk.open("tree.db.new", OpenMode::CreateNew).unwrap().write_all_at(b"half", 0).unwrap();
    let db = open(&disk, options(4096)).unwrap();
    put(&db, b"k", Durability::Durable).unwrap();
    assert_eq!(disk.list().unwrap(), [NAME]);
}
