//! Request targets as they were sent.
//!
//! `http::Uri` drops what follows a raw `#`, so `/kv?key=a#1` and `/kv?key=a#2` would both reach a handler as `/kv?key=a`. hyper
//! keeps no other copy of the target, and therefore the bytes are looked at on their way to it. Where a head ends is seen from
//! its empty line. What follows it is not worked out a second time: hyper gets each head alone and says, by the request that it makes of it,
//! how long the body is.
//!
//! **Invariant:** a request is served only if its own request line was seen here. Where hyper and this file disagree on where a head
//! ends, the connection ends.
//! **Invariant:** nothing in a body is taken for a request line. The end of a body in chunks is not known here, so its request is the last of its connection.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use axum::extract::Request;
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use bytes::{Buf as _, Bytes};
use conure_client::problem as kind;
use hyper::body::{Body as _, Incoming};
use hyper::service::Service;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::problem::Problem;

/// What is known of a request's target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    /// The handlers see all of it.
    Whole,
    /// It holds a `#`: the handlers see a part of it.
    Cut,
    /// Its request line was not seen.
    Unseen,
}

/// What the next byte of a connection belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A request line, or an empty line before one.
    Line { begun: bool, in_target: bool },
    /// The fields after it; `empty` while the present line holds nothing.
    Fields { empty: bool },
    /// Unknown: a head ended, and hyper has yet to say what follows.
    Complete,
    /// A body with this many bytes to come.
    Body(u64),
    /// The last request's body and whatever is sent after it.
    Rest,
}

const NEXT_LINE: Place = Place::Line { begun: false, in_target: false };

/// Follows the requests of one connection.
#[derive(Debug)]
struct Heads {
    place: Place,
    cut: bool,
}

impl Heads {
    fn new() -> Self {
        Self { place: NEXT_LINE, cut: false }
    }

    /// Looks at bytes that are to go to hyper. Says how many of them it may have now; `None` where it should not ask for any.
    fn pass(&mut self, bytes: &[u8]) -> Option<usize> {
        match self.place {
            Place::Complete => None,
            Place::Rest => Some(bytes.len()),
            Place::Body(left) => {
                let passed = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                let left = left.saturating_sub(passed as u64);
                self.place = if left == 0 { NEXT_LINE } else { Place::Body(left) };
                Some(passed)
            }
            Place::Line { .. } | Place::Fields { .. } => {
                for (at, byte) in bytes.iter().enumerate() {
                    self.step(*byte);
                    if self.place == Place::Complete {
                        return Some(at + 1);
                    }
                }
                Some(bytes.len())
            }
        }
    }

    fn step(&mut self, byte: u8) {
        self.place = match (self.place, byte) {
            (Place::Line { begun: false, .. }, b'\r' | b'\n') => NEXT_LINE,
            (Place::Line { .. }, b'\n') => Place::Fields { empty: true },
            (Place::Line { in_target, .. }, byte) => {
                // A `#` may stand in a method.
                self.cut |= in_target && byte == b'#';
                Place::Line { begun: true, in_target: in_target || byte == b' ' }
            }
            (Place::Fields { empty: true }, b'\n') => Place::Complete,
            (Place::Fields { .. }, b'\n') => Place::Fields { empty: true },
            (Place::Fields { empty }, byte) => Place::Fields { empty: empty && byte == b'\r' },
            (place, _) => place,
        };
    }

    /// hyper made a request of the head that was passed, with a body of that length if it has one.
    fn begin(&mut self, body_len: Option<u64>) -> Target {
        let cut = std::mem::take(&mut self.cut);
        let seen = self.place == Place::Complete;
        self.place = match body_len {
            Some(0) if seen => NEXT_LINE,
            Some(length) if seen => Place::Body(length),
            _ => Place::Rest,
        };
        match (seen, cut) {
            (false, _) => Target::Unseen,
            (true, true) => Target::Cut,
            (true, false) => Target::Whole,
        }
    }
}

type Shared = Arc<Mutex<Heads>>;

fn lock(heads: &Shared) -> MutexGuard<'_, Heads> {
    // Every step leaves it as it should be.
    heads.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Watches a connection for a service, which then knows each request's target.
pub(super) fn watch<S, T>(stream: S, service: T) -> (Watched<S>, Knowing<T>) {
    let heads = Arc::new(Mutex::new(Heads::new()));
    (Watched { stream, heads: Arc::clone(&heads), held: Bytes::new() }, Knowing { service, heads })
}

/// A connection whose heads are looked at.
#[derive(Debug)]
pub(super) struct Watched<S> {
    stream: S,
    heads: Shared,
    /// What came with the end of a head or a body: at most what one read took.
    held: Bytes,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        if this.held.is_empty() {
            ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        } else {
            let length = this.held.len().min(buffer.remaining());
            buffer.put_slice(this.held.get(..length).unwrap_or_default());
        }
        let came = buffer.filled().get(before..).unwrap_or_default();
        if came.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let Some(passed) = lock(&this.heads).pass(came) else {
            let reason = "where this request's head ends is unclear";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, reason)));
        };
        if this.held.is_empty() {
            this.held = Bytes::copy_from_slice(came.get(passed..).unwrap_or_default());
        } else {
            this.held.advance(passed);
        }
        if this.held.is_empty() {
            // It would keep its memory.
            this.held = Bytes::new();
        }
        buffer.set_filled(before + passed);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// A service whose requests carry what is known of their targets.
#[derive(Debug)]
pub(super) struct Knowing<T> {
    service: T,
    heads: Shared,
}

impl<T: Service<hyper::Request<Incoming>>> Service<hyper::Request<Incoming>> for Knowing<T> {
    type Response = T::Response;
    type Error = T::Error;
    type Future = T::Future;

    // hyper calls this as soon as it has parsed a head, before it reads on.
    fn call(&self, mut request: hyper::Request<Incoming>) -> Self::Future {
        let target = lock(&self.heads).begin(request.body().size_hint().exact());
        request.extensions_mut().insert(target);
        self.service.call(request)
    }
}

/// Refuses a request whose target is not what its handler would see, and ends the connection after the last one that can be told apart.
pub(super) async fn check(request: Request, next: Next) -> Response {
    let target = request.extensions().get::<Target>().copied().unwrap_or(Target::Unseen);
    let is_last = target == Target::Unseen || request.body().size_hint().exact().is_none();
    let bad = |detail: &str| Problem::new(StatusCode::BAD_REQUEST, kind::INVALID, detail).into_response();
    let mut response = match target {
        Target::Whole => next.run(request).await,
        Target::Cut => bad("the request's target holds a #; write it as %23"),
        Target::Unseen => bad("where this request begins is unclear; send it again on another connection"),
    };
    if is_last {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

#[cfg(test)]
mod tests;
