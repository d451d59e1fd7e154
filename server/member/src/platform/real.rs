//! The machine that the process runs on.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use conure_io::{Disk, RealDisk};
use conure_wal::{Floor, Options, Wal};
pub(crate) use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
pub(crate) use tokio::task::spawn_blocking;

use crate::failure::Fault;

/// The directory `path`, made where it is not there.
pub(crate) fn directory(path: &Path) -> io::Result<Arc<dyn Disk>> {
    Ok(Arc::new(RealDisk::new(path)?))
}

/// The directory `path`, which is looked at and not made.
pub(crate) fn present_directory(path: &Path) -> Arc<dyn Disk> {
    Arc::new(RealDisk::present(path))
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
