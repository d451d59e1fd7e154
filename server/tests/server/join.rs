//! `--join`: members that join by themselves.

use std::path::Path;

use conure_client::Client;
use conure_client::api::Suffrage;
use tempfile::TempDir;

use crate::common::{Node, free_port, run, server, until};

/// Three members over directories of their own, not started yet, each with these arguments.
fn three(here: &TempDir, arguments: &[&str]) -> Vec<Node> {
    let node = |number: usize| {
        let name = format!("node{number}");
        let directory = here.path().join(&name);
        std::fs::create_dir_all(&directory).unwrap();
        Node::over(&name, &directory.join("data"), arguments)
    };
    (1..=3).map(node).collect()
}

fn joins(nodes: &[Node]) -> String {
    let urls: Vec<String> = nodes.iter().map(|node| node.url("")).collect();
    format!("--join={}", urls.join(","))
}

async fn until_voters(node: &Node, client: &Client, count: usize) {
    until(&format!("{} sees {count} voters", node.name), async || {
        let members = client.raft_config().await.map(|config| config.members).unwrap_or_default();
        members.len() == count && members.iter().all(|member| member.suffrage == Suffrage::Voter)
    })
    .await;
}

async fn until_all_vote(nodes: &[Node]) {
    for node in nodes {
        until_voters(node, &node.client(), nodes.len()).await;
        node.until_ready().await;
    }
}

async fn until_said(node: &Node, words: &str) {
    until(&format!("{} says {words:?}: {}", node.name, node.log()), async || node.log().contains(words))
        .await;
}

async fn state(node: &Node) -> String {
    let stats = node.client().raft_stats().await.unwrap();
    stats["state"].as_str().unwrap().to_owned()
}

fn assert_no_warning(node: &Node) {
    let log = node.log();
    let is_bad = |line: &&str| line.contains(" WARN ") || line.contains("ERROR ");
    let bad: Vec<&str> = log.lines().filter(is_bad).collect();
    assert!(bad.is_empty(), "{}: {bad:#?}", node.name);
}

#[tokio::test]
async fn three_members_become_a_cluster_in_whichever_order_they_start() {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let here = tempfile::tempdir().unwrap();
        let mut nodes = three(&here, &[]);
        nodes[0].add("--bootstrap");
        let first = joins(&nodes[..1]);
        nodes[1].add(&first);
        nodes[2].add(&first);
        for at in order {
            nodes[at].restart().await;
            if order[0] != 0 && at == order[0] {
                until_said(&nodes[at], "not joined yet").await;
            }
        }
        until_all_vote(&nodes).await;
        for node in &nodes {
            assert_no_warning(node);
        }
        for node in &nodes[1..] {
            until_said(node, "joined: this member is a voter").await;
            assert_eq!(node.log().matches("joining through").count(), 1, "{}", node.log());
        }
        assert!(!nodes[0].log().contains("joining through"), "{}", nodes[0].log());
        // In good standing nobody asks again.
        nodes[1].stop().await;
        nodes[1].restart().await;
        nodes[1].until_ready().await;
        assert_eq!(nodes[1].log().matches("joining through").count(), 1, "{}", nodes[1].log());
        nodes[0].client().put(b"a", "1").await.unwrap();
        assert_eq!(nodes[1].client().get(b"a").await.unwrap().unwrap().bytes, "1");
    }
}

/// A file that names all three members, with its own address and one that nobody has.
fn shared_file(here: &TempDir, nodes: &[Node]) -> String {
    let mut text = "join:\n".to_owned();
    for node in nodes {
        text += &format!("  - {}\n", node.url(""));
    }
    text += &format!("  - 127.0.0.1:{}\n", free_port());
    let file = here.path().join("shared.yaml");
    std::fs::write(&file, text).unwrap();
    format!("--config={}", file.display())
}

fn wipe(node: &Node) {
    std::fs::remove_dir_all(&node.directory).unwrap();
}

#[tokio::test]
async fn all_members_may_share_one_file_and_one_that_lost_its_disk_comes_back() {
    let here = tempfile::tempdir().unwrap();
    let mut nodes = three(&here, &[]);
    let config = shared_file(&here, &nodes);
    nodes[0].add("--bootstrap");
    for node in &mut nodes {
        node.add(&config);
    }
    for at in [1, 0, 2] {
        nodes[at].restart().await;
    }
    until_all_vote(&nodes).await;
    for node in &nodes {
        assert_no_warning(node);
    }
    nodes[0].client().put(b"a", "1").await.unwrap();

    // The one that started the cluster too: it starts no second one, although it is told to.
    for at in [2, 0] {
        let before = nodes[at].client().raft_stats().await.unwrap()["raft_node_id"].clone();
        let cluster_id = nodes[at].client().status().await.unwrap().cluster_id;
        nodes[at].stop().await;
        wipe(&nodes[at]);
        if at == 0 {
            // Stopped before anybody had joined it: its directory is a member's, and never was in a cluster.
            let mut broken_off = Node::over("node1", &nodes[0].directory, &["--bootstrap=false"]);
            broken_off.restart().await;
            broken_off.stop().await;
        }
        nodes[at].restart().await;
        nodes[at].until_ready().await;
        until_all_vote(&nodes).await;
        let client = nodes[at].client();
        assert_ne!(client.raft_stats().await.unwrap()["raft_node_id"], before);
        assert_eq!(client.status().await.unwrap().cluster_id, cluster_id);
        assert_eq!(client.get(b"a").await.unwrap().unwrap().bytes, "1");
    }
    assert!(nodes[0].log().contains("in a cluster already"), "{}", nodes[0].log());
}

#[tokio::test]
async fn the_token_goes_along_and_a_wrong_one_is_said_until_it_is_right() {
    let here = tempfile::tempdir().unwrap();
    let token = here.path().join("token");
    std::fs::write(&token, "sesame\n").unwrap();
    let wrong = here.path().join("wrong");
    std::fs::write(&wrong, "simsim\n").unwrap();
    let file = |path: &Path| format!("--admin-token-file={}", path.display());
    let mut nodes = three(&here, &[]);
    nodes[0].add("--bootstrap");
    nodes[0].add(&file(&token));
    let list = joins(&nodes[..2]);
    nodes[1].add(&file(&token));
    nodes[1].add(&list);
    nodes[2].add(&file(&wrong));
    nodes[2].add(&list);
    for node in &mut nodes {
        node.restart().await;
    }
    let refused = "that is not the administration's token; name the cluster's token with --admin-token-file";
    until_said(&nodes[2], refused).await;
    let log = nodes[2].log();
    let line = log.lines().find(|line| line.contains(refused)).unwrap();
    assert!(line.contains(" WARN "), "{line}");
    until_voters(&nodes[1], &nodes[1].client(), 2).await;
    std::fs::write(&wrong, "sesame\n").unwrap();
    until_all_vote(&nodes).await;
    assert_no_warning(&nodes[0]);
    assert_no_warning(&nodes[1]);
    assert!(nodes.iter().all(|node| !node.log().contains("sesame") && !node.log().contains("simsim")));
}

#[tokio::test]
async fn a_member_that_was_removed_stays_out_until_somebody_joins_it() {
    let here = tempfile::tempdir().unwrap();
    let mut nodes = three(&here, &[]);
    let list = joins(&nodes);
    nodes[0].add("--bootstrap");
    for node in &mut nodes {
        node.add(&list);
        node.restart().await;
    }
    until_all_vote(&nodes).await;
    let leader = nodes[0].client();
    // Once while it runs, once while it does not.
    for running in [true, false] {
        if !running {
            nodes[2].stop().await;
        }
        leader.remove("node3").await.unwrap();
        if running {
            until("it has heard of it", async || state(&nodes[2]).await == "removed").await;
            nodes[2].stop().await;
        }
        nodes[2].restart().await;
        until("it has heard of it", async || state(&nodes[2]).await == "removed").await;
        if running {
            until_said(&nodes[2], "does not come back by itself").await;
        }
        until_voters(&nodes[0], &leader, 2).await;
        assert_eq!(nodes[2].log().matches("joining through").count(), 1, "{}", nodes[2].log());
        let answer = leader.join("node3", &nodes[2].raft_address()).await.unwrap();
        assert_eq!(answer.suffrage, Suffrage::Voter);
        until_all_vote(&nodes).await;
    }
}

/// A leader whose snapshot takes seconds, and a learner that it is on its way to.
async fn leader_and_learner(here: &TempDir) -> Vec<Node> {
    let slow = ["--snapshot-rate=1MiB", "--checkpoint-entries=100", "--log-keep-entries=0"];
    let mut nodes = three(here, &slow);
    nodes.truncate(2);
    let list = joins(&nodes);
    nodes[0].add("--bootstrap");
    nodes[1].add(&list);
    nodes[0].restart().await;
    nodes[0].until_ready().await;
    let client = nodes[0].client();
    for number in 0..120_u8 {
        client.put(&[number], vec![number; 64 << 10]).await.unwrap();
    }
    until("the log begins after the start", async || {
        client.raft_stats().await.unwrap()["log"]["first_index"].as_u64().is_some_and(|first| first > 50)
    })
    .await;
    nodes[1].restart().await;
    until("it is a learner", async || {
        let members = client.raft_config().await.unwrap().members;
        members.iter().any(|member| member.suffrage == Suffrage::Learner)
    })
    .await;
    nodes[1].kill();
    nodes
}

#[tokio::test]
async fn a_learner_whose_join_broke_off_goes_on() {
    let here = tempfile::tempdir().unwrap();
    let mut nodes = leader_and_learner(&here).await;
    nodes[1].restart().await;
    until_all_vote(&nodes).await;
    assert_eq!(nodes[1].log().matches("joining through").count(), 2, "{}", nodes[1].log());
    assert_no_warning(&nodes[1]);
    assert_eq!(nodes[1].client().get(&[7]).await.unwrap().unwrap().bytes, vec![7; 64 << 10]);
}

/// It was removed before it held anything that could tell it so.
#[tokio::test]
async fn a_learner_that_was_removed_while_it_was_away_stays_out() {
    let here = tempfile::tempdir().unwrap();
    let mut nodes = leader_and_learner(&here).await;
    // The leader that still waits for the learner would refuse another change meanwhile.
    nodes[0].kill();
    nodes[0].restart().await;
    nodes[0].until_ready().await;
    let leader = nodes[0].client();
    leader.remove("node2").await.unwrap();
    nodes[1].restart().await;
    until_said(&nodes[1], "has no member \\\"node2\\\"").await;
    assert_eq!(leader.raft_config().await.unwrap().members.len(), 1);
    let answer = leader.join("node2", &nodes[1].raft_address()).await.unwrap();
    assert_eq!(answer.id, "node2");
    until_all_vote(&nodes).await;
}

#[tokio::test]
async fn a_living_namesake_is_refused_and_said() {
    let here = tempfile::tempdir().unwrap();
    let node = Node::ready("node1", &[]).await;
    let mut namesake = Node::over("node1", &here.path().join("data"), &[&format!("--join={}", node.url(""))]);
    namesake.restart().await;
    until_said(&namesake, "belongs to the living member").await;
    let log = namesake.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("belongs to the living member")).collect();
    assert!(lines.len() == 1 && lines[0].contains(" WARN "), "{lines:?}");
    assert_eq!(node.client().raft_config().await.unwrap().members.len(), 1);
    namesake.stop().await;
}

#[test]
fn a_list_with_nobody_else_in_it_is_refused_before_anything_is_made() {
    let here = tempfile::tempdir().unwrap();
    let port = free_port();
    let http = format!("--http-addr=:{port}");
    let raft = format!("--raft-addr=127.0.0.1:{}", free_port());
    for own in [format!("--join=localhost:{port}"), format!("--join=http://127.0.0.1:{port}")] {
        for more in [&[][..], &["--bootstrap=false"], &["--bootstrap", "--role=arbiter"]] {
            let arguments: Vec<&str> =
                [&own, &http, &raft].map(String::as_str).into_iter().chain(more.iter().copied()).collect();
            let (code, error) = run(&mut server(&arguments, here.path()));
            assert_eq!(code, Some(2), "{error}");
            let value = own.trim_start_matches("--join=");
            let line = error.lines().last().unwrap();
            assert!(line.starts_with(&format!("conure-db: --join {value:?}: ")), "{error}");
            assert!(
                line.contains("nobody but this member itself") && line.contains("--bootstrap"),
                "{error}"
            );
        }
    }
    assert_eq!(std::fs::read_dir(here.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_member_that_never_was_in_a_cluster_is_refused_with_nobody_to_ask_too() {
    let mut node = Node::start("solo", &["--bootstrap=false"]).await;
    node.stop().await;
    node.add(&format!("--join={}", node.url("")));
    let (code, error) = run(&mut node.command());
    assert!(code == Some(2) && error.lines().last().unwrap().contains("nobody but this member"), "{error}");
}

/// docs/operations.md, "Move members to other addresses".
#[tokio::test]
async fn members_that_all_moved_find_each_other_through_the_listed_servers() {
    let here = tempfile::tempdir().unwrap();
    let mut nodes = three(&here, &[]);
    let list = joins(&nodes);
    nodes[0].add("--bootstrap");
    for node in &mut nodes {
        node.add(&list);
        node.restart().await;
    }
    until_all_vote(&nodes).await;
    nodes[0].client().put(b"a", "1").await.unwrap();
    for node in &mut nodes {
        node.stop().await;
    }

    // The same directories at other ports.
    let mut moved = three(&here, &[]);
    let list = joins(&moved);
    for node in &mut moved {
        node.add(&list);
        node.restart().await;
    }
    until_all_vote(&moved).await;
    for node in &moved {
        until(&format!("{} knows all where they are", node.name), async || {
            let members = node.client().raft_config().await.unwrap().members;
            moved.iter().all(|other| {
                members.iter().any(|member| {
                    member.raft_addr == other.raft_address() && member.http_addr == other.address()
                })
            })
        })
        .await;
    }
    assert_eq!(moved[2].client().get(b"a").await.unwrap().unwrap().bytes, "1");

    // The list is needed no more.
    for node in &mut moved {
        node.stop().await;
    }
    for node in &mut moved {
        node.remove_last();
        node.restart().await;
    }
    for node in &moved {
        node.until_ready().await;
    }
    moved[1].client().put(b"b", "2").await.unwrap();
}
