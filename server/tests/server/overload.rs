//! More than a member can take: it refuses, keeps its memory, and goes on answering.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use conure_client::problem as kind;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::cluster::freeze;
use crate::common::{Node, cluster, until};

/// So much is offered: a dozen times what a member takes at once.
const CLIENTS: usize = 64;
const PUTS_EACH: usize = 24;
const VALUE_BYTES: usize = 512 << 10;
/// What a member takes at once is 64 MiB; the log and the connections hold copies.
const GROWTH_MAX: u64 = 320 << 20;
/// How long a client waits before it hangs up.
const WAIT: Duration = Duration::from_millis(500);

/// Memory that is not a file's, in bytes.
fn anonymous_bytes(node: &Node) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Puts a large value, and hangs up when no answer comes; else the answer.
async fn put_or_hang_up(address: &str, key: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head =
        format!("PUT /kv?key={key} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {VALUE_BYTES}\r\n\r\n");
    let exchange = async {
        stream.write_all(head.as_bytes()).await?;
        // It may be refused before it is read.
        let _ = stream.write_all(&vec![7; VALUE_BYTES]).await;
        let mut answer = vec![0; 4096];
        let length = stream.read(&mut answer).await?;
        std::io::Result::Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
    };
    timeout(WAIT, exchange).await.ok()?.ok().filter(|answer| !answer.is_empty())
}

/// Nothing is confirmed, and the clients do not wait: what they sent stays with the leader all the same.
#[tokio::test(flavor = "multi_thread")]
async fn an_overloaded_leader_refuses_keeps_its_memory_and_goes_on_answering() {
    // It does not notice before the end of the test that its followers are gone.
    let nodes = cluster(3, &["--election-timeout=60s", "--heartbeat-interval=1s"]).await;
    nodes[0].client().put(b"before", "1").await.unwrap();
    for node in &nodes[1..] {
        freeze(node).await;
    }
    let before = anonymous_bytes(&nodes[0]);
    let (busy, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (address, busy) = (nodes[0].address(), Arc::clone(&busy));
            tokio::spawn(async move {
                for number in 0..PUTS_EACH {
                    let Some(answer) = put_or_hang_up(&address, &format!("{client}-{number}")).await else {
                        continue;
                    };
                    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
                    assert!(answer.contains("retry-after: 1\r\n") && answer.contains(kind::BUSY), "{answer}");
                    busy.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let probe = {
        let (client, over) = (nodes[0].client(), Arc::clone(&over));
        tokio::spawn(async move {
            let mut answered = 0_u32;
            while !over.load(Ordering::Relaxed) {
                assert!(client.livez().await.unwrap().ok);
                assert_eq!(client.status().await.unwrap().node_id, "node1");
                answered += 1;
            }
            answered
        })
    };
    for client in clients {
        client.await.unwrap();
    }
    over.store(true, Ordering::Relaxed);
    assert!(probe.await.unwrap() > 0);
    let busy = busy.load(Ordering::Relaxed);
    assert!(busy > CLIENTS * PUTS_EACH / 2, "{busy} puts were refused");
    let grown = anonymous_bytes(&nodes[0]).saturating_sub(before);
    println!("{busy} of {} puts were refused; the leader grew by {} MiB", CLIENTS * PUTS_EACH, grown >> 20);
    assert!(grown < GROWTH_MAX, "the leader grew by {} MiB", grown >> 20);

    nodes[1..].iter().for_each(|node| node.signal("CONT"));
    until("it takes changes again", async || nodes[0].client().put(b"after", "2").await.is_ok()).await;
    assert_eq!(nodes[0].client().get(b"before").await.unwrap().unwrap().bytes, "1");
}
