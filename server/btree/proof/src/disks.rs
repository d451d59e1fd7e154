//! The database file as bytes, in and out of a simulated disk.

use std::io;

use conure_io::{Disk, OpenMode, SimDisk};

use crate::NAME;

/// The bytes of the database file.
///
/// # Errors
///
/// There is none.
pub fn bytes_of(disk: &SimDisk) -> io::Result<Vec<u8>> {
    let file = disk.open(NAME, OpenMode::Read)?;
    let mut bytes = vec![0; usize::try_from(file.len()?).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// A disk with these bytes as its database file.
///
/// # Errors
///
/// The system has no memory for it.
pub fn disk_with(bytes: &[u8]) -> io::Result<SimDisk> {
    let disk = SimDisk::new();
    disk.open(NAME, OpenMode::CreateNew)?.write_all_at(bytes, 0)?;
    Ok(disk)
}
