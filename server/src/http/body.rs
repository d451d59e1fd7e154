//! Bodies: requests' read within bounds, or let run out unread; answers' within a budget of memory.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use conure_client::problem as kind;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::Problem;

/// How much of all bodies is in memory at once, in KiB; requests' and answers' each.
const BUDGET_KIB: usize = 64 << 10;
/// How long a body waits for its share of the budget.
const BUDGET_WAIT: Duration = Duration::from_secs(3);
/// How long a body may take to arrive.
const ARRIVAL_MAX: Duration = Duration::from_secs(60);
/// How much of an unread body is still taken, so that its sender reads the answer instead of a reset connection.
const DRAIN_MAX: usize = 8 << 20;
/// How long that may take.
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// What a request's headers say of its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Declared {
    /// Neither a length nor an encoding: there is none.
    Nothing,
    /// This many bytes.
    Length(u64),
    /// Chunks.
    Chunked,
}

impl Declared {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        if headers.contains_key(TRANSFER_ENCODING) {
            return Self::Chunked;
        }
        // The HTTP parser has refused what is no number.
        let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        length.map_or(Self::Nothing, Self::Length)
    }

    /// Refuses a body that is known to be too large before any of it is read.
    pub(super) fn check(self, limit: usize) -> Result<(), Problem> {
        match self {
            Self::Length(length) if usize::try_from(length).map_or(true, |length| length > limit) => {
                Err(Problem::too_large(limit))
            }
            _ => Ok(()),
        }
    }
}

/// A body in memory, and its share of the budget.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) bytes: Bytes,
    _share: Option<OwnedSemaphorePermit>,
}

/// A part of the budget.
#[derive(Debug)]
pub(super) struct Share {
    permit: OwnedSemaphorePermit,
    bytes: usize,
}

impl Share {
    /// Whether so many bytes are within it.
    pub(super) fn covers(&self, bytes: usize) -> bool {
        bytes <= self.bytes
    }

    /// The same bytes, of which the last copy to go gives the share back: where it waits to be written, and not before.
    pub(super) fn hold(self, bytes: Bytes) -> Bytes {
        struct Counted(Bytes, #[expect(dead_code, reason = "held, not read")] OwnedSemaphorePermit);
        impl AsRef<[u8]> for Counted {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }
        Bytes::from_owner(Counted(bytes, self.permit))
    }
}

fn kib(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX)
}

/// The memory that bodies share.
#[derive(Debug, Clone)]
pub(super) struct Budget(Arc<Semaphore>);

impl Default for Budget {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(BUDGET_KIB)))
    }
}

impl Budget {
    /// A share of so many bytes, where nobody has to be waited for.
    pub(super) fn try_share(&self, bytes: usize) -> Option<Share> {
        let permit = self.0.clone().try_acquire_many_owned(kib(bytes)).ok()?;
        Some(Share { permit, bytes })
    }

    /// A share of so many bytes, within reason.
    pub(super) async fn share(&self, bytes: usize) -> Result<Share, Problem> {
        let share = tokio::time::timeout(BUDGET_WAIT, self.0.clone().acquire_many_owned(kib(bytes))).await;
        match share {
            Ok(Ok(permit)) => Ok(Share { permit, bytes }),
            _ => Err(Problem::unavailable(kind::BUSY, "too many large values at once; try again later")),
        }
    }

    /// Reads a body of at most `limit` bytes.
    pub(super) async fn read(&self, headers: &HeaderMap, body: Body, limit: usize) -> Result<Held, Problem> {
        let declared = Declared::of(headers);
        declared.check(limit)?;
        let size = match declared {
            Declared::Nothing => return Ok(Held { bytes: Bytes::new(), _share: None }),
            Declared::Length(length) => usize::try_from(length).unwrap_or(limit),
            Declared::Chunked => limit,
        };
        let share = self.share(size).await?.permit;
        let collected = tokio::time::timeout(ARRIVAL_MAX, Limited::new(body, limit).collect()).await;
        let Ok(collected) = collected else {
            let detail = format!("the body did not arrive within {ARRIVAL_MAX:?}");
            return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, kind::BAD_BODY, detail));
        };
        let collected = collected.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
            Some(_) => Problem::too_large(limit),
            None => Problem::bad_body("the body did not arrive whole"),
        })?;
        Ok(Held { bytes: collected.to_bytes(), _share: Some(share) })
    }
}

/// Wraps every request's body so that, dropped unread, it is still taken off the connection.
pub(super) async fn drain_unread(request: Request, next: Next) -> Response {
    let awaits = request.headers().contains_key(EXPECT);
    next.run(request.map(|body| Body::new(Drain { body: Some(body), awaits }))).await
}

/// A body that is drained when it is dropped early. Who answers before the body came would otherwise close the
/// connection under its sender, who might never see the answer.
struct Drain {
    body: Option<Body>,
    /// The sender waits for `100 Continue`, which nobody has asked it for.
    awaits: bool,
}

impl HttpBody for Drain {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.awaits = false;
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(context));
        if !matches!(frame, Some(Ok(_))) {
            self.body = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for Drain {
    fn drop(&mut self) {
        let Some(mut body) = self.body.take().filter(|body| !self.awaits && !body.is_end_stream()) else {
            return;
        };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let drain = tokio::time::timeout(DRAIN_TIME, async move {
            let mut taken = 0;
            while let Some(Ok(frame)) = body.frame().await {
                taken += frame.data_ref().map_or(0, Bytes::len);
                if taken > DRAIN_MAX {
                    return;
                }
            }
        });
        runtime.spawn(conure_program::confined("HTTP connection", drain));
    }
}
