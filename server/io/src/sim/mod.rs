//! A disk in memory that remembers every operation, so that a crash can be made at any of them.
//!
//! Files are memfds, so that [`File::map`] works on them as on a real disk. [`SimDisk::crash_image`] makes a
//! new disk that holds what a real one might hold had the power failed after the first N operations.
//!
//! **Invariant:** what a sync promised is in every image made after it; of the rest nothing is promised.

mod crash;
mod faults;
mod journal;
mod random;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{Disk, File, Map, OpenMode};
use faults::Faults;
use journal::{Journal, NameOp, Op};
pub use random::Random;

/// A simulated disk. Clones are handles of the same disk.
#[derive(Debug, Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

/// A file without its name.
#[derive(Debug)]
struct Inode {
    file: fs::File,
    locked: bool,
    /// Kept here rather than asked of the memfd, so that every write need not.
    len: u64,
}

#[derive(Debug)]
struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    journal: Journal,
    faults: Faults,
    syncs: u64,
    /// Processes that were killed: files that they opened are dead.
    killed: u64,
}

impl SimDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::with_state(Vec::new(), BTreeMap::new(), Journal::default())
    }

    fn with_state(inodes: Vec<Inode>, names: BTreeMap<String, usize>, journal: Journal) -> Self {
        let state = State { inodes, names, journal, faults: Faults::default(), syncs: 0, killed: 0 };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many operations the disk has seen: the longest prefix that [`SimDisk::crash_image`] takes.
    pub fn ops(&self) -> usize {
        self.state().journal.ops.len()
    }

    /// The prefixes that end right before a sync: the moments at which most is unsynced.
    pub fn sync_points(&self) -> Vec<usize> {
        let state = self.state();
        let is_sync = |op: &Op| matches!(op, Op::Sync { .. } | Op::FailedSync { .. } | Op::SyncDir);
        state.journal.ops.iter().enumerate().filter(|(_, op)| is_sync(op)).map(|(at, _)| at).collect()
    }

    /// How many times [`File::sync_data`] was called, failures included.
    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// What a power failure after the first `prefix_len` operations might have left, chosen by `seed`.
    ///
    /// Whatever was synced is there. Each unsynced write is kept, lost, torn at sectors of 512 bytes, or
    /// overtaken by a later one; changes of length and of names not yet synced are kept or lost. The image is
    /// a disk of its own whose operations count from zero.
    pub fn crash_image(&self, prefix_len: usize, seed: u64) -> io::Result<SimDisk> {
        let (files, names) = crash::replay(&self.state().journal, prefix_len, seed);
        Self::with_files(files, names)
    }

    /// How many bytes were written and not synced after the first `prefix_len` operations: what a power loss then can tear.
    pub fn unsynced_bytes(&self, prefix_len: usize) -> u64 {
        crash::unsynced_bytes(&self.state().journal, prefix_len)
    }

    /// What another process finds when the one that uses this disk is killed after the first `prefix_len`
    /// operations: everything written is seen, and is as durable as it was. The operations go on counting from there.
    pub fn kill_image(&self, prefix_len: usize) -> io::Result<SimDisk> {
        let state = self.state();
        let (files, names) = crash::seen(&state.journal, prefix_len);
        let journal = Journal {
            base_files: state.journal.base_files.clone(),
            base_names: state.journal.base_names.clone(),
            ops: state.journal.ops.iter().take(prefix_len).cloned().collect(),
        };
        Ok(Self::with_state(inodes(&files)?, names, journal))
    }

    /// A disk that durably holds the given files: those of `names`, by index.
    fn with_files(files: Vec<Vec<u8>>, names: BTreeMap<String, usize>) -> io::Result<SimDisk> {
        let inodes = inodes(&files)?;
        let journal = Journal { base_files: files, base_names: names.clone(), ops: Vec::new() };
        Ok(Self::with_state(inodes, names, journal))
    }

    /// A copy of the files as they are now, all of it durable: what a graceful power-off leaves.
    pub fn image(&self) -> io::Result<SimDisk> {
        let (files, names) = {
            let state = self.state();
            let mut files = Vec::with_capacity(state.inodes.len());
            for inode in &state.inodes {
                let mut bytes = vec![0; usize::try_from(inode.len).map_err(io::Error::other)?];
                inode.file.read_exact_at(&mut bytes, 0)?;
                files.push(bytes);
            }
            (files, state.names.clone())
        };
        Self::with_files(files, names)
    }

    /// Lets go of all locks, as when the process that holds them is killed. What it wrote is not lost by that, nor
    /// synced; whatever changes its open files fails from now on and leaves no trace.
    pub fn kill_process(&self) {
        let mut state = self.state();
        state.killed += 1;
        for inode in &mut state.inodes {
            inode.locked = false;
        }
    }

    /// Lets `n` further writes succeed and the one after them fail, the sectors of its first half written.
    pub fn fail_write_after(&self, n: u64) {
        self.state().faults.write_in = Some(n);
    }

    /// Lets `n` further calls of [`File::read_exact_at`] succeed and the one after them fail, as where a sector cannot be read.
    pub fn fail_read_after(&self, n: u64) {
        self.state().faults.read_in = Some(n);
    }

    /// Lets `n` further calls of [`File::sync_data`] succeed and the one after them fail. What that one should
    /// have made durable never becomes so by a later sync, as on Linux.
    pub fn fail_sync_after(&self, n: u64) {
        self.state().faults.sync_in = Some(n);
    }

    /// Lets `n` further calls of [`File::set_len`] that make a file shorter succeed and the one after them fail; the file
    /// stays as long as it was.
    pub fn fail_cut_after(&self, n: u64) {
        self.state().faults.cut_in = Some(n);
    }

    /// Lets `n` further calls of [`Disk::sync_dir`] succeed and the one after them fail: no name is more durable for it.
    pub fn fail_dir_sync_after(&self, n: u64) {
        self.state().faults.dir_sync_in = Some(n);
    }

    /// Refuses (`StorageFull`) what would make the files longer than `bytes` in all.
    pub fn limit_bytes(&self, bytes: u64) {
        self.state().faults.room = Some(bytes);
    }

    /// Takes back every fault not yet met.
    pub fn clear_faults(&self) {
        self.state().faults = Faults::default();
    }
}

impl Default for SimDisk {
    fn default() -> Self {
        Self::new()
    }
}

fn memfd() -> io::Result<fs::File> {
    Ok(fs::File::from(rustix::fs::memfd_create("conure-sim", rustix::fs::MemfdFlags::CLOEXEC)?))
}

fn inodes(files: &[Vec<u8>]) -> io::Result<Vec<Inode>> {
    let mut inodes = Vec::with_capacity(files.len());
    for bytes in files {
        let file = memfd()?;
        file.write_all_at(bytes, 0)?;
        inodes.push(Inode { file, locked: false, len: bytes.len() as u64 });
    }
    Ok(inodes)
}

fn not_found(name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("no file named {name:?}"))
}

impl State {
    fn total_len(&self) -> u64 {
        self.names.values().map(|&inode| self.inodes[inode].len).sum()
    }

    fn name_op(&mut self, op: NameOp) {
        op.apply(&mut self.names);
        self.journal.ops.push(Op::Name(op));
    }
}

impl Disk for SimDisk {
    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut state = self.state();
        let found = state.names.get(name).copied();
        let inode = match (found, mode) {
            (Some(_), OpenMode::CreateNew) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Some(inode), OpenMode::Read | OpenMode::Existing) => inode,
            (None, OpenMode::Read | OpenMode::Existing) => return Err(not_found(name)),
            (None, OpenMode::CreateNew) => {
                let inode = state.inodes.len();
                state.inodes.push(Inode { file: memfd()?, locked: false, len: 0 });
                state.name_op(NameOp::Create { name: name.to_owned(), inode });
                inode
            }
        };
        let file = state.inodes[inode].file.try_clone()?;
        Ok(Arc::new(SimFile {
            disk: self.clone(),
            inode,
            file,
            writable: mode != OpenMode::Read,
            holds_lock: AtomicBool::new(false),
            killed: state.killed,
        }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.state().names.keys().cloned().collect())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        if !state.names.contains_key(name) {
            return Err(not_found(name));
        }
        state.name_op(NameOp::Remove { name: name.to_owned() });
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        let inode = *state.names.get(from).ok_or_else(|| not_found(from))?;
        state.name_op(NameOp::Rename { from: from.to_owned(), to: to.to_owned(), inode });
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut state = self.state();
        state.faults.on_dir_sync()?;
        state.journal.ops.push(Op::SyncDir);
        Ok(())
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    inode: usize,
    file: fs::File,
    writable: bool,
    holds_lock: AtomicBool,
    /// How many processes had been killed when it was opened.
    killed: u64,
}

impl SimFile {
    /// The disk, for a change by a process that lives.
    fn changing(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.disk.state();
        if self.writable && state.killed == self.killed {
            Ok(state)
        } else {
            Err(io::Error::from_raw_os_error(rustix::io::Errno::BADF.raw_os_error()))
        }
    }
}

impl File for SimFile {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.disk.state().faults.on_read()?;
        self.file.read_exact_at(buf, offset)
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.changing()?;
        let end = offset + buf.len() as u64;
        let growth = end.saturating_sub(state.inodes[self.inode].len);
        let total = state.total_len();
        let (take, result) = state.faults.on_write(offset, buf.len(), growth, total);
        let kept = &buf[..take];
        if !kept.is_empty() {
            self.file.write_all_at(kept, offset)?;
            let inode = &mut state.inodes[self.inode];
            inode.len = inode.len.max(offset + take as u64);
            state.journal.ops.push(Op::Write { inode: self.inode, offset, bytes: kept.to_vec() });
        }
        result
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.state().inodes[self.inode].len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.changing()?;
        let before = state.inodes[self.inode].len;
        let total = state.total_len();
        state.faults.on_growth(len.saturating_sub(before), total)?;
        if len < before {
            state.faults.on_cut()?;
        }
        self.file.set_len(len)?;
        state.inodes[self.inode].len = len;
        state.journal.ops.push(Op::SetLen { inode: self.inode, len });
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        if state.killed != self.killed {
            return Err(io::Error::from_raw_os_error(rustix::io::Errno::BADF.raw_os_error()));
        }
        state.syncs += 1;
        let result = state.faults.on_sync();
        let inode = self.inode;
        state.journal.ops.push(if result.is_ok() { Op::Sync { inode } } else { Op::FailedSync { inode } });
        result
    }

    fn try_lock(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        let inode = &mut state.inodes[self.inode];
        if inode.locked && !self.holds_lock.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        inode.locked = true;
        self.holds_lock.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn map(&self, len: usize) -> io::Result<Map> {
        Map::new(&self.file, len)
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        if self.holds_lock.load(Ordering::Relaxed) {
            let mut state = self.disk.state();
            // After a kill, the lock may be another process's.
            if state.killed == self.killed {
                state.inodes[self.inode].locked = false;
            }
        }
    }
}
