//! `/snapshot`: a backup on its way to a client.
//!
//! **Invariant:** an answer ends well only after the backup's last piece. One that is cut short, whatever the cause,
//! breaks off without HTTP's end, so that no client takes it for whole.

use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use conure_client::problem as kind;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::App;
use super::problem::Problem;

/// How long a backup waits for its client to take the next chunk. One that takes nothing at all is cut off earlier, with its
/// connection.
const STALL_MAX: Duration = Duration::from_secs(60);
/// Chunks between the disk and the client.
const CHUNKS_AHEAD: usize = 2;

/// What goes from the disk to the client. A channel that closes without `End` or `Broken` was given up.
#[derive(Debug)]
enum Piece {
    Chunk(Bytes),
    Broken(io::Error),
    End,
}

/// A consistent backup, streamed.
pub(super) async fn snapshot(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    app.gate.check(request.headers()).await?;
    let busy = |_| Problem::unavailable(kind::BUSY, "enough backups are on their way; try again later");
    let turn = app.backups.clone().try_acquire_owned().map_err(busy)?;
    let backup = app.member()?.backup().await.map_err(|refusal| Problem::of_refusal(&refusal, false))?;
    let kind = HeaderValue::from_static("application/octet-stream");
    Ok(([(CONTENT_TYPE, kind)], streamed(backup, STALL_MAX, turn)).into_response())
}

/// A body of these chunks, which are read off the async threads. `turn` is held as long as they are.
fn streamed(
    chunks: impl Iterator<Item = io::Result<Bytes>> + Send + 'static,
    stall_max: Duration,
    turn: impl Send + 'static,
) -> Body {
    let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        let _turn = turn;
        pump(chunks, &sender, stall_max, &runtime);
    });
    Body::from_stream(futures::stream::unfold(Some(receiver), async |receiver| {
        let mut receiver = receiver?;
        match receiver.recv().await {
            Some(Piece::Chunk(chunk)) => Some((Ok(chunk), Some(receiver))),
            Some(Piece::Broken(error)) => Some((Err(error), None)),
            Some(Piece::End) => None,
            None => Some((Err(io::Error::other("the backup was given up")), None)),
        }
    }))
}

/// Reads until the end. A client that stops reading does not hold it for ever.
fn pump(
    chunks: impl Iterator<Item = io::Result<Bytes>>,
    to: &mpsc::Sender<Piece>,
    stall_max: Duration,
    runtime: &Handle,
) {
    let pieces = chunks.map(|chunk| chunk.map_or_else(Piece::Broken, Piece::Chunk));
    for piece in pieces.chain([Piece::End]) {
        if let Piece::Broken(error) = &piece {
            tracing::error!(%error, "a backup could not be read to its end");
        }
        let last = !matches!(piece, Piece::Chunk(_));
        match runtime.block_on(tokio::time::timeout(stall_max, to.send(piece))) {
            Ok(Ok(())) if !last => {}
            Ok(Ok(())) => return,
            Ok(Err(_)) => {
                tracing::warn!("a backup's client went, or took nothing for too long; its answer breaks off");
                return;
            }
            Err(_) => {
                tracing::warn!(?stall_max, "a backup's client stopped reading; its answer breaks off");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use axum::Router;
    use axum::routing::get;
    use conure_client::Client;
    use futures::TryStreamExt as _;
    use http_body_util::BodyExt as _;
    use tokio::sync::oneshot;

    use super::*;

    const CHUNK: Bytes = Bytes::from_static(&[7; 1 << 16]);

    fn chunks(number: usize) -> impl Iterator<Item = io::Result<Bytes>> + Send + 'static {
        std::iter::repeat_with(|| Ok(CHUNK)).take(number)
    }

    fn failing() -> impl Iterator<Item = io::Result<Bytes>> + Send + 'static {
        chunks(3).chain([Err(io::Error::other("the disk broke"))]).chain(chunks(3))
    }

    /// Ends when the value is dropped.
    fn turn() -> (oneshot::Sender<()>, oneshot::Receiver<()>) {
        oneshot::channel()
    }

    #[tokio::test]
    async fn a_whole_backup_ends_well() {
        let body = streamed(chunks(9), STALL_MAX, ());
        assert_eq!(body.collect().await.unwrap().to_bytes().len(), 9 * CHUNK.len());
        assert!(streamed(chunks(0), STALL_MAX, ()).collect().await.unwrap().to_bytes().is_empty());
    }

    #[tokio::test]
    async fn a_backup_whose_client_stalled_ends_with_an_error() {
        // The last number fits into the queue whole, all but its end.
        for number in [9, CHUNKS_AHEAD + 1, CHUNKS_AHEAD] {
            let (held, ended) = turn();
            let body = streamed(chunks(number), Duration::from_millis(20), held);
            ended.await.unwrap_err();
            let read: Result<Vec<Bytes>, _> = body.into_data_stream().try_collect().await;
            assert!(read.is_err(), "{number}");
        }
    }

    #[tokio::test]
    async fn a_backup_that_cannot_be_read_ends_with_an_error_after_what_could() {
        let mut body = streamed(failing(), STALL_MAX, ()).into_data_stream();
        for _ in 0..3 {
            assert_eq!(body.try_next().await.unwrap().unwrap(), CHUNK);
        }
        assert!(body.try_next().await.is_err());
        assert!(body.try_next().await.unwrap().is_none());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn curl_and_the_client_see_that_a_backup_broke_off() {
        let router = Router::new()
            .route("/snapshot", get(async || streamed(failing(), STALL_MAX, ())))
            .route("/whole", get(async || streamed(chunks(6), STALL_MAX, ())));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(axum::serve(listener, router).into_future());

        let client = Client::new(address.to_string()).unwrap();
        let read: Result<Vec<Bytes>, _> = client.snapshot().await.unwrap().try_collect().await;
        assert!(read.is_err());

        let curl = |path: &str| {
            let url = format!("http://{address}{path}");
            let mut command = Command::new("curl");
            command.args(["--silent", "--max-time", "60", "--output", "/dev/null", "--noproxy", "*", &url]);
            tokio::task::spawn_blocking(move || command.status().unwrap().code())
        };
        // 18: "Partial file".
        assert_eq!(curl("/snapshot").await.unwrap(), Some(18));
        assert_eq!(curl("/whole").await.unwrap(), Some(0));
        server.abort();
    }
}
