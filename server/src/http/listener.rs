//! The listening socket: so many connections, so long for a request's head and for an answer to be taken, and an orderly end.
//!
//! **Invariant:** whoever connects hears something: of more connections than may be open, some hundred are answered all the
//! same, what they ask of the data with 503.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::progress::Progress;
use super::{App, heads};
use crate::config::Addr;
use crate::files::Connections;

/// The kernel's queue.
const BACKLOG: u32 = 1024;
/// How long a request's head may take, and how long a connection may be idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// The same for a connection too many.
const CROWDED_HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a client may take nothing of its answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long requests in flight may take when the process stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause after a failed accept, which usually means that the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Between two warnings of that.
const WARNING_PAUSE: Duration = Duration::from_secs(10);

/// A bound socket that serves nobody yet.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    pub(super) connections_max: usize,
    pub(super) crowded_max: usize,
    pub(super) write_timeout: Duration,
}

/// Binds `--http-addr`; the error is one line.
pub async fn bind(addr: &Addr) -> Result<Listener, String> {
    let target = addr.to_bind().to_string();
    let bound = async {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for address in tokio::net::lookup_host(&target).await? {
            let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            socket.set_reuseaddr(true)?;
            match socket.bind(address).and_then(|()| socket.listen(BACKLOG)) {
                Ok(listener) => return Ok(listener),
                Err(error) => last = error,
            }
        }
        Err(last)
    };
    let socket = bound.await.map_err(|error: io::Error| {
        format!(
            "--http-addr {:?}: it cannot be bound: {error}; choose another address or port",
            addr.to_string()
        )
    })?;
    let Connections { served, crowded, .. } = Connections::allowed();
    Ok(Listener { socket, connections_max: served, crowded_max: crowded, write_timeout: WRITE_TIMEOUT })
}

impl Listener {
    /// Serves until `stop` resolves and the requests in flight are answered, or took too long.
    pub async fn serve(self, app: App, stop: impl Future<Output = ()>) {
        let (slots, spare) =
            (Arc::new(Semaphore::new(self.connections_max)), Arc::new(Semaphore::new(self.crowded_max)));
        let graceful = GracefulShutdown::new();
        let (router, crowded) = (app.clone().router(false), app.clone().router(true));
        let mut builder = http1::Builder::new();
        // Whoever sends no more may still read: its answer is not dropped for that.
        builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).half_close(true);
        let mut once = http1::Builder::new();
        once.timer(TokioTimer::new())
            .header_read_timeout(CROWDED_HEAD_TIMEOUT)
            .half_close(true)
            .keep_alive(false);
        let mut stop = std::pin::pin!(stop);
        let mut failures = Failures::default();
        loop {
            let accepted = tokio::select! {
                () = &mut stop => break,
                accepted = self.socket.accept() => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    failures.say(&error);
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            // Only latency is lost where this fails.
            let _ = stream.set_nodelay(true);
            let (builder, router, slot) = match free(&slots) {
                Some(slot) => (&builder, &router, slot),
                None => {
                    app.metrics.crowded();
                    let Some(slot) = free(&spare) else { continue };
                    (&once, &crowded, slot)
                }
            };
            let stream = Progress::new(stream, self.write_timeout);
            let (stream, service) = heads::watch(stream, TowerToHyperService::new(router.clone()));
            let connection = graceful.watch(builder.serve_connection(TokioIo::new(stream), service));
            let open = app.metrics.connections().clone();
            open.inc();
            tokio::spawn(conure_program::confined("HTTP connection", async move {
                // A connection that breaks is its client's affair.
                let _ = connection.await;
                open.dec();
                drop(slot);
            }));
        }
        drop(self.socket);
        if tokio::time::timeout(STOP_TIMEOUT, graceful.shutdown()).await.is_err() {
            tracing::warn!("some requests did not end in time; their connections are cut");
        }
    }
}

/// Accepts that failed: as long as descriptors are short there are some twenty of them a second.
#[derive(Debug, Default)]
struct Failures {
    said: Option<Instant>,
    unsaid: u64,
}

impl Failures {
    fn say(&mut self, error: &io::Error) {
        if self.is_due(Instant::now()) {
            tracing::warn!(%error, more = self.unsaid, "accepting a connection failed");
            self.unsaid = 0;
        }
    }

    fn is_due(&mut self, now: Instant) -> bool {
        let due = self.said.is_none_or(|said| now.duration_since(said) >= WARNING_PAUSE);
        if due {
            self.said = Some(now);
        } else {
            self.unsaid += 1;
        }
        due
    }
}

fn free(slots: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    Arc::clone(slots).try_acquire_owned().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_accepts_are_said_now_and_then_and_counted_between() {
        let (mut failures, begin) = (Failures::default(), Instant::now());
        let at = |tenths: u64| begin + Duration::from_millis(100 * tenths);
        let said: Vec<u64> = (0..250).filter(|tenths| failures.is_due(at(*tenths))).collect();
        assert_eq!(said, [0, 100, 200]);
        assert_eq!(failures.unsaid, 247);
    }
}
