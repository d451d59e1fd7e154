//! A snapshot on its way out.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use openraft::raft::SnapshotResponse;
use tokio::sync::mpsc;

use super::connection::{CallError, Connection};
use super::message::{Chunk, Hello, Request, Response};
use crate::raft::records;
use crate::raft::store::View;
use crate::raft::types::{SnapshotMeta, TypeConfig, Vote};

/// How long one chunk may take.
const CHUNK_PATIENCE: Duration = Duration::from_secs(30);
/// How long the other side may take to make the whole snapshot durable and install it.
const INSTALL_PATIENCE: Duration = Duration::from_secs(300);
/// Chunks read ahead of the network.
const AHEAD: usize = 2;

/// Sends what `view` sees, chunk by chunk, and waits until it is installed.
pub(crate) async fn send(
    addr: &str,
    hello: &Hello,
    vote: Vote,
    meta: SnapshotMeta,
    view: View,
    with_data: bool,
) -> Result<SnapshotResponse<TypeConfig>, CallError> {
    let mut connection = Connection::open(addr, hello, CHUNK_PATIENCE).await?;
    match connection.call(&Request::Snapshot { vote, meta, with_data }, CHUNK_PATIENCE).await? {
        Response::Proceed => {}
        Response::Snapshot(rejected) => return Ok(rejected),
        Response::Failed(failure) => return Err(CallError::Failed(failure)),
        _ => return Err(CallError::Confused),
    }
    let (mut len, mut crc) = (0_u64, 0);
    let mut chunks = read_ahead(view, with_data);
    while let Some(chunk) = chunks.recv().await {
        let chunk = chunk.map_err(CallError::Read)?;
        len += chunk.len() as u64;
        crc = crc32c::crc32c_append(crc, &chunk);
        connection.send_chunk(&Chunk::Data(chunk), CHUNK_PATIENCE).await?;
    }
    connection.send_chunk(&Chunk::End { len, crc }, CHUNK_PATIENCE).await?;
    match connection.answer(INSTALL_PATIENCE).await? {
        Response::Snapshot(answer) => Ok(answer),
        Response::Failed(failure) => Err(CallError::Failed(failure)),
        _ => Err(CallError::Confused),
    }
}

/// Reads a snapshot on a thread of its own, a few chunks ahead. Ends early when the receiver is dropped.
pub(crate) fn read_ahead(view: View, with_data: bool) -> mpsc::Receiver<io::Result<Bytes>> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::task::spawn_blocking(move || {
        let gone = || io::Error::new(io::ErrorKind::BrokenPipe, "nobody reads on");
        let sent = records::send_all(&view.read, with_data, |chunk| {
            sender.blocking_send(Ok(chunk)).map_err(|_| gone())
        });
        if let Err(e) = sent {
            // Where the receiver is gone there is nobody to tell.
            let _ = sender.blocking_send(Err(e));
        }
    });
    receiver
}
