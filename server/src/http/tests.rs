//! The API over a member in this process, where a test needs times that no setting gives.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use conure_client::Client;
use conure_client::api::{JoinAnswer, Suffrage};
use conure_member::{Member, MemberConfig, Tuning};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::watch;
use tokio::time::Instant;

use super::{App, Listener, bind};
use crate::config::{self, Command, Config};
use crate::process::member_config;

fn free_addr() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// A member called `name` as its command line says it, and its API, which is served until the test ends.
async fn start(name: &str, directory: &std::path::Path, flag: &str, tuning: Tuning) -> (Config, Member) {
    start_over(name, directory, flag, tuning, |_| {}).await
}

/// The same over a socket that is made into what it shall be.
async fn start_over(
    name: &str,
    directory: &std::path::Path,
    flag: &str,
    tuning: Tuning,
    shape: impl FnOnce(&mut Listener),
) -> (Config, Member) {
    let arguments = [
        "conure-db".to_owned(),
        format!("--node-id={name}"),
        format!("--data-dir={}", directory.join(name).display()),
        format!("--http-addr={}", free_addr()),
        format!("--raft-addr={}", free_addr()),
        flag.to_owned(),
    ];
    let Command::Run(config) = config::load(arguments.map(OsString::from), &BTreeMap::new()).unwrap() else {
        panic!("the command line runs a member");
    };
    let app = App::new(&config).unwrap();
    let mut listener = bind(&config.http_addr).await.unwrap();
    shape(&mut listener);
    tokio::spawn(listener.serve(app.clone(), std::future::pending()));
    let member = MemberConfig { tuning, ..member_config(&config) };
    let member = Member::start(member).await.unwrap();
    app.set_member(member.clone());
    (*config, member)
}

/// An address that leads to `to`, but lets no more than a MiB through on the way there until it is opened.
async fn gate(to: String) -> (String, watch::Sender<bool>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (opener, open) = watch::channel(false);
    let passed = Arc::new(AtomicUsize::new(0));
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let (to, mut open, passed) = (to.clone(), open.clone(), Arc::clone(&passed));
            tokio::spawn(async move {
                let mut far = tokio::net::TcpStream::connect(&to).await?;
                let (mut from_near, mut to_near) = near.split();
                let (mut from_far, mut to_far) = far.split();
                let there = async {
                    let mut piece = vec![0; 1 << 16];
                    loop {
                        let length = from_near.read(&mut piece).await?;
                        if length == 0 || open.wait_for(|open| *open || fits(&passed, length)).await.is_err()
                        {
                            return std::io::Result::Ok(());
                        }
                        to_far.write_all(&piece[..length]).await?;
                    }
                };
                tokio::select! {
                    ended = there => ended,
                    ended = tokio::io::copy(&mut from_far, &mut to_near) => ended.map(drop),
                }
            });
        }
    });
    (address, opener)
}

fn fits(passed: &AtomicUsize, length: usize) -> bool {
    passed.fetch_add(length, Ordering::SeqCst) + length <= 1 << 20
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_that_still_catches_up_is_202_with_its_progress_and_goes_on_when_repeated() {
    let directory = tempfile::tempdir().unwrap();
    let impatient = Tuning { join_patience: Duration::from_millis(100), ..Tuning::default() };
    let (one, leader) = start("node1", directory.path(), "--bootstrap", impatient).await;
    let (two, joining) = start("node2", directory.path(), "--bootstrap=false", Tuning::default()).await;
    let client = Client::new(one.http_advertise_addr.to_string()).unwrap();
    // More entries than a member that counts as caught up may lack, and more bytes than pass the gate.
    for number in 0..200_u8 {
        client.put(&[number], vec![number; 1 << 15]).await.unwrap();
    }
    let (address, opener) = gate(two.raft_addr.to_string()).await;
    let http = reqwest::Client::new();
    let join = async || {
        let request = http.post(format!("http://{}/join", one.http_advertise_addr));
        let request = request.header("content-type", "application/json");
        let answer =
            request.body(format!(r#"{{"ID":"node2","RaftAddr":"{address}"}}"#)).send().await.unwrap();
        let status = answer.status().as_u16();
        assert!(matches!(status, 200 | 202), "{status}: {}", answer.text().await.unwrap());
        (status, answer.json::<JoinAnswer>().await.unwrap())
    };
    let (status, first) = join().await;
    assert_eq!((status, first.id.as_str(), first.suffrage), (202, "node2", Suffrage::Learner));
    assert!(first.last_index >= 200 && first.matched_index < 100, "{first:?}");

    opener.send(true).unwrap();
    let began = Instant::now();
    let last = loop {
        let (status, answer) = join().await;
        if status == 200 {
            break answer;
        }
        assert!(answer.matched_index >= first.matched_index && began.elapsed() < Duration::from_secs(60));
    };
    assert_eq!(last.suffrage, Suffrage::Voter);
    let follower = Client::new(two.http_advertise_addr.to_string()).unwrap();
    assert_eq!(follower.get(&[199]).await.unwrap().unwrap().bytes.len(), 1 << 15);
    joining.shutdown().await;
    leader.shutdown().await;
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < Duration::from_secs(60), "it never came that {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A connection that says what it is told to, and the beginning of what it hears.
async fn ask(address: &str, request: &str) -> (tokio::net::TcpStream, String) {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("{request} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let length = stream.read(&mut answer).await.unwrap();
    (stream, String::from_utf8_lossy(&answer[..length]).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_too_many_are_told_so_and_may_ask_how_the_member_is() {
    let directory = tempfile::tempdir().unwrap();
    let narrow = |listener: &mut Listener| {
        listener.connections_max = 4;
        listener.crowded_max = 2;
    };
    let (config, member) =
        start_over("node1", directory.path(), "--bootstrap", Tuning::default(), narrow).await;
    let address = config.http_advertise_addr.to_string();
    until("it is ready", async || member.ready().is_ok()).await;
    let mut held = Vec::new();
    for number in 0..4 {
        let (stream, answer) = ask(&address, &format!("PUT /kv?key=k{number}&value=v")).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        held.push(stream);
    }
    for request in ["PUT /kv?key=k&value=v", "GET /kv?key=k0", "GET /snapshot"] {
        let (mut stream, answer) = ask(&address, request).await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{request}: {answer}");
        let head = answer.to_lowercase();
        assert!(head.contains("retry-after: 1\r\n") && head.contains("connection: close\r\n"), "{answer}");
        assert!(answer.contains(conure_client::problem::BUSY), "{answer}");
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
    }
    for request in ["GET /livez", "GET /readyz", "GET /status", "GET /metrics"] {
        let (_, answer) = ask(&address, request).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{request}: {answer}");
    }
    // Where even those are too many, nobody is kept waiting.
    let mut silent = Vec::new();
    for _ in 0..2 {
        silent.push(tokio::net::TcpStream::connect(&address).await.unwrap());
    }
    let mut closed = tokio::net::TcpStream::connect(&address).await.unwrap();
    let _ = closed.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let mut rest = Vec::new();
    let _ = closed.read_to_end(&mut rest).await;
    assert!(rest.is_empty());
    drop(silent);
    drop(held.pop());
    until("there is room again", async || {
        let mut stream = tokio::net::TcpStream::connect(&address).await.unwrap();
        stream.write_all(b"GET /kv?key=k0 HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.is_ok() && &answer == b"HTTP/1.1 200"
    })
    .await;
    member.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_do_not_read_hold_little_memory_and_not_for_long() {
    let directory = tempfile::tempdir().unwrap();
    // Far longer than a body waits for its share: on a busy machine nobody is cut off before the last one is refused.
    let patience = Duration::from_secs(15);
    let shape = |listener: &mut Listener| listener.write_timeout = patience;
    let (config, member) =
        start_over("node1", directory.path(), "--bootstrap", Tuning::default(), shape).await;
    let address = config.http_advertise_addr.to_string();
    until("it is ready", async || member.ready().is_ok()).await;
    let client = Client::new(&address).unwrap();
    client.put(b"large", vec![7; 4 << 20]).await.unwrap();
    client.put(b"small", "1").await.unwrap();
    // As many as the budget holds, and some more: those wait, and are refused.
    let mut stalled = Vec::new();
    for _ in 0..24 {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        // Else the kernel may take a whole value off the member's hands, and its share of the memory is free again.
        socket.set_recv_buffer_size(16 << 10).unwrap();
        let mut stream = socket.connect(address.parse().unwrap()).await.unwrap();
        let request = b"GET /kv?key=large HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        stalled.push(stream);
    }
    let heads = stalled.iter_mut().map(|stream| async {
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.unwrap();
        String::from_utf8_lossy(&head).into_owned()
    });
    let heads = futures::future::join_all(heads).await;
    let served = heads.iter().filter(|head| *head == "HTTP/1.1 200").count();
    let refused = heads.iter().filter(|head| *head == "HTTP/1.1 503").count();
    assert_eq!((served, refused), (16, 8), "64 MiB are 16 values of 4 MiB: {heads:?}");
    // Small ones need none of it.
    assert_eq!(client.get(b"small").await.unwrap().unwrap().bytes, "1");
    // Who reads nothing for too long is cut off, and its memory free.
    until("there is room again", async || {
        let answer = reqwest::get(format!("http://{address}/kv?key=large")).await.unwrap();
        answer.status() == reqwest::StatusCode::OK && answer.bytes().await.unwrap().len() == 4 << 20
    })
    .await;
    let mut cut = 0;
    for mut stream in stalled {
        let mut rest = Vec::new();
        let read = stream.read_to_end(&mut rest).await;
        cut += usize::from(read.is_err() || rest.len() < 4 << 20);
    }
    assert!(cut > 8, "{cut} were cut off or refused");
    member.shutdown().await;
}
