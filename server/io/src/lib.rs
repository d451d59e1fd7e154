//! The disk as a trait, so that a test can be the disk.
//!
//! The storage engine and the Raft log do all their I/O through [`Disk`] and [`File`]. The real disk is
//! [`RealDisk`]; the simulated one loses and tears what was not synced.
//!
//! **Invariant:** nothing here knows what the bytes mean. A read that the disk could not do is [`Unreadable`]; one of a map ends
//! the process, see [`end_on_unreadable_map`].

#![warn(clippy::print_stderr)]

mod map;
mod mapped;
mod real;
mod sigbus;
mod sim;
mod space;
mod unreadable;

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

pub use map::Map;
pub use real::RealDisk;
pub use sigbus::end_on_unreadable_map;
pub use sim::{Random, SimDisk};
pub use space::Space;
pub use unreadable::Unreadable;

/// How [`Disk::open`] treats a file that is or is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// The file must be there; opened for reading only.
    Read,
    /// The file must be there; opened for reading and writing.
    Existing,
    /// The file must not be there; made empty. Its name is durable only after [`Disk::sync_dir`].
    CreateNew,
}

/// One flat directory of files.
pub trait Disk: Debug + Send + Sync + 'static {
    /// Opens the file `name` (a single path component).
    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn File>>;

    /// The names of all files, in no particular order.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Removes the name; durable after [`Disk::sync_dir`].
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Renames, replacing what `to` named; durable after [`Disk::sync_dir`].
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Makes names made, removed and renamed so far durable.
    fn sync_dir(&self) -> io::Result<()>;
}

/// An open file. All methods may be called from many threads.
pub trait File: Debug + Send + Sync + 'static {
    /// Fills `buf` from `offset` (bytes); `UnexpectedEof` past the end.
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `buf` at `offset` (bytes), growing the file where needed. Not durable before
    /// [`File::sync_data`] returned.
    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()>;

    /// The length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Cuts or extends (with zeros) to `len` bytes. Durable after [`File::sync_data`].
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Extends the file (with zeros) to `len` bytes and sees to it that the disk has room for all of it, where the file
    /// system can do that; otherwise as [`File::set_len`]. After an error the file is as long as it was.
    fn allocate(&self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }

    /// Makes all data and the length durable (fdatasync). After an error nothing is known about what
    /// reached the disk: the caller must not try again.
    fn sync_data(&self) -> io::Result<()>;

    /// Takes the exclusive advisory lock of this file, held until the last handle is dropped.
    /// `WouldBlock` when another open file holds it.
    fn try_lock(&self) -> io::Result<()>;

    /// Maps the first `len` bytes read-only. Later writes through this file are seen in the map.
    /// The caller must not shrink the file below `len` while the map lives, and must not change bytes of the map that
    /// somebody borrows.
    fn map(&self, len: usize) -> io::Result<Map>;
}
