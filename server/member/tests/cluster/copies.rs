//! Data directories that were copied, put back as they were earlier, or emptied of all but who they are.

use std::fs;

use conure_member::{Member, Refusal, StartError};

use crate::harness::*;

async fn conflict(leader: &Member, place: &Place) -> (&'static str, String) {
    match leader.join(&place.join_request()).await {
        Err(Refusal::Conflict { kind, detail }) => (kind, detail),
        other => panic!("{other:?}"),
    }
}

/// Another machine with a copy of the directory of `place`.
fn copied(place: &Place) -> Place {
    let copy = Place::new(&place.config.node_id);
    copy_dir(place.dir.path(), copy.dir.path());
    copy
}

/// Puts the directory back as `earlier` has it.
fn roll_back(place: &Place, earlier: &Place) {
    place.wipe();
    copy_dir(earlier.dir.path(), place.dir.path());
}

/// What it does once it hears what it had acknowledged.
async fn ends_as_damaged(member: &Member) {
    let fault = tokio::time::timeout(PATIENCE, member.failed()).await.expect("it goes on with what it has");
    assert!(fault.damaged && fault.text.contains("had acknowledged entry"), "{fault}");
    assert!(fault.text.contains("empty its data directory") && !fault.text.contains('\n'), "{fault}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copied_directory_joins_in_the_place_of_its_original_in_no_case() {
    let (places, mut members) = three().await;
    put(&[&members[0]], "x", "1").await;
    members.pop().unwrap().shutdown().await;
    let copy = copied(&places[2]);
    let original = places[2].start().await;
    // From here on a quorum is the first and the original.
    members.pop().unwrap().halt().await;
    let leader = members.pop().unwrap();
    for number in 0..50 {
        put(&[&leader], &format!("k{number}"), "v").await;
    }

    let twin = copy.start().await;
    let (kind, detail) = conflict(&leader, &copy).await;
    assert_eq!(kind, "copied-directory");
    assert!(detail.contains(&places[2].config.raft_addr), "it does not name the other one: {detail}");

    // Its original is gone, and with it all that the copy lacks.
    original.halt().await;
    let (kind, detail) = conflict(&leader, &copy).await;
    assert_eq!(kind, "lost-entries");
    assert!(detail.contains("older copy"), "{detail}");
    eventually("the others keep it out", async || twin.status().health.contains(&places[2].config.raft_addr))
        .await;
    twin.halt().await;

    let second = places[1].start().await;
    assert_eq!(get(&second, "k49").await.as_deref(), Some("v"));
    stop_all(vec![leader, second]).await;
}

/// Its vote would be the original's second one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_runs_beside_its_original_neither_votes_nor_leads() {
    let (places, mut members) = three().await;
    put(&[&members[0]], "x", "1").await;
    members.pop().unwrap().shutdown().await;
    let copy = copied(&places[2]);
    members.push(places[2].start().await);
    same_state(&members).await;

    let twin = copy.start().await;
    eventually("it is told of its original", async || {
        twin.status().health.contains(&places[2].config.raft_addr)
    })
    .await;
    assert!(twin.ready().is_err());
    // Without the leader the two that are left elect one of them, and the copy has no part in it.
    members.remove(0).halt().await;
    let leader = leader(&[&members[0], &members[1]]).await;
    put(&[leader], "y", "2").await;
    assert!(!twin.status().is_leader);
    stop_all(vec![twin]).await;
    stop_all(members).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_was_put_back_ends_its_member_before_it_counts() {
    let (places, mut members) = three().await;
    put(&[&members[0]], "x", "1").await;
    members.pop().unwrap().shutdown().await;
    let earlier = copied(&places[2]);
    let third = places[2].start().await;
    // A quorum is the first and the third.
    members.pop().unwrap().halt().await;
    for number in 0..20 {
        put(&[&members[0]], &format!("k{number}"), "v").await;
    }
    third.halt().await;
    roll_back(&places[2], &earlier);

    let third = places[2].start().await;
    ends_as_damaged(&third).await;
    third.halt().await;
    // By hand, as the line says.
    let second = places[1].start().await;
    members[0].remove("node3").await.unwrap();
    places[2].wipe();
    let third = places[2].start().await;
    join(&members[0], &places[2]).await;
    members.extend([second, third]);
    same_state(&members).await;
    assert_eq!(get(&members[2], "k19").await.as_deref(), Some("v"));
    stop_all(members).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_with_nothing_but_its_identity_is_no_voter() {
    let (places, members) = three().await;
    stop_all(members).await;
    let dir = places[2].dir.path();
    fs::remove_file(dir.join("tree.db")).unwrap();
    fs::remove_dir_all(dir.join("log")).unwrap();
    for _ in 0..2 {
        match Member::start(places[2].config.clone()).await {
            Err(StartError::Damaged(text)) => {
                assert!(text.contains("no database") && !text.contains('\n'), "{text}")
            }
            other => panic!("it votes again: {other:?}"),
        }
    }
}

/// The cluster knows each at the other's address. Neither is a copy, and one of them must lead, or nobody could join them again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_that_swapped_their_addresses_elect_a_leader_that_learns_the_new_ones() {
    let (mut places, members) = three().await;
    put(&[&members[0]], "x", "1").await;
    stop_all(members).await;
    let (second, third) = (places[1].config.raft_addr.clone(), places[2].config.raft_addr.clone());
    for (place, addr) in places[1..].iter_mut().zip([third, second]) {
        (place.config.raft_addr, place.config.raft_advertise_addr) = (addr.clone(), addr);
    }
    let members = [places[0].start().await, places[1].start().await, places[2].start().await];
    for place in &places[1..] {
        eventually("a leader learns the address", async || {
            let request = place.join_request();
            for member in &members {
                if matches!(member.join(&request).await, Ok(conure_member::JoinProgress::Voter(_))) {
                    return true;
                }
            }
            false
        })
        .await;
    }
    put(&members.iter().collect::<Vec<_>>(), "y", "2").await;
    same_state(&members).await;
    stop_all(members.to_vec()).await;
}
