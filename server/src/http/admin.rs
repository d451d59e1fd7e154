//! Administration: `/join`, `/remove`, `/transfer-leadership`, `/bootstrap`.
//!
//! Each runs to its end although its client goes: a membership change left half-way helps nobody.

use std::future::Future;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use conure_client::api::{
    BootstrapAnswer, BootstrapRequest, JoinRequest, RemoveAnswer, RemoveRequest, TransferAnswer,
    TransferRequest,
};
use conure_client::problem as kind;
use conure_member::{JoinProgress, Member, Refusal};
use serde::de::DeserializeOwned;

use super::App;
use super::problem::Problem;
use super::route::Kind;

/// How large a body may be: names and addresses are short.
const BODY_LEN_MAX: usize = 64 << 10;

pub(super) async fn join(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    on_leader(&app, request, async |member: Member, request: JoinRequest| {
        Ok(match member.join(&request).await? {
            JoinProgress::Voter(answer) => Json(answer).into_response(),
            JoinProgress::CatchingUp(answer) => (StatusCode::ACCEPTED, Json(answer)).into_response(),
        })
    })
    .await
}

pub(super) async fn remove(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    on_leader(&app, request, async |member: Member, request: RemoveRequest| {
        member.remove(&request.id).await?;
        Ok(Json(RemoveAnswer { removed: request.id }).into_response())
    })
    .await
}

pub(super) async fn transfer(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    on_leader(&app, request, async |member: Member, request: TransferRequest| {
        member.transfer_leadership(&request.id).await?;
        Ok(Json(TransferAnswer { leader: request.id }).into_response())
    })
    .await
}

/// This member's own affair: never forwarded.
pub(super) async fn bootstrap(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    app.gate.check(&parts.headers).await?;
    let (_, request): (_, BootstrapRequest) = json(&app, &parts.headers, body).await?;
    let member = app.member()?.clone();
    let answer = to_the_end(async move {
        member.bootstrap(&request.cluster_id).await?;
        Ok(Json(BootstrapAnswer { cluster_id: request.cluster_id }).into_response())
    });
    answer.await?.map_err(|refusal| Problem::of_refusal(&refusal, true))
}

/// Checks a request here, and does it here or has the leader do it.
async fn on_leader<T, F, R>(app: &App, request: Request, act: F) -> Result<Response, Problem>
where
    T: DeserializeOwned + std::fmt::Debug + Send,
    F: FnOnce(Member, T) -> R,
    R: Future<Output = Result<Response, Refusal>> + Send + 'static,
{
    let (parts, body) = request.into_parts();
    app.gate.check(&parts.headers).await?;
    let (bytes, request) = json(app, &parts.headers, body).await?;
    if let Some(leader) = app.leader_elsewhere().await? {
        return Ok(elsewhere(app, &leader, &parts, bytes).await);
    }
    tracing::info!(path = parts.uri.path(), ?request, "administration");
    match to_the_end(act(app.member()?.clone(), request)).await? {
        Ok(response) => Ok(response),
        Err(refusal) => {
            tracing::info!(path = parts.uri.path(), %refusal, "administration refused");
            Ok(app.refused(refusal, &parts, bytes, Kind::Admin).await)
        }
    }
}

async fn elsewhere(app: &App, leader: &conure_member::Leader, parts: &Parts, body: Bytes) -> Response {
    app.elsewhere(leader, parts, body, Kind::Admin).await
}

async fn to_the_end(
    act: impl Future<Output = Result<Response, Refusal>> + Send + 'static,
) -> Result<Result<Response, Refusal>, Problem> {
    tokio::spawn(conure_program::confined("administration", act)).await.map_err(|error| {
        tracing::error!(%error, "administration broke off");
        Problem::unknown_outcome(
            "the member stopped in the middle of it; see /raft/config before you repeat it",
        )
    })
}

/// Reads a JSON body; also returns its bytes, to forward.
async fn json<T: DeserializeOwned>(
    app: &App,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Bytes, T), Problem> {
    let declared = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = declared.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        let detail = "the body is not declared as JSON; send the header Content-Type: application/json";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, kind::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    let held = app.bodies.read(headers, body, BODY_LEN_MAX).await?;
    let request = serde_json::from_slice(&held.bytes)
        .map_err(|error| Problem::bad_body(format!("the body is not what this path takes: {error}")))?;
    Ok((held.bytes, request))
}
