//! Two data members and an arbiter.

use conure_client::api::Role;
use conure_member::{Consistency, Member, Refusal};

use crate::harness::*;

async fn two_and_an_arbiter() -> ([Place; 3], [Member; 3]) {
    let places = [Place::new("node1").bootstrap(), Place::new("node2"), Place::new("judge").arbiter()];
    let members = [places[0].start().await, places[1].start().await, places[2].start().await];
    leads(&members[0]).await;
    join(&members[0], &places[1]).await;
    join(&members[0], &places[2]).await;
    (places, members)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_arbiter_holds_no_data_and_serves_nobody() {
    let (_places, members) = two_and_an_arbiter().await;
    put(&[&members[0]], "a", "1").await;
    for consistency in [Consistency::Linearizable, Consistency::Stale] {
        let read = members[2].get(b"a", consistency).await;
        assert!(matches!(&read, Err(Refusal::Arbiter(Some(leader))) if leader.id == "node1"), "{read:?}");
    }
    assert!(matches!(members[2].put(bytes("a"), bytes("2")).await, Err(Refusal::NotLeader(_))));
    assert!(matches!(members[2].backup().await, Err(Refusal::Arbiter(_))));
    eventually("it is ready", async || members[2].ready().is_ok()).await;
    let config = members[1].raft_config();
    let judge = config.members.iter().find(|member| member.id == "judge").unwrap();
    assert_eq!(judge.role, Role::Arbiter);
    assert!(matches!(members[0].transfer_leadership("judge").await, Err(Refusal::Conflict { .. })));
    stop_all(members.to_vec()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_data_members_survive_the_loss_of_one() {
    let (_places, members) = two_and_an_arbiter().await;
    for i in 0..20 {
        put(&[&members[0]], &format!("key{i}"), "v").await;
    }
    members[0].halt().await;
    put(&[&members[1], &members[2]], "after", "v").await;
    assert!(members[1].status().is_leader);
    for i in 0..20 {
        assert!(get(&members[1], &format!("key{i}")).await.is_some());
    }
    stop_all(members[1..].to_vec()).await;
}

/// The other data member is behind, so only the arbiter can be elected: it brings the other up to date and lets
/// it lead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_arbiter_that_must_lead_loses_nothing_and_hands_over() {
    let (places, members) = two_and_an_arbiter().await;
    members[1].halt().await;
    for i in 0..50 {
        put(&[&members[0]], &format!("key{i}"), "v").await;
    }
    members[0].halt().await;
    let back = places[1].start().await;
    leads(&back).await;
    for i in 0..50 {
        assert!(get(&back, &format!("key{i}")).await.is_some(), "key{i} was acknowledged");
    }
    assert_eq!(back.leader().unwrap().id, "node2");
    stop_all(vec![back, members[2].clone()]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_arbiter_keeps_its_log_until_every_data_voter_holds_it() {
    let small = |place: Place| {
        place.tuned(|tuning| {
            tuning.checkpoint_entries = 50;
            tuning.keep_entries = 10;
        })
    };
    let places = [
        small(Place::new("node1").bootstrap()),
        small(Place::new("node2")),
        small(Place::new("judge").arbiter()),
    ];
    let mut members = vec![places[0].start().await, places[1].start().await, places[2].start().await];
    leads(&members[0]).await;
    join(&members[0], &places[1]).await;
    join(&members[0], &places[2]).await;
    let raft = |member: &Member, figure: &str| member.stats()["raft"][figure].as_u64().unwrap_or(0);
    members[1].halt().await;
    let held = members[0].stats()["raft"]["matched"]["node2"].as_u64().unwrap();
    for i in 0..200 {
        put(&[&members[0]], &format!("key{i}"), "v").await;
    }
    eventually("the arbiter made a checkpoint", async || raft(&members[2], "checkpoint_index") > held + 100)
        .await;
    eventually("the data member let go of its log", async || raft(&members[0], "purged_index") > held + 50)
        .await;
    assert!(raft(&members[2], "purged_index") <= held, "a data voter may still need it");
    members[1] = places[1].start().await;
    eventually("the arbiter lets go as well", async || raft(&members[2], "purged_index") > held + 50).await;
    stop_all(members).await;
}

/// Rather than fill its disk for a data member that does not come back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_arbiter_lets_go_of_more_past_its_size_limit() {
    let small = |place: Place| {
        place.tuned(|tuning| {
            tuning.checkpoint_entries = 5;
            tuning.arbiter_keep_bytes = 2 << 20;
        })
    };
    let places = [
        small(Place::new("node1").bootstrap()),
        small(Place::new("node2")),
        small(Place::new("judge").arbiter()),
    ];
    let members = [places[0].start().await, places[1].start().await, places[2].start().await];
    leads(&members[0]).await;
    join(&members[0], &places[1]).await;
    join(&members[0], &places[2]).await;
    members[1].halt().await;
    let held = members[0].stats()["raft"]["matched"]["node2"].as_u64().unwrap();
    let big = "x".repeat(1 << 20);
    for i in 0..20 {
        put(&[&members[0]], &format!("key{i}"), &big).await;
    }
    eventually("the arbiter let go of what the absent member does not hold", async || {
        members[2].stats()["raft"]["purged_index"].as_u64() > Some(held)
    })
    .await;
    // A data member brings the absent one up to date.
    let back = places[1].start().await;
    for i in 0..20 {
        assert!(get(&back, &format!("key{i}")).await.is_some());
    }
    stop_all(vec![members[0].clone(), back, members[2].clone()]).await;
}
