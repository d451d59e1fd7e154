//! Requests to go on with one member, each against what is there.

use std::collections::BTreeMap;

use conure_client::api::{MemberInfo, RaftConfig, Role, Suffrage};
use conure_crd::{ConureCluster, ConureClusterStatus, Reason};
use serde_json::json;

use super::*;

const ID: &str = "id-1";
const VOTERS: [&str; 5] = ["conure-bootstrap-0", "conure-0", "conure-1", "conure-2", "conure-3"];

fn answer(name: &str, incarnation: u64, leads: bool, last_log: (u64, u64)) -> MemberAnswer {
    let status = serde_json::from_value(json!({
        "is_leader": leads, "leader": "", "leader_raft_addr": "", "leader_http_addr": "", "node_id": name,
        "role": "data", "term": 3, "revision": 0, "commit_index": 1, "applied_index": 1,
        "cluster_id": ID, "incarnation": incarnation, "version": "1", "health": "ok",
    }));
    let member = |name: &str| MemberInfo {
        id: name.into(),
        raft_addr: String::new(),
        http_addr: String::new(),
        role: Role::Data,
        suffrage: Suffrage::Voter,
    };
    MemberAnswer {
        status: status.unwrap(),
        config: Some(RaftConfig { members: VOTERS.map(member).into() }),
        raft_node_id: None,
        last_log: Some(last_log),
    }
}

/// Two of five can be reached; the second holds more.
fn lost() -> Observed {
    let mut cluster = ConureCluster::new("conure", Default::default());
    cluster.spec.voters.replicas = 5;
    cluster.status =
        Some(ConureClusterStatus { cluster_id: Some(ID.into()), incarnation: Some(1), ..Default::default() });
    let mut seen = Observed::new(cluster);
    for (name, last_log) in [(VOTERS[0], (3, 90)), (VOTERS[1], (3, 100))] {
        seen.answers.insert(name.into(), answer(name, 1, false, last_log));
    }
    seen
}

fn identity() -> Identity {
    Identity { cluster_id: ID.into(), bootstrap_volume: None, born: true }
}

fn asked(seen: &mut Observed, member: &str, id: &str, incarnation: i64) -> Stand {
    seen.cluster.spec.recovery =
        Some(Recovery { member_name: member.into(), cluster_id: id.into(), incarnation });
    stand(seen, &identity())
}

fn refused(stand: Stand) -> (&'static str, String) {
    match stand {
        Stand::Inert(reason, why) => {
            let kept = Reason::named(reason).expect(reason);
            assert!(kept.explains(conure_crd::condition::RECOVERED) && kept.is_told(), "{reason}");
            (reason, why)
        }
        other => panic!("it is not inert: {other:?}"),
    }
}

fn record() -> RecoveryStatus {
    RecoveryStatus {
        member_name: VOTERS[1].into(),
        incarnation: 1,
        last_log_term: 3,
        last_log_index: 100,
        held_no_more: vec![VOTERS[0].into()],
    }
}

#[test]
fn nothing_happens_unasked() {
    assert_eq!(stand(&lost(), &identity()), Stand::None);
    assert!(
        advice(&lost(), &identity()).expect("there is one").contains("memberName: conure-0, clusterID: id-1")
    );
}

#[test]
fn the_member_with_the_most_is_put_on_record_first() {
    assert_eq!(asked(&mut lost(), VOTERS[1], ID, 1), Stand::Accepted(record()));
}

#[test]
fn a_request_that_does_not_name_the_cluster_as_it_is_does_nothing() {
    assert_eq!(refused(asked(&mut lost(), VOTERS[1], "other", 1)).0, "ClusterIDDiffers");
    for incarnation in [0, 2, i64::MAX] {
        assert_eq!(refused(asked(&mut lost(), VOTERS[1], ID, incarnation)).0, "IncarnationDiffers");
    }
}

#[test]
fn another_member_than_the_one_with_the_most_is_refused_and_told_which() {
    let (reason, why) = refused(asked(&mut lost(), VOTERS[0], ID, 1));
    assert_eq!(reason, "OtherMemberHoldsMore");
    assert!(why.contains("set spec.recovery.memberName to conure-0"), "{why}");
    for gone in [VOTERS[2], "conure-arbiter-0", "nobody"] {
        assert_eq!(refused(asked(&mut lost(), gone, ID, 1)).0, "MemberNotReachable", "{gone}");
    }
    let mut nobody = lost();
    nobody.answers = BTreeMap::new();
    let members = VOTERS.map(|name| json!({"name": name, "role": "Data", "suffrage": "Voter"}));
    let status = nobody.cluster.status.as_mut().expect("it has one");
    status.members = serde_json::from_value(json!(members)).unwrap();
    assert_eq!(refused(asked(&mut nobody, VOTERS[1], ID, 1)).0, "NoMemberReachable");
}

#[test]
fn a_quorum_that_is_there_or_may_be_is_never_left_behind() {
    let mut three = lost();
    three.answers.insert(VOTERS[2].into(), answer(VOTERS[2], 1, false, (3, 80)));
    assert_eq!(refused(asked(&mut three, VOTERS[1], ID, 1)).0, "QuorumPresent");
    let mut unknown = lost();
    unknown.answers.values_mut().for_each(|answer| answer.config = None);
    assert_eq!(refused(asked(&mut unknown, VOTERS[1], ID, 1)).0, "QuorumPresent", "nobody knows who votes");
}

#[test]
fn what_is_on_record_goes_on_and_is_done_once() {
    let mut seen = lost();
    seen.cluster.status.as_mut().expect("it has one").recovery = Some(record());
    assert_eq!(asked(&mut seen, VOTERS[1], ID, 1), Stand::UnderWay(record()));
    assert_eq!(refused(asked(&mut seen, VOTERS[0], ID, 1)).0, "RecoveryUnderWay");
    // The request was taken back, and what was begun goes on.
    seen.cluster.spec.recovery = None;
    assert_eq!(stand(&seen, &identity()), Stand::UnderWay(record()));
    // A quorum came back before anything was done.
    let mut back = seen.clone();
    back.answers.insert(VOTERS[2].into(), answer(VOTERS[2], 1, true, (3, 100)));
    assert_eq!(refused(stand(&back, &identity())).0, "QuorumPresent");
    // It went on: the request that stays in Git is of the past.
    seen.answers.insert(VOTERS[1].into(), answer(VOTERS[1], 2, true, (1, 101)));
    assert_eq!(asked(&mut seen, VOTERS[1], ID, 1), Stand::Done(record()));
    // The quorum is lost again, and again somebody has to name the incarnation.
    seen.answers.insert(VOTERS[1].into(), answer(VOTERS[1], 2, false, (1, 101)));
    assert_eq!(asked(&mut seen, VOTERS[1], ID, 1), Stand::Done(record()));
    let again = RecoveryStatus {
        incarnation: 2,
        last_log_term: 1,
        last_log_index: 101,
        held_no_more: Vec::new(),
        ..record()
    };
    assert_eq!(asked(&mut seen, VOTERS[1], ID, 2), Stand::Accepted(again));
}
