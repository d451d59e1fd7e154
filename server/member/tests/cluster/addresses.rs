//! Members that start at other addresses than the cluster knows them at.

use conure_client::api::MemberInfo;
use conure_member::Member;

use crate::harness::*;

/// Where the settings of the next start say that it is.
fn move_to_new_addresses(place: &mut Place) {
    let addr = free_addr();
    place.config.raft_addr.clone_from(&addr);
    place.config.raft_advertise_addr = addr;
    place.config.http_advertise_addr = format!("{}:18081", place.config.node_id);
}

fn known(member: &Member, place: &Place) -> Option<MemberInfo> {
    member.raft_config().members.into_iter().find(|info| info.id == place.config.node_id)
}

/// All of `members` come to know the member of `place` where its settings say that it is.
async fn all_know(members: &[Member], place: &Place) {
    eventually("all know the new addresses", async || {
        members.iter().all(|member| {
            known(member, place).is_some_and(|info| {
                info.raft_addr == place.config.raft_advertise_addr
                    && info.http_addr == place.config.http_advertise_addr
            })
        })
    })
    .await;
}

async fn all_ready(members: &[Member]) {
    for member in members {
        eventually("a member is ready", async || member.ready().is_ok()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lone_member_moves_and_others_join_it_and_read_through_it() {
    let mut first = Place::new("node1").bootstrap();
    let member = first.start().await;
    leads(&member).await;
    put(&[&member], "x", "1").await;
    member.shutdown().await;

    move_to_new_addresses(&mut first);
    let second = Place::new("node2");
    let members = vec![first.start().await, second.start().await];
    leads(&members[0]).await;
    all_know(&members[..1], &first).await;
    join(&members[0], &second).await;
    all_ready(&members).await;
    assert_eq!(get(&members[1], "x").await.as_deref(), Some("1"));
    members[0].transfer_leadership("node2").await.unwrap();
    stop_all(members).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_moved_tells_the_cluster() {
    let (mut places, mut members) = three().await;
    members.pop().unwrap().shutdown().await;
    move_to_new_addresses(&mut places[2]);
    members.push(places[2].start().await);
    all_know(&members, &places[2]).await;
    all_ready(&members).await;
    put(&[&members[0], &members[1]], "x", "1").await;
    assert_eq!(get(&members[2], "x").await.as_deref(), Some("1"));
    stop_all(members).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_http_address_that_changed_is_known_whoever_leads() {
    let (mut places, members) = three().await;
    stop_all(members).await;
    for place in &mut places {
        place.config.http_advertise_addr = format!("{}:18081", place.config.node_id);
    }
    let mut members = Vec::new();
    for place in &places {
        members.push(place.start().await);
    }
    for place in &places {
        all_know(&members, place).await;
    }
    stop_all(members).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_that_all_moved_find_each_other_by_hints_and_lose_nothing() {
    let (mut places, members) = three().await;
    put(&[&members[0]], "x", "1").await;
    stop_all(members).await;
    places.iter_mut().for_each(move_to_new_addresses);
    let mut members = Vec::new();
    for place in &places {
        members.push(place.start().await);
    }
    // As whoever reads their settings would: the cluster may not have been looked at yet.
    eventually("they follow one leader", async || {
        for (member, place) in
            members.iter().flat_map(|member| places.iter().map(move |place| (member, place)))
        {
            member.hint_address(&place.config.node_id, &place.config.raft_advertise_addr);
        }
        members.iter().all(|member| !member.status().leader.is_empty())
    })
    .await;
    for place in &places {
        all_know(&members, place).await;
    }
    all_ready(&members).await;
    assert_eq!(get(&members[2], "x").await.as_deref(), Some("1"));

    // What the hints said is in the membership now.
    stop_all(members).await;
    let mut members = Vec::new();
    for place in &places {
        members.push(place.start().await);
    }
    leader(&members.iter().collect::<Vec<_>>()).await;
    all_ready(&members).await;
    assert_eq!(get(&members[1], "x").await.as_deref(), Some("1"));
    stop_all(members).await;
}

/// It is dialled and follows, and no read that asks the leader could be answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_cannot_dial_its_leader_is_not_ready_and_says_why() {
    let mut first = Place::new("node1").bootstrap();
    let member = first.start().await;
    leads(&member).await;
    member.shutdown().await;
    move_to_new_addresses(&mut first);
    let right = first.config.raft_advertise_addr.clone();
    first.config.raft_advertise_addr = free_addr();
    let second = Place::new("node2");
    let mut members = vec![first.start().await, second.start().await];
    leads(&members[0]).await;
    all_know(&members[..1], &first).await;
    join(&members[0], &second).await;
    eventually("it says whom it cannot dial", async || {
        members[1].ready().is_err_and(|why| why.contains(&first.config.raft_advertise_addr))
    })
    .await;
    assert!(!members[1].status().leader.is_empty(), "it follows");

    members.remove(0).shutdown().await;
    // Both are needed for a quorum, and the second would let in a copy of the first at whatever address it names.
    first.config.raft_advertise_addr.clone_from(&right);
    members.insert(0, first.start().await);
    members[1].hint_address("node1", &right);
    all_know(&members, &first).await;
    all_ready(&members).await;
    stop_all(members).await;
}

/// The address that works is not given up for one that does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mistyped_address_takes_no_leader_out_of_reach() {
    let mut first = Place::new("node1").bootstrap();
    let member = first.start().await;
    leads(&member).await;
    member.shutdown().await;
    let right = first.config.raft_advertise_addr.clone();
    first.config.raft_advertise_addr = free_addr();
    first.config.http_advertise_addr = "node1:18081".into();
    let second = Place::new("node2");
    let members = vec![first.start().await, second.start().await];
    leads(&members[0]).await;
    join(&members[0], &second).await;
    all_ready(&members).await;
    assert_eq!(known(&members[1], &first).map(|info| info.raft_addr), Some(right));
    stop_all(members).await;
}

/// A copy of a directory cannot take its original's place by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_at_another_address_is_not_taken_for_its_original_that_moved() {
    let (places, mut members) = three().await;
    members.pop().unwrap().shutdown().await;
    let mut copy = Place::new("node3");
    copy_dir(places[2].dir.path(), copy.dir.path());
    move_to_new_addresses(&mut copy);
    members.push(places[2].start().await);
    all_ready(&members).await;
    let twin = copy.start().await;
    eventually("it is told of its original", async || {
        twin.status().health.contains(&places[2].config.raft_advertise_addr)
    })
    .await;
    let refused = members[0].status();
    assert_eq!(refused.health, "ok");
    assert_eq!(
        known(&members[0], &places[2]).map(|info| info.raft_addr),
        Some(places[2].config.raft_advertise_addr.clone())
    );
    // Nor once that has stopped, for a restart: a copy that was refused does not ask again.
    members.pop().unwrap().shutdown().await;
    let begun = std::time::Instant::now();
    while begun.elapsed() < std::time::Duration::from_secs(7) {
        let addr = known(&members[0], &places[2]).map(|info| info.raft_addr);
        assert_eq!(addr.as_ref(), Some(&places[2].config.raft_advertise_addr));
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    members.push(places[2].start().await);
    all_ready(&members).await;
    twin.halt().await;
    stop_all(members).await;
}

/// Another member's address, by mistake: whoever is there is not taken for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_claims_anothers_address_changes_nothing() {
    let (mut places, mut members) = three().await;
    members.pop().unwrap().shutdown().await;
    let second = places[1].config.raft_advertise_addr.clone();
    let right = places[2].config.raft_advertise_addr.clone();
    places[2].config.raft_advertise_addr.clone_from(&second);
    members.push(places[2].start().await);
    put(&[&members[0], &members[1]], "x", "1").await;
    eventually("it follows", async || members[2].status().applied_index >= members[0].status().applied_index)
        .await;
    let addr = |place| known(&members[0], place).map(|info| info.raft_addr);
    assert_eq!((addr(&places[1]), addr(&places[2])), (Some(second), Some(right)));
    stop_all(members).await;
}
