//! Several members: redirects, forwards, reads by followers, a client that moves on.

use std::time::{Duration, Instant};

use conure_client::{Client, problem as kind};
use reqwest::{Method, StatusCode, redirect};

use crate::common::{Node, cluster, problem, until};

const LINEARIZABLE: &str = "conure_reads_served_total{consistency=\"linearizable\"}";

/// Nobody campaigns while the leader that was lost may still have its lease.
const LEASE: Duration = Duration::from_millis(600);

/// The longest target that a member takes, in bytes.
const TARGET_LEN_MAX: usize = 65_534;

fn unfollowing() -> reqwest::Client {
    reqwest::Client::builder().redirect(redirect::Policy::none()).build().unwrap()
}

#[tokio::test]
async fn followers_redirect_writes_before_the_body_and_serve_reads() {
    let nodes = cluster(3, &[]).await;
    let (leader, follower) = (&nodes[0], &nodes[1]);
    let http = unfollowing();

    // The body announced here never comes; the answer does.
    let head = "PUT /kv?key=a%20b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n";
    let answer = crate::api::raw(follower, head).await;
    assert!(answer.starts_with("HTTP/1.1 307 "), "{answer}");
    assert!(answer.contains(&format!("location: {}\r\n", leader.url("/kv?key=a%20b"))), "{answer}");

    let delete = http.delete(follower.url("/kv?key=a")).send().await.unwrap();
    assert_eq!(delete.headers()["location"], leader.url("/kv?key=a"));
    let redirect = problem(delete, StatusCode::TEMPORARY_REDIRECT, kind::NOT_LEADER).await;
    assert!(redirect.detail.contains("-L"), "{redirect:?}");

    // A client that follows them puts a large value through any member.
    let value = vec![9; 4 << 20];
    follower.client().put(b"a", value.clone()).await.unwrap();

    let before = follower.metric(LINEARIZABLE).await;
    assert_eq!(http.get(follower.url("/kv?key=a")).send().await.unwrap().bytes().await.unwrap(), value);
    assert_eq!(follower.metric(LINEARIZABLE).await, before + 1);
    assert_eq!(leader.metric(LINEARIZABLE).await, 0);
    // What was just written through the leader is seen through any follower at once.
    for round in 0..50_u32 {
        leader.client().put(b"round", round.to_string()).await.unwrap();
        let follower = &nodes[1 + usize::try_from(round).unwrap() % 2];
        assert_eq!(follower.client().get(b"round").await.unwrap().unwrap().bytes, round.to_string());
    }
}

#[tokio::test]
async fn forwarding_members_serve_every_request_and_never_in_circles() {
    let nodes = cluster(2, &["--leader-routing=forward"]).await;
    let arbiter =
        Node::start("arbiter", &["--leader-routing=forward", "--role=arbiter", "--bootstrap=false"]).await;
    nodes[0].client().join("arbiter", &arbiter.raft_address()).await.unwrap();
    arbiter.until_ready().await;
    let http = unfollowing();
    for (number, node) in [&nodes[1], &arbiter].into_iter().enumerate() {
        let key = format!("/kv?key=k{number}");
        let value = vec![5; 4 << 20];
        let put = http.put(node.url(&key)).body(value.clone()).send().await.unwrap();
        assert_eq!(put.status(), StatusCode::OK, "{}", node.name);
        let etag = put.headers()["etag"].clone();
        assert_eq!(put.headers()["content-type"], "application/json");
        let get = http.get(node.url(&key)).send().await.unwrap();
        assert_eq!((get.status(), &get.headers()["etag"]), (StatusCode::OK, &etag));
        assert_eq!(get.bytes().await.unwrap(), value);
        let head = http.head(node.url(&key)).send().await.unwrap();
        assert_eq!(head.headers()["content-length"], (4 << 20).to_string());
        let stale = http.get(node.url(&format!("{key}&stale=true"))).send().await.unwrap();
        assert_eq!(stale.status(), StatusCode::OK);
        let delete = http.delete(node.url(&key)).send().await.unwrap();
        assert!(delete.text().await.unwrap().contains("true"));
        let absent = http.get(node.url(&key)).send().await.unwrap();
        problem(absent, StatusCode::NOT_FOUND, kind::KEY_NOT_FOUND).await;

        let forwarded = http.put(node.url("/kv?key=a&value=b")).header("conure-forwarded", "other");
        let answer = forwarded.send().await.unwrap();
        assert!(answer.headers().contains_key("retry-after"));
        problem(answer, StatusCode::SERVICE_UNAVAILABLE, kind::NOT_LEADER).await;
    }
    // The arbiter holds nothing to read from.
    assert_eq!(arbiter.metric(LINEARIZABLE).await, 0);
    assert!(arbiter.metric("conure_http_forwarded_total").await >= 5);
}

#[tokio::test]
async fn an_arbiter_redirects_every_request_for_data() {
    let leader = Node::ready("node1", &[]).await;
    let arbiter = Node::start("arbiter", &["--role=arbiter", "--bootstrap=false"]).await;
    leader.client().join("arbiter", &arbiter.raft_address()).await.unwrap();
    arbiter.until_ready().await;
    let http = unfollowing();
    for (method, target) in [
        (Method::PUT, "/kv?key=a%20b&value=1"),
        (Method::GET, "/kv?key=a%20b"),
        (Method::GET, "/kv?key=a%20b&stale=true"),
        (Method::DELETE, "/kv?key=a%20b"),
    ] {
        let answer = http.request(method.clone(), arbiter.url(target)).send().await.unwrap();
        assert_eq!(answer.headers()["location"], leader.url(target), "{method}");
        let redirect = problem(answer, StatusCode::TEMPORARY_REDIRECT, kind::NOT_LEADER).await;
        assert!(redirect.detail.contains("-L"), "{redirect:?}");
    }
    let head = http.head(arbiter.url("/kv?key=a")).send().await.unwrap();
    assert_eq!(head.headers()["location"], leader.url("/kv?key=a"));
    // Clients that follow get what they came for.
    arbiter.client().put(b"a", "1").await.unwrap();
    assert_eq!(reqwest::get(arbiter.url("/kv?key=a")).await.unwrap().text().await.unwrap(), "1");
    assert!(arbiter.client().delete(b"a").await.unwrap().deleted);
    assert_eq!(arbiter.metric("conure_http_forwarded_total").await, 0);
}

#[tokio::test]
async fn the_longest_target_works_on_every_member_and_a_longer_one_on_none() {
    let leader = Node::ready("node1", &[]).await;
    let follower = Node::start("node2", &["--leader-routing=forward"]).await;
    let redirecting = Node::start("node3", &[]).await;
    for node in [&follower, &redirecting] {
        leader.client().join(&node.name, &node.raft_address()).await.unwrap();
        node.until_ready().await;
    }
    let put = |key: &str, length: usize| {
        let beginning = format!("/kv?key={key}&value=");
        let value = "v".repeat(length - beginning.len());
        (format!("PUT {beginning}{value} HTTP/1.1\r\nHost: localhost\r\n\r\n"), value)
    };
    for (key, node) in [("own", &leader), ("forwarded", &follower)] {
        for length in [TARGET_LEN_MAX - 50, TARGET_LEN_MAX] {
            let (request, value) = put(key, length);
            let answer = crate::api::raw(node, &request).await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{key}, {length}: {answer}");
            assert_eq!(leader.client().get(key.as_bytes()).await.unwrap().unwrap().bytes, value);
        }
    }
    let (request, value) = put("redirected", TARGET_LEN_MAX);
    let answer = crate::api::raw(&redirecting, &request).await;
    assert!(answer.starts_with("HTTP/1.1 307 "), "{answer}");
    let location = format!("location: {}{value}\r\n", leader.url("/kv?key=redirected&value="));
    assert!(answer.contains(&location), "the Location is not whole");
    for node in [&leader, &follower, &redirecting] {
        let answer = crate::api::raw(node, &put("over", TARGET_LEN_MAX + 1).0).await;
        assert!(answer.starts_with("HTTP/1.1 414 "), "{}: {answer}", node.name);
    }
}

#[tokio::test]
async fn a_write_that_its_leader_took_and_lost_its_quorum_for_is_504() {
    let nodes = cluster(3, &[]).await;
    let http = unfollowing();
    let followers = [&nodes[1], &nodes[2]];
    let mut unknown = None;
    // A leader that steps down before the write comes refuses it, and rightly so: then once more.
    for round in 0..5 {
        until("node1 leads", async || {
            let _ = nodes[0].client().transfer_leadership("node1").await;
            nodes[0].client().status().await.is_ok_and(|status| status.is_leader)
        })
        .await;
        nodes[0].client().put(b"a", "before").await.unwrap();
        for node in followers {
            freeze(node).await;
        }
        let target = nodes[0].url(&format!("/kv?key=a&value=after{round}"));
        let answer = http.put(target).send().await.unwrap();
        followers.iter().for_each(|node| node.signal("CONT"));
        if answer.status() == StatusCode::GATEWAY_TIMEOUT {
            unknown = Some((answer, format!("after{round}")));
            break;
        }
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        for node in &nodes {
            node.until_ready().await;
        }
    }
    let (answer, written) = unknown.unwrap();
    assert!(!answer.headers().contains_key("retry-after"), "nothing says that it may be sent again");
    let answer = problem(answer, StatusCode::GATEWAY_TIMEOUT, kind::UNKNOWN_OUTCOME).await;
    assert!(answer.detail.contains("read before you repeat it"), "{answer:?}");
    let found = nodes[1].client().get(b"a").await.unwrap().unwrap().bytes;
    assert!(found == "before" || found == written, "{found:?}");
}

#[tokio::test]
async fn without_a_quorum_members_say_503() {
    let mut nodes = cluster(3, &["--barrier-timeout=500ms"]).await;
    nodes[0].client().put(b"a", "1").await.unwrap();
    nodes[1].kill();
    nodes[2].kill();
    let http = unfollowing();
    let read = http.get(nodes[0].url("/kv?key=a")).send().await.unwrap();
    assert!(read.headers().contains_key("retry-after"));
    assert_eq!(read.status(), StatusCode::SERVICE_UNAVAILABLE);
    let stale = http.get(nodes[0].url("/kv?key=a&stale=true")).send().await.unwrap();
    assert_eq!(stale.text().await.unwrap(), "1");
    until("it steps down", async || {
        let answer = http.put(nodes[0].url("/kv?key=a&value=3")).send().await.unwrap();
        answer.status() == StatusCode::SERVICE_UNAVAILABLE && answer.headers().contains_key("retry-after")
    })
    .await;
    until("it is not ready", async || !nodes[0].client().readyz(None).await.unwrap().ok).await;
    assert!(nodes[0].client().livez().await.unwrap().ok);
    // One more member is a quorum again.
    nodes[1].restart().await;
    nodes[0].client().put(b"a", "4").await.unwrap();
    assert_eq!(nodes[1].client().get(b"a").await.unwrap().unwrap().bytes, "4");
}

/// Its followers hold their connections and say nothing, as if the network between them were cut.
#[tokio::test]
async fn a_leader_that_hears_from_no_majority_serves_no_more_until_it_does() {
    // Long enough that a busy machine makes no difference between one of it and two.
    let timeout = Duration::from_secs(6);
    let timing = ["--election-timeout=6s", "--heartbeat-interval=100ms", "--barrier-timeout=500ms"];
    let nodes = cluster(3, &timing).await;
    nodes[0].client().put(b"a", "1").await.unwrap();
    for node in &nodes[1..] {
        freeze(node).await;
    }
    let cut_off = Instant::now();
    let http = unfollowing();
    // It confirms nothing from the first moment on.
    let read = http.get(nodes[0].url("/kv?key=a")).send().await.unwrap();
    assert_eq!(read.status(), StatusCode::SERVICE_UNAVAILABLE);
    until("it names no leader", async || nodes[0].client().status().await.unwrap().leader.is_empty()).await;
    let took = cut_off.elapsed();
    assert!(took < timeout + timeout / 2, "it took {took:?}");
    let write = http.put(nodes[0].url("/kv?key=a&value=2")).send().await.unwrap();
    assert!(write.headers().contains_key("retry-after"));
    problem(write, StatusCode::SERVICE_UNAVAILABLE, kind::NO_LEADER).await;
    assert!(!nodes[0].client().readyz(None).await.unwrap().ok);
    nodes[1..].iter().for_each(|node| node.signal("CONT"));
    for node in &nodes {
        node.until_ready().await;
    }
    nodes[0].client().put(b"a", "3").await.unwrap();
    assert_eq!(nodes[2].client().get(b"a").await.unwrap().unwrap().bytes, "3");
}

/// Whoever sent it on does not wait for longer than the leader's lease, and sends nothing more to it.
#[tokio::test]
async fn a_write_through_a_follower_does_not_wait_for_a_leader_that_is_lost() {
    let timing = ["--election-timeout=3s", "--heartbeat-interval=100ms", "--leader-routing=forward"];
    let nodes = cluster(3, &timing).await;
    nodes[0].client().put(b"a", "1").await.unwrap();
    freeze(&nodes[0]).await;
    let http = unfollowing();
    let begun = Instant::now();
    let first = http.put(nodes[1].url("/kv?key=a&value=2")).send().await.unwrap();
    problem(first, StatusCode::GATEWAY_TIMEOUT, kind::UNKNOWN_OUTCOME).await;
    assert!(begun.elapsed() < Duration::from_secs(20), "it took {:?}", begun.elapsed());
    until("another one leads", async || {
        let next = http.put(nodes[1].url("/kv?key=a&value=3")).send().await.unwrap();
        assert_ne!(next.status(), StatusCode::GATEWAY_TIMEOUT, "it went to the one that is lost");
        next.status() == StatusCode::OK
    })
    .await;
    nodes[0].signal("CONT");
    nodes[0].until_ready().await;
    assert_eq!(nodes[0].client().get(b"a").await.unwrap().unwrap().bytes, "3");
}

/// The leader that a read was forwarded to hangs: what a read may wait is what whoever forwarded it waits, and little more.
#[tokio::test]
async fn a_forwarded_read_waits_no_longer_than_a_read_may() {
    // Nobody takes over meanwhile.
    let slow = ["--election-timeout=60s", "--heartbeat-interval=1s", "--barrier-timeout=500ms"];
    let leader = Node::ready("node1", &slow).await;
    let arbiter = [&slow[..], &["--leader-routing=forward", "--role=arbiter", "--bootstrap=false"]].concat();
    let arbiter = Node::start("arbiter", &arbiter).await;
    leader.client().join("arbiter", &arbiter.raft_address()).await.unwrap();
    arbiter.until_ready().await;
    leader.client().put(b"a", "1").await.unwrap();
    let read = async || unfollowing().get(arbiter.url("/kv?key=a")).send().await.unwrap();
    assert_eq!(read().await.status(), StatusCode::OK);
    freeze(&leader).await;
    let begun = Instant::now();
    let answer = read().await;
    assert!(answer.headers().contains_key("retry-after"));
    problem(answer, StatusCode::SERVICE_UNAVAILABLE, kind::NO_LEADER).await;
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    leader.signal("CONT");
}

#[tokio::test]
async fn a_removed_member_says_so_in_its_log() {
    let nodes = cluster(2, &[]).await;
    nodes[0].client().remove("node2").await.unwrap();
    until("it says so", async || nodes[1].log().contains("member \"node2\" was removed from cluster")).await;
    assert!(!nodes[1].client().readyz(None).await.unwrap().ok);
}

#[tokio::test]
async fn a_client_that_knows_one_member_survives_its_loss() {
    let mut nodes = cluster(3, &[]).await;
    let client = Client::builder()
        .server(nodes[0].address())
        .discover(true)
        .timeout(Duration::from_secs(5))
        .build()
        .unwrap();
    client.put(b"a", "1").await.unwrap();
    nodes[0].kill();
    // The first try may find the connection broken with its outcome unknown; a new one never does.
    assert_eq!(client.get(b"a").await.unwrap().unwrap().bytes, "1");
    client.put(b"a", "2").await.unwrap();
    assert_eq!(client.get(b"a").await.unwrap().unwrap().bytes, "2");
}

#[tokio::test]
async fn a_leader_that_is_told_to_stop_hands_over() {
    let mut nodes = cluster(3, &[]).await;
    nodes[0].client().put(b"a", "1").await.unwrap();
    let term = nodes[0].client().status().await.unwrap().term;
    nodes[0].stop().await;
    // Without a hand-over nobody would lead before the leader's lease is over.
    let left = Instant::now();
    let mut found = None;
    while found.is_none() {
        let asked = left.elapsed();
        assert!(asked < LEASE, "nobody leads {asked:?} after the leader left");
        for node in &nodes[1..] {
            found = found.or(Some(node.client().status().await.unwrap()).filter(|status| status.is_leader));
        }
    }
    assert_eq!(found.unwrap().term, term + 1, "the first candidate was elected");
    let client = Client::builder().servers([nodes[1].address(), nodes[2].address()]).build().unwrap();
    client.put(b"a", "2").await.unwrap();
    nodes[0].restart().await;
    nodes[0].until_ready().await;
    assert_eq!(nodes[0].client().get(b"a").await.unwrap().unwrap().bytes, "2");
}

/// SIGSTOP, in effect.
pub(crate) async fn freeze(node: &Node) {
    node.signal("STOP");
    let path = format!("/proc/{}/status", node.pid());
    let stopped = || std::fs::read_to_string(&path).unwrap().contains("State:\tT");
    until("it is stopped", async || stopped()).await;
}
