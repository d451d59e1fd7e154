//! Which names this member answers to, so that a web page cannot reach it under a name of its own (DNS rebinding).

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::header::HOST;
use axum::http::{StatusCode, Version};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use conure_client::problem as kind;

use super::App;
use super::problem::Problem;

/// The names beside those that always work.
#[derive(Debug, Clone, Default)]
pub(super) struct AllowedHosts {
    exact: Vec<String>,
    below: Vec<String>,
}

impl AllowedHosts {
    /// From names and `*.suffix` patterns.
    pub(super) fn new(names: impl IntoIterator<Item = String>) -> Self {
        let mut hosts = Self::default();
        for name in names {
            match name.strip_prefix('*') {
                Some(suffix) => hosts.below.push(suffix.to_ascii_lowercase()),
                None => hosts.exact.push(name.to_ascii_lowercase()),
            }
        }
        hosts
    }

    /// Whether an authority (`HOST` or `HOST:PORT`) is one of this member's.
    pub(super) fn allow(&self, authority: &str) -> bool {
        let Some(host) = host_of(authority) else { return false };
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        if host.is_empty() {
            return false;
        }
        host.parse::<IpAddr>().is_ok()
            || !host.contains('.') && !host.contains(':')
            || host.ends_with(".svc")
            || host.ends_with(".svc.cluster.local")
            || self.exact.contains(&host)
            || self.below.iter().any(|suffix| host.ends_with(suffix.as_str()))
    }
}

/// The host without port and brackets; `None` where the authority is malformed.
fn host_of(authority: &str) -> Option<&str> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, tail) = rest.split_once(']')?;
        let port_is_good = tail.is_empty() || tail.strip_prefix(':')?.bytes().all(|b| b.is_ascii_digit());
        return (port_is_good && host.contains(':')).then_some(host);
    }
    let (host, port) = authority.split_once(':').unwrap_or((authority, ""));
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (port.bytes().all(|b| b.is_ascii_digit()) && host.bytes().all(plain)).then_some(host)
}

/// Refuses requests under foreign names.
pub(super) async fn check(State(app): State<App>, request: Request, next: Next) -> Response {
    let mut given = request.headers().get_all(HOST).iter();
    let (first, second) = (given.next(), given.next());
    let bad = |detail: &str| Problem::new(StatusCode::BAD_REQUEST, kind::INVALID, detail).into_response();
    if second.is_some() {
        return bad("more than one Host header; send one");
    }
    // An absolute URI's authority stands above the header.
    let authority = match (request.uri().authority(), first) {
        (Some(authority), _) => authority.as_str(),
        (None, Some(host)) => host.to_str().unwrap_or_default(),
        (None, None) if request.version() == Version::HTTP_11 => {
            return bad("the Host header is missing; send it");
        }
        // A browser, which alone can be misled, always sends one.
        (None, None) => return next.run(request).await,
    };
    if !app.allowed_hosts.allow(authority) {
        let detail = "this member does not go by the name in the Host header; use its address, \
                      or start it with --http-allowed-hosts";
        return Problem::new(StatusCode::MISDIRECTED_REQUEST, kind::MISDIRECTED_HOST, detail).into_response();
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_names_are_served() {
        let hosts = AllowedHosts::new(["db.example.org".into(), "*.Example.com".into()]);
        let good = [
            "127.0.0.1:8081",
            "10.1.2.3",
            "[::1]:8081",
            "[fe80::1]",
            "localhost:8081",
            "LOCALHOST",
            "localhost.",
            "conure",
            "conure:8081",
            "conure.default.svc:8081",
            "conure-0.conure-peers.ns.svc.cluster.local",
            "conure.default.svc.cluster.local.:8081",
            "DB.example.org:8081",
            "a.b.example.com",
        ];
        for authority in good {
            assert!(hosts.allow(authority), "{authority}");
        }
    }

    #[test]
    fn foreign_and_malformed_names_are_not() {
        let hosts = AllowedHosts::new(["db.example.org".into(), "*.example.com".into()]);
        let bad = [
            "evil.example",
            "evil.example:8081",
            "x.db.example.org",
            "example.com",
            "evilexample.com",
            "svc.evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "",
            ".",
            ":8081",
            "[::1",
            "[evil.example]",
            "a b",
            "evil.example\\.svc:",
            "user@localhost",
            "localhost:80:80",
            "::1",
            "[::1]x",
        ];
        for authority in bad {
            assert!(!hosts.allow(authority), "{authority}");
        }
    }
}
