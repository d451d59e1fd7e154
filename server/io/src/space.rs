//! How much room a file system has.

use std::io;
use std::path::Path;

/// The room on a file system, for a user without privileges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes that can still be written.
    pub free_bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
    /// Files (inodes) that can still be made, where there is a limit to them.
    pub free_files: u64,
    /// Files in all; 0 where the file system makes room for them as they come.
    pub total_files: u64,
}

impl Space {
    /// The room where `path` is.
    pub fn at(path: &Path) -> io::Result<Self> {
        let stat = rustix::fs::statvfs(path)?;
        Ok(Self {
            free_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
            total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
            free_files: stat.f_favail,
            total_files: stat.f_files,
        })
    }
}
