//! A data directory that nothing can change, although whoever opens it writes.
//!
//! Opening the tree writes the last commit once more, the same bytes, and after a crash a meta page, and syncs. Here
//! nothing of that is done but in memory, so that looking at a directory leaves it as it was, a read-only file system is no
//! obstacle, and damage can be looked at twice.
//!
//! **Invariant:** no file is opened for writing.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use conure_io::{Disk, File, Map, OpenMode, RealDisk};

/// A directory of the file system, for looking only.
#[derive(Debug)]
pub(crate) struct ReadOnlyDisk(RealDisk);

impl ReadOnlyDisk {
    /// The directory `path`, which must be there.
    pub(crate) fn new(path: &Path) -> io::Result<Self> {
        if !path.metadata()?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        RealDisk::new(path).map(Self)
    }
}

fn refused() -> io::Error {
    io::ErrorKind::ReadOnlyFilesystem.into()
}

impl Disk for ReadOnlyDisk {
    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        match mode {
            OpenMode::Read | OpenMode::Existing => {
                let file = self.0.open(name, OpenMode::Read)?;
                Ok(Arc::new(ReadOnlyFile { file, written: Mutex::default() }))
            }
            OpenMode::CreateNew => Err(refused()),
        }
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }

    fn remove(&self, _name: &str) -> io::Result<()> {
        Err(refused())
    }

    fn rename(&self, _from: &str, _to: &str) -> io::Result<()> {
        Err(refused())
    }

    /// Nothing was changed that could be made durable.
    fn sync_dir(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A file and what was written over it in memory. Its map shows the file alone: the tree never looks at its meta pages,
/// which are all that opening and closing it change, through the map.
#[derive(Debug)]
struct ReadOnlyFile {
    file: Arc<dyn File>,
    /// The writes that change something, in their order. Opening and closing a tree change a page each.
    written: Mutex<Vec<(u64, Vec<u8>)>>,
}

impl File for ReadOnlyFile {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)?;
        let end = offset + buf.len() as u64;
        for (at, bytes) in self.written.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let (from, to) = (offset.max(*at), end.min(at + bytes.len() as u64));
            let part = |from: u64, to: u64, base: u64| {
                Some(
                    usize::try_from(from.checked_sub(base)?).ok()?
                        ..usize::try_from(to.checked_sub(base)?).ok()?,
                )
            };
            if from < to
                && let (Some(into), Some(out)) = (part(from, to, offset), part(from, to, *at))
                && let (Some(into), Some(out)) = (buf.get_mut(into), bytes.get(out))
            {
                into.copy_from_slice(out);
            }
        }
        Ok(())
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        if offset + buf.len() as u64 > self.file.len()? {
            return Err(refused());
        }
        let mut there = vec![0; buf.len()];
        self.read_exact_at(&mut there, offset)?;
        if there == buf {
            return Ok(());
        }
        self.written.lock().unwrap_or_else(PoisonError::into_inner).push((offset, buf.to_vec()));
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if len == self.file.len()? { Ok(()) } else { Err(refused()) }
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn try_lock(&self) -> io::Result<()> {
        self.file.try_lock()
    }

    fn map(&self, len: usize) -> io::Result<Map> {
        self.file.map(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_are_read_back_and_never_reach_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, [7; 100]).unwrap();
        let disk = ReadOnlyDisk::new(dir.path()).unwrap();
        let file = disk.open("file", OpenMode::Existing).unwrap();
        file.write_all_at(&[1; 20], 10).unwrap();
        file.write_all_at(&[2; 5], 25).unwrap();
        file.sync_data().unwrap();
        let mut seen = [0; 40];
        file.read_exact_at(&mut seen, 5).unwrap();
        let wanted = [vec![7; 5], vec![1; 15], vec![2; 5], vec![7; 15]].concat();
        assert_eq!(seen.to_vec(), wanted);
        file.write_all_at(&[7; 50], 50).unwrap();
        file.set_len(100).unwrap();
        assert!(file.write_all_at(&[1], 100).is_err() && file.set_len(1).is_err());
        assert!(disk.open("new", OpenMode::CreateNew).is_err() && disk.remove("file").is_err());
        drop(file);
        assert_eq!(std::fs::read(&path).unwrap(), [7; 100]);
        assert_eq!(disk.list().unwrap(), ["file"]);
    }

    #[test]
    fn a_directory_that_is_not_there_is_not_made() {
        let dir = tempfile::tempdir().unwrap();
        assert!(ReadOnlyDisk::new(&dir.path().join("none")).is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
