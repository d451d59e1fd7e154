//! The HTTP API over one [`Member`].
//!
//! `heads`, `query`, `body` and `condition` take requests apart, `kv`, `admin`, `info` and `snapshot` answer them, `route` sends them elsewhere, `problem`
//! is every error's form; `host` and `token` guard, `listener` owns the sockets.
//!
//! **Invariant:** a query string, which may hold a value, never enters a log line, a metric or an error text.
//! **Invariant:** a request that was forwarded once is never forwarded again.

mod admin;
mod body;
mod condition;
mod heads;
mod host;
mod info;
mod kv;
mod listener;
mod metrics;
mod problem;
mod progress;
mod query;
mod route;
mod snapshot;
mod token;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post, put};
use conure_client::problem as kind;
use conure_member::Member;
use tokio::sync::Semaphore;

use crate::config::{Config, LeaderRouting};
use problem::Problem;

pub use listener::{Listener, bind};
pub use token::read as admin_token;

/// Every path of the API.
const PATHS: [&str; 12] = [
    "/kv",
    "/status",
    "/raft/config",
    "/raft/stats",
    "/join",
    "/remove",
    "/bootstrap",
    "/transfer-leadership",
    "/snapshot",
    "/livez",
    "/readyz",
    "/metrics",
];

/// How many backups run at once.
const BACKUPS_MAX: usize = 2;

/// What all handlers share. It serves from the process's first moment: without a member it answers `/livez`, and 503.
#[derive(Debug, Clone)]
pub struct App(Arc<Shared>);

/// The inside of [`App`].
#[derive(Debug)]
pub struct Shared {
    member: OnceLock<Member>,
    stopping: AtomicBool,
    node_id: String,
    node_id_header: HeaderValue,
    http_advertise_addr: String,
    leader_routing: LeaderRouting,
    barrier_timeout: Duration,
    allowed_hosts: host::AllowedHosts,
    gate: token::Gate,
    bodies: body::Budget,
    answers: body::Budget,
    backups: Arc<Semaphore>,
    forwarder: route::Forwarder,
    metrics: metrics::Metrics,
}

impl std::ops::Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl App {
    /// An API that has no member yet. The error is one line about the token's file.
    pub fn new(config: &Config) -> Result<Self, String> {
        let advertised = [&config.http_advertise_addr.host, &config.raft_advertise_addr.host];
        let names = config.http_allowed_hosts.iter().chain(advertised).cloned();
        Ok(Self(Arc::new(Shared {
            member: OnceLock::new(),
            stopping: AtomicBool::new(false),
            node_id: config.node_id.clone(),
            node_id_header: HeaderValue::from_str(&config.node_id).map_err(|error| error.to_string())?,
            http_advertise_addr: config.http_advertise_addr.to_string(),
            leader_routing: config.leader_routing,
            barrier_timeout: config.barrier_timeout,
            allowed_hosts: host::AllowedHosts::new(names),
            gate: token::Gate::new(config.admin_token_file.clone())?,
            bodies: body::Budget::default(),
            answers: body::Budget::default(),
            backups: Arc::new(Semaphore::new(BACKUPS_MAX)),
            forwarder: route::forwarder(),
            metrics: metrics::Metrics::new(),
        })))
    }

    /// From now on requests reach this member.
    pub fn set_member(&self, member: Member) {
        // There is one member in a process's life.
        let _ = self.member.set(member);
    }

    /// From now on `/readyz` fails.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    fn member(&self) -> Result<&Member, Problem> {
        let starting = || Problem::unavailable(kind::NOT_READY, "this member is starting; try again");
        self.member.get().ok_or_else(starting)
    }

    /// The API; where it is `crowded`, for a connection too many.
    fn router(self, crowded: bool) -> Router {
        let without_parameters = Router::new()
            .route("/status", get(info::status))
            .route("/raft/config", get(info::raft_config))
            .route("/raft/stats", get(info::raft_stats))
            .route("/join", post(admin::join))
            .route("/remove", post(admin::remove))
            .route("/bootstrap", post(admin::bootstrap))
            .route("/transfer-leadership", post(admin::transfer))
            .route("/snapshot", get(snapshot::snapshot))
            .route("/livez", get(info::livez))
            .route("/metrics", get(info::metrics))
            .route_layer(from_fn(query::refuse_all));
        let router = Router::new()
            .route("/kv", put(kv::put).get(kv::get).delete(kv::delete))
            .route("/readyz", get(info::readyz))
            .merge(without_parameters)
            .route_layer(from_fn(condition::refuse))
            .fallback(async || {
                let detail = format!("there is no such path; the API has {}", PATHS.join(", "));
                Problem::new(StatusCode::NOT_FOUND, kind::ROUTE_NOT_FOUND, detail)
            })
            .method_not_allowed_fallback(async || {
                let detail = "this path does not take that method; see the header Allow";
                Problem::new(StatusCode::METHOD_NOT_ALLOWED, kind::METHOD_NOT_ALLOWED, detail)
            })
            .layer(from_fn_with_state(self.clone(), host::check));
        let router = if crowded { router.layer(from_fn(refuse_data)) } else { router };
        router
            .layer(from_fn(heads::check))
            .layer(from_fn(body::drain_unread))
            .layer(from_fn_with_state(self.clone(), observe))
            .with_state(self)
    }
}

/// Refuses what is asked of the data. How the member is, and its administration, can be asked of a crowded one too.
async fn refuse_data(request: Request, next: Next) -> Response {
    if !["/kv", "/snapshot"].contains(&request.uri().path()) {
        return next.run(request).await;
    }
    Problem::unavailable(kind::BUSY, "too many connections are open; try again later, on fewer")
        .into_response()
}

/// Counts and traces a request, and adds what every answer carries.
async fn observe(State(app): State<App>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let route = metrics::route_label(request.uri().path());
    let method = metrics::method_label(request.method());
    let mut response = next.run(request).await;
    let (status, took) = (response.status().as_u16(), began.elapsed());
    app.metrics.answered(route, method, status, took);
    tracing::debug!(route, method, status, took_us = took.as_micros(), "request");
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    response
}

#[cfg(test)]
mod tests;
