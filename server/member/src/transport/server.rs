//! The listening end of the Raft port.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::BufReader;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::frame::{self, FRAME_MAX, FrameError, HELLO_MAX};
use super::incoming::Incoming;
use super::message::{Chunk, Failure, Greeting, Hello, MAGIC, PROTOCOL, RefusedHello, Request, Response};
use crate::raft::types::{SnapshotMeta, Vote};

/// So many connections may be open at once.
const CONNECTIONS_MAX: usize = 512;
/// A connection that has not said hello by then is closed.
const HELLO_PATIENCE: Duration = Duration::from_secs(5);
/// A connection on which nothing was asked for so long is closed; whoever wants it dials again.
const IDLE_MAX: Duration = Duration::from_secs(120);
/// How long one chunk of a snapshot may take.
const CHUNK_PATIENCE: Duration = Duration::from_secs(60);

/// Who answers.
pub(crate) trait Host: Send + Sync + 'static {
    /// What was agreed with one connection.
    type Session: Send + Sync;

    /// Lets a connection in or says why not.
    fn greet(&self, hello: &Hello) -> Result<Self::Session, RefusedHello>;
    /// Cancelled when the session is over from this side.
    fn end(&self, session: &Self::Session) -> CancellationToken;
    /// Answers anything but a snapshot.
    fn answer(&self, session: &Self::Session, request: Request) -> impl Future<Output = Response> + Send;
    /// Lets a snapshot in, or answers without one.
    fn begin_snapshot(
        &self,
        session: &Self::Session,
        vote: Vote,
        meta: SnapshotMeta,
        with_data: bool,
    ) -> Result<Incoming, Box<Response>>;
    /// Installs a snapshot that came in whole.
    fn finish_snapshot(
        &self,
        session: &Self::Session,
        incoming: Incoming,
        len: u64,
        crc: u32,
    ) -> impl Future<Output = Response> + Send;
}

/// What happened on the port.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) accepted: AtomicU64,
    pub(crate) crowded_out: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) malformed: AtomicU64,
    pub(crate) snapshots_received: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Accepts until `stop`, then waits until the connections are closed.
pub(crate) async fn serve<H: Host>(
    listener: TcpListener,
    host: Arc<H>,
    counters: Arc<Counters>,
    stop: CancellationToken,
) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let tasks = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        let Ok((stream, from)) = accepted else {
            // Out of file descriptors, or the peer gave up: the next one may be luckier.
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
            count(&counters.crowded_out);
            continue;
        };
        count(&counters.accepted);
        let (host, counters, stop) = (Arc::clone(&host), Arc::clone(&counters), stop.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                ended = converse(stream, host.as_ref(), &counters) => if let Err(e) = ended
                    && e.is_malformed()
                {
                    count(&counters.malformed);
                    tracing::warn!(%from, error = %e, "a connection on the Raft port was closed");
                },
            }
            drop(permit);
        });
    }
    tasks.close();
    tasks.wait().await;
}

async fn converse<H: Host>(stream: TcpStream, host: &H, counters: &Counters) -> Result<(), FrameError> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    let hello: Hello = match timeout(HELLO_PATIENCE, frame::receive(&mut stream, HELLO_MAX)).await {
        Ok(hello) => hello?,
        Err(_) => return Ok(()),
    };
    let greeted = if hello.magic != MAGIC || hello.protocol != PROTOCOL {
        Err(RefusedHello::Protocol(PROTOCOL))
    } else {
        host.greet(&hello)
    };
    let session = match greeted {
        Ok(session) => session,
        Err(why) => {
            count(&counters.refused);
            tracing::debug!(sender = hello.sender, target = hello.target, why = %why, "refused a connection");
            return frame::send(&mut stream, &Greeting::Refused(why), HELLO_MAX).await;
        }
    };
    frame::send(&mut stream, &Greeting::Welcome, HELLO_MAX).await?;
    let end = host.end(&session);
    tokio::select! {
        () = end.cancelled() => Ok(()),
        ended = answer_all(&mut stream, host, &session, counters) => ended,
    }
}

async fn answer_all<H: Host>(
    stream: &mut BufReader<TcpStream>,
    host: &H,
    session: &H::Session,
    counters: &Counters,
) -> Result<(), FrameError> {
    loop {
        let request = match timeout(IDLE_MAX, frame::receive(stream, FRAME_MAX)).await {
            Ok(Err(FrameError::Closed)) | Err(_) => return Ok(()),
            Ok(request) => request?,
        };
        let answer = match request {
            Request::Snapshot { vote, meta, with_data } => {
                match host.begin_snapshot(session, vote, meta, with_data) {
                    Err(answer) => *answer,
                    Ok(incoming) => receive_snapshot(stream, host, session, incoming, counters).await?,
                }
            }
            request => host.answer(session, request).await,
        };
        frame::send(stream, &answer, FRAME_MAX).await?;
    }
}

async fn receive_snapshot<H: Host>(
    stream: &mut BufReader<TcpStream>,
    host: &H,
    session: &H::Session,
    mut incoming: Incoming,
    counters: &Counters,
) -> Result<Response, FrameError> {
    frame::send(stream, &Response::Proceed, FRAME_MAX).await?;
    loop {
        match timeout(CHUNK_PATIENCE, frame::receive(stream, FRAME_MAX)).await {
            Err(_) => return Err(FrameError::Closed),
            Ok(chunk) => match chunk? {
                Chunk::Data(bytes) => incoming.push(bytes).await?,
                Chunk::End { len, crc } => {
                    let answer = host.finish_snapshot(session, incoming, len, crc).await;
                    if !matches!(answer, Response::Failed(Failure::Other(_))) {
                        count(&counters.snapshots_received);
                    }
                    return Ok(answer);
                }
            },
        }
    }
}
