//! A snapshot on its way out.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::raft::SnapshotResponse;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::connection::{CallError, Connection};
use super::message::{Chunk, Hello, MINOR_INSTALLS, MINOR_RESUMES, Request, Response};
use crate::failure::Fault;
use crate::platform;
use crate::raft::records;
use crate::raft::store::View;
use crate::raft::types::{SnapshotMeta, TypeConfig, Vote};

/// How long one chunk may take.
const CHUNK_PATIENCE: Duration = Duration::from_secs(10);
/// How long the other side may take to make the whole snapshot durable and install it.
const INSTALL_PATIENCE: Duration = Duration::from_secs(300);
/// How long it may say nothing meanwhile; it says something every [`INSTALLING_EVERY`](super::server::INSTALLING_EVERY).
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// So much of a delay is made up for.
const LATE_MAX: Duration = Duration::from_millis(100);
/// Chunks read ahead of the network.
const AHEAD: usize = 2;

/// Sends what `view` sees, chunk by chunk, and waits until it is installed.
pub(crate) async fn send(
    addr: &str,
    hello: &Hello,
    vote: Vote,
    meta: SnapshotMeta,
    view: &Arc<View>,
    with_data: bool,
    rate: Option<u64>,
) -> Result<SnapshotResponse<TypeConfig>, CallError> {
    let mut connection = Connection::open(addr, hello, CHUNK_PATIENCE).await?;
    let request = if connection.minor >= MINOR_RESUMES {
        Request::ResumableSnapshot { vote, meta, with_data, id: view.id }
    } else {
        Request::Snapshot { vote, meta, with_data }
    };
    let there = match connection.call(&request, CHUNK_PATIENCE).await? {
        Response::Proceed => 0,
        Response::ProceedFrom(there) => there,
        Response::Snapshot(rejected) => return Ok(rejected),
        Response::Failed(failure) => return Err(CallError::Failed(failure)),
        _ => return Err(CallError::Confused),
    };
    if there > 0 {
        tracing::info!(to = %addr, bytes = there, "a snapshot goes on where it broke off");
    }
    let (mut len, mut crc) = (0_u64, 0);
    let mut pace = Pace::new(rate);
    let mut chunks = read_ahead(Arc::clone(view), with_data);
    while let Some(chunk) = chunks.recv().await {
        let chunk = chunk.map_err(CallError::Read)?;
        len += chunk.len() as u64;
        crc = crc32c::crc32c_append(crc, &chunk);
        // The same view gives the same chunks: these the other side has.
        if len <= there {
            continue;
        }
        pace.wait(chunk.len()).await;
        connection.send_chunk(&Chunk::Data(chunk), CHUNK_PATIENCE).await?;
    }
    connection.send_chunk(&Chunk::End { len, crc }, CHUNK_PATIENCE).await?;
    match installed(&mut connection).await? {
        Response::Snapshot(answer) => Ok(answer),
        Response::Failed(failure) => Err(CallError::Failed(failure)),
        _ => Err(CallError::Confused),
    }
}

/// Waits until the snapshot is installed. A member that says nothing meanwhile is not waited for: the network may have lost it,
/// and until it is sent the snapshot again nothing else is sent to it.
async fn installed(connection: &mut Connection) -> Result<Response, CallError> {
    if connection.minor < MINOR_INSTALLS {
        return connection.answer(INSTALL_PATIENCE).await;
    }
    let begun = Instant::now();
    loop {
        match connection.answer(SILENCE_MAX).await? {
            Response::Installing if begun.elapsed() < INSTALL_PATIENCE => {}
            Response::Installing => return Err(CallError::Timeout(INSTALL_PATIENCE)),
            answer => return Ok(answer),
        }
    }
}

/// Holds a transfer to so many bytes a second. What a stall left unsent is not made up for.
struct Pace {
    rate: Option<u64>,
    /// When the next bytes may go.
    next: Instant,
}

impl Pace {
    fn new(rate: Option<u64>) -> Self {
        Self { rate, next: Instant::now() }
    }

    /// When the next `bytes` may go, asked at `now`. A little late is made up for, else a busy machine would never reach the rate.
    fn turn(&mut self, now: Instant, bytes: usize) -> Option<Instant> {
        let rate = self.rate.filter(|rate| *rate > 0)?;
        let turn = now.checked_sub(LATE_MAX).map_or(self.next, |earliest| self.next.max(earliest));
        self.next = turn + due(bytes as u64, rate);
        Some(turn)
    }

    /// Waits until it is time for the next `bytes`.
    async fn wait(&mut self, bytes: usize) {
        if let Some(turn) = self.turn(Instant::now(), bytes) {
            sleep_until(turn).await;
        }
    }
}

/// How long sending so many bytes takes.
fn due(bytes: u64, rate: u64) -> Duration {
    let micros = u128::from(bytes) * 1_000_000 / u128::from(rate);
    Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
}

/// Reads a snapshot on a thread of its own, a few chunks ahead. Ends early when the receiver is dropped. Damage on the way is
/// the member's failure: others would wait for its data in vain.
pub(crate) fn read_ahead(view: Arc<View>, with_data: bool) -> mpsc::Receiver<io::Result<Bytes>> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    platform::produce(sender, move |send| {
        let gone = || io::Error::new(io::ErrorKind::BrokenPipe, "nobody reads on");
        let sent =
            records::send_all(
                &view.read,
                with_data,
                |chunk| {
                    if send(Ok(chunk)) { Ok(()) } else { Err(gone()) }
                },
            );
        if let Err(e) = sent {
            let fault = Fault::of("the database", &e);
            // Whoever reads all of it is the first to come upon some of it.
            if fault.damaged {
                view.failure.set(fault);
            }
            // Where the receiver is gone there is nobody to tell.
            let _ = send(Err(e));
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_due_at_their_rate() {
        assert_eq!(due(0, 1 << 20), Duration::ZERO);
        assert_eq!(due(3 << 20, 1 << 20), Duration::from_secs(3));
        assert_eq!(due(u64::MAX, 1), Duration::from_micros(u64::MAX));
    }

    /// How long so many chunks of a tenth of a second each take, without the stall in front of one of them.
    fn paced(chunks: u32, stalled: Option<u32>) -> Duration {
        let mut pace = Pace::new(Some(10 << 20));
        let begun = pace.next;
        let (mut now, mut stall) = (begun, Duration::ZERO);
        for chunk in 0..chunks {
            if stalled == Some(chunk) {
                stall = Duration::from_secs(60);
                now += stall;
            }
            now = now.max(pace.turn(now, 1 << 20).unwrap());
        }
        now - begun - stall
    }

    #[test]
    fn a_stall_is_not_made_up_for_by_a_burst() {
        // The first chunk goes at once.
        assert_eq!(paced(31, None), Duration::from_secs(3));
        assert_eq!(paced(31, Some(10)), Duration::from_millis(2_800));
        assert_eq!(Pace::new(None).turn(Instant::now(), 1), None);
        assert_eq!(Pace::new(Some(0)).turn(Instant::now(), 1), None);
    }
}
