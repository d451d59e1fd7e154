//! Requests that another member serves: redirected or forwarded, and never in circles.

use std::time::Duration;

use axum::body::Body;
use axum::http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, LOCATION, PROXY_AUTHENTICATE, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use axum::http::request::Parts;
use axum::http::uri::{PathAndQuery, Scheme};
use axum::http::{HeaderName, HeaderValue, Request, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use conure_client::problem as kind;
use conure_member::{Leader, Refusal};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::App;
use super::problem::Problem;
use crate::config::LeaderRouting;

/// Marks a request that a member forwarded; the value names that member. It is not forwarded again.
pub(super) const FORWARDED: HeaderName = HeaderName::from_static("conure-forwarded");

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Less than the server side keeps an idle connection.
const IDLE_MAX: Duration = Duration::from_secs(20);
/// How long the leader may take to begin its answer to a read, beside what a read may wait.
const READ_MARGIN: Duration = Duration::from_secs(1);
/// How long the leader may take to begin its answer to a write.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// The same for administration: a join answers after 30 s.
const ADMIN_TIMEOUT: Duration = Duration::from_secs(60);

/// What goes along to the leader. `Host` is the leader's own.
const PASSED_ON: [HeaderName; 2] = [AUTHORIZATION, CONTENT_TYPE];
/// What belongs to one connection and is not handed back.
const HOP_BY_HOP: [HeaderName; 7] =
    [CONNECTION, PROXY_AUTHENTICATE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, HOST];

/// The connections to other members' HTTP APIs.
pub(super) type Forwarder = Client<HttpConnector, Full<Bytes>>;

pub(super) fn forwarder() -> Forwarder {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_MAX)
        .pool_max_idle_per_host(64)
        .build(connector)
}

/// What kind of request goes elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Read,
    Write,
    /// Never redirected: clients drop `Authorization` on the way to another host.
    Admin,
}

impl App {
    /// The leader, where it is another member; during an election the one that comes out of it.
    pub(super) async fn leader_elsewhere(&self) -> Result<Option<Leader>, Problem> {
        self.member()?.wait_for_leader(self.barrier_timeout).await;
        self.leader_elsewhere_now()
    }

    /// The same, without waiting.
    pub(super) fn leader_elsewhere_now(&self) -> Result<Option<Leader>, Problem> {
        Ok(self.member()?.leader().filter(|leader| leader.id != self.node_id))
    }

    /// Whether a request for the leader is answered without its body.
    pub(super) fn redirects(&self, parts: &Parts) -> bool {
        self.leader_routing == LeaderRouting::Redirect || parts.headers.contains_key(FORWARDED)
    }

    /// The answer to a request that the member refused: elsewhere's, or a problem.
    pub(super) async fn refused(
        &self,
        refusal: Refusal,
        parts: &Parts,
        body: Bytes,
        request: Kind,
    ) -> Response {
        match refusal {
            Refusal::NotLeader(leader) | Refusal::Arbiter(Some(leader)) => {
                self.elsewhere(&leader, parts, body, request).await
            }
            refusal => Problem::of_refusal(&refusal, request != Kind::Read).into_response(),
        }
    }

    /// Redirects or forwards to the leader.
    pub(super) async fn elsewhere(
        &self,
        leader: &Leader,
        parts: &Parts,
        body: Bytes,
        request: Kind,
    ) -> Response {
        if parts.headers.contains_key(FORWARDED) {
            let detail = "another member took this one for the leader, which it is not; try again";
            return Problem::unavailable(kind::NOT_LEADER, detail).into_response();
        }
        // An own address here means that leadership just moved.
        if leader.http_addr.is_empty() || leader.http_addr == self.http_advertise_addr {
            let detail = format!("the leader, {}, has no HTTP address yet; try again", leader.id);
            return Problem::unavailable(kind::NO_LEADER, detail).into_response();
        }
        if request == Kind::Admin || self.leader_routing == LeaderRouting::Forward {
            self.forward(leader, parts, body, request).await
        } else {
            redirect(leader, parts).into_response()
        }
    }

    async fn forward(&self, leader: &Leader, parts: &Parts, body: Bytes, request: Kind) -> Response {
        let Some(uri) = uri_at(leader, parts) else { return no_url().into_response() };
        let mut forwarded = Request::new(Full::new(body));
        *forwarded.method_mut() = parts.method.clone();
        *forwarded.uri_mut() = uri;
        for name in &PASSED_ON {
            if let Some(value) = parts.headers.get(name) {
                forwarded.headers_mut().insert(name, value.clone());
            }
        }
        forwarded.headers_mut().insert(FORWARDED, self.node_id_header.clone());
        self.metrics.forwarded();
        let timeout = match request {
            Kind::Read => self.barrier_timeout.saturating_add(READ_MARGIN),
            Kind::Write => ANSWER_TIMEOUT,
            Kind::Admin => ADMIN_TIMEOUT,
        };
        let failed = |sent: bool, reason: String| {
            let detail = format!("the leader {} at {}: {reason}", leader.id, leader.http_addr);
            if sent && request != Kind::Read {
                Problem::unknown_outcome(format!(
                    "{detail}; the outcome is unknown, read before you repeat it"
                ))
            } else {
                Problem::unavailable(kind::NO_LEADER, format!("{detail}; try again"))
            }
        };
        let member = match self.member() {
            Ok(member) => member,
            Err(problem) => return problem.into_response(),
        };
        let answer = tokio::select! {
            answer = tokio::time::timeout(timeout, self.forwarder.request(forwarded)) => answer,
            () = member.leader_is_lost(leader) => return failed(true, "it was lost".into()).into_response(),
        };
        let answer = match answer {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) if error.is_connect() => {
                return failed(false, "it could not be reached".into()).into_response();
            }
            Ok(Err(_)) => return failed(true, "the connection broke".into()).into_response(),
            Err(_) => return failed(true, format!("no answer within {timeout:?}")).into_response(),
        };
        let mut answer = answer.map(Body::new);
        for name in &HOP_BY_HOP {
            answer.headers_mut().remove(name);
        }
        answer
    }
}

/// The same target at the leader. It is put together from its parts: their text as a whole may be longer than a URI
/// that is parsed, although each member takes the target alone.
fn uri_at(leader: &Leader, parts: &Parts) -> Option<Uri> {
    let mut uri = axum::http::uri::Parts::default();
    uri.scheme = Some(Scheme::HTTP);
    uri.authority = Some(leader.http_addr.parse().ok()?);
    uri.path_and_query = Some(target(parts));
    Uri::from_parts(uri).ok()
}

fn target(parts: &Parts) -> PathAndQuery {
    parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"))
}

fn no_url() -> Problem {
    Problem::internal("the leader's HTTP address makes no URL; see /raft/config")
}

fn redirect(leader: &Leader, parts: &Parts) -> Problem {
    let location = format!("http://{}{}", leader.http_addr, target(parts));
    let Ok(location) = HeaderValue::try_from(location) else { return no_url() };
    let detail = format!(
        "this member does not serve that; the leader is {} at http://{}; with curl, add -L",
        leader.id, leader.http_addr
    );
    Problem::new(StatusCode::TEMPORARY_REDIRECT, kind::NOT_LEADER, detail).with(LOCATION, location)
}
