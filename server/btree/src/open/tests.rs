//! What opening a file finds, changes and costs.

use std::sync::atomic::{AtomicU64, Ordering};

use conure_io::{Map, SimDisk};

use super::*;
use crate::{Db, Durability, place};

/// A disk on a file system that is mounted for reading only.
#[derive(Debug)]
struct ReadOnly(SimDisk);

impl Disk for ReadOnly {
    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        if mode == OpenMode::Read || self.0.open(name, OpenMode::Read).is_err() && mode == OpenMode::Existing
        {
            return self.0.open(name, mode);
        }
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.0.sync_dir()
    }
}

#[test]
fn a_read_only_file_system_is_named_as_such() {
    let disk = SimDisk::new();
    for there in [false, true] {
        if there {
            open(&disk, "tree.db", Options::default()).unwrap();
        }
        let result = open(&ReadOnly(disk.clone()), "tree.db", Options::default());
        assert!(matches!(result, Err(Error::ReadOnly { name, .. }) if name == "tree.db"));
    }
}

#[test]
fn a_file_closed_in_good_order_is_opened_without_a_sync() {
    let disk = SimDisk::new();
    for round in 0..3_u8 {
        let db = Db::open(Arc::new(disk.clone()), "tree.db", Options::default()).unwrap();
        if round > 0 {
            assert_eq!(db.stats().syncs, 0, "round {round}");
            let read = db.begin_read().unwrap();
            assert_eq!(read.tree("t").unwrap().unwrap().len(), u64::from(round));
        }
        let mut txn = db.begin_write().unwrap();
        txn.tree("t").unwrap().put(&[round + 1], b"").unwrap();
        txn.commit(Durability::Durable).unwrap();
        assert!(db.check().unwrap().is_clean());
    }
}

/// A disk that counts what is read and written.
#[derive(Debug, Clone)]
struct Counting {
    disk: SimDisk,
    bytes_read: Arc<AtomicU64>,
    bytes_written: Arc<AtomicU64>,
}

impl Disk for Counting {
    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(CountingFile { file: self.disk.open(name, mode)?, counts: self.clone() }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.disk.sync_dir()
    }
}

#[derive(Debug)]
struct CountingFile {
    file: Arc<dyn File>,
    counts: Counting,
}

impl File for CountingFile {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.counts.bytes_read.fetch_add(buf.len() as u64, Ordering::Relaxed);
        self.file.read_exact_at(buf, offset)
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.counts.bytes_written.fetch_add(buf.len() as u64, Ordering::Relaxed);
        self.file.write_all_at(buf, offset)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn try_lock(&self) -> io::Result<()> {
        self.file.try_lock()
    }

    fn map(&self, len: usize) -> io::Result<Map> {
        self.file.map(len)
    }
}

/// What opening cost after a kill, and how long the file was.
#[derive(Debug, PartialEq, Eq)]
struct Cost {
    bytes_read: u64,
    bytes_written: u64,
    runs_verified: u32,
}

/// Loads so many keys in one commit, and then, where asked to, makes a small one. The process is killed, and another one
/// opens the file.
fn cost_after_a_kill(keys: u32, small_commit: bool) -> (Cost, u64) {
    let disk = SimDisk::new();
    let db = Db::open(Arc::new(disk.clone()), "tree.db", Options::default()).unwrap();
    let put = |keys: std::ops::Range<u32>| {
        let mut txn = db.begin_write().unwrap();
        for key in keys {
            txn.tree("t").unwrap().put(&key.to_be_bytes(), &[7; 150]).unwrap();
        }
        txn.commit(Durability::Durable).unwrap();
    };
    put(0..keys);
    if small_commit {
        put(0..1);
    }
    disk.kill_process();
    drop(db);
    let counting = Counting {
        disk,
        bytes_read: Arc::new(AtomicU64::new(0)),
        bytes_written: Arc::new(AtomicU64::new(0)),
    };
    let shared = open(&counting, "tree.db", Options::default()).unwrap();
    let cost = Cost {
        bytes_read: counting.bytes_read.load(Ordering::Relaxed),
        bytes_written: counting.bytes_written.load(Ordering::Relaxed),
        runs_verified: shared.current().view.verified_runs(),
    };
    let snapshot = shared.current();
    let found = place::get(&*snapshot, snapshot.catalogue, b"t").unwrap();
    assert_eq!(TreeState::decode(found.unwrap()).unwrap().keys, u64::from(keys));
    (cost, u64::from(snapshot.end))
}

#[test]
fn opening_after_a_kill_reads_and_verifies_what_the_last_commit_wrote_and_no_more() {
    for small_commit in [false, true] {
        let (small, small_pages) = cost_after_a_kill(20_000, small_commit);
        let (large, large_pages) = cost_after_a_kill(300_000, small_commit);
        println!("{small_pages} pages: {small:?}; {large_pages} pages: {large:?}");
        assert!(large_pages > 12 * small_pages, "{small_pages} and {large_pages} pages");
        assert_eq!(large.bytes_read, small.bytes_read);
        // The list names one branch more for each level that the larger tree has more.
        assert!(large.runs_verified <= small.runs_verified + 2, "{small:?} became {large:?}");
        assert!(large.bytes_written <= small.bytes_written + 2 * 4096, "{small:?} became {large:?}");
        assert_eq!(small.runs_verified > 0, small_commit, "a large commit leaves no list: {small:?}");
    }
}
