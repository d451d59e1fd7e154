//! Joining, rejoining, removing.

use std::time::Duration;

use conure_client::api::{JoinRequest, Suffrage};
use conure_member::{Consistency, JoinProgress, Member, Refusal};

use crate::harness::*;

fn kind(refusal: Result<impl std::fmt::Debug, Refusal>) -> &'static str {
    match refusal {
        Err(Refusal::Conflict { kind, .. }) => kind,
        other => panic!("no conflict: {other:?}"),
    }
}

fn raft_id(member: &Member) -> String {
    member.stats()["raft_node_id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pristine_cluster_of_one_is_absorbed_and_one_with_data_is_not() {
    let one = Place::new("node1").bootstrap();
    let two = Place::new("node2").bootstrap();
    let three = Place::new("node3").bootstrap();
    let (first, second, third) = (one.start().await, two.start().await, three.start().await);
    for member in [&first, &second, &third] {
        leads(member).await;
    }
    third.put(bytes("own"), bytes("data")).await.unwrap();
    join(&first, &two).await;
    assert_eq!(second.status().cluster_id, first.status().cluster_id);

    let refused = first.join(&three.join_request()).await.unwrap_err();
    let text = refused.to_string();
    assert_eq!(kind(Err::<(), _>(refused)), "foreign-cluster");
    assert!(text.contains(&first.status().cluster_id) && text.contains(&third.status().cluster_id), "{text}");
    assert_eq!(get(&third, "own").await.as_deref(), Some("data"));
    assert_eq!(first.raft_config().members.len(), 2);

    // Done again it does no harm.
    join(&first, &two).await;
    put(&[&first], "a", "1").await;
    assert_eq!(get(&second, "a").await.as_deref(), Some("1"));
    stop_all(vec![first, second, third]).await;
}

/// It has not even shown that it is its own voter then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pristine_cluster_of_one_is_absorbed_the_moment_it_started() {
    let one = Place::new("node1").bootstrap();
    let mut members = vec![one.start().await];
    leads(&members[0]).await;
    let places: Vec<Place> = (2..=6).map(|n| Place::new(&format!("node{n}")).bootstrap()).collect();
    for place in &places {
        members.push(place.start().await);
        join(&members[0], place).await;
    }
    assert_eq!(members[0].raft_config().members.len(), 6);
    stop_all(members).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_that_join_each_other_do_not_both_dissolve() {
    let places = [Place::new("node1").bootstrap(), Place::new("node2").bootstrap()];
    let members = [places[0].start().await, places[1].start().await];
    leads(&members[0]).await;
    leads(&members[1]).await;
    let requests = [places[1].join_request(), places[0].join_request()];
    let (a, b) = tokio::join!(members[0].join(&requests[0]), members[1].join(&requests[1]));
    assert!(a.is_err() || b.is_err(), "{a:?} {b:?}");
    let all: Vec<_> = members.iter().collect();
    put(&all, "someone", "leads").await;
    stop_all(members.to_vec()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joins_that_cannot_be_are_refused_and_change_nothing() {
    let one = Place::new("node1").bootstrap();
    let two = Place::new("node2");
    let (first, second) = (one.start().await, two.start().await);
    leads(&first).await;
    let nobody = JoinRequest { id: "node9".into(), raft_addr: free_addr() };
    assert!(matches!(first.join(&nobody).await, Err(Refusal::Unreachable { .. })));
    let wrong = JoinRequest { id: "node9".into(), raft_addr: two.config.raft_advertise_addr.clone() };
    assert_eq!(kind(first.join(&wrong).await), "name-mismatch");
    for bad in ["", "host", ":1", "host:port"] {
        let request = JoinRequest { id: "node2".into(), raft_addr: bad.into() };
        assert!(matches!(first.join(&request).await, Err(Refusal::Invalid(_))), "{bad:?}");
    }
    assert!(matches!(second.join(&one.join_request()).await, Err(Refusal::NotInCluster(_))));
    assert_eq!(first.raft_config().members.len(), 1);

    // A second member under a living one's name.
    join(&first, &two).await;
    let twin = Place::new("node2");
    let other = twin.start().await;
    assert_eq!(kind(first.join(&twin.join_request()).await), "name-taken");
    assert!(other.status().cluster_id.is_empty());
    stop_all(vec![first, second, other]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_volume_rejoins_as_a_learner_under_a_new_id() {
    let (places, members) = three().await;
    put(&[&members[0]], "a", "1").await;
    let old = raft_id(&members[2]);
    members[2].shutdown().await;
    places[2].wipe();
    let wiped = places[2].start().await;
    assert_ne!(raft_id(&wiped), old);
    // The name and the address are the old one's: the cluster dials it, and it refuses to be that member.
    eventually("it refused to be the old one", async || wiped.stats()["port"]["refused"].as_u64() > Some(0))
        .await;
    assert!(wiped.ready().is_err());
    assert_eq!(wiped.status().term, 0, "it never voted");
    join(&members[0], &places[2]).await;
    assert_eq!(get(&wiped, "a").await.as_deref(), Some("1"));
    let config = members[0].raft_config();
    assert_eq!(config.members.len(), 3);
    assert!(config.members.iter().all(|member| member.suffrage == Suffrage::Voter));
    assert_eq!(members[0].stats()["raft"]["joint"], false);
    same_state(&[members[0].clone(), members[1].clone(), wiped.clone()]).await;
    stop_all(vec![members[0].clone(), members[1].clone(), wiped]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_member_is_silent_and_comes_back_as_a_new_one() {
    let (places, members) = three().await;
    put(&[&members[0]], "a", "1").await;
    let old = raft_id(&members[1]);
    assert!(matches!(members[0].remove("node9").await, Err(Refusal::UnknownMember(_))));
    members[0].remove("node2").await.unwrap();
    assert_eq!(members[0].raft_config().members.len(), 2);
    let out = |member: &Member| {
        let member = member.clone();
        async move { matches!(member.get(b"a", Consistency::Stale).await, Err(Refusal::NotInCluster(_))) }
    };
    eventually("it heard that it was removed", async || out(&members[1]).await).await;
    members[1].shutdown().await;
    let again = places[1].start().await;
    assert!(out(&again).await, "a restart does not change it");
    let term = members[0].status().term;

    join(&members[0], &places[1]).await;
    assert_ne!(raft_id(&again), old);
    assert_eq!(get(&again, "a").await.as_deref(), Some("1"));
    assert_eq!(members[0].status().term, term, "nobody campaigned");
    stop_all(vec![members[0].clone(), again, members[2].clone()]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_removed_while_it_was_down_learns_it_when_it_is_back() {
    let (places, members) = three().await;
    members[1].shutdown().await;
    members[0].remove("node2").await.unwrap();
    let back = places[1].start().await;
    eventually("it learned it", async || back.stats()["state"] == "removed").await;
    put(&[&members[0], &members[2]], "a", "1").await;
    stop_all(vec![members[0].clone(), back, members[2].clone()]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_removes_itself_hands_over_first() {
    let (_places, members) = three().await;
    put(&[&members[0]], "a", "1").await;
    members[0].remove("node1").await.unwrap();
    let left: Vec<_> = members[1..].iter().collect();
    let now = leader(&left).await;
    assert_eq!(now.raft_config().members.len(), 2);
    assert_eq!(get(now, "a").await.as_deref(), Some("1"));
    eventually("it knows", async || members[0].stats()["state"] == "removed").await;
    stop_all(members).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removal_that_would_leave_no_quorum_is_refused() {
    let (_places, members) = three().await;
    members[2].halt().await;
    eventually("the dead one counts as dead", async || {
        members[0].stats()["raft"]["answered_ms_ago"]["node3"].as_u64() > Some(1_000)
    })
    .await;
    assert_eq!(kind(members[0].remove("node2").await), "no-quorum");
    // The dead one can go: two of three are alive.
    members[0].remove("node3").await.unwrap();
    members[0].remove("node2").await.unwrap();
    assert_eq!(kind(members[0].remove("node1").await), "last-member");
    put(&[&members[0]], "alone", "1").await;
    stop_all(vec![members[0].clone(), members[1].clone()]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bootstrap_starts_one_cluster_and_no_second() {
    let place = Place::new("node1");
    let member = place.start().await;
    assert!(matches!(member.put(bytes("a"), bytes("b")).await, Err(Refusal::NotInCluster(_))));
    assert!(matches!(member.bootstrap("no good").await, Err(Refusal::Invalid(_))));
    member.bootstrap("0b54").await.unwrap();
    leads(&member).await;
    assert_eq!((member.status().cluster_id.as_str(), member.status().incarnation), ("0b54", 1));
    assert_eq!(kind(member.bootstrap("0b54").await), "not-empty");
    eventually("it is ready", async || member.ready().is_ok()).await;
    member.shutdown().await;
    let again = place.start().await;
    leads(&again).await;
    assert_eq!(again.status().cluster_id, "0b54");
    again.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_join_updates_a_changed_address() {
    let (mut places, members) = three().await;
    members[2].shutdown().await;
    let addr = free_addr();
    places[2].config.raft_addr = addr.clone();
    places[2].config.raft_advertise_addr = addr.clone();
    places[2].config.http_advertise_addr = "elsewhere:8081".into();
    let moved = places[2].start().await;
    join(&members[0], &places[2]).await;
    put(&[&members[0]], "a", "1").await;
    assert_eq!(get(&moved, "a").await.as_deref(), Some("1"));
    let config = members[1].raft_config();
    let third = config.members.iter().find(|member| member.id == "node3").unwrap();
    assert_eq!((third.raft_addr.as_str(), third.http_addr.as_str()), (addr.as_str(), "elsewhere:8081"));
    stop_all(vec![members[0].clone(), members[1].clone(), moved]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_join_that_takes_long_says_how_far_it_is_and_goes_on_when_repeated() {
    let places = [
        Place::new("node1").bootstrap().tuned(|tuning| tuning.join_patience = Duration::from_millis(1)),
        Place::new("node2"),
    ];
    let members = [places[0].start().await, places[1].start().await];
    leads(&members[0]).await;
    // Many more than a voter may lag behind, and more bytes than a millisecond can bring.
    for i in 0..200 {
        put(&[&members[0]], &format!("key{i}"), &"x".repeat(128 << 10)).await;
    }
    let (mut waiting, mut last) = (0, None);
    eventually("it is a voter", async || match members[0].join(&places[1].join_request()).await {
        Ok(JoinProgress::CatchingUp(answer)) => {
            assert_eq!(answer.suffrage, Suffrage::Learner);
            waiting += 1;
            false
        }
        Ok(JoinProgress::Voter(answer)) => {
            last = Some(answer);
            true
        }
        Err(refusal) => panic!("{refusal}"),
    })
    .await;
    assert!(waiting > 0, "nobody had to wait for 25 MiB");
    assert_eq!(last.unwrap().suffrage, Suffrage::Voter);
    assert!(get(&members[1], "key199").await.is_some());
    stop_all(members.to_vec()).await;
}

/// Members of two clusters that were founded under one id.
async fn namesakes() -> (Vec<Place>, Vec<Member>) {
    let mut places = vec![Place::new("node1").bootstrap(), Place::new("node2").bootstrap()];
    let mut members = Vec::new();
    for place in &mut places {
        place.config.cluster_id = Some("prod".into());
        members.push(place.start().await);
        leads(members.last().unwrap()).await;
    }
    (places, members)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_cluster_of_the_same_id_is_absorbed_where_it_is_pristine_and_refused_where_it_holds_data() {
    for (first, second) in [(0, 1), (3, 1), (1, 3), (2, 2)] {
        let (places, members) = namesakes().await;
        for number in 0..first {
            put(&[&members[0]], &format!("first{number}"), "1").await;
        }
        for number in 0..second {
            put(&[&members[1]], &format!("second{number}"), "2").await;
        }
        let refused = members[0].join(&places[1].join_request()).await.unwrap_err();
        let text = refused.to_string();
        assert_eq!(kind(Err::<(), _>(refused)), "foreign-cluster");
        assert!(text.contains("another cluster of the same id"), "{text}");
        assert_eq!(members[0].raft_config().members.len(), 1);
        assert_eq!(get(&members[1], "second0").await.as_deref(), Some("2"));
        stop_all(members).await;
    }
    let (places, members) = namesakes().await;
    put(&[&members[0]], "a", "1").await;
    join(&members[0], &places[1]).await;
    assert_eq!(get(&members[1], "a").await.as_deref(), Some("1"));
    same_state(&members).await;
    stop_all(members).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_first_member_that_founds_its_cluster_again_is_let_in_only_while_it_is_pristine() {
    let (places, mut members) = three_of(|mut place| {
        place.config.cluster_id = Some("prod".into());
        place
    })
    .await;
    put(&[&members[0]], "a", "1").await;
    members.remove(0).halt().await;
    places[0].wipe();
    let founder = places[0].start().await;
    leads(&founder).await;
    put(&[&founder], "b", "2").await;
    let others = leader(&members.iter().collect::<Vec<_>>()).await;
    let refused = others.join(&places[0].join_request()).await;
    assert_eq!(kind(refused), "foreign-cluster");
    founder.halt().await;

    places[0].wipe();
    let founder = places[0].start().await;
    leads(&founder).await;
    join(others, &places[0]).await;
    assert_eq!(others.raft_config().members.len(), 3);
    members.push(founder);
    same_state(&members).await;
    stop_all(members).await;
}
