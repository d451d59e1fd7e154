//! The machine that the process runs on.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use conure_io::{Disk, OpenMode, RealDisk};
use conure_wal::{Floor, Options, Wal};
pub(crate) use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
pub(crate) use tokio::task::spawn_blocking;

use super::names::NAMES;
pub(crate) use super::worker::Worker;
use crate::failure::Fault;

/// The directory `path`, made where it is not there.
pub(crate) fn directory(path: &Path) -> io::Result<Arc<dyn Disk>> {
    Ok(Arc::new(RealDisk::new(path)?))
}

/// What is in the way of a directory `path`, which may be made where nothing is, and what to do about it. The system calls
/// all of these "File exists" or "Not a directory".
pub(crate) fn in_the_way(path: &Path) -> Option<(String, String)> {
    // A slash at the end would have the system look through a link, or for a directory.
    let path: PathBuf = path.components().collect();
    let (at, found) = path.ancestors().find_map(|at| Some((at, std::fs::symlink_metadata(at).ok()?)))?;
    let which =
        if at == path { String::new() } else { format!("cannot be made: {:?} ", at.display().to_string()) };
    match std::fs::metadata(at) {
        Ok(found) if found.is_dir() => None,
        Ok(_) => Some((format!("{which}is a file, not a directory"), "name a directory".to_owned())),
        Err(error) if found.is_symlink() && error.kind() == io::ErrorKind::NotFound => {
            let target = std::fs::read_link(at).unwrap_or_default().display().to_string();
            Some((
                format!("{which}is a symbolic link to {target:?}, which is not there"),
                "make that directory, mount its volume, or name another one".to_owned(),
            ))
        }
        Err(_) => None,
    }
}

/// The directory `path`, which is looked at and not made.
pub(crate) fn present_directory(path: &Path) -> Arc<dyn Disk> {
    Arc::new(RealDisk::present(path))
}

/// A file by its identity, which its path may lose.
#[derive(Debug)]
pub(crate) struct Held {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Held {
    /// The file that is at `path` now.
    pub(crate) fn at(path: PathBuf) -> io::Result<Self> {
        let found = std::fs::metadata(&path)?;
        Ok(Self { path, device: found.dev(), inode: found.ino() })
    }

    /// Whether its path leads to something else now, or to nothing. A path that cannot be looked at is not known to.
    pub(crate) fn is_gone(&self) -> bool {
        match std::fs::metadata(&self.path) {
            Ok(found) => (found.dev(), found.ino()) != (self.device, self.inode),
            Err(error) => matches!(
                error.kind(),
                io::ErrorKind::NotFound
                    | io::ErrorKind::NotADirectory
                    | io::ErrorKind::StaleNetworkFileHandle
            ),
        }
    }
}

/// A file that is made and removed again, to see whether that can be done.
const TRIAL_FILE: &str = "trial.unfinished";

/// Tries what a member does to the files and folders of its data directory `dir`, of which `files` and `folders` may be absent.
/// A member that cannot make its next log file would end in the midst of its work. The error is what was tried on which path.
pub(crate) fn try_out(dir: &Path, files: &[&str], folders: &[&str]) -> Result<(), (PathBuf, io::Error)> {
    let folders: Vec<PathBuf> =
        folders.iter().map(|name| dir.join(name)).filter(|path| path.exists()).collect();
    let mut present: Vec<PathBuf> =
        files.iter().map(|name| dir.join(name)).filter(|path| path.exists()).collect();
    for folder in &folders {
        let names = RealDisk::present(folder).list().map_err(|error| (folder.clone(), error))?;
        present.extend(names.into_iter().map(|name| folder.join(name)));
    }
    for path in present {
        let opened = std::fs::File::options().read(true).write(true).open(&path);
        opened.map_err(|error| (path, error))?;
    }
    for folder in std::iter::once(dir).chain(folders.iter().map(PathBuf::as_path)) {
        match try_folder(&RealDisk::present(folder)) {
            // A member on a full disk serves reads and deletes.
            Err(error)
                if !matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) =>
            {
                return Err((folder.to_owned(), error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn try_folder(disk: &RealDisk) -> io::Result<()> {
    let file = match disk.open(TRIAL_FILE, OpenMode::CreateNew) {
        // Left by a process that ended just then.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            disk.open(TRIAL_FILE, OpenMode::Existing)
        }
        opened => opened,
    }?;
    let tried = file.write_all_at(b"trial", 0).and_then(|()| file.sync_data());
    disk.remove(TRIAL_FILE)?;
    tried.and_then(|()| disk.sync_dir())
}

/// Whether there is a file or directory `path`.
pub(crate) fn exists(path: &Path) -> bool {
    path.exists()
}

/// Opens the log in the directory `path`.
pub(crate) fn open_log(path: &Path, options: Options, floor: Option<&Floor>) -> Result<Wal, Fault> {
    let disk = directory(path)?;
    let (wal, _) = Wal::open(disk, options, floor)?;
    Ok(wal)
}

/// Dials `addr`, which is `HOST:PORT`.
pub(crate) async fn connect(addr: &str) -> io::Result<TcpStream> {
    TcpStream::connect(&NAMES.addresses(addr).await?[..]).await
}

/// Waits a little for another thread.
pub(crate) fn nap() {
    std::thread::sleep(Duration::from_millis(1));
}

/// Runs `work`, which blocks, over what is received until the senders are gone.
pub(crate) fn consume<P: Send + 'static, T: Send + 'static>(
    mut receiver: mpsc::Receiver<P>,
    work: impl FnOnce(&mut dyn Iterator<Item = P>) -> T + Send + 'static,
) -> JoinHandle<T> {
    spawn_blocking(move || work(&mut std::iter::from_fn(|| receiver.blocking_recv())))
}

/// Runs `work`, which blocks and hands what it makes to a function that says whether anybody wants more.
pub(crate) fn produce<P: Send + 'static>(
    sender: mpsc::Sender<P>,
    work: impl FnOnce(&mut dyn FnMut(P) -> bool) + Send + 'static,
) {
    spawn_blocking(move || work(&mut |piece| sender.blocking_send(piece).is_ok()));
}
