//! Whom a member asks, what answers mean, how long it waits.

use std::time::Duration;

use conure_client::api::{JoinAnswer, MemberInfo, Problem, RaftConfig, Role, Status, Suffrage};
use conure_client::{ClientError, problem};

use super::decide::*;
use super::standing::{Learner, Standing};

/// A server that leads, or knows who does.
fn status(name: &str, cluster_id: &str, leader: &str) -> Status {
    Status {
        is_leader: name == leader,
        leader: leader.into(),
        leader_raft_addr: String::new(),
        leader_http_addr: String::new(),
        raft_addr: String::new(),
        node_id: name.into(),
        role: Role::Data,
        term: 1,
        revision: 0,
        commit_index: 0,
        applied_index: 0,
        cluster_id: cluster_id.into(),
        incarnation: u64::from(!cluster_id.is_empty()),
        version: String::new(),
        health: String::new(),
    }
}

fn seen(name: &str, cluster_id: &str, leader: &str) -> Seen {
    Seen { server: format!("http://{name}:8081"), answer: Ok((status(name, cluster_id, leader), None)) }
}

fn with_members(seen: Seen, members: &[&str]) -> Seen {
    let member = |id: &&str| MemberInfo {
        id: (*id).into(),
        raft_addr: String::new(),
        http_addr: String::new(),
        role: Role::Data,
        suffrage: Suffrage::Learner,
    };
    let config = RaftConfig { members: members.iter().map(member).collect() };
    Seen { answer: seen.answer.map(|(status, _)| (status, Some(config))), ..seen }
}

fn silent(name: &str) -> Seen {
    let reason = "connection refused".to_owned();
    Seen {
        server: format!("http://{name}:8081"),
        answer: Err(ClientError::Unavailable { server: name.into(), tries: 1, reason }),
    }
}

fn refused(status: u16, kind: &str) -> ClientError {
    ClientError::Refused(Problem {
        kind: kind.into(),
        title: "t".into(),
        status,
        detail: "as it says".into(),
    })
}

fn seeker(wanted: Option<&str>) -> Seeker {
    Seeker { name: "n3".into(), wanted: wanted.map(str::to_owned), cluster_id: String::new() }
}

fn outside(wanted: Option<&str>, seen: &[Seen]) -> Result<Vec<usize>, Waiting> {
    candidates(&seeker(wanted), &Standing::Outside, seen)
}

fn learner(placed: bool, seen: Seen) -> Result<Vec<usize>, Waiting> {
    let standing = Standing::Learner(Learner { cluster_id: "c".into(), incarnation: 1, placed });
    let seeker = Seeker { cluster_id: "c".into(), ..seeker(None) };
    candidates(&seeker, &standing, &[seen])
}

#[test]
fn the_leader_is_asked_first_and_then_whoever_knows_it() {
    let all = [silent("n0"), seen("n1", "c", "n2"), seen("n2", "c", "n2"), seen("n4", "", "")];
    assert_eq!(outside(None, &all), Ok(vec![2, 1]));
    assert_eq!(outside(Some("c"), &all), Ok(vec![2, 1]));
}

#[test]
fn whoever_a_recovery_left_behind_is_not_asked() {
    let recovered = |name| {
        let mut seen = seen(name, "c", "n2");
        seen.answer.as_mut().unwrap().0.incarnation = 2;
        seen
    };
    let all = [seen("n1", "c", "n1"), recovered("n4"), recovered("n2"), seen("n5", "c", "n1")];
    assert_eq!(outside(None, &all), Ok(vec![2, 1]));
}

#[test]
fn while_nobody_can_be_asked_the_reasons_are_told_and_pass_by_themselves() {
    let all = [silent("n1"), seen("n2", "", ""), seen("n3", "", ""), seen("n4", "c", "")];
    let waiting = outside(None, &all).unwrap_err();
    assert_eq!(waiting.weight, Weight::Passing);
    for part in
        ["n1:8081: connection refused", "n2:8081 is in no cluster", "n3:8081 is this member", "no leader"]
    {
        assert!(waiting.reason.contains(part), "{part}: {}", waiting.reason);
    }
    let many: Vec<Seen> = (0..32).map(|_| silent("n1")).collect();
    let waiting = outside(None, &many).unwrap_err();
    assert!(waiting.reason.ends_with("and 28 more") && waiting.reason.len() < 300, "{}", waiting.reason);
    assert_eq!(outside(None, &[]).unwrap_err().weight, Weight::Human);
}

#[test]
fn another_cluster_than_the_one_that_is_meant_is_not_joined() {
    let waiting = outside(Some("d"), &[seen("n1", "c", "n1")]).unwrap_err();
    assert!(waiting.weight == Weight::Human && waiting.reason.contains("another cluster, c"), "{waiting:?}");
    let both = [seen("n1", "c", "n1"), seen("n2", "d", "n2")];
    let waiting = outside(None, &both).unwrap_err();
    assert!(waiting.weight == Weight::Human && waiting.reason.contains("--cluster-id"), "{waiting:?}");
    assert_eq!(outside(Some("d"), &both), Ok(vec![1]));
}

#[test]
fn a_namesake_in_a_cluster_is_asked_so_that_the_refusal_is_heard() {
    assert_eq!(outside(None, &[seen("n3", "c", "n1")]), Ok(vec![0]));
}

#[test]
fn a_learner_goes_on_where_it_is_a_member_or_never_was_one() {
    let of = |members: &[&str]| with_members(seen("n1", "c", "n1"), members);
    assert_eq!(learner(true, of(&["n1", "n3"])), Ok(vec![0]));
    assert_eq!(learner(false, of(&["n1"])), Ok(vec![0]));
}

#[test]
fn a_learner_that_was_removed_or_left_behind_asks_nobody() {
    let removed = learner(true, with_members(seen("n1", "c", "n1"), &["n1"])).unwrap_err();
    assert!(removed.weight == Weight::Human && removed.reason.contains("no member \"n3\""), "{removed:?}");
    assert!(learner(true, seen("n1", "c", "n1")).is_err());
    let mut recovered = with_members(seen("n1", "c", "n1"), &["n1", "n3"]);
    recovered.answer.as_mut().unwrap().0.incarnation = 2;
    let behind = learner(true, recovered).unwrap_err();
    assert!(behind.weight == Weight::Human && behind.reason.contains("recovery"), "{behind:?}");
    let other = learner(true, with_members(seen("n1", "d", "n1"), &["n1", "n3"])).unwrap_err();
    assert!(other.weight == Weight::Human && other.reason.contains("another cluster"), "{other:?}");
}

#[test]
fn a_member_is_listed_where_anybody_has_its_name() {
    let all = [silent("n0"), seen("n1", "c", "n1"), with_members(seen("n2", "c", "n1"), &["n1", "n3"])];
    assert!(lists("n3", &all) && !lists("n4", &all) && !lists("n3", &all[..2]));
}

#[test]
fn a_join_is_done_or_goes_on() {
    let answer = |suffrage| JoinAnswer { id: "n3".into(), suffrage, matched_index: 7, last_index: 9 };
    assert_eq!(meaning("s", &Ok(answer(Suffrage::Voter))), Meaning::Voter);
    let Meaning::CatchingUp(waiting) = meaning("s", &Ok(answer(Suffrage::Learner))) else { panic!("no") };
    assert!(waiting.weight == Weight::Passing && waiting.reason.contains("7 of 9"), "{waiting:?}");
}

#[test]
fn what_somebody_has_to_solve_matters_and_what_passes_does_not() {
    for (status, kind, weight) in [
        (401, problem::UNAUTHORIZED, Weight::Human),
        (403, "urn:other", Weight::Human),
        (409, problem::NAME_TAKEN, Weight::Human),
        (409, problem::NAME_MISMATCH, Weight::Human),
        (409, problem::FOREIGN_CLUSTER, Weight::Human),
        (409, problem::COPIED_DIRECTORY, Weight::Human),
        (409, problem::LOST_ENTRIES, Weight::Human),
        (421, problem::MISDIRECTED_HOST, Weight::Human),
        (400, problem::INVALID, Weight::Human),
        (409, problem::CHANGE_IN_PROGRESS, Weight::Passing),
        (500, problem::INTERNAL, Weight::Passing),
        (502, problem::UNREACHABLE, Weight::Passing),
        (503, problem::NO_LEADER, Weight::Passing),
        (503, problem::NOT_IN_CLUSTER, Weight::Passing),
    ] {
        let Meaning::Refused(waiting) = meaning("http://s:1", &Err(refused(status, kind))) else {
            panic!("{kind}")
        };
        assert_eq!(waiting.weight, weight, "{kind}");
        assert!(waiting.reason.starts_with("http://s:1: as it says"), "{waiting:?}");
        assert_eq!(
            status == 401,
            waiting.reason.contains("--admin-token-file") && status != 403,
            "{waiting:?}"
        );
    }
    let unknown = ClientError::UnknownOutcome { server: "s".into(), reason: "it broke".into() };
    let Meaning::Refused(waiting) = meaning("s", &Err(unknown)) else { panic!("no") };
    assert_eq!(waiting, Waiting::passing("s: it broke; it is asked again"));
}

#[test]
fn pauses_double_up_to_five_seconds_and_differ_a_little() {
    for (rounds, most) in [(0, 500), (1, 1000), (2, 2000), (3, 4000), (4, 5000), (31, 5000), (u32::MAX, 5000)]
    {
        assert_eq!(pause(rounds, 1.0), Duration::from_millis(most), "{rounds}");
        assert_eq!(pause(rounds, 0.0), Duration::from_millis(most) * 3 / 4, "{rounds}");
    }
}

#[test]
fn a_cluster_at_a_listed_server_keeps_from_founding_another() {
    let none = [silent("n1"), seen("n2", "", "")];
    assert_eq!(keeps_from_founding(None, &none), None);
    // Without a leader too: its quorum may be on its way.
    let some = [silent("n1"), seen("n2", "c", "")];
    assert_eq!(keeps_from_founding(None, &some), Some(("http://n2:8081", "c")));
    assert_eq!(keeps_from_founding(Some("c"), &some), Some(("http://n2:8081", "c")));
    assert_eq!(keeps_from_founding(Some("d"), &some), None);
}
