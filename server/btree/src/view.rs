//! The file through its map: pages are verified when their content is trusted for the first time.

use std::sync::atomic::{AtomicU64, Ordering};

use conure_io::{File, Map};

use crate::Error;
use crate::bytes::{get_u32, index, word};
use crate::node::Node;
use crate::page::{self, EXTRA, FIRST_PAGE, HEADER, Kind, PageId};

/// A map of the file as long as it was when the map was made. A longer file gets another view; readers keep theirs.
#[derive(Debug)]
pub(crate) struct View {
    map: Map,
    pages: u32,
    page_size: usize,
    seed: u32,
    /// A bit for each page at which a run begins that has been verified, or written by us, since the file was opened.
    verified: Box<[AtomicU64]>,
}

impl View {
    pub(crate) fn new(file: &dyn File, file_len: u64, page_size: usize, seed: u32) -> Result<Self, Error> {
        let pages = index(file_len) / page_size;
        let map = file.map(pages * page_size).map_err(Error::io("map the database file"))?;
        let verified = (0..pages.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Ok(Self { map, pages: word(pages), page_size, seed, verified })
    }

    /// The same file with a map of another length.
    pub(crate) fn resized(&self, file: &dyn File, file_len: u64) -> Result<Self, Error> {
        let longer = Self::new(file, file_len, self.page_size, self.seed)?;
        for (new, old) in longer.verified.iter().zip(&self.verified) {
            new.store(old.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        Ok(longer)
    }

    pub(crate) fn pages(&self) -> u32 {
        self.pages
    }

    pub(crate) fn page_size(&self) -> usize {
        self.page_size
    }

    /// How many runs were verified.
    #[cfg(test)]
    pub(crate) fn verified_runs(&self) -> u32 {
        self.verified.iter().map(|word| word.load(Ordering::Relaxed).count_ones()).sum()
    }

    fn is_verified(&self, id: PageId) -> bool {
        let word = self.verified.get(id as usize / 64);
        // The bit says only that the bytes under it will not change while somebody may look at them.
        word.is_some_and(|word| word.load(Ordering::Acquire) & (1 << (id % 64)) != 0)
    }

    /// Says that the run's content is what this process wrote: it is not read back, so that a disk that changes it is found
    /// out by [`crate::Db::check`] or after the file was opened again, and by no reader before.
    pub(crate) fn trust(&self, id: PageId, pages: u32) {
        self.distrust(id, pages);
        if let Some(word) = self.verified.get(id as usize / 64) {
            word.fetch_or(1 << (id % 64), Ordering::Release);
        }
    }

    /// Forgets what is known of these pages: they are about to become something else.
    pub(crate) fn distrust(&self, id: PageId, pages: u32) {
        for page in id..id.saturating_add(pages) {
            if let Some(word) = self.verified.get(page as usize / 64) {
                word.fetch_and(!(1 << (page % 64)), Ordering::Release);
            }
        }
    }

    /// The pages of the run that begins at `id`, as the header says, whatever they hold.
    fn raw(&self, id: PageId) -> Result<&[u8], Error> {
        let out_of_file =
            |what: &str| Error::corrupt(id, format!("{what} of a file of {} pages", self.pages));
        if id < FIRST_PAGE || id >= self.pages {
            return Err(out_of_file("a reference leads out"));
        }
        let start = id as usize * self.page_size;
        let pages = page::run_of(&self.map[start..start + HEADER]) as usize;
        if pages == 0 || pages > (self.pages - id) as usize {
            return Err(out_of_file("the page says that its run reaches out"));
        }
        Ok(&self.map[start..start + pages * self.page_size])
    }

    /// The run that begins at `id`, verified.
    pub(crate) fn run(&self, id: PageId) -> Result<&[u8], Error> {
        let run = self.raw(id)?;
        if !self.is_verified(id) {
            self.verify(id, run)?;
            if let Some(word) = self.verified.get(id as usize / 64) {
                word.fetch_or(1 << (id % 64), Ordering::Release);
            }
        }
        Ok(run)
    }

    /// The run that begins at `id`, verified again.
    pub(crate) fn run_anew(&self, id: PageId) -> Result<&[u8], Error> {
        let run = self.raw(id)?;
        self.verify(id, run)?;
        Ok(run)
    }

    fn verify(&self, id: PageId, run: &[u8]) -> Result<(), Error> {
        if page::checksum(self.seed, run) != page::stored_checksum(run) {
            return Err(Error::corrupt(id, "its checksum does not match"));
        }
        if page::id_of(run) != id {
            return Err(Error::corrupt(id, format!("it says that it is page {}", page::id_of(run))));
        }
        let single = run.len() == self.page_size;
        let sound = match Kind::of(run) {
            Some(Kind::Leaf | Kind::Branch) => Node::validate(run),
            Some(Kind::Value) if get_u32(run, EXTRA) as usize > run.len() - HEADER => {
                Err("its value is longer than it")
            }
            Some(Kind::Zone | Kind::Directory) if !single => Err("it is longer than a page"),
            Some(_) => Ok(()),
            None => Err("its kind is unknown"),
        };
        sound.map_err(|reason| Error::corrupt(id, reason))
    }

    /// Whether the run at `id` is there whole and has this checksum: whether a commit's page reached the disk.
    pub(crate) fn holds(&self, id: PageId, checksum: u32) -> bool {
        self.run(id).is_ok_and(|run| page::stored_checksum(run) == checksum)
    }
}

/// Where trees are read from: the map, or the map under the changes of a transaction.
pub(crate) trait Source {
    /// The verified run that begins at `id`.
    fn run(&self, id: PageId) -> Result<&[u8], Error>;

    /// The newest commit that pages may come from.
    fn txn(&self) -> u64;

    /// Refuses callers where what is read may be a change that was left half done.
    fn check_readable(&self) -> Result<(), Error> {
        Ok(())
    }

    /// The node at `id`, which must be of that level. Levels fall on the way down, so that no file can send a
    /// reader in circles.
    fn node(&self, id: PageId, level: u8) -> Result<Node<'_>, Error> {
        let run = self.run(id)?;
        let node = Node::new(run);
        if node.level() != level || !matches!(Kind::of(run), Some(Kind::Leaf | Kind::Branch)) {
            return Err(Error::corrupt(
                id,
                format!("it is not the node of level {level} that its parent says"),
            ));
        }
        if page::txn_of(run) > self.txn() {
            return Err(Error::corrupt(id, "it is younger than the commit that leads to it"));
        }
        Ok(node)
    }

    /// The value that stands on pages of its own.
    fn value(&self, id: PageId, len: u32) -> Result<&[u8], Error> {
        let run = self.run(id)?;
        if Kind::of(run) != Some(Kind::Value) || get_u32(run, EXTRA) != len {
            return Err(Error::corrupt(id, "it is not the value that its leaf says"));
        }
        if page::txn_of(run) > self.txn() {
            return Err(Error::corrupt(id, "it is younger than the commit that leads to it"));
        }
        run.get(HEADER..HEADER + len as usize).ok_or_else(|| Error::corrupt(id, "its value is cut short"))
    }
}
