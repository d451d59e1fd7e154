//! Faults that a simulated disk meets when told to.

use std::io;

use super::crash::SECTOR;
use crate::Unreadable;

#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) read_in: Option<u64>,
    pub(super) write_in: Option<u64>,
    pub(super) sync_in: Option<u64>,
    pub(super) cut_in: Option<u64>,
    pub(super) dir_sync_in: Option<u64>,
    pub(super) room: Option<u64>,
}

/// Counts down; true when the time has come, which it does once.
fn due(counter: &mut Option<u64>) -> bool {
    match counter {
        None => false,
        Some(0) => {
            *counter = None;
            true
        }
        Some(n) => {
            *n -= 1;
            false
        }
    }
}

fn input_output_error() -> io::Error {
    io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error())
}

fn fail_if(due: bool) -> io::Result<()> {
    if due { Err(input_output_error()) } else { Ok(()) }
}

fn no_space() -> io::Error {
    io::Error::from_raw_os_error(rustix::io::Errno::NOSPC.raw_os_error())
}

impl Faults {
    /// How many of the `len` bytes from `offset` on a write gets onto the disk, and what it answers. Files are cached in
    /// pages, so that one that fails ends where a sector does.
    pub(super) fn on_write(
        &mut self,
        offset: u64,
        len: usize,
        growth: u64,
        total: u64,
    ) -> (usize, io::Result<()>) {
        let whole_sectors = |len: usize| {
            let end = (offset + len as u64) / SECTOR * SECTOR;
            usize::try_from(end.saturating_sub(offset)).unwrap_or(0)
        };
        if due(&mut self.write_in) {
            return (whole_sectors(len / 2), Err(input_output_error()));
        }
        if let Err(error) = self.on_growth(growth, total) {
            // A full disk takes what still fits.
            let excess = self.room.map_or(0, |room| (total + growth).saturating_sub(room));
            let excess = usize::try_from(excess).unwrap_or(usize::MAX);
            return (whole_sectors(len.saturating_sub(excess)), Err(error));
        }
        (len, Ok(()))
    }

    pub(super) fn on_growth(&self, growth: u64, total: u64) -> io::Result<()> {
        match self.room {
            Some(room) if growth > 0 && total + growth > room => Err(no_space()),
            _ => Ok(()),
        }
    }

    pub(super) fn on_read(&mut self) -> io::Result<()> {
        fail_if(due(&mut self.read_in)).map_err(Unreadable::of_read)
    }

    pub(super) fn on_sync(&mut self) -> io::Result<()> {
        fail_if(due(&mut self.sync_in))
    }

    pub(super) fn on_cut(&mut self) -> io::Result<()> {
        fail_if(due(&mut self.cut_in))
    }

    pub(super) fn on_dir_sync(&mut self) -> io::Result<()> {
        fail_if(due(&mut self.dir_sync_in))
    }
}
