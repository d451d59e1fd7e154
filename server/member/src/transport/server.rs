//! The listening end of the Raft port.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use futures::stream::{FuturesOrdered, StreamExt as _};
use serde::Serialize;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::sync::Semaphore;
use tokio::time::{Instant, interval_at, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::acknowledged::Acknowledged;
use super::frame::{self, FRAME_MAX, FrameError, HELLO_MAX};
use super::incoming::Incoming;
use super::message::{
    Chunk, Greeting, Hello, MAGIC, MINOR, MINOR_INSTALLS, MINOR_INTRODUCES, Opening, PROTOCOL, Purpose,
    RefusedHello, Request, Response,
};
use super::pipeline::{APPENDS_BYTES_MAX, APPENDS_MAX};
use crate::platform::{TcpListener, TcpStream};
use crate::raft::types::{SnapshotMeta, Vote};

/// A connection that has not said hello by then is closed.
const HELLO_PATIENCE: Duration = Duration::from_secs(5);
/// How long the other side may take none of what it is told.
const SAY_PATIENCE: Duration = Duration::from_secs(5);
/// A connection on which nothing was asked for so long is closed; whoever wants it dials again.
const IDLE_MAX: Duration = Duration::from_secs(120);
/// Between two warnings of members of another version, or of what is no member.
const WARNING_PAUSE_SECONDS: u64 = 30;
/// How long a frame that has begun may take, or one chunk of a snapshot.
const FRAME_PATIENCE: Duration = Duration::from_secs(60);
/// How often a member that installs a snapshot says so.
pub(crate) const INSTALLING_EVERY: Duration = Duration::from_secs(1);

/// Who answers.
pub(crate) trait Host: Send + Sync + 'static {
    /// What was agreed with one connection.
    type Session: Send + Sync;

    /// How many connections may be open at once.
    fn connections_max(&self) -> usize;
    /// Lets a connection in or says why not.
    fn greet(&self, hello: &Hello) -> impl Future<Output = Result<Self::Session, RefusedHello>> + Send;
    /// Which process this is, and what the member `id` acknowledged to it.
    fn process(&self, session: &Self::Session, id: u64) -> (u64, Option<Acknowledged>);
    /// Cancelled when the session is over from this side.
    fn end(&self, session: &Self::Session) -> CancellationToken;
    /// The longest frame that may be asked with.
    fn frame_max(&self, session: &Self::Session) -> usize;
    /// Answers anything but a snapshot.
    fn answer(&self, session: &Self::Session, request: Request) -> impl Future<Output = Response> + Send;
    /// Lets a snapshot in, or answers without one. One that has an `id` may have come in part already.
    fn begin_snapshot(
        &self,
        session: &Self::Session,
        vote: Vote,
        meta: SnapshotMeta,
        with_data: bool,
        id: Option<u64>,
    ) -> impl Future<Output = Result<Incoming, Box<Response>>> + Send;
    /// Remembers, for a while, a snapshot whose connection broke.
    fn park_snapshot(&self, session: &Self::Session, incoming: Incoming);
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
    /// Connections that did not say hello in time.
    pub(crate) silent: AtomicU64,
    /// Appends of log entries that cannot be true.
    pub(crate) appends_refused: AtomicU64,
    pub(crate) snapshots_received: AtomicU64,
    /// Snapshots that cannot be true, are not this cluster's, or did not arrive as they were sent.
    pub(crate) snapshots_refused: AtomicU64,
    pub(crate) snapshots_resumed: AtomicU64,
    pub(crate) snapshot_bytes: AtomicU64,
    /// When another version was last warned of, in seconds since 1970.
    warned_of_version: AtomicU64,
    /// The same, of what no member sends.
    warned_of_malformed: AtomicU64,
}

impl Counters {
    /// Whether it is time to warn again, where that was last done at `warned`: whoever is refused comes again soon.
    fn is_due(warned: &AtomicU64) -> bool {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let before = warned.load(Ordering::Relaxed);
        now.abs_diff(before) >= WARNING_PAUSE_SECONDS
            && warned.compare_exchange(before, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
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
    let room = Arc::new(Semaphore::new(host.connections_max()));
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
        tasks.spawn(conure_program::confined("Raft connection", async move {
            tokio::select! {
                () = stop.cancelled() => {}
                ended = converse(stream, host.as_ref(), &counters) => if let Err(e) = ended
                    && e.is_malformed()
                {
                    count(&counters.malformed);
                    if Counters::is_due(&counters.warned_of_malformed) {
                        tracing::warn!(
                            %from, error = %e, so_far = counters.malformed.load(Ordering::Relaxed),
                            "a connection on the Raft port was closed: no member speaks so"
                        );
                    }
                },
            }
            drop(permit);
        }));
    }
    tasks.close();
    tasks.wait().await;
}

/// Sends `message`, to whoever takes it within reason.
async fn say<T: Serialize>(to: &mut BufReader<TcpStream>, message: &T, max: usize) -> Result<(), FrameError> {
    let said = timeout(SAY_PATIENCE, frame::send(to, message, max)).await;
    said.unwrap_or_else(|_| Err(FrameError::Io(io::ErrorKind::TimedOut.into())))
}

async fn converse<H: Host>(stream: TcpStream, host: &H, counters: &Counters) -> Result<(), FrameError> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    let hello = match timeout(HELLO_PATIENCE, frame::receive_bytes(&mut stream, HELLO_MAX)).await {
        Ok(hello) => hello?,
        Err(_) => {
            count(&counters.silent);
            return Ok(());
        }
    };
    let (opening, _) = postcard::take_from_bytes::<Opening>(&hello)?;
    if opening.magic != MAGIC || opening.protocol != PROTOCOL {
        count(&counters.refused);
        if opening.magic == MAGIC && Counters::is_due(&counters.warned_of_version) {
            tracing::warn!(
                theirs = opening.protocol,
                ours = PROTOCOL,
                "refused a member that speaks another version of the protocol; upgrade the older one"
            );
        }
        let refused = Greeting::Refused(RefusedHello::Protocol(PROTOCOL));
        return say(&mut stream, &refused, HELLO_MAX).await;
    }
    let hello = Hello::decode(&hello)?;
    let session = match host.greet(&hello).await {
        Ok(session) => session,
        Err(why) => {
            count(&counters.refused);
            tracing::debug!(sender = hello.sender, target = hello.target, why = %why, "refused a connection");
            return say(&mut stream, &Greeting::Refused(why), HELLO_MAX).await;
        }
    };
    let minor = hello.minor.min(MINOR);
    let greeting = if minor >= MINOR_INTRODUCES && hello.purpose == Purpose::Cluster {
        let (boot, acknowledged) = host.process(&session, hello.sender);
        Greeting::Recognized { minor, boot, acknowledged }
    } else {
        Greeting::Welcome { minor }
    };
    say(&mut stream, &greeting, HELLO_MAX).await?;
    let end = host.end(&session);
    tokio::select! {
        () = end.cancelled() => Ok(()),
        ended = answer_all(&mut stream, minor, host, &session, counters) => ended,
    }
}

/// Appends that are being answered, in the order in which they came.
struct Appends<F: Future<Output = Response>> {
    answers: FuturesOrdered<F>,
    /// The length of each one's frame.
    bytes: VecDeque<usize>,
}

impl<F: Future<Output = Response>> Appends<F> {
    fn new() -> Self {
        Self { answers: FuturesOrdered::new(), bytes: VecDeque::new() }
    }

    /// Whether another one may be read: as many as a member sends, not more.
    fn have_room(&self) -> bool {
        self.bytes.len() < APPENDS_MAX && self.bytes.iter().sum::<usize>() <= APPENDS_BYTES_MAX
    }

    fn push(&mut self, answer: F, len: usize) {
        self.answers.push_back(answer);
        self.bytes.push_back(len);
    }

    /// The oldest one's answer.
    async fn next(&mut self) -> Option<Response> {
        let answer = self.answers.next().await?;
        self.bytes.pop_front();
        Some(answer)
    }
}

async fn answer_all<H: Host>(
    stream: &mut BufReader<TcpStream>,
    minor: u16,
    host: &H,
    session: &H::Session,
    counters: &Counters,
) -> Result<(), FrameError> {
    let frame_max = host.frame_max(session);
    let mut appends = Appends::new();
    loop {
        // Raft hears of the appends in the order in which they came: each is begun before the next one is read.
        tokio::select! {
            biased;
            Some(answer) = appends.next() => {
                say(stream, &answer, FRAME_MAX).await?;
                continue;
            }
            begun = timeout(IDLE_MAX, stream.fill_buf()), if appends.have_room() => match begun {
                Err(_) if appends.bytes.is_empty() => return Ok(()),
                Err(_) => continue,
                Ok(begun) => drop(begun?),
            },
        }
        let (request, len) = match timeout(FRAME_PATIENCE, frame::receive_bytes(stream, frame_max)).await {
            Ok(Err(FrameError::Closed)) => return Ok(()),
            Err(_) => return Err(FrameError::CutShort),
            Ok(bytes) => {
                let bytes = bytes?;
                (postcard::from_bytes(&bytes)?, bytes.len())
            }
        };
        if matches!(request, Request::Append(_)) {
            appends.push(host.answer(session, request), len);
            continue;
        }
        while let Some(answer) = appends.next().await {
            say(stream, &answer, FRAME_MAX).await?;
        }
        let answer = match request {
            Request::Snapshot { vote, meta, with_data } => {
                match host.begin_snapshot(session, vote, meta, with_data, None).await {
                    Err(answer) => *answer,
                    Ok(incoming) => {
                        say(stream, &Response::Proceed, FRAME_MAX).await?;
                        receive_snapshot(stream, minor, host, session, incoming, counters).await?
                    }
                }
            }
            Request::ResumableSnapshot { vote, meta, with_data, id } => {
                match host.begin_snapshot(session, vote, meta, with_data, Some(id)).await {
                    Err(answer) => *answer,
                    Ok(incoming) => {
                        if incoming.received() > 0 {
                            count(&counters.snapshots_resumed);
                        }
                        say(stream, &Response::ProceedFrom(incoming.received()), FRAME_MAX).await?;
                        receive_snapshot(stream, minor, host, session, incoming, counters).await?
                    }
                }
            }
            request => host.answer(session, request).await,
        };
        say(stream, &answer, FRAME_MAX).await?;
    }
}

/// Installs a snapshot to its end, and meanwhile tells a sender that understands it that it does.
async fn with_signs_of_life(
    stream: &mut BufReader<TcpStream>,
    minor: u16,
    finishing: impl Future<Output = Response>,
) -> Response {
    let mut finishing = std::pin::pin!(finishing);
    let mut tick = interval_at(Instant::now() + INSTALLING_EVERY, INSTALLING_EVERY);
    let mut told = minor >= MINOR_INSTALLS;
    loop {
        tokio::select! {
            answer = &mut finishing => return answer,
            // Once the sender is gone the answer will find that, too.
            _ = tick.tick(), if told => {
                let said = timeout(INSTALLING_EVERY, frame::send(stream, &Response::Installing, FRAME_MAX)).await;
                told = matches!(said, Ok(Ok(())));
            }
        }
    }
}

async fn receive_snapshot<H: Host>(
    stream: &mut BufReader<TcpStream>,
    minor: u16,
    host: &H,
    session: &H::Session,
    mut incoming: Incoming,
    counters: &Counters,
) -> Result<Response, FrameError> {
    loop {
        let piece = tokio::select! {
            () = incoming.superseded.cancelled() => Err(FrameError::Closed),
            piece = timeout(FRAME_PATIENCE, frame::receive(stream, FRAME_MAX)) => piece.unwrap_or(Err(FrameError::Closed)),
        };
        match piece {
            Err(error) => {
                // Up to the last whole chunk it is there, should the sender come back with it.
                host.park_snapshot(session, incoming);
                return Err(error);
            }
            Ok(chunk) => match chunk {
                Chunk::Data(bytes) => {
                    counters.snapshot_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                    incoming.push(bytes).await?;
                }
                Chunk::End { len, crc } => {
                    let finishing = host.finish_snapshot(session, incoming, len, crc);
                    return Ok(with_signs_of_life(stream, minor, finishing).await);
                }
            },
        }
    }
}
