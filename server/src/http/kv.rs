//! `/kv`: keys and values.

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, ETAG};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use conure_client::problem as kind;
use conure_member::{Consistency, ReadAnswer};

use super::App;
use super::body::{Declared, Share};
use super::problem::Problem;
use super::query::Query;
use super::route::Kind;

/// How large a value may be.
pub(super) const VALUE_LEN_MAX: usize = 4 << 20;

/// Values of up to this size are answered without a share of the memory for answers: what all connections can hold of them
/// is little.
const VALUE_LEN_UNCOUNTED: usize = 8 << 10;

/// How far the member is that answered a stale read.
const REVISION: HeaderName = HeaderName::from_static("conure-revision");

pub(super) async fn put(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let mut query = Query::parse(parts.uri.query(), &["key", "value"])?;
    let key = query.take_key()?;
    let given = query.take("value");
    let declared = Declared::of(&parts.headers);
    declared.check(VALUE_LEN_MAX)?;
    match (&given, declared) {
        (None, Declared::Nothing) => return Err(length_required()),
        (Some(_), Declared::Length(1..)) => return Err(two_values()),
        _ => {}
    }
    let redirects = app.redirects(&parts);
    if redirects && let Some(leader) = app.leader_elsewhere().await? {
        return Ok(app.elsewhere(&leader, &parts, Bytes::new(), Kind::Write).await);
    }
    let body = app.bodies.read(&parts.headers, body, VALUE_LEN_MAX).await?;
    if given.is_some() && !body.bytes.is_empty() {
        return Err(two_values());
    }
    // Once is enough to wait.
    let leader = if redirects { app.leader_elsewhere_now()? } else { app.leader_elsewhere().await? };
    if let Some(leader) = leader {
        return Ok(app.elsewhere(&leader, &parts, body.bytes.clone(), Kind::Write).await);
    }
    let value = given.map_or_else(|| body.bytes.clone(), Bytes::from);
    match app.member()?.put(key, value).await {
        Ok(answer) => Ok(([(ETAG, etag(answer.revision))], Json(answer)).into_response()),
        Err(refusal) => Ok(app.refused(refusal, &parts, body.bytes.clone(), Kind::Write).await),
    }
}

/// `GET` and `HEAD`.
pub(super) async fn get(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let mut query = Query::parse(parts.uri.query(), &["key", "stale"])?;
    let key = query.take_key()?;
    let consistency = if query.take_bool("stale")? { Consistency::Stale } else { Consistency::Linearizable };
    let mut share: Option<Share> = None;
    let mut answer = loop {
        let answer = match app.member()?.get(&key, consistency).await {
            Ok(answer) => answer,
            Err(refusal) => return Ok(app.refused(refusal, &parts, Bytes::new(), Kind::Read).await),
        };
        let length = answer.found.as_ref().map_or(0, |found| found.value.len());
        if length <= VALUE_LEN_UNCOUNTED || share.as_ref().is_some_and(|share| share.covers(length)) {
            break answer;
        }
        let waited = share.take().is_some();
        share = app.answers.try_share(length);
        if share.is_some() {
            break answer;
        }
        // It waits without the value, and reads again. One that changed meanwhile may be longer, but once only.
        drop(answer);
        share = Some(app.answers.share(if waited { VALUE_LEN_MAX } else { length }).await?);
    };
    if let (Some(found), Some(share)) = (&mut answer.found, share) {
        found.value = share.hold(std::mem::take(&mut found.value));
    }
    app.metrics.read_served(consistency);
    Ok(answered(answer, consistency))
}

pub(super) async fn delete(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let key = Query::parse(parts.uri.query(), &["key"])?.take_key()?;
    if let Some(leader) = app.leader_elsewhere().await? {
        return Ok(app.elsewhere(&leader, &parts, Bytes::new(), Kind::Write).await);
    }
    match app.member()?.delete(key).await {
        Ok(answer) => Ok(Json(answer).into_response()),
        Err(refusal) => Ok(app.refused(refusal, &parts, Bytes::new(), Kind::Write).await),
    }
}

fn answered(answer: ReadAnswer, consistency: Consistency) -> Response {
    let mut response = match answer.found {
        Some(found) => {
            let mut response = Response::new(Body::from(found.value));
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
            headers.insert(ETAG, etag(found.revision));
            response
        }
        None => Problem::key_not_found().into_response(),
    };
    if consistency == Consistency::Stale {
        response.headers_mut().insert(REVISION, answer.revision.into());
    }
    response
}

fn etag(revision: u64) -> HeaderValue {
    // Digits in quotes are always a header's value.
    HeaderValue::from_str(&format!("\"{revision}\"")).unwrap_or_else(|_| HeaderValue::from(revision))
}

fn two_values() -> Problem {
    let detail = "both the parameter value and a body; send one of them";
    Problem::new(StatusCode::BAD_REQUEST, kind::TWO_VALUES, detail)
}

fn length_required() -> Problem {
    let detail = "no value: send a body with its length, or the parameter value (value= is the empty value)";
    Problem::new(StatusCode::LENGTH_REQUIRED, kind::LENGTH_REQUIRED, detail)
}
