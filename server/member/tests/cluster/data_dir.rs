//! What a data directory must be.

use std::fs;

use conure_client::api::Role;
use conure_member::{Member, StartError};

use crate::harness::*;

async fn refusal(place: &Place) -> String {
    match Member::start(place.config.clone()).await {
        Err(StartError::DataDir(text) | StartError::Damaged(text)) => {
            assert!(!text.contains('\n') && text.contains("data_dir"), "{text:?}");
            text
        }
        other => panic!("it was not refused: {other:?}"),
    }
}

/// The same, where the data is not what was written.
async fn damage(place: &Place) -> String {
    let started = Member::start(place.config.clone()).await;
    assert!(matches!(started, Err(StartError::Damaged(_))), "{started:?}");
    refusal(place).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_on_a_directory_is_refused() {
    let place = Place::new("node1").bootstrap();
    let member = place.start().await;
    let mut second = Place::new("node1");
    second.config.data_dir = place.config.data_dir.clone();
    assert!(refusal(&second).await.contains("in use by another process"));
    member.shutdown().await;
    let again = place.start().await;
    leads(&again).await;
    again.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn anothers_directory_is_refused() {
    let mut place = Place::new("node1").bootstrap();
    fs::create_dir(place.dir.path().join("lost+found")).unwrap();
    let member = place.start().await;
    let cluster_id = member.status().cluster_id;
    member.shutdown().await;
    place.config.node_id = "node2".into();
    let text = refusal(&place).await;
    assert!(text.contains("node1") && text.contains("node2"), "{text}");
    place.config.node_id = "node1".into();
    place.config.cluster_id = Some("another".into());
    let text = refusal(&place).await;
    assert!(text.contains(&cluster_id) && text.contains("another"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_directory_is_refused() {
    let place = Place::new("node1").bootstrap();
    let member = place.start().await;
    leads(&member).await;
    for i in 0..10 {
        put(&[&member], &format!("key{i}"), "v").await;
    }
    member.shutdown().await;
    let path = place.dir.path();
    let identity = fs::read(path.join("identity")).unwrap();

    fs::remove_file(path.join("identity")).unwrap();
    assert!(refusal(&place).await.contains("no identity file"));
    fs::write(path.join("identity"), b"rubbish").unwrap();
    assert!(refusal(&place).await.contains("identity"));
    fs::write(path.join("identity"), identity).unwrap();

    // The log is gone, and the checkpoint knows that there was one.
    fs::rename(path.join("log"), path.join("moved")).unwrap();
    damage(&place).await;
    fs::remove_dir_all(path.join("log")).unwrap();
    fs::rename(path.join("moved"), path.join("log")).unwrap();

    let tree = fs::read(path.join("tree.db")).unwrap();
    fs::write(path.join("tree.db"), vec![7; tree.len()]).unwrap();
    refusal(&place).await;
    // Both meta pages, each with its name whole.
    let mut torn = tree.clone();
    for page in [0, 4096] {
        torn[page + 100] ^= 1;
    }
    fs::write(path.join("tree.db"), torn).unwrap();
    assert!(damage(&place).await.contains("corrupt at page"));
    fs::write(path.join("tree.db"), tree).unwrap();
    let member = place.start().await;
    leads(&member).await;
    assert!(get(&member, "key9").await.is_some());
    member.shutdown().await;
}

/// The second joins the first, one write is acknowledged, and both end as a crash would end them.
async fn write_and_crash(places: &[Place; 2]) {
    let members = [places[0].start().await, places[1].start().await];
    leads(&members[0]).await;
    join(&members[0], &places[1]).await;
    put(&[&members[0]], "a", "1").await;
    for member in members {
        member.halt().await;
    }
}

/// After a crash, long before the first checkpoint: votes and acknowledged entries would be forgotten with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_young_log_that_is_lost_is_missed() {
    let places = [Place::new("node1").bootstrap(), Place::new("node2")];
    write_and_crash(&places).await;
    for place in &places {
        let log = place.dir.path().join("log");
        fs::rename(&log, place.dir.path().join("moved")).unwrap();
        refusal(place).await;
        fs::remove_dir_all(&log).unwrap();
        fs::rename(place.dir.path().join("moved"), &log).unwrap();
        place.start().await.halt().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_database_beside_its_log_is_refused() {
    let place = Place::new("node1").bootstrap().tuned(|tuning| {
        tuning.checkpoint_entries = 20;
        tuning.keep_entries = 5;
    });
    let member = place.start().await;
    leads(&member).await;
    let tree = place.dir.path().join("tree.db");
    let early = place.dir.path().join("early.db");
    put(&[&member], "key", "v").await;
    member.halt().await;
    fs::copy(&tree, &early).unwrap();
    let member = place.start().await;
    leads(&member).await;
    for i in 0..100 {
        put(&[&member], &format!("key{i}"), "v").await;
    }
    eventually("the log is purged", async || member.stats()["raft"]["purged_index"].as_u64() > Some(50))
        .await;
    member.shutdown().await;
    let late = fs::read(&tree).unwrap();
    fs::remove_file(&tree).unwrap();
    for _ in 0..2 {
        assert!(refusal(&place).await.contains("no database"));
    }
    // One of an earlier time, which the log does not reach back to.
    fs::rename(&early, &tree).unwrap();
    assert!(refusal(&place).await.contains("begins after"));
    fs::write(&tree, late).unwrap();
    let member = place.start().await;
    assert!(get(&member, "key7").await.is_some());
    member.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_of_the_other_role_is_refused() {
    let mut places = [Place::new("node1").bootstrap(), Place::new("judge").arbiter()];
    write_and_crash(&places).await;
    for (place, other) in places.iter_mut().zip([Role::Arbiter, Role::Data]) {
        let own = std::mem::replace(&mut place.config.role, other);
        let text = refusal(place).await;
        assert!(text.contains("--role data") && text.contains("--role arbiter"), "{text}");
        place.config.role = own;
    }
    let members = [places[0].start().await, places[1].start().await];
    assert_eq!(get(&members[0], "a").await.as_deref(), Some("1"));
    stop_all(members.to_vec()).await;
    // A directory that belongs to no cluster is nothing yet.
    let mut fresh = Place::new("node3");
    fresh.start().await.shutdown().await;
    fresh.config.role = Role::Arbiter;
    fresh.start().await.shutdown().await;
}

#[tokio::test]
async fn a_directory_that_cannot_be_and_an_address_that_is_taken_are_refused() {
    let mut place = Place::new("node1");
    let file = place.dir.path().join("file");
    fs::write(&file, b"").unwrap();
    place.config.data_dir = file;
    refusal(&place).await;
    let mut place = Place::new("node1");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    place.config.raft_addr = taken.local_addr().unwrap().to_string();
    let refused = Member::start(place.config.clone()).await;
    assert!(matches!(refused, Err(StartError::Bind { addr, .. }) if addr == place.config.raft_addr));
}

/// Its files stay open, and what it acknowledged would be gone with the process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_whose_directory_is_removed_or_replaced_ends_and_says_so() {
    for replaced in [false, true] {
        let place = Place::new("node1").bootstrap();
        let member = place.start().await;
        leads(&member).await;
        put(&[&member], "a", "1").await;
        let away = tempfile::tempdir().unwrap();
        std::fs::rename(place.dir.path(), away.path().join("data")).unwrap();
        if replaced {
            copy_dir(&away.path().join("data"), place.dir.path());
        }
        let fault =
            tokio::time::timeout(PATIENCE, member.failed()).await.expect("it goes on in files that are gone");
        assert!(fault.text.contains("was removed or replaced while") && !fault.damaged, "{fault}");
        assert!(member.put(bytes("b"), bytes("2")).await.is_err());
        member.halt().await;
        std::fs::create_dir_all(place.dir.path()).unwrap();
    }
}
