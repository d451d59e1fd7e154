//! One segment file as the log holds it open.

use std::fmt;
use std::sync::Arc;

use conure_io::{Disk, File, OpenMode};

use crate::Error;
use crate::format::{SegmentHeader, segment_name};

/// A segment file.
#[derive(Clone)]
pub(crate) struct Segment {
    pub(crate) number: u32,
    pub(crate) file: Arc<dyn File>,
    /// The largest index of any entry ever written to it.
    pub(crate) index_max: Option<u64>,
    pub(crate) bytes: u32,
    /// How long the file is: behind `bytes` it has room on the disk, and zeros.
    pub(crate) allocated: u32,
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segment")
            .field("number", &self.number)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl Segment {
    /// Makes the file, its header and its name durable. Gives the header's checksum too.
    pub(crate) fn create(disk: &dyn Disk, header: &SegmentHeader) -> Result<(Self, u32), Error> {
        let name = segment_name(header.segment);
        let (bytes, crc) = header.encode();
        let file = disk.open(&name, OpenMode::CreateNew).map_err(Error::io("creating the file", &name))?;
        file.write_all_at(&bytes, 0).map_err(Error::io("writing", &name))?;
        file.sync_data().map_err(Error::io("syncing", &name))?;
        disk.sync_dir().map_err(Error::io("syncing the directory", &name))?;
        let bytes = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        Ok((Self { number: header.segment, file, index_max: None, bytes, allocated: bytes }, crc))
    }

    /// Sees to it that the file reaches `end`, and a step beyond it while it is at it: a sync after a write that makes the
    /// file longer has to write the file system's journal too, which takes about as long again.
    pub(crate) fn reserve(&mut self, end: u32, step: u32, max: u32) -> Result<(), Error> {
        if end <= self.allocated {
            return Ok(());
        }
        let wanted = end.saturating_add(step).min(max.max(end));
        match self.file.allocate(wanted.into()) {
            Ok(()) => self.allocated = wanted,
            // The write itself may fit yet; where it does not, it says so.
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => {}
            Err(error) => return Err(Error::io("allocating room for", self.name())(error)),
        }
        Ok(())
    }

    /// Gives back the room behind `bytes`. Durable with the next sync; until then there are zeros.
    pub(crate) fn trim(&mut self) -> Result<(), Error> {
        if self.allocated > self.bytes {
            self.file.set_len(self.bytes.into()).map_err(Error::io("cutting", self.name()))?;
            self.allocated = self.bytes;
        }
        Ok(())
    }

    pub(crate) fn name(&self) -> String {
        segment_name(self.number)
    }
}
