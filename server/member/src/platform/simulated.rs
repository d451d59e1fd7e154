//! A simulated machine: turmoil's sockets and clock, disks in memory, no threads. All of a simulation runs on one thread.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use conure_io::{Disk, Random, SimDisk};
use conure_wal::{Floor, Options, Wal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::sleep;
pub use turmoil::net::{TcpListener, TcpStream};

use crate::failure::Fault;

struct Machine {
    /// By the directory's path.
    disks: BTreeMap<PathBuf, SimDisk>,
    /// How long, in milliseconds, what blocks may take in the directory and those below it.
    delays_ms: BTreeMap<PathBuf, u64>,
    random: Random,
}

thread_local! {
    static MACHINE: RefCell<Machine> = const {
        RefCell::new(Machine { disks: BTreeMap::new(), delays_ms: BTreeMap::new(), random: Random::new(0) })
    };
}

/// The disk of the directory `path`; an empty one where there was none.
pub fn disk_at(path: &Path) -> SimDisk {
    MACHINE.with_borrow_mut(|machine| machine.disks.entry(path.to_owned()).or_default().clone())
}

/// Puts `disk` in the place of the one at `path`; `None` leaves no directory there.
pub fn set_disk(path: &Path, disk: Option<SimDisk>) {
    MACHINE.with_borrow_mut(|machine| match disk {
        Some(disk) => drop(machine.disks.insert(path.to_owned(), disk)),
        None => drop(machine.disks.remove(path)),
    });
}

/// Decides how long each thing that blocks takes.
pub fn set_seed(seed: u64) {
    MACHINE.with_borrow_mut(|machine| machine.random = Random::new(seed));
}

/// From now on a write of the log below `path` takes up to `ms_max`; for `/`, all else that blocks does too.
pub fn set_delay(path: &Path, ms_max: u64) {
    MACHINE.with_borrow_mut(|machine| machine.delays_ms.insert(path.to_owned(), ms_max));
}

fn delay(path: &Path) -> Duration {
    MACHINE.with_borrow_mut(|machine| {
        let found = path.ancestors().find_map(|path| machine.delays_ms.get(path).copied());
        Duration::from_millis(machine.random.below(found.unwrap_or(0) + 1))
    })
}

pub(crate) fn directory(path: &Path) -> io::Result<Arc<dyn Disk>> {
    Ok(Arc::new(disk_at(path)))
}

pub(crate) fn present_directory(path: &Path) -> Arc<dyn Disk> {
    Arc::new(disk_at(path))
}

/// Simulated directories are in nobody's way.
pub(crate) fn in_the_way(_: &Path) -> Option<(String, String)> {
    None
}

/// Every user may use a simulated disk.
pub(crate) fn try_out(_: &Path, _: &[&str], _: &[&str]) -> Result<(), (PathBuf, io::Error)> {
    Ok(())
}

/// Nobody removes a simulated directory under its member.
#[derive(Debug)]
pub(crate) struct Held;

impl Held {
    pub(crate) fn at(_: PathBuf) -> io::Result<Self> {
        Ok(Self)
    }

    pub(crate) fn is_gone(&self) -> bool {
        false
    }
}

pub(crate) fn exists(path: &Path) -> bool {
    let in_directory = || {
        let (parent, name) = path.parent().zip(path.file_name()?.to_str())?;
        Some(disk_at(parent).list().ok()?.iter().any(|file| file == name))
    };
    MACHINE.with_borrow(|machine| machine.disks.contains_key(path)) || in_directory() == Some(true)
}

pub(crate) fn open_log(path: &Path, options: Options, floor: Option<&Floor>) -> Result<Wal, Fault> {
    let disk = Arc::new(disk_at(path));
    let (wal, stepper, _) = Wal::open_stepped(disk, options, floor)?;
    let path = path.to_owned();
    tokio::spawn(async move {
        loop {
            sleep(Duration::from_millis(1)).await;
            if stepper.has_work() {
                sleep(delay(&path)).await;
            }
            if !stepper.step() {
                return;
            }
        }
    });
    Ok(wal)
}

pub(crate) async fn connect(addr: &str) -> io::Result<TcpStream> {
    TcpStream::connect(addr).await
}

/// There are no threads: what it is handed is done like all else that blocks, one after the other as its callers wait for it.
#[derive(Debug, Clone)]
pub(crate) struct Worker(());

impl Worker {
    pub(crate) fn start(_name: &str) -> io::Result<Self> {
        Ok(Self(()))
    }

    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        spawn_blocking(work).await.map_err(io::Error::other)
    }
}

/// There is no other thread to wait for.
pub(crate) fn nap() {}

pub(crate) fn spawn_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    tokio::spawn(async move {
        sleep(delay(Path::new("/"))).await;
        work()
    })
}

pub(crate) fn consume<P: Send + 'static, T: Send + 'static>(
    mut receiver: mpsc::Receiver<P>,
    work: impl FnOnce(&mut dyn Iterator<Item = P>) -> T + Send + 'static,
) -> JoinHandle<T> {
    tokio::spawn(async move {
        let mut pieces = Vec::new();
        while let Some(piece) = receiver.recv().await {
            pieces.push(piece);
        }
        work(&mut pieces.into_iter())
    })
}

pub(crate) fn produce<P: Send + 'static>(
    sender: mpsc::Sender<P>,
    work: impl FnOnce(&mut dyn FnMut(P) -> bool) + Send + 'static,
) {
    tokio::spawn(async move {
        let mut pieces = Vec::new();
        work(&mut |piece| {
            pieces.push(piece);
            true
        });
        for piece in pieces {
            if sender.send(piece).await.is_err() {
                return;
            }
        }
    });
}
