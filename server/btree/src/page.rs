//! What every page but the two meta pages begins with.

use crate::bytes::{get_u16, get_u32, get_u64, put_u16, put_u32, put_u64, small};

/// A page's place in the file: its offset divided by the page size.
pub(crate) type PageId = u32;

/// Bytes of the header at the beginning of a run of pages.
pub(crate) const HEADER: usize = 32;

/// The first page that is not a meta page.
pub(crate) const FIRST_PAGE: PageId = 2;

const CHECKSUM: usize = 0;
const KIND: usize = 4;
pub(crate) const LEVEL: usize = 5;
pub(crate) const COUNT: usize = 6;
const TXN: usize = 8;
const ID: usize = 16;
const RUN: usize = 20;
/// In a leaf or branch: how many bytes all its keys begin with alike, so that the heads in its slots leave them out.
pub(crate) const SKIP: usize = 22;
pub(crate) const EXTRA: usize = 24;
/// In a leaf or branch: bytes among the cells that no slot leads to.
pub(crate) const GARBAGE: usize = 28;
/// In a leaf: how many of its values stand outside.
pub(crate) const OUTSIDE_COUNT: usize = 30;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Keys and values.
    Leaf = 2,
    /// Keys and child pages.
    Branch = 3,
    /// One value too long for a leaf.
    Value = 4,
    /// Which pages of a zone are free.
    Zone = 5,
    /// Where the zones' pages are.
    Directory = 6,
}

impl Kind {
    pub(crate) fn of(run: &[u8]) -> Option<Self> {
        match run.get(KIND)? {
            2 => Some(Self::Leaf),
            3 => Some(Self::Branch),
            4 => Some(Self::Value),
            5 => Some(Self::Zone),
            6 => Some(Self::Directory),
            _ => None,
        }
    }
}

/// The commit that wrote the page.
pub(crate) fn txn_of(run: &[u8]) -> u64 {
    get_u64(run, TXN)
}

pub(crate) fn id_of(run: &[u8]) -> PageId {
    get_u32(run, ID)
}

/// How many pages belong together, this one the first.
pub(crate) fn run_of(run: &[u8]) -> u32 {
    u32::from(get_u16(run, RUN))
}

pub(crate) fn stored_checksum(run: &[u8]) -> u32 {
    get_u32(run, CHECKSUM)
}

/// The checksum that the run should hold. The seed stands for the file: a page of another file does not match.
pub(crate) fn checksum(seed: u32, run: &[u8]) -> u32 {
    crc32c::crc32c_append(seed, run.get(4..).unwrap_or_default())
}

pub(crate) fn seed(file_id: u64) -> u32 {
    crc32c::crc32c(&file_id.to_le_bytes())
}

/// Begins a run: an empty header of the given kind.
pub(crate) fn init(run: &mut [u8], kind: Kind, level: u8, count: u16, extra: u32) {
    run[..HEADER].fill(0);
    run[KIND] = kind as u8;
    run[LEVEL] = level;
    put_u16(run, COUNT, count);
    put_u32(run, EXTRA, extra);
}

/// Finishes a run for the disk and returns its checksum.
pub(crate) fn finish(run: &mut [u8], seed: u32, id: PageId, pages: u32, txn: u64) -> u32 {
    put_u64(run, TXN, txn);
    put_u32(run, ID, id);
    put_u16(run, RUN, small(pages as usize));
    let sum = checksum(seed, run);
    put_u32(run, CHECKSUM, sum);
    sum
}
