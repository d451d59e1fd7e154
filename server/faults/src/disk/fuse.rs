//! What the kernel asks of a disk, answered from its [`State`].
//!
//! Writes come through at once (no write-back cache), so the state knows every one of them; reads and maps are served
//! from the kernel's pages, which a power loss drops by mounting anew.

use std::ffi::OsStr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    AccessFlags, BsdFileFlags, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty,
    ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use rustix::io::Errno;

use super::PAGE_BYTES;
use super::state::{Body, State};

/// Only the kernel changes anything here, so it may remember what it was told.
const FOREVER: Duration = Duration::from_hours(1);
const NAME_BYTES_MAX: u32 = 255;
const KEEP_SIZE: i32 = 1;

/// One disk, shared by the mount and the faults.
#[derive(Debug)]
pub(super) struct Device {
    state: Mutex<State>,
    /// How long a sync takes, in microseconds.
    pub(super) sync_us: AtomicU64,
    /// Whether syncs fail.
    pub(super) broken: AtomicBool,
    /// The file whose reads fail; 0 is none.
    pub(super) unreadable: AtomicU64,
    /// Whether the power is gone: nothing becomes durable any more, not even by a sync that is under way.
    pub(super) off: AtomicBool,
}

impl Device {
    pub(super) fn new(state: State) -> Self {
        Self {
            state: Mutex::new(state),
            sync_us: AtomicU64::new(0),
            broken: AtomicBool::new(false),
            unreadable: AtomicU64::new(0),
            off: AtomicBool::new(false),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn attributes(&self, ino: u64) -> Result<FileAttr, Errno> {
        let state = self.state();
        let inode = state.inode(ino)?;
        let (kind, size, pages) = match &inode.body {
            Body::File(content) => (FileType::RegularFile, content.len(), content.pages()),
            Body::Folder { .. } => (FileType::Directory, 0, 0),
        };
        Ok(FileAttr {
            ino: INodeNo(ino),
            size,
            blocks: pages * (PAGE_BYTES as u64 / 512),
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm: inode.mode,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: u32::try_from(PAGE_BYTES).unwrap_or(u32::MAX),
            flags: 0,
        })
    }

    fn sync(&self, ino: u64) -> Result<(), Errno> {
        let pause = Duration::from_micros(self.sync_us.load(Ordering::Relaxed));
        if !pause.is_zero() {
            std::thread::sleep(pause);
        }
        if self.off.load(Ordering::SeqCst) {
            return Err(Errno::IO);
        }
        if self.broken.load(Ordering::Relaxed) {
            self.state().fail_sync(ino)?;
            return Err(Errno::IO);
        }
        self.state().sync(ino)
    }
}

/// The mount's side of a [`Device`].
#[derive(Debug)]
pub(super) struct Files(pub(super) Arc<Device>);

fn errno(error: Errno) -> fuser::Errno {
    fuser::Errno::from_i32(error.raw_os_error())
}

/// The permission bits of a mode.
fn bits(mode: u32) -> u16 {
    u16::try_from(mode & 0o7777).unwrap_or(0o644)
}

/// Answers with nothing but success or the error.
fn settle(result: Result<(), Errno>, reply: ReplyEmpty) {
    match result {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(errno(error)),
    }
}

impl Files {
    fn entry(&self, found: Result<u64, Errno>, reply: ReplyEntry) {
        match found.and_then(|ino| self.0.attributes(ino)) {
            Ok(attributes) => reply.entry(&FOREVER, &attributes, Generation(0)),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn attr(&self, result: Result<FileAttr, Errno>, reply: ReplyAttr) {
        match result {
            Ok(attributes) => reply.attr(&FOREVER, &attributes),
            Err(error) => reply.error(errno(error)),
        }
    }
}

impl Filesystem for Files {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.0.state().lookup(parent.0, name);
        self.entry(found, reply);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        self.attr(self.0.attributes(ino.0), reply);
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let set = || {
            if let Some(mode) = mode {
                self.0.state().set_mode(ino.0, bits(mode))?;
            }
            if let Some(size) = size {
                self.0.state().set_len(ino.0, size)?;
            }
            self.0.attributes(ino.0)
        };
        self.attr(set(), reply);
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, _: u32, reply: ReplyEntry) {
        let made = self.0.state().mkdir(parent.0, name, bits(mode));
        self.entry(made, reply);
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        settle(self.0.state().remove(parent.0, name, false), reply);
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        settle(self.0.state().remove(parent.0, name, true), reply);
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if parent != newparent || !flags.is_empty() {
            return reply.error(errno(Errno::XDEV));
        }
        settle(self.0.state().rename(parent.0, name, newname), reply);
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.0.state().open(ino.0) {
            Ok(()) => reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        let made = self.0.state().create(parent.0, name, bits(mode));
        let opened = made.and_then(|ino| {
            self.0.state().open(ino)?;
            self.0.attributes(ino)
        });
        match opened {
            Ok(attributes) => reply.created(
                &FOREVER,
                &attributes,
                Generation(0),
                FileHandle(0),
                FopenFlags::FOPEN_KEEP_CACHE,
            ),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn release(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        settle(self.0.state().close(ino.0), reply);
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        if self.0.unreadable.load(Ordering::Relaxed) == ino.0 {
            return reply.error(fuser::Errno::EIO);
        }
        let read = self.0.state().content(ino.0).map(|content| content.read(offset, size.into()));
        match read {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.0.state().write(ino.0, offset, data) {
            Ok(()) => reply.written(u32::try_from(data.len()).unwrap_or(u32::MAX)),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn fallocate(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        if mode & !KEEP_SIZE != 0 {
            return reply.error(errno(Errno::OPNOTSUPP));
        }
        settle(self.0.state().allocate(ino.0, offset, length, mode & KEEP_SIZE == 0), reply);
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        settle(self.0.sync(ino.0), reply);
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        settle(self.0.sync(ino.0), reply);
    }

    fn readdir(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let state = self.0.state();
        let names = match state.names(ino.0) {
            Ok(names) => names,
            Err(error) => return reply.error(errno(error)),
        };
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        for (at, (name, child)) in names.iter().enumerate().skip(from) {
            let kind = match state.inode(*child).map(|inode| &inode.body) {
                Ok(Body::Folder { .. }) => FileType::Directory,
                _ => FileType::RegularFile,
            };
            if reply.add(INodeNo(*child), at as u64 + 1, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let (used, capacity) = {
            let state = self.0.state();
            (state.used(), state.capacity())
        };
        let free = capacity.saturating_sub(used);
        let page = u32::try_from(PAGE_BYTES).unwrap_or(u32::MAX);
        reply.statfs(capacity, free, free, 1 << 20, 1 << 20, page, NAME_BYTES_MAX, page);
    }

    fn access(&self, _: &Request, _: INodeNo, _: AccessFlags, reply: ReplyEmpty) {
        reply.ok();
    }
}
