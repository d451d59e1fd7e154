//! What a caller may choose.

use crate::Error;

/// The longest step that may be asked for, so that a length and a step never overflow.
const GROWTH_BYTES_MAX: u64 = 1 << 40;

/// How a database file is made and grows. The page size counts only when the file is made.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// Bytes in a page: a power of two from 512 to 32,768. Default 4,096.
    pub page_size_bytes: u32,
    /// The file grows by an eighth of its length, but at least by this many bytes: 1 TiB at most. Default 1 MiB.
    pub growth_bytes_min: u64,
    /// Puts are refused with [`Error::Full`] when the file would become longer than this; deletes may go beyond
    /// it by the few pages that they need. The first write transaction then reads which pages are free, of the whole
    /// file. Default none.
    pub file_bytes_max: Option<u64>,
    /// A write transaction keeps about this many bytes of changed pages in memory before it writes them ahead
    /// of its commit. A transaction that changes more than that in random order becomes much slower, because it writes
    /// pages again and again. Small transactions need little, whatever this says. Default 512 MiB.
    pub dirty_bytes_max: usize,
    /// A bug to have.
    #[cfg(feature = "planted-bugs")]
    #[doc(hidden)]
    pub planted: Option<crate::Planted>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            page_size_bytes: 4096,
            growth_bytes_min: 1 << 20,
            file_bytes_max: None,
            dirty_bytes_max: 512 << 20,
            #[cfg(feature = "planted-bugs")]
            planted: None,
        }
    }
}

impl Options {
    pub(crate) fn check(&self) -> Result<(), Error> {
        if !(512..=32_768).contains(&self.page_size_bytes) || !self.page_size_bytes.is_power_of_two() {
            return Err(Error::BadOption("page_size_bytes must be a power of two from 512 to 32768"));
        }
        if self.growth_bytes_min > GROWTH_BYTES_MAX {
            return Err(Error::BadOption("growth_bytes_min must be 1 TiB (2^40) at most"));
        }
        Ok(())
    }
}

/// What a commit promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// When commit returned, no crash can lose this commit or any before it. Costs one fdatasync, or two when more
    /// pages changed since the last durable commit than its meta page can list (about 420 with pages of 4 KiB).
    Durable,
    /// New readers see it at once; a crash may lose it together with all commits since the last durable one, and
    /// then the database is exactly as that one left it. Costs no sync.
    Eventual,
}
