//! What the status says, case by case.

mod reasons;

use conure_client::api::{MemberInfo, RaftConfig, Role, Status, Suffrage};
use conure_crd::condition::{ALL, AVAILABLE, DEGRADED, PROGRESSING, QUORUM_LOST, READY};
use conure_crd::names::Component;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use super::super::observe::{MemberAnswer, Trouble, UNSCHEDULABLE};
use super::super::plan::{Wish, plan};
use super::super::view;
use super::*;
use reasons::explained;

mod trouble;

const ID: &str = "id-1";

fn at(second: i64) -> Time {
    Time(Timestamp::from_second(second).unwrap())
}

fn pod(name: &str) -> Pod {
    let ready = json!([{"type": "Ready", "status": "True"}]);
    let labels = json!({"controller-revision-hash": "new"});
    let metadata = json!({"name": name, "labels": labels});
    serde_json::from_value(json!({"metadata": metadata, "status": {"conditions": ready}})).unwrap()
}

fn answer(name: &str, leader: bool, members: &[&str]) -> MemberAnswer {
    let members = members.iter().map(|name| MemberInfo {
        id: (*name).to_owned(),
        raft_addr: view::raft_address("conure", "db", name),
        http_addr: String::new(),
        role: Role::Data,
        suffrage: Suffrage::Voter,
    });
    let status = json!({
        "is_leader": leader, "leader": "", "leader_raft_addr": "", "leader_http_addr": "", "node_id": name,
        "role": "data", "term": 1, "revision": 5, "commit_index": 9, "applied_index": 9, "cluster_id": ID,
        "incarnation": 1, "version": "1.9.0", "health": "ok",
    });
    let status: Status = serde_json::from_value(status).unwrap();
    let config = Some(RaftConfig { members: members.collect() });
    MemberAnswer { status, config, raft_node_id: Some("7".into()), last_log: None }
}

const NAMES: [&str; 3] = ["conure-bootstrap-0", "conure-0", "conure-1"];

/// Three members, of which the first `live` answer; the first of all leads if a majority does.
fn observed(live: usize) -> Observed {
    let mut cluster = ConureCluster::new("conure", Default::default());
    cluster.metadata.namespace = Some("db".into());
    cluster.metadata.generation = Some(7);
    let mut observed = Observed::new(cluster);
    for name in NAMES.into_iter().take(live) {
        observed.pods.insert(name.into(), pod(name));
        observed.answers.insert(name.into(), answer(name, live > 1 && name == NAMES[0], &NAMES));
    }
    observed
}

fn judged(observed: &Observed, held_up: Option<HeldUp>, now: i64) -> ConureClusterStatus {
    judged_with(observed, Objects::AsAsked, held_up, now)
}

fn judged_with(
    observed: &Observed,
    objects: Objects,
    held_up: Option<HeldUp>,
    now: i64,
) -> ConureClusterStatus {
    judged_all(observed, objects, held_up, None, now)
}

fn judged_all(
    observed: &Observed,
    objects: Objects,
    held_up: Option<HeldUp>,
    unmet: Option<HeldUp>,
    now: i64,
) -> ConureClusterStatus {
    let identity = Identity { cluster_id: ID.into(), bootstrap_volume: None, born: true };
    let wish = Wish::of(&observed.cluster);
    let sizes = view::sizes(observed, &identity, wish);
    let world = view::world(observed, &identity, &sizes, at(now).0);
    let step = plan(wish, &world);
    let (world, step) = (&world, &step);
    let planned = Planned { identity: &identity, image: "i:1", objects, world, step, held_up, unmet };
    explained(status(observed, &Pass::Planned(planned), at(now)))
}

fn condition<'a>(status: &'a ConureClusterStatus, kind: &str) -> &'a Condition {
    status.conditions.iter().find(|condition| condition.type_ == kind).expect(kind)
}

fn said(status: &ConureClusterStatus) -> Vec<String> {
    status.conditions.iter().map(|c| format!("{}={} {}", c.type_, c.status, c.reason)).collect()
}

#[test]
fn a_settled_cluster_is_ready_available_and_nothing_else() {
    let status = judged(&observed(3), None, 1);
    assert_eq!(
        said(&status),
        [
            "Ready=True Ready",
            "Available=True QuorumServes",
            "Progressing=False Settled",
            "Degraded=False AsExpected",
            "QuorumLost=False QuorumPresent"
        ]
    );
    assert!(status.conditions.iter().all(|condition| condition.observed_generation == Some(7)));
    assert_eq!(status.leader.as_deref(), Some("conure-bootstrap-0"));
    assert_eq!(status.members_ready.as_deref(), Some("3/3"));
    assert_eq!((status.replicas, status.ready_replicas, status.incarnation), (3, 3, Some(1)));
}

#[test]
fn all_conditions_are_unknown_when_the_cluster_gets_its_id() {
    let status = explained(status(&observed(0), &Pass::Named(ID.into()), at(1)));
    assert_eq!(status.cluster_id.as_deref(), Some(ID));
    assert_eq!(status.conditions.iter().map(|c| c.type_.as_str()).collect::<Vec<_>>(), ALL);
    assert!(status.conditions.iter().all(|c| c.status == "Unknown"));
}

#[test]
fn a_refusal_is_told_with_its_mend() {
    let refusal = Refusal::VolumesExist(vec!["data-conure-0".into()]);
    let status = explained(status(&observed(0), &Pass::Refused(&refusal), at(1)));
    assert_eq!(condition(&status, READY).reason, "VolumesExist");
    assert_eq!(condition(&status, DEGRADED).status, "True");
    assert!(condition(&status, DEGRADED).message.contains("kubectl delete pvc data-conure-0"));
    let notes = notes("conure", &[], &status);
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(notes[0].warning && notes[0].reason == "VolumesExist");
}

#[test]
fn one_of_three_down_degrades_and_serves() {
    let status = judged(&observed(2), None, 1);
    assert_eq!(condition(&status, AVAILABLE).status, "True");
    assert_eq!(condition(&status, READY).status, "False");
    let degraded = condition(&status, DEGRADED);
    assert_eq!((degraded.status.as_str(), degraded.reason.as_str()), ("True", "MembersDown"));
    assert!(degraded.message.contains("conure-1"), "{}", degraded.message);
    let missing = status.members.iter().find(|member| member.name == "conure-1").expect("it is a member");
    assert_eq!(missing.health.as_deref(), Some("its pod is missing"));
}

#[test]
fn a_lost_quorum_names_who_is_missing() {
    let status = judged(&observed(1), None, 1);
    let lost = condition(&status, QUORUM_LOST);
    assert_eq!(lost.status, "True");
    assert!(lost.message.contains("missing: conure-0, conure-1"), "{}", lost.message);
    assert_eq!(condition(&status, AVAILABLE).status, "False");
}

#[test]
fn a_lost_quorum_is_seen_when_nobody_answers_at_all() {
    let mut nobody = observed(0);
    nobody.cluster.status = Some(judged(&observed(3), None, 1));
    let status = judged(&nobody, None, 2);
    assert_eq!(condition(&status, QUORUM_LOST).status, "True");
    assert_eq!(status.members.len(), 3, "the members that were last seen are still told");
}

#[test]
fn times_change_only_with_the_status() {
    let mut three = observed(3);
    three.cluster.status = Some(judged(&three, None, 1));
    let later = judged(&three, None, 2);
    assert_eq!(Some(&later), three.cluster.status.as_ref(), "nothing changed, so nothing is written");
    let mut two = observed(2);
    two.cluster.status = Some(later);
    let worse = judged(&two, None, 3);
    assert_eq!(condition(&worse, READY).last_transition_time, at(3));
    assert_eq!(condition(&worse, AVAILABLE).last_transition_time, at(1));
}

#[test]
fn trouble_is_the_reason_of_degraded_and_ready_and_one_event() {
    let mut troubled = observed(2);
    troubled.troubles = vec![Trouble {
        reason: "ImagePullFailed",
        object: "conure-1".into(),
        message: "conure-1: the image no/such:1 cannot be pulled".into(),
    }];
    let status = judged(&troubled, None, 1);
    for kind in [DEGRADED, READY] {
        assert_eq!(condition(&status, kind).reason, "ImagePullFailed", "{kind}");
    }
    let before = judged(&observed(3), None, 0).conditions;
    let reasons: Vec<_> = notes("conure", &before, &status).into_iter().map(|note| note.reason).collect();
    assert_eq!(reasons, ["ImagePullFailed"]);
    assert_eq!(notes("conure", &status.conditions, &status), []);
}

#[test]
fn a_step_that_keeps_failing_is_wrong_and_one_that_waits_is_not() {
    let held = |wrong| Some(HeldUp { reason: "JoinFailed", message: "no".into(), wrong });
    let status = judged(&observed(3), held(true), 1);
    assert_eq!(condition(&status, DEGRADED).reason, "JoinFailed");
    assert_eq!(condition(&status, READY).status, "False");
    let waiting = judged(&observed(3), held(false), 1);
    assert_eq!(condition(&waiting, DEGRADED).status, "False");
    assert_eq!(condition(&waiting, READY).status, "False");
}

#[test]
fn what_the_api_server_refuses_is_never_ready_and_wrong_only_when_it_lasts() {
    for wrong in [false, true] {
        let why = HeldUp { reason: "ApplyFailed", message: "nodeSelector is no label".into(), wrong };
        let status = judged_with(&observed(3), Objects::Failed(why), None, 1);
        for (kind, expected) in [(READY, "False"), (PROGRESSING, "True")] {
            let found = condition(&status, kind);
            assert_eq!((found.status.as_str(), found.reason.as_str()), (expected, "ApplyFailed"), "{kind}");
            assert!(found.message.contains("nodeSelector"), "{kind}: {}", found.message);
        }
        assert_eq!(condition(&status, DEGRADED).status == "True", wrong);
        assert_eq!(condition(&status, AVAILABLE).status, "True", "the members go on");
        assert_eq!(status.image, None, "what was not applied runs nowhere");
    }
}

#[test]
fn a_paused_cluster_says_so() {
    let mut paused = observed(2);
    paused.cluster.spec.paused = true;
    assert_eq!(condition(&judged(&paused, None, 1), PROGRESSING).reason, "Paused");
}

#[test]
fn a_paused_cluster_is_ready_only_where_nothing_would_be_changed() {
    let mut paused = observed(3);
    paused.cluster.spec.paused = true;
    assert_eq!(condition(&judged(&paused, None, 1), READY).status, "True");
    let left = Objects::Left(vec!["StatefulSet conure".into(), "Service conure".into()]);
    let status = judged_with(&paused, left, None, 1);
    for kind in [READY, PROGRESSING] {
        let found = condition(&status, kind);
        assert_eq!((found.status.as_str(), found.reason.as_str()), ("False", "Paused"), "{kind}");
        assert!(found.message.contains("StatefulSet conure, Service conure"), "{}", found.message);
    }
    assert_eq!(condition(&status, DEGRADED).status, "False");

    paused.cluster.spec.voters.replicas = 1;
    let status = judged(&paused, None, 1);
    for kind in [READY, PROGRESSING] {
        let found = condition(&status, kind);
        assert_eq!((found.status.as_str(), found.reason.as_str()), ("False", "Paused"), "{kind}");
        assert!(found.message.contains("not done: conure-1 is removed"), "{}", found.message);
    }
}

#[test]
fn the_image_of_a_paused_cluster_is_the_one_that_runs() {
    let mut paused = observed(3);
    paused.cluster.spec.paused = true;
    paused.sets.insert(Component::Voter, set("conure", "1Gi"));
    let left = Objects::Left(vec!["StatefulSet conure".into()]);
    assert_eq!(judged_with(&paused, left, None, 1).image.as_deref(), Some("a:0"));
    assert_eq!(judged(&paused, None, 1).image.as_deref(), Some("i:1"));
}

/// A StatefulSet that was rolled out, with volumes of a size.
fn set(name: &str, size: &str) -> StatefulSet {
    serde_json::from_value(json!({
        "metadata": {"name": name, "generation": 1},
        "spec": {"replicas": 2, "selector": {}, "serviceName": "conure-peers",
            "template": {"spec": {"containers": [{"name": "conure-db", "image": "a:0"}]}},
            "volumeClaimTemplates": [{"spec": {"resources": {"requests": {"storage": size}}}}]},
        "status": {"replicas": 2, "observedGeneration": 1, "updateRevision": "new"},
    }))
    .unwrap()
}

/// A member's claim that asks for so much and has so much.
fn claim(requested: &str, capacity: &str) -> PersistentVolumeClaim {
    serde_json::from_value(json!({
        "metadata": {"name": "data-conure-0"},
        "spec": {"resources": {"requests": {"storage": requested}}},
        "status": {"capacity": {"storage": capacity}},
    }))
    .unwrap()
}

#[test]
fn ready_waits_until_the_volumes_have_grown() {
    let mut cluster = observed(3);
    cluster.claims.insert("data-conure-0".into(), claim("20Gi", "20Gi"));
    for same in ["20Gi", "20480Mi", "21474836480"] {
        cluster.cluster.spec.voters.pvc.size = Quantity(same.into());
        assert_eq!(condition(&judged(&cluster, None, 1), READY).status, "True", "{same}");
    }
    cluster.cluster.spec.voters.pvc.size = Quantity("30Gi".into());
    let status = judged(&cluster, None, 1);
    for (kind, expected) in [(READY, "False"), (PROGRESSING, "True")] {
        let found = condition(&status, kind);
        assert_eq!((found.status.as_str(), found.reason.as_str()), (expected, "VolumesGrowing"), "{kind}");
        assert!(found.message.contains("data-conure-0 has 20Gi of 30Gi"), "{}", found.message);
    }
    assert_eq!(condition(&status, DEGRADED).status, "False");
    assert_eq!(status.data_volume_size, Some(Quantity("20Gi".into())));
}

#[test]
fn a_storage_that_refuses_to_grow_is_named_and_stops_nothing_else() {
    let cluster = observed(3);
    let why = HeldUp { reason: "VolumeGrowthRefused", message: "it says no".into(), wrong: true };
    let status = judged_all(&cluster, Objects::AsAsked, None, Some(why), 1);
    for (kind, expected) in [(READY, "False"), (PROGRESSING, "False"), (DEGRADED, "True")] {
        let found = condition(&status, kind);
        assert_eq!(
            (found.status.as_str(), found.reason.as_str()),
            (expected, "VolumeGrowthRefused"),
            "{kind}"
        );
    }
    assert_eq!(condition(&status, AVAILABLE).status, "True");
}

/// Two data members and an arbiter, which leads.
fn led_by_the_arbiter() -> Observed {
    let mut seen = observed(0);
    seen.cluster.spec.voters.replicas = 2;
    let names = ["conure-bootstrap-0", "conure-0", "conure-arbiter-0"];
    for name in names {
        seen.pods.insert(name.into(), pod(name));
        seen.answers.insert(name.into(), answer(name, name == names[2], &names));
    }
    seen
}

#[test]
fn an_arbiter_that_leads_serves_nobody_and_counts_as_lost_when_it_goes_on() {
    let mut seen = led_by_the_arbiter();
    let said = |status: &ConureClusterStatus| {
        [READY, AVAILABLE, QUORUM_LOST].map(|kind| condition(status, kind).status.clone())
    };
    let at_once = judged(&seen, None, 100);
    assert_eq!(said(&at_once), ["False", "False", "False"]);
    assert_eq!(condition(&at_once, AVAILABLE).reason, "NoLeader");
    seen.cluster.status = Some(at_once);
    assert_eq!(said(&judged(&seen, None, 114)), ["False", "False", "False"]);
    // The other data member, which has what the arbiter acknowledged, is away.
    seen.pods.remove("conure-0");
    seen.answers.remove("conure-0");
    let lasting = judged(&seen, None, 115);
    assert_eq!(said(&lasting), ["False", "False", "True"]);
    let lost = condition(&lasting, QUORUM_LOST);
    assert!(lost.message.contains("conure-arbiter-0 leads"), "{}", lost.message);
    assert!(lost.message.contains("missing: conure-0"), "{}", lost.message);
}

#[test]
fn a_secret_without_its_token_degrades_and_is_not_ready() {
    let mut seen = observed(3);
    seen.secret = Some(serde_json::from_value(json!({"metadata": {"name": "conure-admin"}})).unwrap());
    seen.troubles = super::super::observe::secret_trouble(&seen).into_iter().collect();
    let status = judged(&seen, None, 1);
    for (kind, expected) in [(READY, "False"), (DEGRADED, "True")] {
        let found = condition(&status, kind);
        assert_eq!((found.status.as_str(), found.reason.as_str()), (expected, "AdminTokenMissing"), "{kind}");
        assert!(found.message.contains("Secret conure-admin"), "{}", found.message);
    }
}

#[test]
fn an_event_about_a_claim_names_the_claim() {
    let mut troubled = observed(3);
    troubled.troubles = vec![Trouble {
        reason: "StorageClassNotFound",
        object: "data-conure-1".into(),
        message: "data-conure-1: there is no storage class".into(),
    }];
    let about = |observed: &Observed| {
        let notes = notes("conure", &[], &judged(observed, None, 1));
        notes.into_iter().find(|note| note.warning).and_then(|note| note.about)
    };
    assert_eq!(about(&troubled), Some(("PersistentVolumeClaim", "data-conure-1".into())));
    assert_eq!(about(&observed(2)), Some(("Pod", "conure-1".into())));
}

#[test]
fn a_pod_that_was_just_replaced_is_not_down_yet() {
    let mut young = observed(3);
    let pod = young.pods.get_mut("conure-1").expect("it is there");
    pod.metadata.creation_timestamp = Some(at(100));
    young.answers.remove("conure-1");
    let at_once = judged(&young, None, 101);
    assert_eq!(
        (condition(&at_once, READY).status.as_str(), condition(&at_once, DEGRADED).status.as_str()),
        ("False", "False")
    );
    assert_eq!(condition(&judged(&young, None, 161), DEGRADED).reason, "MembersDown");
}

#[test]
fn a_pod_that_waits_for_its_volume_is_not_unschedulable_yet() {
    let mut young = observed(3);
    let pod = young.pods.get_mut("conure-1").expect("it is there");
    pod.metadata.creation_timestamp = Some(at(100));
    young.troubles =
        vec![Trouble { reason: UNSCHEDULABLE, object: "conure-1".into(), message: "conure-1 cannot".into() }];
    assert_eq!(condition(&judged(&young, None, 101), DEGRADED).status, "False");
    assert_eq!(condition(&judged(&young, None, 121), DEGRADED).reason, UNSCHEDULABLE);
}

#[test]
fn a_pod_that_is_gone_is_down_only_after_a_while() {
    let mut two = observed(2);
    two.cluster.status = Some(judged(&observed(3), None, 1));
    let at_once = judged(&two, None, 100);
    assert_eq!(
        (condition(&at_once, READY).status.as_str(), condition(&at_once, DEGRADED).status.as_str()),
        ("False", "False")
    );
    two.cluster.status = Some(at_once);
    assert_eq!(condition(&judged(&two, None, 159), DEGRADED).status, "False");
    assert_eq!(condition(&judged(&two, None, 160), DEGRADED).reason, "MembersDown");
}

#[test]
fn a_pod_that_never_ends_on_a_dead_node_is_down() {
    let mut dead = observed(3);
    dead.pods.get_mut("conure-1").expect("it is there").metadata.deletion_timestamp = Some(at(100));
    dead.answers.remove("conure-1");
    assert_eq!(condition(&judged(&dead, None, 101), DEGRADED).status, "False");
    assert_eq!(condition(&judged(&dead, None, 160), DEGRADED).reason, "MembersDown");
}
