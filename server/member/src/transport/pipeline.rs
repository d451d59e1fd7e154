//! Appends to one member, several at a time on one connection: while the first ones are on the wire and on the other side's
//! disk, what came since is sent after them. A member answers requests in the order in which they come.

use std::collections::VecDeque;
use std::time::Duration;

use futures::stream::{BoxStream, Stream, StreamExt as _, unfold};
use openraft::error::RPCError;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, StreamAppendError, StreamAppendResult};
use openraft::{OptionalSend, RPCTypes};
use tokio::time::{Instant, sleep_until};

use super::connection::{CallError, Connection};
use super::frame::{self, FRAME_MAX, FrameError};
use super::message::{Request, Response};
use super::network::{CALL_PATIENCE, Link, confused, failed};
use crate::raft::types::{LogId, TypeConfig, Vote};

/// So many appends may be unanswered at once.
pub(super) const APPENDS_MAX: usize = 16;
/// No append is sent behind others while those have more bytes than this.
pub(super) const APPENDS_BYTES_MAX: usize = FRAME_MAX;
/// Behind others an append is sent so much later than the last one at the earliest. Where answers come sooner, one append at a
/// time holds all that came since the last one: more of them would be smaller and cost more processor time.
const SPACING: Duration = Duration::from_millis(1);

/// How an append ended.
pub(super) type Appended = Result<StreamAppendResult<TypeConfig>, RPCError<TypeConfig>>;

/// An append that is not answered.
struct Unanswered {
    /// Sent again where the connection breaks before the other side said anything: every append bears being sent twice.
    frame: Vec<u8>,
    prev: Option<LogId>,
    last: Option<LogId>,
    vote: Vote,
}

/// Sends what `input` has to send, and gives out the answers in the same order.
pub(super) struct Pipeline<'link, S> {
    link: &'link mut Link,
    input: S,
    /// Whether `input` has ended.
    ended: bool,
    unanswered: VecDeque<Unanswered>,
    /// Taken from the link, and given back in the end.
    connection: Option<Connection>,
    /// So many answers come first that nobody waits for any more.
    owed: usize,
    /// While part of a frame may be sent or received: given up then, the connection is of no more use.
    torn: bool,
    /// Whether the connection was opened for what is unanswered now.
    fresh: bool,
    sent_at: Instant,
    /// When the oldest unanswered append is given up.
    deadline: Instant,
}

/// A connection between two uses. A member answers an append only once all that it took before is on its disk: whoever stops
/// waiting for that, as heartbeats soon do, leaves the answer to come.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) connection: Connection,
    /// So many answers are still to come.
    pub(super) owed: usize,
    /// When the first of them is given up, and the connection with it.
    deadline: Instant,
}

impl From<Connection> for Kept {
    fn from(connection: Connection) -> Self {
        Self { connection, owed: 0, deadline: Instant::now() }
    }
}

/// What happens next while appends are unanswered.
enum Event {
    Answer,
    Late,
    Request(Option<AppendEntriesRequest<TypeConfig>>),
}

impl<'link, S> Pipeline<'link, S>
where
    S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
{
    pub(super) fn new(link: &'link mut Link, input: S) -> Self {
        let now = Instant::now();
        let (connection, owed, deadline) = match link.connection.take() {
            Some(kept) => (Some(kept.connection), kept.owed, kept.deadline),
            None => (None, 0, now),
        };
        Self {
            link,
            input,
            ended: false,
            unanswered: VecDeque::new(),
            connection,
            owed,
            torn: false,
            fresh: false,
            sent_at: now,
            deadline,
        }
    }

    /// The answers. Dropped before its end it leaves the link the connection, on which answers are owed then.
    pub(super) fn answers(self) -> BoxStream<'link, Appended> {
        unfold(Some(self), |pipeline| async move {
            let mut pipeline = pipeline?;
            let answer = pipeline.next().await;
            let goes_on = matches!(answer, Some(Ok(Ok(_))));
            Some((answer?, goes_on.then_some(pipeline)))
        })
        .boxed()
    }

    async fn next(&mut self) -> Option<Appended> {
        match self.try_next().await {
            Ok(answer) => answer.map(Ok),
            Err(e) => {
                self.forget();
                Some(Err(e))
            }
        }
    }

    async fn try_next(&mut self) -> Result<Option<StreamAppendResult<TypeConfig>>, RPCError<TypeConfig>> {
        loop {
            if self.unanswered.is_empty() && self.ended {
                return Ok(None);
            }
            let event = if self.unanswered.is_empty() && self.owed == 0 {
                Event::Request(self.input.next().await)
            } else {
                self.wait().await
            };
            match event {
                Event::Request(None) => self.ended = true,
                Event::Request(Some(request)) => self.take(request).await?,
                // Nobody waits for these answers: another connection may be better.
                Event::Late if self.unanswered.is_empty() => self.forget(),
                Event::Late => return Err(self.error(&CallError::Timeout(CALL_PATIENCE))),
                Event::Answer => {
                    if let Some(answer) = self.receive().await? {
                        return Ok(Some(answer));
                    }
                }
            }
        }
    }

    /// Waits for the first sign of an answer, and for the next request as long as there is room for it.
    async fn wait(&mut self) -> Event {
        let bytes: usize = self.unanswered.iter().map(|append| append.frame.len()).sum();
        let count = self.unanswered.len() + self.owed;
        let has_room = !self.ended && count < APPENDS_MAX && bytes <= APPENDS_BYTES_MAX;
        let (input, next_at) = (&mut self.input, self.sent_at + SPACING);
        let answered = async {
            // Without one, which cannot be, that is found out at once.
            if let Some(connection) = self.connection.as_mut() {
                connection.readable().await;
            }
        };
        tokio::select! {
            biased;
            () = answered => Event::Answer,
            () = sleep_until(self.deadline) => Event::Late,
            request = async {
                sleep_until(next_at).await;
                input.next().await
            }, if has_room => Event::Request(request),
        }
    }

    /// Sends one more.
    async fn take(&mut self, append: AppendEntriesRequest<TypeConfig>) -> Result<(), RPCError<TypeConfig>> {
        let prev = append.prev_log_id;
        let (last, vote) = (append.entries.last().map(|entry| entry.log_id).or(prev), append.vote);
        let frame = frame::encode(&Request::Append(append), FRAME_MAX).map_err(|e| self.error(&e.into()))?;
        let now = Instant::now();
        if self.unanswered.is_empty() && self.owed == 0 {
            self.deadline = now + CALL_PATIENCE;
        }
        self.sent_at = now;
        self.torn = true;
        let sent = match self.connection.as_mut() {
            Some(connection) => connection.send_frame(&frame, CALL_PATIENCE).await,
            None => Err(FrameError::Closed.into()),
        };
        self.torn = false;
        self.unanswered.push_back(Unanswered { frame, prev, last, vote });
        match sent {
            Ok(()) => Ok(()),
            Err(e) => self.broken(e).await,
        }
    }

    /// The next answer; none where the connection was broken and everything was sent again.
    async fn receive(&mut self) -> Result<Option<StreamAppendResult<TypeConfig>>, RPCError<TypeConfig>> {
        let Some(connection) = self.connection.as_mut() else {
            return Err(confused());
        };
        self.torn = true;
        let answer = connection.answer(CALL_PATIENCE).await;
        self.torn = false;
        let answer = match answer {
            Ok(answer) => answer,
            Err(e) => return self.broken(e).await.map(|()| None),
        };
        self.fresh = false;
        self.deadline = Instant::now() + CALL_PATIENCE;
        if self.owed > 0 {
            self.owed -= 1;
            return Ok(None);
        }
        let Some(append) = self.unanswered.pop_front() else {
            return Err(confused());
        };
        match (answer, append.prev) {
            (Response::Append(AppendEntriesResponse::Success), _) => {
                if let Some(last) = &append.last {
                    self.link.acknowledged(append.vote, last.index());
                }
                Ok(Some(Ok(append.last)))
            }
            (Response::Append(AppendEntriesResponse::HigherVote(vote)), _) => {
                Ok(Some(Err(StreamAppendError::HigherVote(vote))))
            }
            (Response::Append(AppendEntriesResponse::Conflict), Some(prev)) => {
                Ok(Some(Err(StreamAppendError::Conflict(prev))))
            }
            // Nothing contradicts the beginning of a log, and no member takes a part of an append.
            (Response::Append(_), _) => Err(confused()),
            (other, _) => Err(failed(other)),
        }
    }

    /// The other side may have restarted since it answered last: then it is dialled again, once.
    async fn broken(&mut self, error: CallError) -> Result<(), RPCError<TypeConfig>> {
        if self.fresh || !matches!(error, CallError::Frame(_)) {
            return Err(self.error(&error));
        }
        self.forget();
        if self.unanswered.is_empty() {
            return Ok(());
        }
        self.send_again().await
    }

    /// Ends the connection, and with it what is owed on it.
    fn forget(&mut self) {
        self.connection = None;
        self.owed = 0;
    }

    /// Opens a connection and sends on it all that is unanswered.
    async fn send_again(&mut self) -> Result<(), RPCError<TypeConfig>> {
        let opened = self.link.open(CALL_PATIENCE).await;
        let mut connection = opened.map_err(|e| self.error(&e))?;
        self.fresh = true;
        self.deadline = Instant::now() + CALL_PATIENCE;
        for append in &self.unanswered {
            let sent = connection.send_frame(&append.frame, CALL_PATIENCE).await;
            sent.map_err(|e| self.error(&e))?;
        }
        self.connection = Some(connection);
        Ok(())
    }

    fn error(&self, error: &CallError) -> RPCError<TypeConfig> {
        self.link.error(RPCTypes::AppendEntries, error)
    }
}

impl<S> Drop for Pipeline<'_, S> {
    fn drop(&mut self) {
        if self.torn {
            return;
        }
        let (owed, deadline) = (self.owed + self.unanswered.len(), self.deadline);
        self.link.connection = self.connection.take().map(|connection| Kept { connection, owed, deadline });
    }
}
