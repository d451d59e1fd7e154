//! A read-only memory map of a file.

use std::fmt;
use std::fs;
use std::io;
use std::ops::Deref;

use crate::mapped::Mapped;

/// The first bytes of a file, mapped read-only.
///
/// The bytes may change under a holder only where the file's one writer writes to ranges that no reader
/// uses, or writes the same bytes once more: the owner of the file format must keep that promise (copy-on-write pages do).
pub struct Map {
    // Before the map: its addresses are forgotten while they are still its own.
    _mapped: Mapped,
    map: memmap2::Mmap,
}

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
        // SAFETY: the bytes of a slice of the map must not change, nor go, while the slice is borrowed. Nothing here can
        // enforce that; it is a promise of those who call [`crate::File::map`], the storage engine alone:
        // - Other processes: the file is held under an exclusive lock, which all programs of ours take before they write.
        // - Change: the engine's one writer writes only to pages that no snapshot can reach, and whoever looks at the
        //   map reaches pages through a snapshot. There is one exception: opening a file writes the runs of its last
        //   commit once more, straight out of the map that it borrows them from. Each byte is written over by itself, so
        //   that a reader of the map sees the same whether the write came before, after or in the middle.
        // - Length: the engine cuts the file only where no living map reaches. A file that another program cuts, or a
        //   disk that cannot read a page, is a SIGBUS: the process ends (see `sigbus`), and no wrong byte is seen.
        let map = unsafe { memmap2::MmapOptions::new().len(len).map(file)? };
        Ok(Self { _mapped: Mapped::new(&map), map })
    }
}

impl Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map
    }
}

impl fmt::Debug for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map").field("len", &self.map.len()).finish()
    }
}
