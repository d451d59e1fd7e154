//! The listening socket: so many connections, so long for a request's head, and an orderly end.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::Semaphore;

use super::App;
use crate::config::Addr;

/// How many connections are open at once; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 4096;
/// The kernel's queue.
const BACKLOG: u32 = 1024;
/// How long a request's head may take, and how long a connection may be idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// How long requests in flight may take when the process stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause after a failed accept, which usually means that the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A bound socket that serves nobody yet.
#[derive(Debug)]
pub struct Listener(TcpListener);

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
    let listener = bound.await.map_err(|error: io::Error| {
        format!(
            "--http-addr {:?}: it cannot be bound: {error}; choose another address or port",
            addr.to_string()
        )
    })?;
    Ok(Listener(listener))
}

impl Listener {
    /// Serves until `stop` resolves and the requests in flight are answered, or took too long.
    pub async fn serve(self, app: App, stop: impl Future<Output = ()>) {
        let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let graceful = GracefulShutdown::new();
        let router = app.clone().router();
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
        let mut stop = std::pin::pin!(stop);
        loop {
            let accepted = async {
                // The semaphore is never closed.
                let slot = slots.clone().acquire_owned().await.map_err(io::Error::other)?;
                let (stream, _) = self.0.accept().await?;
                Ok::<_, io::Error>((stream, slot))
            };
            let accepted = tokio::select! {
                () = &mut stop => break,
                accepted = accepted => accepted,
            };
            let (stream, slot) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "accepting a connection failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            // Only latency is lost where this fails.
            let _ = stream.set_nodelay(true);
            let service = TowerToHyperService::new(router.clone());
            let connection = graceful.watch(builder.serve_connection(TokioIo::new(stream), service));
            let open = app.metrics.connections().clone();
            open.inc();
            tokio::spawn(async move {
                // A connection that breaks is its client's affair.
                let _ = connection.await;
                open.dec();
                drop(slot);
            });
        }
        drop(self.0);
        if tokio::time::timeout(STOP_TIMEOUT, graceful.shutdown()).await.is_err() {
            tracing::warn!("some requests did not end in time; their connections are cut");
        }
    }
}
