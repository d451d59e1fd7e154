//! Changes of the membership that do not come to their end.

use std::collections::BTreeSet;
use std::time::Duration;

use conure_client::api::JoinRequest;
use openraft::ChangeMembers;

use super::super::join::promote;
use super::{config, leading, start};
use crate::facade::{JoinProgress, Refusal};

/// Found by the simulation, seed 40132: the node id came back into the membership, and then the old change removed it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_join_sees_whom_a_removal_lets_go_of_that_was_left_half_done() {
    let dirs: Vec<_> = (0..2).map(|_| tempfile::tempdir().unwrap()).collect();
    let leader = leading(&dirs[0]).await;
    let mut second = config(&dirs[1], false);
    second.node_id = "node2".into();
    let request = JoinRequest { id: "node2".into(), raft_addr: second.raft_addr.clone() };
    let second = start(second).await.unwrap();
    let node = leader.node().unwrap();
    loop {
        assert!(matches!(leader.join(&request).await, Ok(JoinProgress::Voter(_))));
        let removed = second.identity().node_id;
        let raft = node.raft.clone();
        let removing = tokio::spawn(async move {
            raft.change_membership(ChangeMembers::RemoveVoters([removed].into()), false).await
        });
        // Soon enough, it is seen before it is agreed on.
        while !node.is_joint() && !removing.is_finished() {
            tokio::task::yield_now().await;
        }
        removing.abort();
        // Where it was through already, another one is begun.
        if removing.await.is_err() && node.is_joint() {
            break;
        }
    }
    let half_removed = second.identity().node_id;
    assert!(matches!(leader.join(&request).await, Ok(JoinProgress::Voter(_))));
    let now = second.identity().node_id;
    assert_ne!(now, half_removed, "it comes back as a new member");
    assert!(node.store.applied().removed.contains(&half_removed));
    let voters: Vec<u64> = node.metrics().membership_config.membership().voter_ids().collect();
    assert!(voters.len() == 2 && voters.contains(&now), "{voters:?}");
    second.shutdown().await;
    leader.shutdown().await;
}

/// Found by the simulation, seed 43276: the join went round for ever, and nothing else on its thread went on.
#[tokio::test]
async fn a_join_ends_when_the_leader_stops_before_the_member_has_caught_up() {
    let dir = tempfile::tempdir().unwrap();
    let leader = leading(&dir).await;
    let node = leader.node().unwrap();
    let request = JoinRequest { id: "node2".into(), raft_addr: "127.0.0.1:1".into() };
    let never = node.identity.node_id.wrapping_add(1);
    let joining = async {
        let joined = promote(&node, never, &request, &BTreeSet::new()).await;
        assert!(matches!(joined, Err(Refusal::NoLeader)), "{joined:?}");
    };
    let both = async { tokio::join!(joining, leader.shutdown()) };
    tokio::time::timeout(Duration::from_secs(10), both).await.expect("both end");
}
