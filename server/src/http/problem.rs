//! Errors as `application/problem+json` (RFC 9457).

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use conure_client::api;
use conure_client::problem as kind;
use conure_member::Refusal;

/// Seconds until another try may go better.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// An error answer.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    status: StatusCode,
    kind: String,
    detail: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, kind: &str, detail: impl Into<String>) -> Self {
        Self { status, kind: kind.to_owned(), detail: detail.into(), headers: Vec::new() }
    }

    pub(super) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(super) fn bad_query(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, kind::BAD_QUERY, detail)
    }

    pub(super) fn bad_body(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, kind::BAD_BODY, detail)
    }

    pub(super) fn too_large(limit: usize) -> Self {
        let detail = format!("the body is over {limit} bytes; send less");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, kind::TOO_LARGE, detail)
    }

    pub(super) fn key_not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, kind::KEY_NOT_FOUND, "there is no such key")
    }

    pub(super) fn unauthorized(detail: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, kind::UNAUTHORIZED, detail)
            .with(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"conuredb\""))
    }

    /// 503: nothing was done, and another try may go better.
    pub(super) fn unavailable(kind: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, kind, detail).with(RETRY_AFTER, RETRY_AFTER_SECONDS)
    }

    /// 504: a change that may or may not have been made.
    pub(super) fn unknown_outcome(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, kind::UNKNOWN_OUTCOME, detail)
    }

    pub(super) fn internal(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, kind::INTERNAL, detail)
    }

    /// What a refusal means to a client, once it is clear that nobody else is to be asked. `change` says whether the
    /// request would have changed something.
    pub(super) fn of_refusal(refusal: &Refusal, change: bool) -> Self {
        let detail = refusal.to_string();
        match refusal {
            Refusal::NotLeader(_) => Self::unavailable(kind::NOT_LEADER, detail),
            Refusal::Arbiter(_) | Refusal::NoLeader => Self::unavailable(kind::NO_LEADER, detail),
            Refusal::NotInCluster(_) => Self::unavailable(kind::NOT_IN_CLUSTER, detail),
            Refusal::BarrierTimeout(_) => Self::unavailable(kind::BARRIER_TIMEOUT, detail),
            Refusal::Busy => Self::unavailable(kind::BUSY, detail),
            Refusal::DiskFull { .. } | Refusal::InodesFull { .. } => {
                Self::new(StatusCode::INSUFFICIENT_STORAGE, kind::DISK_NEARLY_FULL, detail)
            }
            Refusal::Stopping => Self::unavailable(kind::STOPPING, detail),
            Refusal::UnknownOutcome(_) => Self::unknown_outcome(detail),
            Refusal::Storage(_) if change => Self::unknown_outcome(detail),
            Refusal::Storage(_) => Self::unavailable(kind::STORAGE, detail),
            Refusal::UnknownMember(_) => Self::new(StatusCode::NOT_FOUND, kind::UNKNOWN_MEMBER, detail),
            Refusal::Unreachable { .. } => Self::new(StatusCode::BAD_GATEWAY, kind::UNREACHABLE, detail),
            Refusal::Conflict { kind: name, .. } => Self::new(StatusCode::CONFLICT, conflict(name), detail),
            Refusal::Invalid(_) => Self::new(StatusCode::BAD_REQUEST, kind::INVALID, detail),
            _ => Self::internal(detail),
        }
    }
}

/// The type of a conflict of that short name: only what the API's page lists leaves a member.
fn conflict(name: &str) -> &'static str {
    let named = |kind: &&&str| kind.strip_prefix(kind::PREFIX) == Some(name);
    kind::ALL.iter().find(named).copied().unwrap_or(kind::CONFLICT)
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let name = self.kind.strip_prefix(kind::PREFIX).unwrap_or(&self.kind);
        let body = api::Problem {
            title: name.replace('-', " "),
            status: self.status.as_u16(),
            detail: self.detail,
            kind: self.kind,
        };
        // Four plain fields always serialize.
        let bytes = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = Response::new(Body::from(bytes));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.extend(self.headers);
        response
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// The texts in quotes that follow `before`, over all of the member's sources.
    fn quoted_after(directory: &Path, before: &str, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                quoted_after(&path, before, found);
            } else {
                let source = std::fs::read_to_string(&path).unwrap();
                let rests = source.split(before).skip(1).map(str::trim_start);
                let quoted = rests.filter_map(|rest| rest.strip_prefix('"')?.split('"').next());
                found.extend(quoted.map(str::to_owned));
            }
        }
    }

    #[test]
    fn every_conflict_of_a_member_has_a_type_of_its_own() {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("member/src");
        let mut names = Vec::new();
        for before in ["conflict(", "kind:"] {
            quoted_after(&sources, before, &mut names);
        }
        assert!(
            names.iter().any(|name| name == "name-taken") && names.iter().any(|name| name == "last-member")
        );
        for name in names {
            let kind = conflict(&name);
            assert_eq!(kind, format!("{}{name}", kind::PREFIX), "not in conure_client::problem");
        }
        assert_eq!(conflict("of-a-newer-member"), kind::CONFLICT);
    }
}
