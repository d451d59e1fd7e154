//! The open database: what its readers and its writer share.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use conure_io::{Disk, File};

use crate::commit::Written;
use crate::meta::{Meta, TreeState};
use crate::pins::Pins;
use crate::planted::Planted;
use crate::space::Space;
use crate::turns::Turns;
use crate::view::View;
use crate::{CheckReport, Durability, Error, Options, ReadTxn, WriteTxn};

/// An open database file. Clones are handles of the same one; when the last handle, transaction and snapshot is
/// dropped, the file is closed and its lock let go.
#[derive(Debug, Clone)]
pub struct Db {
    shared: Arc<Shared>,
}

/// Figures of an open database.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Bytes in a page.
    pub page_size_bytes: u32,
    /// The file's length in bytes.
    pub file_bytes: u64,
    /// Pages of the file in use or free; the file may be longer, because it grows in steps.
    pub pages: u64,
    /// Pages that the newest commit does not reach. Some of them may still wait for readers.
    pub free_pages: u64,
    /// The newest commit.
    pub commit: u64,
    /// The newest durable commit: what a crash would bring back.
    pub durable_commit: u64,
    /// Snapshots that readers hold.
    pub readers: usize,
    /// The oldest commit that a reader holds. While it does, pages freed since then may have to wait.
    pub oldest_reader_commit: Option<u64>,
    /// For how long readers have held that commit without a break, in milliseconds.
    pub oldest_reader_age_ms: Option<u64>,
    /// Free pages that cannot be used again before the readers of that commit are gone. While a write transaction
    /// lives, those of its beginning.
    pub oldest_reader_waiting_pages: u64,
    /// Free pages that cannot be used yet because readers hold them or the last durable commit does. While a write
    /// transaction lives, those of its beginning.
    pub waiting_pages: u64,
    /// Named trees.
    pub trees: u64,
    /// Syncs of the file since it was opened, those of opening it included.
    pub syncs: u64,
}

/// What the trees are at one commit.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) txn: u64,
    pub(crate) catalogue: TreeState,
    pub(crate) view: Arc<View>,
    pub(crate) end: u32,
    pub(crate) free_pages: u64,
    pub(crate) readers: AtomicUsize,
    /// When the first of those readers began, in milliseconds since the file was opened.
    pub(crate) held_since_ms: AtomicU64,
}

#[derive(Debug)]
pub(crate) struct Snapshots {
    pub(crate) current: Arc<Snapshot>,
    /// Those that readers may still hold.
    older: Vec<Arc<Snapshot>>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) file: Arc<dyn File>,
    pub(crate) options: Options,
    pub(crate) file_id: u64,
    pub(crate) seed: u32,
    opened: Instant,
    poisoned: OnceLock<String>,
    seal_on_drop: AtomicBool,
    snapshots: Mutex<Snapshots>,
    /// Away while a write transaction has it.
    turns: Turns,
    progress: Mutex<Progress>,
}

/// Figures that the writer leaves for [`Stats`].
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Progress {
    pub(crate) file_bytes: u64,
    pub(crate) durable_txn: u64,
    pub(crate) syncs: u64,
    /// Pages that wait, and those of them that wait for the oldest reader, when that was last known.
    pub(crate) waiting_pages: (u64, u64),
}

/// What only the one writer may change.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) view: Arc<View>,
    /// The file may be longer than the map while it waits to be cut.
    pub(crate) file_len: u64,
    /// Maps that readers may still hold, with their lengths in pages.
    pub(crate) former_views: Vec<(u32, Weak<View>)>,
    pub(crate) space: Space,
    pub(crate) pins: Pins,
    pub(crate) written: Written,
    /// The last durable commit, and the slot that describes it.
    pub(crate) durable: Meta,
    pub(crate) slot: u8,
    /// Where pages that lie side by side are put together, and pages in memory that are used again.
    pub(crate) buffer: Vec<u8>,
    pub(crate) spare: Vec<Vec<u8>>,
    /// Both slots describe that commit's state, and at least one of them without a list.
    pub(crate) sealed: bool,
}

impl Writer {
    pub(crate) fn replace_view(&mut self, view: View) {
        let former = std::mem::replace(&mut self.view, Arc::new(view));
        self.former_views.retain(|(_, view)| view.strong_count() > 0);
        self.former_views.push((former.pages(), Arc::downgrade(&former)));
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it holds one of these locks; if something did, each value is whole between statements.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Db {
    /// Opens the file `name`, or makes it when it is not there: durably, so that a crash leaves it whole or absent.
    ///
    /// Finds the newest durable commit, and reads and verifies the pages of that commit alone; beside that, the memory
    /// for three bits a page of the file is made. Syncs nothing but the directory where the file was closed in good
    /// order, else up to two times (what a killed process wrote may not be on the disk yet).
    ///
    /// When the last handle, transaction and snapshot is dropped after something was committed, one meta page is written
    /// and synced once more, so that opening the file again has nothing to do. [`Stats::syncs`] never shows that sync, and
    /// nobody hears of its failure: nothing is lost by it, as the last durable commit is durable without it.
    /// [`Db::seal_on_drop`] says otherwise.
    ///
    /// # Errors
    ///
    /// [`Error::BadOption`]; [`Error::Locked`] when another handle has the file open; [`Error::NotADatabase`], [`Error::Version`],
    /// [`Error::ByteOrder`] and [`Error::Corrupt`] when it cannot be read; [`Error::ReadOnly`] when it cannot be written;
    /// [`Error::Io`].
    pub fn open(disk: Arc<dyn Disk>, name: &str, options: Options) -> Result<Self, Error> {
        crate::open::open(disk.as_ref(), name, options).map(|shared| Self { shared: Arc::new(shared) })
    }

    /// Whether that one page is written and synced when the last handle, transaction and snapshot is dropped. It is, unless
    /// this says otherwise: a file that is about to be removed needs no sync, and whoever drops it last would wait for one.
    pub fn seal_on_drop(&self, seal: bool) {
        self.shared.seal_on_drop.store(seal, Ordering::Relaxed);
    }

    /// A snapshot of the newest commit. Takes a lock for a moment and none afterwards; it never waits for the writer,
    /// and keeps the pages that it can reach from being used again for as long as it lives.
    ///
    /// # Errors
    ///
    /// [`Error::Poisoned`].
    pub fn begin_read(&self) -> Result<ReadTxn, Error> {
        self.shared.check_poison()?;
        let snapshot = {
            let snapshots = lock(&self.shared.snapshots);
            if snapshots.current.readers.fetch_add(1, Ordering::Relaxed) == 0 {
                snapshots.current.held_since_ms.store(self.shared.now_ms(), Ordering::Relaxed);
            }
            Arc::clone(&snapshots.current)
        };
        Ok(ReadTxn::new(Arc::clone(&self.shared), snapshot))
    }

    /// Begins the one write transaction. Dropping it without a commit undoes it.
    ///
    /// # Errors
    ///
    /// [`Error::WriterBusy`] while another one lives; [`Error::Poisoned`]; [`Error::Corrupt`] when the list of
    /// free pages cannot be read; [`Error::Io`] when a part of the file that a compaction gave up cannot be cut off.
    pub fn begin_write(&self) -> Result<WriteTxn, Error> {
        self.shared.check_poison()?;
        self.begin(self.shared.turns.take())
    }

    /// Begins the one write transaction as [`Db::begin_write`] does, and waits for it where another one lives. Those
    /// that wait come before those that do not, in the order in which they came. A thread that has a write transaction
    /// waits in vain for another.
    ///
    /// # Errors
    ///
    /// [`Error::WriterBusy`] when it did not come within `wait`; otherwise as [`Db::begin_write`].
    pub fn begin_write_within(&self, wait: Duration) -> Result<WriteTxn, Error> {
        self.shared.check_poison()?;
        let writer = self.shared.turns.take_within(wait);
        // The transaction that was waited for may have failed.
        if let Err(error) = self.shared.check_poison() {
            writer.into_iter().for_each(|writer| self.shared.put_back(writer));
            return Err(error);
        }
        self.begin(writer)
    }

    fn begin(&self, writer: Option<Box<Writer>>) -> Result<WriteTxn, Error> {
        let mut writer = writer.ok_or(Error::WriterBusy)?;
        let loaded = {
            let view = Arc::clone(&writer.view);
            // What is free must be known in full where it decides whether the file is full.
            match self.shared.options.file_bytes_max {
                Some(_) => writer.space.load_all(&view),
                None => writer.space.load_directory(&view),
            }
        };
        if let Err(error) = loaded {
            self.shared.put_back(writer);
            return Err(error);
        }
        if let Err(error) = self.shared.sweep(&mut writer) {
            self.shared.put_back(writer);
            return Err(error);
        }
        Ok(WriteTxn::new(Arc::clone(&self.shared), writer))
    }

    /// Makes every commit so far durable, as an empty durable commit does.
    ///
    /// It does not wait for a write transaction that lives: the thread that calls may be the one that has it. Where another
    /// has it, `db.begin_write_within(wait)?.commit(Durability::Durable)` does the same and waits.
    ///
    /// # Errors
    ///
    /// [`Error::WriterBusy`] while a write transaction lives; otherwise as [`Db::begin_write`] and [`WriteTxn::commit`].
    pub fn sync(&self) -> Result<(), Error> {
        self.begin_write()?.commit(Durability::Durable)
    }

    /// Looks at the whole file: every page is reached or free exactly once, checksums, order of keys, counts.
    /// Readers go on; the writer is kept out.
    ///
    /// # Errors
    ///
    /// [`Error::WriterBusy`] while a write transaction lives; [`Error::Io`], [`Error::Poisoned`]. What is wrong with the
    /// file is not an error but in the report.
    pub fn check(&self) -> Result<CheckReport, Error> {
        self.check_with_progress(&mut |_, _| {})
    }

    /// As [`Db::check`]; `progress` hears now and then how many of the pages in use were looked at, and how many those are.
    ///
    /// # Errors
    ///
    /// As [`Db::check`].
    pub fn check_with_progress(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<CheckReport, Error> {
        self.shared.check_poison()?;
        let mut writer = self.shared.turns.take().ok_or(Error::WriterBusy)?;
        let snapshot = Arc::clone(&lock(&self.shared.snapshots).current);
        let report = crate::check::check(&self.shared, &mut writer, &snapshot, progress);
        self.shared.put_back(writer);
        report
    }

    /// Figures of now.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let oldest = {
            let snapshots = lock(&self.shared.snapshots);
            let held = |snapshot: &&Arc<Snapshot>| snapshot.readers.load(Ordering::Relaxed) > 0;
            snapshots.older.iter().chain([&snapshots.current]).find(held).map(|snapshot| {
                (snapshot.txn, self.shared.now_ms() - snapshot.held_since_ms.load(Ordering::Relaxed))
            })
        };
        let waiting = self
            .shared
            .turns
            .look(|writer| (writer.pins.pages(), oldest.map_or(0, |(txn, _)| writer.pins.pages_for(txn))));
        let progress = {
            let mut progress = lock(&self.shared.progress);
            if let Some(waiting) = waiting {
                progress.waiting_pages = waiting;
            }
            *progress
        };
        let snapshots = lock(&self.shared.snapshots);
        let current = &snapshots.current;
        let all = || snapshots.older.iter().chain([current]);
        Stats {
            page_size_bytes: crate::bytes::word(current.view.page_size()),
            file_bytes: progress.file_bytes,
            pages: u64::from(current.end),
            free_pages: current.free_pages,
            commit: current.txn,
            durable_commit: progress.durable_txn,
            readers: all().map(|snapshot| snapshot.readers.load(Ordering::Relaxed)).sum(),
            oldest_reader_commit: oldest.map(|(txn, _)| txn),
            oldest_reader_age_ms: oldest.map(|(_, age_ms)| age_ms),
            oldest_reader_waiting_pages: progress.waiting_pages.1,
            waiting_pages: progress.waiting_pages.0,
            trees: current.catalogue.keys,
            syncs: progress.syncs,
        }
    }
}

impl Shared {
    pub(crate) fn new(file: Arc<dyn File>, options: Options, writer: Writer, syncs: u64) -> Self {
        let meta = &writer.durable;
        let snapshot = Arc::new(Snapshot {
            txn: meta.txn,
            catalogue: meta.catalogue,
            view: Arc::clone(&writer.view),
            end: meta.end,
            free_pages: meta.free_pages,
            readers: AtomicUsize::new(0),
            held_since_ms: AtomicU64::new(0),
        });
        Self {
            file,
            opened: Instant::now(),
            options,
            file_id: meta.file_id,
            seed: crate::page::seed(meta.file_id),
            poisoned: OnceLock::new(),
            seal_on_drop: AtomicBool::new(true),
            snapshots: Mutex::new(Snapshots { current: snapshot, older: Vec::new() }),
            progress: Mutex::new(Progress {
                file_bytes: writer.file_len,
                durable_txn: meta.txn,
                syncs,
                waiting_pages: (0, 0),
            }),
            turns: Turns::new(Box::new(writer)),
        }
    }

    /// Milliseconds since the file was opened.
    fn now_ms(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn check_poison(&self) -> Result<(), Error> {
        match self.poisoned.get() {
            None => Ok(()),
            Some(reason) => Err(Error::Poisoned { reason: reason.clone() }),
        }
    }

    /// Runs something that changes the disk; its failure is the last thing that happens to this database.
    pub(crate) fn or_poison<T>(&self, what: &'static str, result: std::io::Result<T>) -> Result<T, Error> {
        result.map_err(|source| {
            // Of several failures the first is kept.
            let _ = self.poisoned.set(format!("cannot {what}: {source}"));
            Error::Io { what, source }
        })
    }

    /// Ends all use of this database.
    pub(crate) fn poison(&self, error: &Error) {
        let _ = self.poisoned.set(error.to_string());
    }

    pub(crate) fn sync_file(&self) -> Result<(), Error> {
        lock(&self.progress).syncs += 1;
        self.or_poison("sync the database file", self.file.sync_data())
    }

    pub(crate) fn put_back(&self, writer: Box<Writer>) {
        {
            let mut progress = lock(&self.progress);
            progress.file_bytes = writer.file_len;
            progress.durable_txn = writer.durable.txn;
        }
        self.turns.put_back(writer);
    }

    pub(crate) fn current(&self) -> Arc<Snapshot> {
        Arc::clone(&lock(&self.snapshots).current)
    }

    /// Makes a commit the one that new readers see.
    pub(crate) fn publish(&self, snapshot: Snapshot) {
        let mut snapshots = lock(&self.snapshots);
        let former = std::mem::replace(&mut snapshots.current, Arc::new(snapshot));
        snapshots.older.push(former);
    }

    /// The commits whose pages must stay: those that readers hold and the last durable one. Ascending.
    pub(crate) fn pinned(&self, durable_txn: u64) -> Vec<u64> {
        let mut snapshots = lock(&self.snapshots);
        // `get_mut` answers only where no reader is left, and then whatever readers did has happened before.
        snapshots.older.retain_mut(|snapshot| Arc::get_mut(snapshot).is_none());
        let mut pins: Vec<u64> = snapshots.older.iter().map(|snapshot| snapshot.txn).collect();
        pins.push(snapshots.current.txn);
        if self.options.has(Planted::ReusesPagesEarly) {
            return pins;
        }
        if let Err(at) = pins.binary_search(&durable_txn) {
            pins.insert(at, durable_txn);
        }
        pins
    }

    /// Lets pages be used again that waited for snapshots which nobody holds any more, and cuts the file if it waited for
    /// them too.
    pub(crate) fn sweep(&self, writer: &mut Writer) -> Result<(), Error> {
        let pins = self.pinned(writer.durable.txn);
        let space = &mut writer.space;
        writer.pins.sweep(&pins, |run| space.ready(run.id, run.pages));
        crate::commit::cut(self, writer)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // The last commit is durable whether or not this works: what is sealed is that it was.
        if self.seal_on_drop.load(Ordering::Relaxed)
            && self.poisoned.get().is_none()
            && let Some(mut writer) = self.turns.take()
            && !writer.sealed
        {
            let _ = crate::commit::seal(self.file.as_ref(), &mut writer);
        }
    }
}
