//! `conure-db recover`, on a cluster whose quorum is gone.

use std::process::{Command, Stdio};

use crate::common::{SERVER, cluster, until};
use crate::tools::{conure, key, text};

#[tokio::test(flavor = "multi_thread")]
async fn the_survivor_of_a_lost_quorum_goes_on_and_takes_the_others_in_again() {
    let mut nodes = cluster(3, &[]).await;
    for number in 0..30 {
        nodes[0].client().put(key(number).as_bytes(), vec![7; 500]).await.unwrap();
    }
    let id = nodes[0].client().status().await.unwrap().cluster_id;
    for node in &mut nodes {
        node.kill();
    }
    let dir = text(&nodes[0].directory).to_owned();

    // Without being told so, it says what it would do it to.
    conure(&["recover", &dir]).refused(2, &["node1", &id, &format!("--confirm {id}:1"), "of term"]);
    conure(&["recover", &dir, "--confirm=another"]).refused(2, &[&format!("--confirm {id}:1"), "another"]);
    conure(&["recover", &dir, "--confirm", &id, "--member=node2"]).refused(2, &["node1", "node2"]);
    let newest = conure(&["inspect", "--json", &dir]).json()["newest"].clone();
    assert!(newest["term"].as_u64() > Some(0) && newest["index"].as_u64() >= Some(30), "{newest}");

    // As an init container does it: by environment variables, in every member's pod, at every start.
    let asked = |directory: &str| {
        let mut command = Command::new(SERVER);
        command.args(["recover", "--once"]).stdin(Stdio::null());
        command.env("CONURE_DATA_DIR", directory).env("CONURE_RECOVER_MEMBER", "node1");
        command
    };
    let once = |directory: &str| {
        let output = asked(directory).env("CONURE_RECOVER_CONFIRM", format!("{id}:1")).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        said
    };
    assert!(once(text(&nodes[1].directory)).starts_with("nothing to do"));
    assert!(asked(&dir).env("CONURE_RECOVER_CONFIRM", "").output().unwrap().status.success());
    let said = once(&dir);
    for shown in ["as incarnation 2", "node2, node3", "before-recovery-1", "--node-id=node1"] {
        assert!(said.contains(shown), "{shown:?} is not in {said}");
    }
    assert!(once(&dir).starts_with("nothing to do"));
    conure(&["recover", &dir, "--confirm", &id]).refused(2, &["nothing was changed", &format!("{id}:2")]);
    conure(&["check", &dir]).good();
    conure(&["inspect", text(&nodes[0].directory.join("before-recovery-1"))]).good();

    nodes[0].restart().await;
    nodes[0].until_ready().await;
    let survivor = nodes[0].client();
    let status = survivor.status().await.unwrap();
    assert_eq!((&status.cluster_id, status.incarnation), (&id, 2));
    let next = survivor.put(b"new", "1").await.unwrap().revision;
    assert!(next > 1 << 32, "{next} may have been used before");

    for at in [1, 2] {
        nodes[at].restart().await;
        let client = nodes[at].client();
        until("a member that was left behind says so", async || {
            client.status().await.unwrap().health.contains("left behind")
        })
        .await;
        survivor.join(&nodes[at].name, &nodes[at].raft_address()).await.unwrap();
        nodes[at].until_ready().await;
    }
    for node in &nodes {
        // Only the survivor's log held them: their revisions are of the new incarnation, in the order of the changes.
        let mut before = 1 << 32;
        for number in 0..30 {
            let found = node.client().get(key(number).as_bytes()).await.unwrap().unwrap();
            assert_eq!(found.bytes, vec![7; 500], "{}", node.name);
            assert!((before + 1..next).contains(&found.revision), "{}: {}", node.name, found.revision);
            before = found.revision;
        }
        assert_eq!(node.client().get(b"new").await.unwrap().unwrap().revision, next);
    }
    let members = survivor.raft_config().await.unwrap().members;
    assert_eq!(members.len(), 3, "{members:?}");
}
