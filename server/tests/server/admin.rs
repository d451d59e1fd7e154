//! The administration's token, and administration by way of a follower.

use conure_client::{Client, problem as kind};
use reqwest::StatusCode;

use crate::common::{Node, problem, until};

fn token_file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

#[tokio::test]
async fn administration_needs_the_token_and_nothing_else_does() {
    let file = token_file("sesame\n");
    let node = Node::ready("solo", &[&format!("--admin-token-file={}", file.path().display())]).await;
    let http = reqwest::Client::new();
    for path in ["/join", "/remove", "/bootstrap", "/transfer-leadership"] {
        let ask = || http.post(node.url(path)).header("content-type", "application/json").body("{}");
        for request in [ask(), ask().bearer_auth("wrong"), ask().basic_auth("sesame", Some("sesame"))] {
            let answer = request.send().await.unwrap();
            assert!(answer.headers()["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
            problem(answer, StatusCode::UNAUTHORIZED, kind::UNAUTHORIZED).await;
        }
        problem(ask().bearer_auth("sesame").send().await.unwrap(), StatusCode::BAD_REQUEST, kind::BAD_BODY)
            .await;
    }
    let backup = reqwest::get(node.url("/snapshot")).await.unwrap();
    problem(backup, StatusCode::UNAUTHORIZED, kind::UNAUTHORIZED).await;
    node.client().put(b"a", "1").await.unwrap();
    for path in ["/kv?key=a", "/status", "/raft/config", "/raft/stats", "/livez", "/readyz", "/metrics"] {
        assert_eq!(reqwest::get(node.url(path)).await.unwrap().status(), StatusCode::OK, "{path}");
    }
    assert!(!node.log().contains("sesame"));
}

#[tokio::test]
async fn a_follower_forwards_administration_with_its_token() {
    let file = token_file("sesame");
    let argument = format!("--admin-token-file={}", file.path().display());
    let one = Node::ready("node1", &[&argument]).await;
    let two = Node::ready("node2", &[&argument]).await;
    let three = Node::ready("node3", &[&argument]).await;
    let client =
        |node: &Node| Client::builder().server(node.address()).admin_token("sesame").build().unwrap();
    client(&one).join("node2", &two.raft_address()).await.unwrap();
    two.until_ready().await;
    // Both redirect by default, but never administration.
    let denied = two.client().join("node3", &three.raft_address()).await.unwrap_err();
    assert!(denied.is(kind::UNAUTHORIZED), "{denied}");
    client(&two).join("node3", &three.raft_address()).await.unwrap();
    three.until_ready().await;
    assert_eq!(one.client().raft_config().await.unwrap().members.len(), 3);

    client(&three).transfer_leadership("node2").await.unwrap();
    until("node2 leads", async || two.client().status().await.unwrap().is_leader).await;
    client(&one).remove("node3").await.unwrap();
    until("node1 has seen it", async || one.client().raft_config().await.unwrap().members.len() == 2).await;
}

#[tokio::test]
async fn an_empty_member_bootstraps_once_on_request() {
    let node = Node::start("solo", &["--bootstrap=false"]).await;
    let client = node.client();
    assert!(!client.readyz(None).await.unwrap().ok);
    let refused = Client::builder().server(node.address()).attempts(1).build().unwrap().put(b"a", "1").await;
    assert!(refused.unwrap_err().is(kind::NOT_IN_CLUSTER));
    assert_eq!(client.bootstrap("the-cluster").await.unwrap().cluster_id, "the-cluster");
    node.until_ready().await;
    assert_eq!(client.status().await.unwrap().cluster_id, "the-cluster");
    assert!(client.readyz(Some("the-cluster")).await.unwrap().ok);
    assert!(!client.readyz(Some("another")).await.unwrap().ok);
    for (incarnation, code) in [("0", 200), ("1", 200), ("2", 503), ("one", 400), ("-1", 400)] {
        let asked = format!("/readyz?cluster_id=the-cluster&incarnation={incarnation}");
        let answer = reqwest::get(node.url(&asked)).await.unwrap();
        assert_eq!(answer.status().as_u16(), code, "{incarnation}: {}", answer.text().await.unwrap());
    }
    assert_eq!(client.bootstrap("another").await.unwrap_err().status(), Some(409));
}

#[tokio::test]
async fn a_backup_streams_to_its_end() {
    use futures::TryStreamExt as _;
    let node = Node::ready("solo", &[]).await;
    for key in 0..8_u8 {
        node.client().put(&[key], vec![key; 1 << 20]).await.unwrap();
    }
    let chunks: Vec<bytes::Bytes> = node.client().snapshot().await.unwrap().try_collect().await.unwrap();
    let backup = chunks.concat();
    assert!(backup.starts_with(b"CONUREBK") && backup.len() > 8 << 20, "{}", backup.len());
}
