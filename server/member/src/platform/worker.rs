//! A thread of its own for work that blocks: nothing else can take it away, as the many who share a pool can.

use std::io;

use tokio::sync::{mpsc, oneshot};

/// Work that waits for the thread. Whoever hands it over waits for its end, so this is met by a mistake alone.
const WAITING_MAX: usize = 8;

type Work = Box<dyn FnOnce() + Send>;

/// Does what it is handed, one after the other. Cloning shares it; the thread ends with the last of them.
#[derive(Debug, Clone)]
pub(crate) struct Worker(mpsc::Sender<Work>);

impl Worker {
    /// Starts the thread.
    pub(crate) fn start(name: &str) -> io::Result<Self> {
        let (sender, mut receiver) = mpsc::channel::<Work>(WAITING_MAX);
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            while let Some(work) = receiver.blocking_recv() {
                work();
            }
        })?;
        Ok(Self(sender))
    }

    /// Runs `work` and gives what it comes to. Begun, it goes on to its end although nobody waits any more. An error where the
    /// thread has ended, which it does for a panic.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let gone = || io::Error::other("the thread has ended");
        let (sender, receiver) = oneshot::channel();
        let work: Work = Box::new(move || {
            // Nobody may wait for it any more.
            let _ = sender.send(work());
        });
        self.0.send(work).await.map_err(|_| gone())?;
        receiver.await.map_err(|_| gone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_is_done_in_order_on_one_thread_and_a_panic_ends_it() {
        let worker = Worker::start("conure-test").unwrap();
        let name = || std::thread::current().name().unwrap().to_owned();
        assert_eq!(worker.run(name).await.unwrap(), "conure-test");
        let (sender, receiver) = std::sync::mpsc::channel();
        for number in 0..20 {
            let sender = sender.clone();
            worker.run(move || sender.send(number).unwrap()).await.unwrap();
        }
        assert_eq!(receiver.try_iter().collect::<Vec<_>>(), (0..20).collect::<Vec<_>>());
        assert!(worker.run(|| panic!("on purpose")).await.is_err());
        assert!(worker.run(|| ()).await.is_err());
    }
}
