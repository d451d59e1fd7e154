//! How much room there is on the data directory's file system, and whether what needs more of it is taken.
//!
//! Room is bytes and, on most file systems, inodes: a log that cannot make its next file ends the process, however many bytes are free.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use conure_io::Space;
use conure_wal::SEGMENT_BYTES_MAX;

use crate::facade::{Refusal, Tuning};

/// What a put of so many bytes may take on the disk at most: the log's record, and the pages on its way in the tree.
const COST_FACTOR: i64 = 4;
const COST_MIN: i64 = 32 << 10;

/// The share of a file system that stays free, within the bounds below: a checkpoint and the writes under way need no more on a large
/// disk than on a medium one.
const RESERVE_PERCENT: u64 = 5;
const RESERVE_MIN: u64 = 64 << 20;
const RESERVE_MAX: u64 = 2 << 30;
/// The reserve is never more than this fraction of a file system, or a small volume would hold no data.
const RESERVE_PARTS_MAX: u64 = 4;

/// One that was set may be half of a file system: with more, no deleting would ever make room for a put.
const RESERVE_PARTS_SET_MAX: u64 = 2;

/// So many more files can be made, or no puts are taken: the log, a snapshot and another program's need a few at a time. Never more
/// than a quarter of all that there can be.
const FILES_RESERVE: u64 = 64;

const SEGMENT_BYTES_SMALL: u32 = 8 << 20;

/// Watches one file system. Short of room from the moment on that less than the reserve is free, until a quarter more
/// than the reserve is.
#[derive(Debug)]
pub(crate) struct Room {
    dir: PathBuf,
    /// The reserve, if one was set.
    reserve: Option<u64>,
    /// What puts may still take before the file system is asked again.
    budget: AtomicI64,
    short: AtomicBool,
    free: AtomicU64,
    total: AtomicU64,
    free_files: AtomicU64,
    total_files: AtomicU64,
}

/// Pure: what must be free of that reserve, given whether there was too little.
fn needed(was_short: bool, reserve: u64) -> u64 {
    if was_short { reserve.saturating_add(reserve / 4) } else { reserve }
}

/// Pure: how many files must be free; 0 where there is no limit.
fn files_reserve(total_files: u64) -> u64 {
    FILES_RESERVE.min(total_files / RESERVE_PARTS_MAX)
}

/// Pure: whether there is too little room, given whether there was.
fn is_short(was_short: bool, space: Space, reserve: u64) -> bool {
    let files = needed(was_short, files_reserve(space.total_files));
    space.free_bytes < needed(was_short, reserve) || space.free_files < files
}

/// Pure: the reserve of a file system of that size, unless one was set.
fn usual_reserve(total_bytes: u64) -> u64 {
    let part = total_bytes / 100 * RESERVE_PERCENT;
    part.clamp(RESERVE_MIN, RESERVE_MAX).min(total_bytes / RESERVE_PARTS_MAX)
}

/// Why a reserve that was set suits no file system as large as that of `dir`, and what to do.
pub(crate) fn refuse_reserve(dir: &Path, reserve: Option<u64>) -> Result<(), String> {
    // Where nothing can be known of the file system, whoever writes will hear what is wrong.
    let (Some(reserve), Ok(space)) = (reserve, Space::at(dir)) else { return Ok(()) };
    let most = space.total_bytes / RESERVE_PARTS_SET_MAX;
    if reserve <= most {
        return Ok(());
    }
    Err(format!(
        "disk_reserve \"{}MiB\" is more than half of the file system of data_dir {:?}, which has {} MiB, so that no put would \
         ever be taken; give --disk-reserve={}MiB or less, or a larger file system",
        reserve >> 20,
        dir.display().to_string(),
        space.total_bytes >> 20,
        most >> 20
    ))
}

/// How large the log's files may grow in `dir`. They are removed only as a whole, so on a small file system they are small, but no less
/// than twice the largest entry.
pub(crate) fn segment_bytes(dir: &Path) -> u32 {
    Space::at(dir).map_or(SEGMENT_BYTES_MAX, |space| segment_bytes_of(space.total_bytes))
}

fn segment_bytes_of(total_bytes: u64) -> u32 {
    u32::try_from(total_bytes / 8).unwrap_or(u32::MAX).clamp(SEGMENT_BYTES_SMALL, SEGMENT_BYTES_MAX)
}

impl Room {
    pub(crate) fn new(dir: &Path, tuning: &Tuning) -> Self {
        let room = Self {
            dir: dir.to_owned(),
            reserve: tuning.disk_reserve,
            budget: AtomicI64::new(0),
            short: AtomicBool::new(false),
            free: AtomicU64::new(0),
            total: AtomicU64::new(0),
            free_files: AtomicU64::new(0),
            total_files: AtomicU64::new(0),
        };
        room.look();
        room
    }

    fn reserve_of(&self, total_bytes: u64) -> u64 {
        self.reserve.unwrap_or_else(|| usual_reserve(total_bytes))
    }

    /// Asks the file system; whether there is too little room.
    pub(crate) fn look(&self) -> bool {
        let Ok(space) = Space::at(&self.dir) else {
            // Nothing is known: whoever writes will hear what is wrong.
            self.budget.store(i64::MAX, Ordering::Relaxed);
            return false;
        };
        let reserve = self.reserve_of(space.total_bytes);
        self.free.store(space.free_bytes, Ordering::Relaxed);
        self.total.store(space.total_bytes, Ordering::Relaxed);
        self.free_files.store(space.free_files, Ordering::Relaxed);
        self.total_files.store(space.total_files, Ordering::Relaxed);
        let left = i64::try_from(space.free_bytes.saturating_sub(reserve)).unwrap_or(i64::MAX);
        self.budget.store(left, Ordering::Relaxed);
        let was = self.short.load(Ordering::Relaxed);
        let short = is_short(was, space, reserve);
        if short != was && self.short.swap(short, Ordering::Relaxed) != short {
            let (dir, free_bytes, free_inodes) = (self.dir.display(), space.free_bytes, space.free_files);
            if short {
                tracing::warn!(%dir, free_bytes, reserve_bytes = reserve, free_inodes, "the disk is nearly full: as a leader this member takes no puts");
            } else {
                tracing::info!(%dir, free_bytes, reserve_bytes = reserve, free_inodes, "the disk has room again");
            }
        }
        short
    }

    /// Whether there was too little room when it was last looked at.
    pub(crate) fn is_short(&self) -> bool {
        self.short.load(Ordering::Relaxed)
    }

    /// Lets a put of so many bytes through, or not.
    pub(crate) fn admit(&self, weight: usize) -> Result<(), Refusal> {
        let cost =
            i64::try_from(weight).unwrap_or(i64::MAX).saturating_mul(COST_FACTOR).saturating_add(COST_MIN);
        let enough = self.budget.fetch_sub(cost, Ordering::Relaxed) >= cost;
        if enough && !self.is_short() {
            return Ok(());
        }
        // What is there may be more than was reckoned, or come back meanwhile.
        if self.look() { Err(self.refusal()) } else { Ok(()) }
    }

    /// What a put is told while there is too little room.
    pub(crate) fn refusal(&self) -> Refusal {
        let (free_bytes, needed_bytes) = (self.free_bytes(), self.needed_bytes());
        let (free_inodes, needed_inodes) = (self.free_files(), self.needed_files());
        if free_bytes >= needed_bytes && free_inodes < needed_inodes {
            return Refusal::InodesFull { free_inodes, needed_inodes };
        }
        Refusal::DiskFull { free_bytes, needed_bytes }
    }

    /// What was free.
    pub(crate) fn free_bytes(&self) -> u64 {
        self.free.load(Ordering::Relaxed)
    }

    /// What there is in all.
    pub(crate) fn total_bytes(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// What must be free for puts to be taken.
    pub(crate) fn needed_bytes(&self) -> u64 {
        needed(self.is_short(), self.reserve_of(self.total_bytes()))
    }

    /// How many more files could be made.
    pub(crate) fn free_files(&self) -> u64 {
        self.free_files.load(Ordering::Relaxed)
    }

    /// How many that must be for puts to be taken; 0 where there is no limit.
    pub(crate) fn needed_files(&self) -> u64 {
        needed(self.is_short(), files_reserve(self.total_files.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_that_ran_short_comes_back_with_a_quarter_more() {
        let at = |free_bytes| Space { free_bytes, total_bytes: 10_000, free_files: 0, total_files: 0 };
        let mut short = false;
        for (free, wanted) in
            [(500, false), (399, true), (400, true), (499, true), (500, false), (400, false)]
        {
            short = is_short(short, at(free), 400);
            assert_eq!(short, wanted, "{free}");
        }
    }

    #[test]
    fn inodes_run_short_where_there_is_a_limit_to_them() {
        let at = |free_files, total_files| Space {
            free_bytes: 9_000,
            total_bytes: 10_000,
            free_files,
            total_files,
        };
        for (free, total, was_short, wanted) in [
            (0, 0, false, false),
            (0, 0, true, false),
            (63, 1 << 20, false, true),
            (64, 1 << 20, false, false),
            (79, 1 << 20, true, true),
            (80, 1 << 20, true, false),
            (5, 20, false, false),
            (4, 20, false, true),
        ] {
            assert_eq!(is_short(was_short, at(free, total), 400), wanted, "{free} of {total}");
        }
    }

    #[test]
    fn a_reserve_of_more_than_half_of_the_file_system_is_refused() {
        let here = tempfile::tempdir().unwrap();
        let total = Space::at(here.path()).unwrap().total_bytes;
        for fits in [None, Some(0), Some(total / 2)] {
            assert_eq!(refuse_reserve(here.path(), fits), Ok(()));
        }
        let refused = refuse_reserve(here.path(), Some(total / 2 + 1)).unwrap_err();
        assert!(refused.contains(&format!("--disk-reserve={}MiB", total >> 21)), "{refused}");
    }

    #[test]
    fn the_reserve_suits_the_file_system() {
        const MIB: u64 = 1 << 20;
        for (total, reserve) in [
            (0, 0),
            (64 * MIB, 16 * MIB),
            (128 * MIB, 32 * MIB),
            (256 * MIB, 64 * MIB),
            (1 << 30, 64 * MIB),
            (10 << 30, (10 << 30) / 100 * 5),
            (40 << 30, (40 << 30) / 100 * 5),
            (41 << 30, 2 << 30),
            (270 << 30, 2 << 30),
            (10 << 40, 2 << 30),
        ] {
            assert_eq!(usual_reserve(total), reserve, "{total}");
        }
    }

    #[test]
    fn small_file_systems_get_small_log_files() {
        for (total, segment) in
            [(0, 8_u32 << 20), (64 << 20, 8 << 20), (256 << 20, 32 << 20), (1 << 40, 64 << 20)]
        {
            assert_eq!(segment_bytes_of(total), segment, "{total}");
        }
    }

    #[test]
    fn a_reserve_that_was_asked_for_counts_and_a_spent_budget_is_looked_up() {
        let here = tempfile::tempdir().unwrap();
        let reserve =
            |bytes| Room::new(here.path(), &Tuning { disk_reserve: Some(bytes), ..Tuning::default() });
        assert_eq!(reserve(3 << 30).reserve_of(1 << 20), 3 << 30);
        let plenty = reserve(0);
        assert!(!plenty.is_short() && plenty.total_bytes() >= plenty.free_bytes());
        plenty.budget.store(1, Ordering::Relaxed);
        assert!(plenty.admit(4 << 20).is_ok(), "there is room whatever was reckoned");
        let none = reserve(u64::MAX);
        assert!(none.is_short());
        assert!(matches!(none.admit(1), Err(Refusal::DiskFull { .. })));
    }
}
