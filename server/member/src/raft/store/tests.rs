//! The tree that a snapshot replaces.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, mpsc};

use conure_io::{File, Map, RealDisk};

use super::*;
use crate::raft::intake::Intake;
use crate::raft::records;

/// What happens to the file that is the tree at first.
#[derive(Debug, Default)]
struct Watched {
    syncs: AtomicUsize,
    /// Whether it may be closed: the file system takes long to free what it held.
    may_close: Mutex<bool>,
    opened: Condvar,
}

#[derive(Debug)]
struct WatchingDisk(RealDisk, Arc<Watched>);

#[derive(Debug)]
struct WatchedFile(Arc<dyn File>, Arc<Watched>);

impl Disk for WatchingDisk {
    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let file = self.0.open(name, mode)?;
        if name == TREE_FILE { Ok(Arc::new(WatchedFile(file, Arc::clone(&self.1)))) } else { Ok(file) }
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.0.sync_dir()
    }
}

impl File for WatchedFile {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buf, offset)
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(buf, offset)
    }

    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.1.syncs.fetch_add(1, Ordering::SeqCst);
        self.0.sync_data()
    }

    fn try_lock(&self) -> io::Result<()> {
        self.0.try_lock()
    }

    fn map(&self, len: usize) -> io::Result<Map> {
        self.0.map(len)
    }
}

impl Drop for WatchedFile {
    fn drop(&mut self) {
        let may_close = self.1.may_close.lock().unwrap();
        drop(self.1.opened.wait_while(may_close, |may_close| !*may_close).unwrap());
    }
}

fn put(store: &Store, key: &'static [u8], value: &'static [u8]) {
    let command = Command::Put { key: Bytes::from_static(key), value: Bytes::from_static(value) };
    let index = store.applied().index() + 1;
    let log_id = crate::raft::types::log_id(1, 1, index);
    store.apply(vec![Entry { log_id, payload: EntryPayload::Normal(command) }]).unwrap();
}

fn value(store: &Store, key: &[u8]) -> Bytes {
    store.get(key).unwrap().found.unwrap().value
}

/// Readers take the lock of the tree with every read: the file of the old tree may be slow, and is about to go.
#[test]
fn a_tree_that_a_snapshot_replaced_is_neither_synced_nor_closed_where_readers_wait() {
    let dir = tempfile::tempdir().unwrap();
    let watched = Arc::new(Watched::default());
    let disk: Arc<dyn Disk> =
        Arc::new(WatchingDisk(RealDisk::new(dir.path()).unwrap(), Arc::clone(&watched)));
    let db = Db::open(Arc::clone(&disk), TREE_FILE, Default::default()).unwrap();
    let store = Arc::new(Store::new(disk, Arc::new(db), Role::Data, Failure::default()).unwrap());
    store.found_cluster("c1", 1).unwrap();
    put(&store, b"key", b"in the snapshot");
    let view = store.view().unwrap();
    let mut intake = Intake::create(store.disk(), store.try_incoming().unwrap()).unwrap();
    records::send_all(&view.read, true, |chunk| intake.push(&chunk)).unwrap();
    let received = intake.finish().unwrap();
    put(&store, b"key", b"since");

    let before = watched.syncs.load(Ordering::SeqCst);
    let floor: FloorOf = Arc::new(|_| Ok(Vec::new()));
    let last = view.applied.log_id;
    let (done, ended) = mpsc::channel();
    let installing = Arc::clone(&store);
    std::thread::spawn(move || {
        let replaced = installing.install(received.into_tree(last).unwrap(), &floor).unwrap();
        done.send("installed").unwrap();
        replaced.discard();
        done.send("discarded").unwrap();
    });
    let patience = std::time::Duration::from_secs(30);
    assert_eq!(ended.recv_timeout(patience), Ok("installed"), "it waits for the old file");
    assert_eq!(value(&store, b"key"), "in the snapshot");
    // Whoever reads the old tree reads on.
    assert!(view.read.tree(KV_TREE).unwrap().unwrap().get(b"key").unwrap().is_some());
    std::thread::spawn(move || drop(view));
    // The file is being closed now, and takes its time.
    put(&store, b"other", b"changes go on");
    assert_eq!(value(&store, b"other"), "changes go on");
    assert!(ended.try_recv().is_err(), "nothing was closed");
    *watched.may_close.lock().unwrap() = true;
    watched.opened.notify_all();
    assert_eq!(ended.recv_timeout(patience), Ok("discarded"));
    assert_eq!(watched.syncs.load(Ordering::SeqCst), before, "the old tree was synced");
}
