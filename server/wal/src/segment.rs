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
        Ok((Self { number: header.segment, file, index_max: None, bytes }, crc))
    }

    pub(crate) fn name(&self) -> String {
        segment_name(self.number)
    }
}
