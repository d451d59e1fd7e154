//! What the client sends again, follows and gives up, against servers that answer from a script.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends by panicking")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use conure_client::{Client, ClientBuilder, ClientError, problem};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

/// What a server does with a request.
type Script = Box<dyn Fn(usize) -> Reply + Send + Sync>;

enum Reply {
    /// A head's first line and headers, and a body.
    Answer(String, String),
    /// The connection closes with nothing said.
    Hang,
    /// Nothing is ever said.
    Silence,
}

/// A server that notes what it was asked.
struct Server {
    address: String,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let (noted, script, count) = (Arc::clone(&seen), Arc::new(script), Arc::new(AtomicUsize::new(0)));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (noted, script, count) = (Arc::clone(&noted), Arc::clone(&script), Arc::clone(&count));
                tokio::spawn(async move {
                    let mut stream = BufReader::new(stream);
                    while let Some(request) = read_request(&mut stream).await {
                        noted.lock().unwrap().push(request);
                        match script(count.fetch_add(1, Ordering::SeqCst)) {
                            Reply::Answer(head, body) => {
                                let text = format!(
                                    "HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}",
                                    body.len()
                                );
                                stream.write_all(text.as_bytes()).await.unwrap();
                            }
                            Reply::Hang => return,
                            Reply::Silence => std::future::pending().await,
                        }
                    }
                });
            }
        });
        Self { address, seen }
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

/// A request as `METHOD PATH token body`; a `PUT` without a length is `None`.
async fn read_request(stream: &mut BufReader<tokio::net::TcpStream>) -> Option<String> {
    let (mut first, mut length, mut token) = (String::new(), None, String::from("-"));
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        match line.split_once(": ") {
            _ if line.is_empty() => break,
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = Some(value.parse().ok()?)
            }
            Some((name, value)) if name.eq_ignore_ascii_case("authorization") => token = value.to_owned(),
            _ if first.is_empty() => first = line.trim_end_matches(" HTTP/1.1").to_owned(),
            _ => {}
        }
    }
    if first.starts_with("PUT") && length.is_none() {
        return None;
    }
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await.ok()?;
    Some(format!("{first} {token} {}", String::from_utf8_lossy(&body)))
}

fn ok(body: &str) -> Reply {
    Reply::Answer("200 OK\r\nETag: \"7\"".into(), body.into())
}

fn refused(status: u16, kind: &str) -> Reply {
    let body = format!(r#"{{"type":"{kind}","title":"t","status":{status},"detail":"d"}}"#);
    Reply::Answer(format!("{status} X\r\nRetry-After: 0"), body)
}

fn redirect(to: &str, path: &str) -> Reply {
    Reply::Answer(format!("307 X\r\nLocation: http://{to}{path}"), String::new())
}

fn client(server: &Server) -> ClientBuilder {
    Client::builder().server(&server.address)
}

/// An address that refuses connections.
async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

#[tokio::test]
async fn redirects_keep_method_body_and_token_and_are_remembered() {
    let leader = Server::start(Box::new(|_| ok(r#"{"revision":7}"#))).await;
    let to = leader.address.clone();
    let follower = Server::start(Box::new(move |_| redirect(&to, "/kv?key=a%20b"))).await;
    let client = client(&follower).admin_token("sesame").build().unwrap();
    assert_eq!(client.put(b"a b", "value").await.unwrap().revision, 7);
    assert_eq!(leader.seen(), ["PUT /kv?key=a%20b - value"], "the token is for administration only");
    client.put(b"a b", "again").await.unwrap();
    assert_eq!((leader.seen().len(), follower.seen().len()), (2, 1));

    let to = leader.address.clone();
    let follower = Server::start(Box::new(move |_| redirect(&to, "/remove"))).await;
    let client = Client::builder().server(&follower.address).admin_token("sesame").build().unwrap();
    // The leader's scripted answer is no RemoveAnswer; what counts is what it was asked.
    client.remove("n").await.unwrap_err();
    assert_eq!(leader.seen().last().unwrap(), r#"POST /remove Bearer sesame {"ID":"n"}"#);
}

#[tokio::test]
async fn an_empty_value_has_a_length() {
    let server = Server::start(Box::new(|_| ok(r#"{"revision":7}"#))).await;
    client(&server).build().unwrap().put(b"a", "").await.unwrap();
    assert_eq!(server.seen(), ["PUT /kv?key=a - "]);
}

#[tokio::test]
async fn redirects_in_circles_end() {
    let own = Arc::new(Mutex::new(String::new()));
    let to = Arc::clone(&own);
    let server = Server::start(Box::new(move |_| redirect(&to.lock().unwrap(), "/kv?key=a"))).await;
    own.lock().unwrap().clone_from(&server.address);
    let error = client(&server).attempts(2).build().unwrap().put(b"a", "b").await.unwrap_err();
    assert!(matches!(error, ClientError::Protocol { .. }), "{error}");
    assert_eq!(server.seen().len(), 10);
}

#[tokio::test]
async fn a_change_of_unknown_outcome_is_sent_once() {
    for reply in [
        || Reply::Hang,
        || refused(504, problem::UNKNOWN_OUTCOME),
        || Reply::Answer("500 X".into(), "?".into()),
    ] {
        let server = Server::start(Box::new(move |_| reply())).await;
        let error = client(&server).build().unwrap().put(b"a", "b").await.unwrap_err();
        assert!(!matches!(error, ClientError::Unavailable { .. }), "{error}");
        assert_eq!(server.seen().len(), 1);
    }
    let silent = Server::start(Box::new(|_| Reply::Silence)).await;
    let client = client(&silent).timeout(Duration::from_millis(200)).build().unwrap();
    assert!(client.delete(b"a").await.unwrap_err().outcome_is_unknown());
    assert_eq!(silent.seen().len(), 1);
}

#[tokio::test]
async fn after_an_unknown_outcome_the_next_call_asks_another_server() {
    let silent = Server::start(Box::new(|_| Reply::Silence)).await;
    // Followers go on naming a frozen leader until they elect another.
    let to = silent.address.clone();
    let behind = Server::start(Box::new(move |n| match n {
        0 => redirect(&to, "/kv?key=b"),
        _ => ok(r#"{"revision":7}"#),
    }))
    .await;
    let (to, never) = (silent.address.clone(), nobody().await);
    let lost = Server::start(Box::new(move |_| redirect(&to, "/kv?key=c"))).await;
    let servers = [&silent.address, &behind.address, &never];
    let client = Client::builder().servers(servers).timeout(Duration::from_millis(300)).build().unwrap();
    assert!(client.put(b"a", "1").await.unwrap_err().outcome_is_unknown());
    assert!(client.put(b"b", "1").await.unwrap_err().outcome_is_unknown());
    // Neither the silent one nor the one that sent the client there is asked before all others had their turn.
    assert_eq!(client.servers()[0].to_string(), format!("http://{never}"));
    client.put(b"c", "1").await.unwrap();
    assert_eq!(silent.seen(), ["PUT /kv?key=a - 1", "PUT /kv?key=b - 1"]);
    assert_eq!(behind.seen(), ["PUT /kv?key=b - 1", "PUT /kv?key=c - 1"]);

    let client = Client::builder().server(&lost.address).timeout(Duration::from_millis(300)).build().unwrap();
    let error = client.put(b"c", "1").await.unwrap_err().to_string();
    assert!(error.contains(&silent.address), "the silent server is named: {error}");
}

#[tokio::test]
async fn a_change_of_unknown_outcome_is_repeated_on_request() {
    let server = Server::start(Box::new(|n| if n < 2 { Reply::Hang } else { ok(r#"{"revision":7}"#) })).await;
    client(&server).repeat_unknown(true).build().unwrap().put(b"a", "b").await.unwrap();
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn reads_and_refused_changes_are_sent_again() {
    let server = Server::start(Box::new(|n| match n {
        0 => Reply::Hang,
        1 => refused(503, problem::BARRIER_TIMEOUT),
        _ => ok("value"),
    }))
    .await;
    let found = client(&server).build().unwrap().get(b"a").await.unwrap().unwrap();
    assert_eq!((found.revision, found.bytes), (7, "value".into()));

    let server = Server::start(Box::new(|n| match n {
        0..3 => refused(503, problem::NO_LEADER),
        _ => ok(r#"{"deleted":true,"revision":8}"#),
    }))
    .await;
    assert!(client(&server).build().unwrap().delete(b"a").await.unwrap().deleted);
}

#[tokio::test]
async fn tries_are_bounded() {
    let server = Server::start(Box::new(|_| refused(503, problem::NO_LEADER))).await;
    let error = client(&server).attempts(3).build().unwrap().put(b"a", "b").await.unwrap_err();
    assert!(error.is(problem::NO_LEADER));
    assert_eq!(server.seen().len(), 3);

    let error =
        Client::builder().server(nobody().await).attempts(3).build().unwrap().get(b"a").await.unwrap_err();
    assert!(matches!(error, ClientError::Unavailable { tries: 3, .. }), "{error:?}");
}

#[tokio::test]
async fn it_moves_to_another_server_when_one_is_gone() {
    let alive = Server::start(Box::new(|_| ok(r#"{"revision":7}"#))).await;
    let client = Client::builder().servers([nobody().await, alive.address.clone()]).build().unwrap();
    client.put(b"a", "b").await.unwrap();
    assert_eq!(alive.seen().len(), 1);
}

#[tokio::test]
async fn refusals_are_typed_and_not_repeated() {
    let server = Server::start(Box::new(|_| refused(409, "urn:conuredb:problem:foreign-cluster"))).await;
    let error = client(&server).build().unwrap().join("a", "b:1").await.unwrap_err();
    assert_eq!((error.status(), error.is("urn:conuredb:problem:foreign-cluster")), (Some(409), true));
    assert_eq!(server.seen().len(), 1);

    let absent = Server::start(Box::new(|_| refused(404, problem::KEY_NOT_FOUND))).await;
    assert_eq!(client(&absent).build().unwrap().get(b"a").await.unwrap(), None);
    let route = Server::start(Box::new(|_| refused(404, problem::ROUTE_NOT_FOUND))).await;
    assert!(client(&route).build().unwrap().get(b"a").await.is_err());
}

#[tokio::test]
async fn no_error_repeats_the_query() {
    for reply in [|| Reply::Hang, || Reply::Answer("500 X".into(), "?".into()), || redirect("", "/")] {
        let server = Server::start(Box::new(move |_| reply())).await;
        let error = client(&server).attempts(1).build().unwrap().get(b"secret").await.unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
    }
}

#[tokio::test]
async fn probes_say_why_not() {
    let server =
        Server::start(Box::new(|n| if n == 0 { refused(503, problem::NOT_READY) } else { ok("ok") })).await;
    let client = client(&server).build().unwrap();
    let probe = client.readyz(Some("c 1")).await.unwrap();
    assert_eq!((probe.ok, probe.reason.as_str()), (false, "d"));
    assert!(client.readyz(None).await.unwrap().ok);
    assert_eq!(server.seen(), ["GET /readyz?cluster_id=c%201 - ", "GET /readyz - "]);
}
