//! What a member says of itself: status, configuration, figures, health, metrics, backup.

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use conure_client::problem as kind;
use conure_member::Backup;
use tokio::sync::mpsc;

use super::App;
use super::problem::Problem;
use super::query::Query;

/// How long a backup waits for its client to take the next chunk.
const CHUNK_WAIT: Duration = Duration::from_secs(60);
/// Chunks between the disk and the client.
const CHUNKS_AHEAD: usize = 2;

pub(super) async fn status(State(app): State<App>) -> Result<Response, Problem> {
    Ok(Json(app.member()?.status()).into_response())
}

pub(super) async fn raft_config(State(app): State<App>) -> Result<Response, Problem> {
    Ok(Json(app.member()?.raft_config()).into_response())
}

pub(super) async fn raft_stats(State(app): State<App>) -> Result<Response, Problem> {
    Ok(Json(app.member()?.stats()).into_response())
}

pub(super) async fn livez() -> &'static str {
    "ok\n"
}

/// Ready: in a cluster (the one that is asked for, if one is), with a leader, caught up, and not stopping.
pub(super) async fn readyz(State(app): State<App>, request: Request) -> Result<&'static str, Problem> {
    let not_ready = |reason: String| Problem::unavailable(kind::NOT_READY, reason);
    let wanted = Query::parse(request.uri().query(), &["cluster_id"])?.take_text("cluster_id")?;
    let member = app.member()?;
    if app.is_stopping() {
        return Err(not_ready("this member is stopping".into()));
    }
    member.ready().map_err(not_ready)?;
    let own = member.status().cluster_id;
    match wanted {
        Some(wanted) if wanted != own => Err(not_ready(format!("this member belongs to the cluster {own}"))),
        _ => Ok("ok\n"),
    }
}

pub(super) async fn metrics(State(app): State<App>) -> Response {
    let text = app.metrics.encode(app.member.get());
    let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    ([(CONTENT_TYPE, kind)], text).into_response()
}

/// A consistent backup, streamed.
pub(super) async fn snapshot(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    app.gate.check(request.headers()).await?;
    let busy = |_| Problem::unavailable(kind::BUSY, "enough backups are on their way; try again later");
    let turn = app.backups.clone().try_acquire_owned().map_err(busy)?;
    let backup = app.member()?.backup().await.map_err(|refusal| Problem::of_refusal(&refusal, false))?;
    let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
    let runtime = tokio::runtime::Handle::current();
    tokio::task::spawn_blocking(move || {
        let _turn = turn;
        pump(backup, &sender, &runtime);
    });
    let chunks = futures::stream::unfold(receiver, async |mut receiver: mpsc::Receiver<_>| {
        receiver.recv().await.map(|chunk| (chunk, receiver))
    });
    let kind = HeaderValue::from_static("application/octet-stream");
    Ok(([(CONTENT_TYPE, kind)], Body::from_stream(chunks)).into_response())
}

/// Reads a backup off the async threads. A client that stops reading does not hold it for ever.
fn pump(backup: Backup, to: &mpsc::Sender<std::io::Result<Bytes>>, runtime: &tokio::runtime::Handle) {
    for chunk in backup {
        let broken = chunk.is_err();
        let sent = runtime.block_on(tokio::time::timeout(CHUNK_WAIT, to.send(chunk)));
        if broken || !matches!(sent, Ok(Ok(()))) {
            return;
        }
    }
}
