//! The dialling end of a connection.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::time::timeout;

use super::acknowledged::Acknowledged;
use super::frame::{self, FRAME_MAX, FrameError, HELLO_MAX};
use super::message::{Chunk, Failure, Greeting, Hello, RefusedHello, Request, Response};
use crate::platform::{self, TcpStream};

/// Why a call to another member failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error("{0}")]
    Connect(std::io::Error),
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// It was dialled in vain a moment ago.
    #[error("it was not there a moment ago")]
    Rests,
    #[error("{0}")]
    Refused(RefusedHello),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("it gave an answer of the wrong kind")]
    Confused,
    #[error("it failed: {0}")]
    Failed(Failure),
    #[error("the snapshot cannot be read: {0}")]
    Read(std::io::Error),
    /// An arbiter leads: it has no data, so whoever needs a snapshot waits for another leader.
    #[error("an arbiter has no snapshot to send")]
    NothingToSend,
    /// The other side counts on entries that this member does not hold any more.
    #[error("this member's log lost entries that it had acknowledged")]
    LostEntries,
}

impl CallError {
    /// Whether the member's process is surely not at that address: nobody listens there, or somebody else.
    pub(crate) fn is_absence(&self) -> bool {
        match self {
            Self::Connect(e) => e.kind() == std::io::ErrorKind::ConnectionRefused,
            Self::Refused(why) => matches!(why, RefusedHello::Target(_)),
            _ => false,
        }
    }

    /// Whether nobody answered, who may be there.
    pub(crate) fn is_silence(&self) -> bool {
        matches!(self, Self::Connect(_) | Self::Timeout(_) | Self::Frame(_))
    }

    /// Whether the other side is not there at all, so that trying at once again is of no use.
    pub(crate) fn is_unreachable(&self) -> bool {
        matches!(
            self,
            Self::Connect(_) | Self::Rests | Self::Refused(_) | Self::Failed(_) | Self::LostEntries
        )
    }
}

/// An open connection on which requests are answered one by one.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
    /// The minor version that both ends speak.
    pub(crate) minor: u16,
    /// Which process the other side is, and what it says that this member acknowledged to it.
    pub(crate) process: Option<(u64, Option<Acknowledged>)>,
}

impl Connection {
    /// Dials `addr` and shakes hands, all within `patience`.
    pub(crate) async fn open(addr: &str, hello: &Hello, patience: Duration) -> Result<Self, CallError> {
        timeout(patience, async {
            let stream = platform::connect(addr).await.map_err(CallError::Connect)?;
            stream.set_nodelay(true).map_err(CallError::Connect)?;
            let mut stream = BufReader::new(stream);
            match &hello.introduction {
                Some(introduction) => frame::send(&mut stream, &(hello, introduction), HELLO_MAX).await?,
                None => frame::send(&mut stream, hello, HELLO_MAX).await?,
            }
            let (minor, process) = match frame::receive(&mut stream, HELLO_MAX).await? {
                Greeting::Welcome { minor } => (minor, None),
                Greeting::Recognized { minor, boot, acknowledged } => (minor, Some((boot, acknowledged))),
                Greeting::Refused(why) => return Err(CallError::Refused(why)),
            };
            Ok(Self { stream, minor: minor.min(hello.minor), process })
        })
        .await
        .unwrap_or(Err(CallError::Timeout(patience)))
    }

    /// Asks and waits for the answer. After an error the connection must not be used again.
    pub(crate) async fn call(
        &mut self,
        request: &Request,
        patience: Duration,
    ) -> Result<Response, CallError> {
        timeout(patience, async {
            frame::send(&mut self.stream, request, FRAME_MAX).await?;
            Ok(frame::receive(&mut self.stream, FRAME_MAX).await?)
        })
        .await
        .unwrap_or(Err(CallError::Timeout(patience)))
    }

    /// Sends a frame that is encoded already.
    pub(crate) async fn send_frame(&mut self, frame: &[u8], patience: Duration) -> Result<(), CallError> {
        timeout(patience, frame::send_bytes(&mut self.stream, frame))
            .await
            .map_err(|_| CallError::Timeout(patience))?
            .map_err(CallError::from)
    }

    /// Waits until there is something to receive, or the connection has ended. May be dropped: nothing is taken.
    pub(crate) async fn readable(&mut self) {
        // What went wrong is found again by whoever receives.
        let _ = self.stream.fill_buf().await;
    }

    /// Sends one piece of a snapshot.
    pub(crate) async fn send_chunk(&mut self, chunk: &Chunk, patience: Duration) -> Result<(), CallError> {
        self.send_frame(&frame::encode(chunk, FRAME_MAX)?, patience).await
    }

    /// Waits for an answer that is still owed.
    pub(crate) async fn answer(&mut self, patience: Duration) -> Result<Response, CallError> {
        timeout(patience, frame::receive(&mut self.stream, FRAME_MAX))
            .await
            .map_err(|_| CallError::Timeout(patience))?
            .map_err(CallError::from)
    }
}

/// One question on a connection of its own.
pub(crate) async fn ask(
    addr: &str,
    hello: &Hello,
    request: &Request,
    patience: Duration,
) -> Result<Response, CallError> {
    Connection::open(addr, hello, patience).await?.call(request, patience).await
}
