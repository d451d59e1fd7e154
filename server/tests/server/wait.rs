//! `conure-db wait`.

use crate::common::{Node, free_port, run, server, until};

#[tokio::test]
async fn it_waits_for_a_cluster_with_a_leader() {
    let here = tempfile::tempdir().unwrap();
    let node = Node::start("solo", &["--bootstrap=false"]).await;
    let peers = format!("--peers={}", node.url(""));
    let (code, error) = run(&mut server(&["wait", "--data-dir=new", &peers, "--timeout=300ms"], here.path()));
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("waiting for a cluster") && error.contains("no cluster yet"), "{error}");

    let mut waiting =
        server(&["wait", "--data-dir=new", &peers, "--cluster-id=c1", "--timeout=60s"], here.path())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
    assert!(waiting.try_wait().unwrap().is_none());
    node.client().bootstrap("c1").await.unwrap();
    until("it goes on", async || waiting.try_wait().unwrap().is_some()).await;
    assert!(waiting.wait().unwrap().success());

    let other = ["wait", "--data-dir=new", &peers, "--cluster-id=c2", "--timeout=300ms"];
    let (code, error) = run(&mut server(&other, here.path()));
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("another cluster"), "{error}");
}

#[tokio::test]
async fn it_does_not_wait_where_there_is_a_member_already() {
    let node = Node::ready("solo", &[]).await;
    let here = tempfile::tempdir().unwrap();
    let data_dir = format!("--data-dir={}", node.directory.display());
    let nobody = format!("--peers=http://127.0.0.1:{}", free_port());
    let (code, error) = run(&mut server(&["wait", &data_dir, &nobody], here.path()));
    assert_eq!(code, Some(0), "{error}");
    let (code, error) = run(&mut server(&["wait", "--data-dir=new", "--peers=https://x"], here.path()));
    assert_eq!(code, Some(2), "{error}");
}
