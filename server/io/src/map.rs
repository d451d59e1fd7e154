//! A read-only memory map of a file.

use std::fmt;
use std::fs;
use std::io;
use std::ops::Deref;

/// The first bytes of a file, mapped read-only.
///
/// The bytes may change under a holder only where the file's one writer writes to ranges that no reader
/// uses: the owner of the file format must keep that promise (copy-on-write pages do).
pub struct Map(memmap2::Mmap);

impl Map {
    /// Maps the first `len` bytes of `file`, which must be at least that long.
    #[allow(unsafe_code, reason = "mapping a file is unsafe by nature; the argument stands at the block")]
    pub(crate) fn new(file: &fs::File, len: usize) -> io::Result<Self> {
        if file.metadata()?.len() < len as u64 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the file is shorter than the map asked for",
            ));
        }
        // SAFETY: the file is held under an exclusive lock, is never cut below a living map, and its writer
        // only writes ranges that no reader looks at. A fault of the disk under the map is a SIGBUS: a crash.
        let map = unsafe { memmap2::MmapOptions::new().len(len).map(file)? };
        Ok(Self(map))
    }
}

impl Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map").field("len", &self.0.len()).finish()
    }
}
