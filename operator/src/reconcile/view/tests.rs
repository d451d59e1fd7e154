//! What is read out of observations.

use conure_crd::ConureClusterStatus;
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
    MemberAnswer { status, config: Some(RaftConfig { members: Vec::new() }), raft_node_id: None }
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
fn the_leader_is_the_one_of_the_highest_term_in_this_cluster() {
    let mut seen = observed();
    for (name, id, term) in [("conure-0", "id-1", 4), ("conure-1", "id-1", 5), ("conure-2", "id-2", 9)] {
        seen.answers.insert(name.into(), answer(name, id, true, term));
    }
    assert_eq!(leader(&seen, "id-1").map(|(name, _)| name), Some("conure-1"));
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
