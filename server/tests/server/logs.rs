//! What the log says, read as whoever runs a cluster would read it: nothing to worry about where nothing is wrong, and each
//! thing that happens once, with members by name.

use crate::common::{Node, cluster, until};

/// Lines at level WARN or ERROR.
fn worries(log: &str) -> Vec<&str> {
    log.lines().filter(|line| line.contains(" WARN ") || line.contains("ERROR ")).collect()
}

/// Lines that name a member by its Raft node id, beside those that tell which one it has.
fn numbered(log: &str) -> Vec<&str> {
    let is_id = |word: &str| word.len() >= 16 && word.bytes().all(|byte| byte.is_ascii_digit());
    let names_one = |line: &&str| {
        !line.contains(" node_id=") && line.split(|c: char| !c.is_ascii_alphanumeric()).any(is_id)
    };
    log.lines().filter(names_one).collect()
}

async fn until_logged(node: &Node, words: &[&str]) {
    let logged = || node.log().lines().any(|line| words.iter().all(|word| line.contains(word)));
    until(&format!("{} logs {words:?}", node.name), async || logged()).await;
}

/// How often a line with these words was logged.
fn count(log: &str, words: &str) -> usize {
    log.lines().filter(|line| line.contains(words)).count()
}

#[tokio::test]
async fn a_healthy_start_of_one_and_of_three_members_warns_of_nothing() {
    for size in [1, 3] {
        let mut nodes = cluster(size, &[]).await;
        nodes[0].client().put(b"a", "1").await.unwrap();
        for node in &nodes {
            let words: &[&str] =
                if node.name == "node1" { &["this member leads"] } else { &["follows a leader", "node1"] };
            until_logged(node, words).await;
        }
        for node in &mut nodes {
            node.stop().await;
            let log = node.log();
            assert_eq!(worries(&log), Vec::<&str>::new(), "{}", node.name);
            assert_eq!(numbered(&log), Vec::<&str>::new(), "{}", node.name);
        }
    }
}

#[tokio::test]
async fn a_failover_a_return_and_a_removal_are_told_once_and_by_name() {
    let mut nodes = cluster(3, &[]).await;
    nodes[0].kill();
    let leads = async |node: &Node| node.client().status().await.is_ok_and(|status| status.is_leader);
    let mut leader = 0;
    until("another member leads", async || {
        for number in [1, 2] {
            if leads(&nodes[number]).await {
                leader = number;
            }
        }
        leader > 0
    })
    .await;
    let other = 3 - leader;
    let name = nodes[leader].name.clone();
    until_logged(&nodes[leader], &["does not answer", "node1"]).await;
    until_logged(&nodes[other], &["follows a leader", &name]).await;
    let log = nodes[leader].log();
    assert_eq!(count(&log, "does not answer"), 1, "{log}");
    assert!(worries(&log).len() <= 3, "{log}");
    assert_eq!(numbered(&log), Vec::<&str>::new());

    nodes[0].restart().await;
    until_logged(&nodes[leader], &["answers this leader again", "node1"]).await;
    nodes[leader].client().remove("node1").await.unwrap();
    until_logged(&nodes[leader], &["the members of the cluster", "node2, node3"]).await;
    until_logged(&nodes[0], &["node1", "was removed from cluster"]).await;
    for node in &mut nodes {
        node.stop().await;
        assert_eq!(numbered(&node.log()), Vec::<&str>::new(), "{}", node.name);
    }
}
