//! What a member says of itself: status, configuration, figures, health, metrics.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use conure_client::problem as kind;
use conure_member::Member;

use super::App;
use super::problem::Problem;
use super::query::Query;

pub(super) async fn status(State(app): State<App>) -> Result<Response, Problem> {
    Ok(Json(app.member()?.status()).into_response())
}

pub(super) async fn raft_config(State(app): State<App>) -> Result<Response, Problem> {
    Ok(Json(app.member()?.raft_config()).into_response())
}

pub(super) async fn raft_stats(State(app): State<App>) -> Result<Response, Problem> {
    Ok(Json(app.member()?.stats()).into_response())
}

/// Alive: nothing that a member cannot be without has ended. A member that is still starting is alive, and so is a slow one.
pub(super) async fn livez(State(app): State<App>) -> Result<&'static str, Problem> {
    let Some(Err(fault)) = app.member.get().map(Member::alive) else { return Ok("ok\n") };
    let kind = if fault.task { kind::TASK_ENDED } else { kind::STORAGE };
    Err(Problem::unavailable(kind, format!("{fault}; the process is about to end")))
}

/// Ready: in a cluster (the one that is asked for, if one is, and no older incarnation of it), with a leader, caught up, and
/// not stopping.
pub(super) async fn readyz(State(app): State<App>, request: Request) -> Result<&'static str, Problem> {
    let not_ready = |reason: String| Problem::unavailable(kind::NOT_READY, reason);
    let mut query = Query::parse(request.uri().query(), &["cluster_id", "incarnation"])?;
    let wanted = query.take_text("cluster_id")?;
    let oldest = query.take_number("incarnation")?.unwrap_or(0);
    let member = app.member()?;
    if app.is_stopping() {
        return Err(not_ready("this member is stopping".into()));
    }
    member.ready().map_err(not_ready)?;
    let status = member.status();
    let own = status.cluster_id;
    if wanted.is_some_and(|wanted| wanted != own) {
        return Err(not_ready(format!("this member belongs to the cluster {own}")));
    }
    if status.incarnation < oldest {
        let present = status.incarnation;
        return Err(not_ready(format!(
            "this member belongs to incarnation {present} of its cluster, which went on without it"
        )));
    }
    Ok("ok\n")
}

pub(super) async fn metrics(State(app): State<App>) -> Response {
    let text = app.metrics.encode(app.member.get());
    let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    ([(CONTENT_TYPE, kind)], text).into_response()
}
