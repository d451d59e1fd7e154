//! Writes, reads, failover, restarts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use conure_client::api::Role;
use conure_member::{Consistency, Member, Refusal};

use crate::harness::*;
use crate::wire::Wire;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_members_replicate() {
    let (_places, members) = three().await;
    for i in 0..20 {
        put(&[&members[0]], &format!("key{i}"), &format!("value{i}")).await;
    }
    assert_eq!(members[0].delete(bytes("key3")).await.unwrap().revision, 21);
    let again = members[0].delete(bytes("key3")).await.unwrap();
    assert_eq!((again.deleted, again.revision), (false, 21));
    for member in &members {
        for i in (0..20).filter(|i| *i != 3) {
            assert_eq!(get(member, &format!("key{i}")).await, Some(format!("value{i}")));
        }
        assert_eq!(get(member, "key3").await, None);
    }
    assert_eq!(members[1].raft_config().members.len(), 3);
    assert!(matches!(
        members[1].put(bytes("a"), bytes("b")).await,
        Err(Refusal::NotLeader(leader)) if leader.id == "node1" && leader.http_addr == "node1:8081"
    ));
    same_state(&members).await;
    stop_all(members).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_reads_what_was_just_acknowledged() {
    let (_places, members) = three().await;
    for i in 0..50 {
        let value = i.to_string();
        let revision = put(&[&members[0]], "key", &value).await;
        for follower in &members[1..] {
            let answer = follower.get(b"key", Consistency::Linearizable).await.unwrap();
            let found = answer.found.unwrap();
            assert_eq!((found.value, found.revision), (bytes(value.clone()), revision));
            assert!(answer.revision >= revision);
        }
    }
    assert_eq!(members[1].stats()["clients"]["reads_linearizable"], 50);
    assert_eq!(members[0].stats()["clients"]["reads_linearizable"], 0);
    stop_all(members).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_leads_when_the_leader_dies_and_nothing_is_lost() {
    let (places, mut members) = three().await;
    for i in 0..50 {
        put(&[&members[0]], &format!("before{i}"), "v").await;
    }
    members.remove(0).halt().await;
    let left: Vec<_> = members.iter().collect();
    put(&left, "after", "v").await;
    assert!(leader(&left).await.status().term > 1);
    let back = places[0].start().await;
    eventually("the dead one is back", async || back.ready().is_ok()).await;
    assert_eq!(get(&back, "after").await.as_deref(), Some("v"));
    members.push(back);
    for member in &members {
        for i in 0..50 {
            assert!(get(member, &format!("before{i}")).await.is_some(), "before{i}");
        }
    }
    same_state(&members).await;
    stop_all(members).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_all_keeps_all() {
    let (places, members) = three().await;
    put(&[&members[0]], "kept", "1").await;
    stop_all(members).await;
    for crash in [false, true] {
        let mut members = Vec::new();
        for place in &places {
            members.push(place.start().await);
        }
        let all: Vec<_> = members.iter().collect();
        put(&all, "more", &crash.to_string()).await;
        for member in &members {
            assert_eq!(get(member, "kept").await.as_deref(), Some("1"));
            assert_eq!(get(member, "more").await, Some(crash.to_string()));
        }
        for member in members {
            if crash { member.halt().await } else { member.shutdown().await }
        }
    }
    let member = places[0].start().await;
    let stale = member.get(b"kept", Consistency::Stale).await.unwrap();
    assert_eq!(stale.found.unwrap().value, bytes("1"));
    let alone = member.get(b"kept", Consistency::Linearizable).await;
    assert!(matches!(alone, Err(Refusal::NoLeader | Refusal::BarrierTimeout(_))), "{alone:?}");
    member.halt().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writes_share_a_sync() {
    let place = Place::new("node1").bootstrap();
    let member = Arc::new(place.start().await);
    leads(&member).await;
    let syncs = |member: &conure_member::Member| member.stats()["log"]["syncs"].as_u64().unwrap();
    let before = syncs(&member);
    let writes = (0..64).map(|i| {
        let member = Arc::clone(&member);
        tokio::spawn(async move { member.put(bytes(format!("key{i}")), bytes("v")).await.unwrap() })
    });
    let mut revisions: Vec<u64> = Vec::new();
    for write in writes.collect::<Vec<_>>() {
        revisions.push(write.await.unwrap().revision);
    }
    let took = syncs(&member) - before;
    assert!(took < 64, "64 concurrent writes took {took} syncs");
    revisions.sort_unstable();
    assert_eq!(revisions, (1..=64).collect::<Vec<u64>>());
    member.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopping_leader_hands_over_first() {
    // Nobody could notice a silence before the end of the test.
    let patient = |place: Place| {
        place.tuned(|tuning| {
            tuning.election_timeout_min = 2 * PATIENCE;
            tuning.election_timeout_max = 3 * PATIENCE;
        })
    };
    let (_places, members) = three_of(patient).await;
    put(&[&members[0]], "a", "1").await;
    members[0].shutdown().await;
    let left: Vec<_> = members[1..].iter().collect();
    assert!(left.iter().any(|member| member.stats()["raft"]["state"] == "leader"));
    put(&left, "b", "2").await;
    assert!(matches!(members[0].put(bytes("c"), bytes("3")).await, Err(Refusal::Stopping)));
    assert_eq!(members[1].status().role, Role::Data);
    members[1].halt().await;
    members[2].halt().await;
}

/// It asks whether it could win before it campaigns: the others, who hear their leader, say no.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_hears_nobody_for_a_while_disturbs_nobody() {
    let places = [Place::new("node1").bootstrap(), Place::new("node2"), Place::new("node3")];
    let mut places: Vec<Place> = places.into();
    let (to_second, wire) = (
        Wire::to(places[1].config.raft_addr.clone()).await,
        Wire::to(places[2].config.raft_addr.clone()).await,
    );
    places[1].config.raft_advertise_addr = to_second.addr.clone();
    places[2].config.raft_advertise_addr = wire.addr.clone();
    let members = together(&places).await;
    put(&[&members[0]], "a", "1").await;
    let term = members[0].status().term;
    // Nothing reaches it, while it reaches all: the worst that it could do with that.
    wire.cut();
    eventually("it hears no leader", async || members[2].leader().is_none()).await;
    // As the messages are numbered.
    let (vote, pre_vote) = (4, 5);
    eventually("it asks whether it could win", async || to_second.asked(pre_vote)).await;
    for round in 0..20 {
        put(&[&members[0]], "a", &round.to_string()).await;
        tokio::time::sleep(places[2].config.tuning.election_timeout_max / 4).await;
    }
    let terms = |members: &[Member]| members.iter().map(|member| member.status().term).collect::<Vec<_>>();
    assert_eq!(terms(&members[..2]), [term; 2]);
    assert!(!to_second.asked(vote), "it campaigned");
    wire.mend();
    eventually("it follows again", async || members[2].ready().is_ok()).await;
    assert_eq!(get(&members[2], "a").await.as_deref(), Some("19"));
    assert!(members[0].status().is_leader);
    assert_eq!(terms(&members), [term; 3]);
    stop_all(members).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_goes_where_it_is_sent() {
    let (_places, members) = three().await;
    members[0].transfer_leadership("node3").await.unwrap();
    leads(&members[2]).await;
    assert!(matches!(members[2].transfer_leadership("node9").await, Err(Refusal::UnknownMember(_))));
    stop_all(members).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_without_its_quorum_acknowledges_nothing() {
    let mut places = vec![Place::new("node1").bootstrap(), Place::new("node2"), Place::new("node3")];
    for place in &mut places {
        place.config.tuning.write_timeout = std::time::Duration::from_millis(500);
        place.config.barrier_timeout = std::time::Duration::from_millis(500);
    }
    let leader = places[0].start().await;
    let others = [places[1].start().await, places[2].start().await];
    leads(&leader).await;
    join(&leader, &places[1]).await;
    join(&leader, &places[2]).await;
    for other in &others {
        other.halt().await;
    }
    let write = leader.put(bytes("a"), bytes("b")).await;
    assert!(matches!(write, Err(Refusal::UnknownOutcome(_) | Refusal::NoLeader)), "{write:?}");
    // The wait is bounded by the barrier's timeout, on whichever member the read waits.
    let begun = Instant::now();
    let read = leader.get(b"a", Consistency::Linearizable).await;
    assert!(matches!(read, Err(Refusal::BarrierTimeout(_) | Refusal::NoLeader)), "{read:?}");
    assert!(begun.elapsed() < Duration::from_millis(1_500), "{:?}", begun.elapsed());
    eventually("it says that it does not lead", async || {
        !leader.status().is_leader && leader.leader().is_none() && leader.ready().is_err()
    })
    .await;
    leader.halt().await;
}

/// What Raft holds takes its room until Raft is through with it, whoever gave up waiting.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_that_nobody_waits_for_any_more_keep_their_room() {
    // Nobody notices before the end of the test that the quorum is gone.
    let patient = |place: Place| {
        place.tuned(|tuning| {
            tuning.election_timeout_min = 2 * PATIENCE;
            tuning.election_timeout_max = 3 * PATIENCE;
            tuning.write_timeout = Duration::from_millis(300);
            tuning.writes_in_flight_max = 2;
        })
    };
    let (places, mut members) = three_of(patient).await;
    put(&[&members[0]], "a", "1").await;
    let others = members.split_off(1);
    let leader = members.remove(0);
    stop_all_at_once(others).await;
    // One whose client hangs up, and one whose time is over.
    let hung_up = leader.put(bytes("b"), bytes("2"));
    assert!(tokio::time::timeout(Duration::from_millis(100), hung_up).await.is_err(), "nobody confirmed it");
    let unknown = leader.put(bytes("c"), bytes("3")).await;
    assert!(matches!(unknown, Err(Refusal::UnknownOutcome(_))), "{unknown:?}");
    for _ in 0..3 {
        let busy = leader.put(bytes("d"), bytes("4")).await;
        assert!(matches!(busy, Err(Refusal::Busy)), "{busy:?}");
    }
    assert_eq!(leader.stats()["clients"]["busy"], 3);
    // With the quorum back Raft gets through with them, and there is room again.
    let back = places[1].start().await;
    eventually("there is room", async || leader.put(bytes("e"), bytes("5")).await.is_ok()).await;
    assert_eq!(get(&leader, "b").await.as_deref(), Some("2"));
    assert_eq!(get(&leader, "c").await.as_deref(), Some("3"));
    assert_eq!(get(&leader, "d").await, None);
    back.halt().await;
    leader.halt().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_without_a_leader_says_so() {
    let (_places, members) = three().await;
    eventually("it is ready", async || members[1].ready().is_ok()).await;
    members[0].halt().await;
    members[2].halt().await;
    eventually("it knows no leader", async || members[1].leader().is_none() && members[1].ready().is_err())
        .await;
    assert!(matches!(members[1].put(bytes("a"), bytes("b")).await, Err(Refusal::NoLeader)));
    assert!(members[1].status().leader.is_empty());
    members[1].halt().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_may_wait_is_refused_at_once() {
    let place = Place::new("node1").bootstrap().tuned(|tuning| tuning.write_bytes_in_flight_max = 100);
    let member = place.start().await;
    leads(&member).await;
    assert!(matches!(member.put(bytes("key"), bytes("v".repeat(100))).await, Err(Refusal::Busy)));
    put(&[&member], "key", "v").await;
    assert_eq!(member.stats()["clients"]["busy"], 1);
    for (key, len) in [("", 1), ("k", (4 << 20) + 1)] {
        let refused = member.put(bytes(key), bytes("v".repeat(len))).await;
        assert!(matches!(refused, Err(Refusal::Invalid(_))), "{refused:?}");
    }
    member.shutdown().await;
}

/// Lookups of names, for one, may hold all the threads that there are for work that blocks, for as long as a resolver is silent.
#[test]
fn writes_and_reads_go_on_while_no_thread_for_other_work_that_blocks_is_free() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(1)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (_places, members) = three().await;
        let (release, held) = std::sync::mpsc::channel::<()>();
        let (taken, has_it) = tokio::sync::oneshot::channel();
        let holder = tokio::task::spawn_blocking(move || {
            taken.send(()).unwrap();
            // Until the other end goes.
            let _ = held.recv();
        });
        has_it.await.unwrap();
        for i in 0..20 {
            put(&[&members[0]], &format!("key{i}"), "v").await;
            assert_eq!(get(&members[2], &format!("key{i}")).await.as_deref(), Some("v"));
        }
        drop(release);
        holder.await.unwrap();
        stop_all(members).await;
    });
}
