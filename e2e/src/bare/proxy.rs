//! What stands between the operator and the API server: it counts, and makes the API server slow, unwilling or forgetful.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use kube::Client;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The largest request that is passed on.
const BODY_MAX: usize = 8 << 20;

/// How the API server behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Weather {
    /// Every answer is held back for this long.
    pub delay: Duration,
    /// Every so many requests, one that is no watch is answered with this code and nothing is done.
    pub refuse: Option<(u64, u16)>,
    /// Every so many changes, one is refused with this code.
    pub refuse_change: Option<(u64, u16)>,
    /// Every so many changes, one is made and its answer lost: the connection gets 504.
    pub lose_answer: Option<u64>,
    /// Watches stay open and say nothing.
    pub mute_watches: bool,
}

#[derive(Default)]
struct Shared {
    weather: Weather,
    requests: u64,
    changes: u64,
    /// How many requests that are no watches, by verb and resource.
    counts: BTreeMap<String, u64>,
}

/// A running proxy. Whoever reaches it is who its client is: the administrator, or an account.
pub struct Proxy {
    url: String,
    shared: Arc<Mutex<Shared>>,
    task: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone)]
struct Way {
    client: Client,
    shared: Arc<Mutex<Shared>>,
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Proxy {
    /// Starts one before the API server of `client`.
    pub async fn start(client: Client) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let shared = Arc::<Mutex<Shared>>::default();
        let way = Way { client, shared: Arc::clone(&shared) };
        let router = Router::new().fallback(pass).with_state(way);
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { url, shared, task })
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// From now on the API server behaves like this.
    pub fn set(&self, weather: Weather) {
        lock(&self.shared).weather = weather;
    }

    /// How many requests that are no watches were passed on or refused, by verb and resource.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<String, u64> {
        lock(&self.shared).counts.clone()
    }

    /// All of [`Proxy::counts`] together.
    #[must_use]
    pub fn total(&self) -> u64 {
        lock(&self.shared).counts.values().sum()
    }
}

/// `GET pods` for `/api/v1/namespaces/db/pods/conure-0`.
fn title(method: &str, path: &str) -> String {
    let words: Vec<&str> = path.split('/').filter(|word| !word.is_empty()).collect();
    let resource = match words.iter().position(|word| *word == "namespaces") {
        Some(at) => words.get(at + 2).or(words.get(at)),
        None if path.starts_with("/apis/") => words.get(3).or(words.last()),
        None => words.get(2).or(words.last()),
    };
    format!("{method} {}", resource.unwrap_or(&""))
}

fn refusal(code: u16) -> Response {
    let status = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
        "reason": match code { 409 => "Conflict", 429 => "TooManyRequests", _ => "InternalError" },
        "message": "the weather is bad",
    });
    let code = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (code, axum::Json(status)).into_response()
}

async fn pass(State(way): State<Way>, request: Request) -> Response {
    let watch =
        request.uri().query().is_some_and(|query| query.contains("watch=true") || query.contains("watch=1"));
    let change = !matches!(request.method().as_str(), "GET" | "HEAD");
    let (weather, refuse, lose) = {
        let mut shared = lock(&way.shared);
        let (mut refuse, mut lose) = (None, false);
        if !watch {
            shared.requests += 1;
            shared.changes += u64::from(change);
            refuse = shared.weather.refuse.filter(|(every, _)| shared.requests.is_multiple_of(*every));
            let of_change = shared.weather.refuse_change.filter(|_| change);
            refuse = refuse.or(of_change.filter(|(every, _)| shared.changes.is_multiple_of(*every)));
            lose = change
                && shared.weather.lose_answer.is_some_and(|every| shared.changes.is_multiple_of(every));
            let title = title(request.method().as_str(), request.uri().path());
            *shared.counts.entry(title).or_default() += 1;
        }
        (shared.weather, refuse, lose)
    };
    tokio::time::sleep(weather.delay).await;
    if let Some((_, code)) = refuse {
        return refusal(code);
    }
    if watch && weather.mute_watches {
        let silence = futures::stream::pending::<Result<Vec<u8>, std::io::Error>>();
        return Response::new(Body::from_stream(silence));
    }
    let answer = forward(&way.client, request).await;
    if lose {
        return (StatusCode::GATEWAY_TIMEOUT, "the answer was lost").into_response();
    }
    answer.unwrap_or_else(|error| (StatusCode::BAD_GATEWAY, format!("{error:#}")).into_response())
}

async fn forward(client: &Client, request: Request) -> Result<Response> {
    let (mut parts, body) = request.into_parts();
    for hop in ["host", "connection", "content-length", "accept-encoding"] {
        parts.headers.remove(hop);
    }
    let body = to_bytes(body, BODY_MAX).await?;
    let answer = client.send(axum::http::Request::from_parts(parts, body.to_vec().into())).await?;
    let (mut parts, body) = answer.into_parts();
    for hop in ["connection", "transfer-encoding", "content-length"] {
        parts.headers.remove(hop);
    }
    Ok(Response::from_parts(parts, Body::new(body)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_their_resource() {
        for (path, expected) in [
            ("/api/v1/namespaces/db/pods/conure-0", "GET pods"),
            ("/api/v1/pods", "GET pods"),
            ("/apis/apps/v1/namespaces/db/statefulsets", "GET statefulsets"),
            ("/apis/conuredb.dev/v1alpha1/conureclusters", "GET conureclusters"),
            ("/api/v1/namespaces/db", "GET namespaces"),
            ("/version", "GET version"),
        ] {
            assert_eq!(title("GET", path), expected, "{path}");
        }
    }
}
