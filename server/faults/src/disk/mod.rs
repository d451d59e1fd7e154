//! The members' disks: each a small file system in memory that knows what was synced and what was not.
//!
//! [`state`] is the files, pure; [`fuse`] shows them to the kernel; [`volume`] is what faults may ask of one.
//!
//! **Invariant:** a power loss keeps everything that an fsync of a file (its data and length) or of a folder (its names)
//! returned for; everything else may be lost.

mod content;
mod fuse;
mod state;
mod volume;

pub(crate) use state::Loss;
pub(crate) use volume::{Image, Volume};

/// What the disk deals in.
pub(crate) const PAGE_BYTES: usize = 4096;
/// The part of a page that a power loss leaves whole.
pub(crate) const SECTOR_BYTES: usize = 512;
