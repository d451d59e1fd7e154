//! `/livez`, `/readyz` and `/metrics`.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::context::Context;

/// What the endpoints tell.
#[derive(Clone)]
pub struct Health {
    /// Where the figures are.
    pub context: Arc<Context>,
    /// Whether the API server was reached and the work, or the waiting for the lease, has begun.
    pub ready: Arc<AtomicBool>,
    /// What ended although nobody stopped it, if something did: the process is about to end then.
    pub ended: Arc<OnceLock<String>>,
}

/// Binds the address; every interface of a machine without IPv6 is every IPv4 one.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Err(error) if address.ip() == Ipv6Addr::UNSPECIFIED && error.kind() != io::ErrorKind::AddrInUse => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        bound => bound,
    }
}

/// Serves until `stop`.
pub async fn serve(listener: TcpListener, health: Health, stop: CancellationToken) -> io::Result<()> {
    axum::serve(listener, router(health)).with_graceful_shutdown(stop.cancelled_owned()).await
}

fn router(health: Health) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(health)
}

/// Alive: no task that the operator cannot be without has ended. One that waits for the API server, a member or the lease runs.
async fn livez(State(health): State<Health>) -> impl IntoResponse {
    match health.ended.get() {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(what) => (StatusCode::SERVICE_UNAVAILABLE, format!("{what}; the process is about to end\n")),
    }
}

async fn readyz(State(health): State<Health>) -> impl IntoResponse {
    if health.ready.load(Ordering::Relaxed) {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the API server was not reached yet\n")
    }
}

async fn metrics(State(health): State<Health>) -> impl IntoResponse {
    match health.context.metrics.text() {
        Ok(text) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    /// The whole answer to one request.
    async fn get(port: u16, path: &str) -> String {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn figures_and_health_are_served_over_a_socket() {
        let nowhere = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
        let client = kube::Client::try_from(nowhere).unwrap();
        let context = Arc::new(Context::new(client, "image:1".into(), Metrics::default(), None));
        let ready = Arc::new(AtomicBool::new(false));
        let stop = CancellationToken::new();
        let listener = bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let ended = Arc::new(OnceLock::new());
        let health =
            Health { context: Arc::clone(&context), ready: Arc::clone(&ready), ended: Arc::clone(&ended) };
        let server = tokio::spawn(serve(listener, health, stop.clone()));

        assert!(get(port, "/livez").await.starts_with("HTTP/1.1 200"));
        assert!(get(port, "/readyz").await.starts_with("HTTP/1.1 503"));
        ready.store(true, Ordering::Relaxed);
        assert!(get(port, "/readyz").await.starts_with("HTTP/1.1 200"));

        ended.set("the task \"controller\" ended".into()).unwrap();
        let dead = get(port, "/livez").await;
        assert!(dead.starts_with("HTTP/1.1 503") && dead.contains("controller"), "{dead}");

        context.metrics.acted("Join");
        context.metrics.set_leading(true);
        let figures = get(port, "/metrics").await;
        assert!(figures.contains("openmetrics-text"), "{figures}");
        for line in [
            "conure_operator_actions_total{action=\"Join\"} 1",
            "conure_operator_leading 1",
            "conure_operator_reconciles_total 0",
        ] {
            assert!(figures.lines().any(|found| found == line), "{line} is missing in {figures}");
        }
        assert!(figures.trim_end().ends_with("# EOF"), "{figures}");

        stop.cancel();
        server.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_taken_port_is_an_error() {
        let taken = bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))).await.unwrap();
        let refused = bind(taken.local_addr().unwrap()).await;
        assert_eq!(refused.map(drop).map_err(|error| error.kind()), Err(io::ErrorKind::AddrInUse));
    }
}
