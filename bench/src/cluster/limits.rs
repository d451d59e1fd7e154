//! What the machine allows at most: a handler that does nothing under the same HTTP server, and the disk.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use axum::Router;
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::os::unix::fs::FileExt as _;
use tokio::net::TcpListener;

/// Serves a handler that answers with nothing, for ever, as `conure-db` serves its API.
///
/// # Errors
///
/// The address cannot be bound.
pub fn serve_nothing(address: SocketAddr) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async { serve(TcpListener::bind(address).await?).await })?;
    Ok(())
}

/// The same on a thread of its own, until the process ends.
#[cfg(test)]
pub(crate) fn serve_nothing_in_background() -> Result<SocketAddr> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        runtime.block_on(async { serve(TcpListener::from_std(listener)?).await })
    });
    Ok(address)
}

async fn serve(listener: TcpListener) -> io::Result<()> {
    let router = Router::new().route("/", get(async || ""));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(Duration::from_mins(1));
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(builder.serve_connection(TokioIo::new(stream), service));
    }
}

/// How often a second one thread can append 512 bytes to a file and make them durable.
///
/// # Errors
///
/// The file cannot be written.
pub fn syncs_per_second(dir: &Path, time: Duration) -> Result<f64> {
    let path = dir.join("syncs");
    let file = std::fs::File::create(&path).with_context(|| path.display().to_string())?;
    let begun = Instant::now();
    let mut syncs = 0_u32;
    while begun.elapsed() < time {
        file.write_all_at(&[1; 512], u64::from(syncs) * 512)?;
        file.sync_data()?;
        syncs += 1;
    }
    let rate = f64::from(syncs) / begun.elapsed().as_secs_f64();
    std::fs::remove_file(&path)?;
    Ok(rate)
}
