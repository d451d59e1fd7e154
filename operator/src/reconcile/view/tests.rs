//! What is read out of observations.

use conure_crd::{ArbiterMode, ConureClusterStatus};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod as KubePod};
use serde_json::json;

use super::*;

fn set(name: &str, replicas: i32, annotations: &[(&str, &str)]) -> StatefulSet {
    let annotations: BTreeMap<_, _> = annotations.iter().copied().collect();
    let owner = json!([{"apiVersion": "conuredb.dev/v1alpha1", "kind": "ConureCluster", "name": "conure",
        "uid": "uid-1", "controller": true}]);
    serde_json::from_value(json!({
        "metadata": {"name": name, "generation": 2, "annotations": annotations, "ownerReferences": owner},
        "spec": {"replicas": replicas, "selector": {}, "serviceName": "conure-peers",
            "template": {"spec": {"containers": [{"name": "conure-db", "image": "a:1"}]}}},
        "status": {"replicas": replicas, "observedGeneration": 2, "updateRevision": "new"},
    }))
    .unwrap()
}

fn observed() -> Observed {
    let mut cluster = ConureCluster::new("conure", Default::default());
    cluster.metadata.namespace = Some("db".into());
    cluster.metadata.uid = Some("uid-1".into());
    Observed::new(cluster)
}

fn status_with(members: &[&str], incarnation: Option<i64>) -> ConureClusterStatus {
    let members = members.iter().map(|name| json!({"name": name, "role": "Data", "suffrage": "Voter"}));
    let members: Vec<_> = members.collect();
    serde_json::from_value(json!({"clusterID": "id-1", "incarnation": incarnation, "members": members}))
        .unwrap()
}

fn answer(name: &str, cluster_id: &str, leader: bool, term: u64) -> MemberAnswer {
    let status = serde_json::from_value(json!({
        "is_leader": leader, "leader": "", "leader_raft_addr": "", "leader_http_addr": "", "node_id": name,
        "role": "data", "term": term, "revision": 0, "commit_index": 1, "applied_index": 1,
        "cluster_id": cluster_id, "incarnation": 1, "version": "1", "health": "ok",
    }))
    .unwrap();
    MemberAnswer {
        status,
        config: Some(RaftConfig { members: Vec::new() }),
        raft_node_id: None,
        last_log: None,
    }
}

#[test]
fn a_wiped_status_is_rebuilt_from_the_stateful_sets() {
    let mut seen = observed();
    assert_eq!(identity(&seen), None);
    let annotations =
        [(crate::reconcile::build::CLUSTER_ID, "id-1"), (BOOTSTRAPPED, "id-1"), (BOOTSTRAP_VOLUME, "pvc-1")];
    seen.sets.insert(Component::Bootstrap, set("conure-bootstrap", 1, &annotations));
    let expected = Identity { cluster_id: "id-1".into(), bootstrap_volume: Some("pvc-1".into()), born: true };
    assert_eq!(identity(&seen), Some(expected));
}

#[test]
fn a_stateful_set_of_others_gives_no_id() {
    let mut seen = observed();
    let mut strange = set("conure", 2, &[(crate::reconcile::build::CLUSTER_ID, "theirs")]);
    strange.metadata.owner_references = None;
    seen.sets.insert(Component::Voter, strange);
    assert_eq!(identity(&seen), None);
}

#[test]
fn that_a_cluster_was_born_outlives_each_of_its_records() {
    let mut seen = observed();
    seen.cluster.status = Some(status_with(&[], None));
    let born = |seen: &Observed| identity(seen).expect("it has an id").born;
    assert!(!born(&seen));
    let mut recorded = seen.clone();
    recorded.cluster.status = Some(status_with(&[], Some(1)));
    assert!(born(&recorded));
    let mut answered = seen.clone();
    answered.answers.insert("conure-0".into(), answer("conure-0", "id-1", false, 1));
    assert!(born(&answered));
    let mut foreign = seen;
    foreign.answers.insert("conure-0".into(), answer("conure-0", "id-2", true, 1));
    assert!(!born(&foreign));
}

#[test]
fn only_the_bootstrap_member_gets_a_pod_before_birth() {
    let id = |born| Identity { cluster_id: "id-1".into(), bootstrap_volume: None, born };
    let wish = Wish { data: 4, arbiter: true };
    let before: Vec<_> = sizes(&observed(), &id(false), wish).into_keys().collect();
    assert_eq!(before, [Component::Bootstrap]);
    let after: Vec<_> = sizes(&observed(), &id(true), wish).into_iter().collect();
    assert_eq!(after, [(Component::Bootstrap, 1), (Component::Voter, 3), (Component::Arbiter, 1)]);
}

#[test]
fn a_stateful_set_that_was_shrunk_by_hand_or_deleted_gets_its_pods_back() {
    let id = Identity { cluster_id: "id-1".into(), bootstrap_volume: None, born: true };
    let mut seen = observed();
    seen.cluster.status = Some(status_with(&["conure-bootstrap-0", "conure-0", "conure-3"], Some(1)));
    let wish = Wish { data: 3, arbiter: false };
    assert_eq!(sizes(&seen, &id, wish).get(&Component::Voter), Some(&4));
    seen.sets.insert(Component::Voter, set("conure", 0, &[]));
    assert_eq!(sizes(&seen, &id, wish).get(&Component::Voter), Some(&4));
    // With a leader, the plan decides by what the leader knows.
    seen.answers.insert("conure-bootstrap-0".into(), answer("conure-bootstrap-0", "id-1", true, 1));
    assert_eq!(sizes(&seen, &id, wish).get(&Component::Voter), Some(&0));
}

#[test]
fn voters_that_the_operator_did_not_make_are_noticed() {
    let mut seen = observed();
    assert!(!strangers(&seen, "id-1"), "nobody is known");
    seen.cluster.status = Some(status_with(&["conure-bootstrap-0", "conure-0"], Some(1)));
    assert!(!strangers(&seen, "id-1"));
    seen.cluster.status = Some(status_with(&["conure-bootstrap-0", "by-hand"], Some(1)));
    assert!(strangers(&seen, "id-1"));
}

#[test]
fn damage_on_record_counts_for_an_hour_where_it_is_and_for_a_day_where_it_was() {
    let mut seen = observed();
    let found = Timestamp::from_second(1_000).unwrap();
    let member = json!({"name": "conure-0", "role": "Data", "damage": {"found": found, "claimUID": "first"}});
    let status = json!({"members": [member], "replicas": 1, "readyReplicas": 1});
    seen.cluster.status = Some(serde_json::from_value(status).unwrap());
    let mut said = |uid: &str, age: i64| {
        let claim = |name: &str| json!({"metadata": {"name": name, "uid": uid}});
        for name in ["data-conure-0", "data-conure-1"] {
            seen.claims.insert(name.into(), serde_json::from_value(claim(name)).unwrap());
        }
        let volumes = volumes(&seen, Timestamp::from_second(1_000 + age).unwrap());
        let other = volumes[&Slot::voter(1)];
        assert!(!other.recorded && !other.renewed, "nothing is known of another member");
        let own = volumes[&Slot::voter(0)];
        (own.recorded, own.renewed)
    };
    assert_eq!(
        [0, 3_599, 3_600].map(|age| said("first", age)),
        [(true, false), (true, false), (false, false)]
    );
    assert_eq!(
        [0, 86_399, 86_400].map(|age| said("second", age)),
        [(false, true), (false, true), (false, false)]
    );
}

#[test]
fn the_leader_is_the_one_of_the_highest_term_in_this_cluster() {
    let mut seen = observed();
    for (name, id, term) in [("conure-0", "id-1", 4), ("conure-1", "id-1", 5), ("conure-2", "id-2", 9)] {
        seen.answers.insert(name.into(), answer(name, id, true, term));
    }
    assert_eq!(leader(&seen, "id-1").map(|(name, _)| name), Some("conure-1"));
}

#[test]
fn an_arbiter_that_adds_no_safety_is_told_about_and_made_all_the_same() {
    let mut cluster = observed().cluster;
    for (data, mode, idle) in [
        (1, ArbiterMode::Always, true),
        (3, ArbiterMode::Always, true),
        (4, ArbiterMode::Always, false),
        (2, ArbiterMode::Auto, false),
        (3, ArbiterMode::Auto, false),
        (1, ArbiterMode::Never, false),
    ] {
        (cluster.spec.voters.replicas, cluster.spec.arbiter.mode) = (data, mode);
        assert_eq!(idle_arbiter(&cluster).is_some(), idle, "{data} {mode:?}");
        assert_eq!(Wish::of(&cluster).arbiter, mode.wants_arbiter(data), "{data} {mode:?}");
    }
}

#[test]
fn the_policy_when_a_member_went_decides_over_its_volume_and_so_does_the_present_one() {
    let mut seen = observed();
    let id = Identity { cluster_id: "id-1".into(), bootstrap_volume: None, born: true };
    let discards = |seen: &Observed| {
        let world = world(seen, &id, &BTreeMap::new(), Timestamp::UNIX_EPOCH);
        world.volumes[&Slot::voter(3)].discard
    };
    for (then, now, gone) in [
        (Some("Delete"), RetentionPolicy::Delete, true),
        (Some("Delete"), RetentionPolicy::Retain, false),
        (Some("Retain"), RetentionPolicy::Delete, false),
        (None, RetentionPolicy::Delete, false),
    ] {
        let annotations = then.map(|then| json!({WHEN_SCALED: then}));
        let claim = json!({"metadata": {"name": "data-conure-3", "annotations": annotations}});
        seen.claims.insert("data-conure-3".into(), serde_json::from_value(claim).unwrap());
        seen.cluster.spec.voters.pvc.retention.when_scaled = now;
        assert_eq!(discards(&seen), gone, "{then:?} {now:?}");
    }
}

#[test]
fn a_pod_counts_as_lost_when_its_node_or_volume_is_gone_for_as_long_as_the_spec_says() {
    let mut seen = observed();
    seen.cluster.spec.repair.replace_after = "60s".into();
    let id = Identity { cluster_id: "id-1".into(), bootstrap_volume: None, born: true };
    let at = |second: i64| Timestamp::from_second(second).unwrap();
    let lost = |seen: &Observed, second: i64| {
        world(seen, &id, &BTreeMap::new(), at(second)).pods[&Slot::voter(0)].lost
    };
    let unscheduled = |message: &str| {
        json!({"metadata": {"name": "conure-0"}, "status": {"conditions": [{"type": "PodScheduled", "status": "False",
            "reason": "Unschedulable", "message": message, "lastTransitionTime": at(1_000)}]}})
    };
    for (pod, counts) in [
        (json!({"metadata": {"name": "conure-0", "deletionTimestamp": at(1_000)}}), true),
        (
            unscheduled(
                "1 node(s) had untolerated taint, 2 node(s) didn't match PersistentVolume's node affinity",
            ),
            true,
        ),
        (unscheduled("2 node(s) had volume node affinity conflict"), true),
        (unscheduled("0/3 nodes are available: 3 Insufficient cpu"), false),
        (json!({"metadata": {"name": "conure-0"}}), false),
    ] {
        seen.pods.insert("conure-0".into(), serde_json::from_value(pod.clone()).unwrap());
        assert_eq!([1_059, 1_060].map(|second| lost(&seen, second)), [false, counts], "{pod}");
        let mut answering = seen.clone();
        answering.answers.insert("conure-0".into(), answer("conure-0", "id-1", false, 1));
        assert!(!lost(&answering, 9_999), "it answers");
        let mut manual = seen.clone();
        manual.cluster.spec.repair.automatic = false;
        assert!(!lost(&manual, 9_999), "nobody wants it to be done by itself");
    }
}

#[test]
fn a_bootstrap_volume_that_was_replaced_is_noticed() {
    let mut seen = observed();
    let claim: PersistentVolumeClaim =
        serde_json::from_value(json!({"metadata": {"name": "data-conure-bootstrap-0", "uid": "pvc-2"}}))
            .unwrap();
    seen.claims.insert("data-conure-bootstrap-0".into(), claim);
    let id = |volume: &str| Identity {
        cluster_id: "id-1".into(),
        bootstrap_volume: Some(volume.into()),
        born: false,
    };
    assert!(world(&seen, &id("pvc-1"), &BTreeMap::new(), Timestamp::UNIX_EPOCH).volume_replaced);
    assert!(!world(&seen, &id("pvc-2"), &BTreeMap::new(), Timestamp::UNIX_EPOCH).volume_replaced);
}

#[test]
fn pods_are_outdated_by_revision_and_only_once_it_is_known() {
    let mut seen = observed();
    seen.sets.insert(Component::Voter, set("conure", 1, &[]));
    for (name, revision) in [("conure-0", "old"), ("conure-1", "new")] {
        let pod: KubePod = serde_json::from_value(
            json!({"metadata": {"name": name, "labels": {"controller-revision-hash": revision}}}),
        )
        .unwrap();
        seen.pods.insert(name.into(), pod);
    }
    let id = Identity { cluster_id: "id-1".into(), bootstrap_volume: None, born: true };
    let seen_world = world(&seen, &id, &BTreeMap::new(), Timestamp::UNIX_EPOCH);
    let outdated: Vec<bool> = seen_world.pods.values().map(|pod| pod.outdated).collect();
    assert_eq!((outdated, seen_world.revisions_known), (vec![true, false], true));
    let set = seen.sets.get_mut(&Component::Voter).expect("it is there");
    set.metadata.generation = Some(3);
    assert!(!world(&seen, &id, &BTreeMap::new(), Timestamp::UNIX_EPOCH).revisions_known);
}

#[test]
fn the_image_stays_while_the_spec_names_none() {
    let mut seen = observed();
    seen.sets.insert(Component::Bootstrap, set("conure-bootstrap", 1, &[]));
    assert_eq!(running_image(&seen).as_deref(), Some("a:1"));
}

#[test]
fn a_suspended_cluster_has_no_pods_and_comes_back_with_all_that_it_had() {
    let id = Identity { cluster_id: "id-1".into(), bootstrap_volume: None, born: true };
    let mut seen = observed();
    seen.cluster.status = Some(status_with(&["conure-bootstrap-0", "conure-2", "conure-arbiter-0"], Some(1)));
    for (component, name, pods) in [
        (Component::Bootstrap, "conure-bootstrap", 1),
        (Component::Voter, "conure", 3),
        (Component::Arbiter, "conure-arbiter", 1),
    ] {
        seen.sets.insert(component, set(name, pods, &[]));
    }
    let wish = Wish { data: 3, arbiter: false };
    seen.cluster.spec.suspend = true;
    assert!(sizes(&seen, &id, wish).values().all(|pods| *pods == 0));
    for (component, name) in [
        (Component::Bootstrap, "conure-bootstrap"),
        (Component::Voter, "conure"),
        (Component::Arbiter, "conure-arbiter"),
    ] {
        seen.sets.insert(component, set(name, 0, &[]));
    }
    seen.cluster.spec.suspend = false;
    let back: Vec<_> = sizes(&seen, &id, wish).into_iter().collect();
    assert_eq!(back, [(Component::Bootstrap, 1), (Component::Voter, 3), (Component::Arbiter, 1)]);
}

#[test]
fn volumes_that_are_taken_over_get_the_pods_that_they_had() {
    let id = Identity { cluster_id: "id-1".into(), bootstrap_volume: None, born: true };
    let mut seen = observed();
    for claim in ["data-conure-bootstrap-0", "data-conure-3", "data-conure-arbiter-0", "data-other-5"] {
        seen.claims.insert(claim.into(), PersistentVolumeClaim::default());
    }
    let sizes: Vec<_> = sizes(&seen, &id, Wish { data: 3, arbiter: false }).into_iter().collect();
    assert_eq!(sizes, [(Component::Bootstrap, 1), (Component::Voter, 4), (Component::Arbiter, 1)]);
}
