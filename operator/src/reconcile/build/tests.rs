//! What must hold for the objects, whatever the spec.

use super::*;
use conure_crd::ConureClusterSpec;
use k8s_openapi::api::core::v1::{EnvVar, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

fn blueprint(cluster: &ConureCluster) -> Blueprint<'_> {
    Blueprint {
        cluster,
        name: "conure",
        namespace: "db",
        owner: OwnerReference { name: "conure".into(), uid: "u".into(), ..OwnerReference::default() },
        identity: Identity { cluster_id: "id-1".into(), bootstrap_volume: None, born: true },
        image: "conuredb/conuredb:1.0".into(),
        image_refused: None,
        sizes: BTreeMap::from([(Component::Bootstrap, 1), (Component::Voter, 2), (Component::Arbiter, 1)]),
        incarnation: Some(1),
        strangers: false,
        claims: BTreeMap::new(),
        volumes: Vec::new(),
        recovering: None,
    }
}

fn built(change: impl FnOnce(&mut ConureClusterSpec)) -> Objects {
    let mut spec = ConureClusterSpec { security: conure_crd::defaults::security(), ..Default::default() };
    change(&mut spec);
    let cluster = ConureCluster::new("conure", spec);
    objects(&blueprint(&cluster))
}

#[test]
fn objects_of_an_empty_spec() {
    insta::assert_yaml_snapshot!("services", built(|_| {}).services);
    insta::assert_yaml_snapshot!("disruption_budget", built(|_| {}).disruption_budget);
    for set in built(|_| {}).stateful_sets {
        let name = set.metadata.name.clone().unwrap_or_default();
        insta::assert_yaml_snapshot!(format!("stateful_set_{name}"), set);
    }
}

#[test]
fn no_pod_may_start_a_cluster_by_itself() {
    for set in built(|_| {}).stateful_sets {
        let pod = set.spec.and_then(|spec| spec.template.spec).expect("a pod");
        assert_eq!(pod.containers[0].args.as_deref(), Some(&["--bootstrap=false".to_owned()][..]));
    }
}

#[test]
fn the_clients_service_selects_data_members_only() {
    let objects = built(|_| {});
    let selector =
        objects.services[0].spec.as_ref().and_then(|spec| spec.selector.clone()).expect("a selector");
    let selected = |set: &StatefulSet| {
        let labels = set.spec.as_ref().and_then(|spec| spec.template.metadata.as_ref()?.labels.clone());
        let labels = labels.expect("labels");
        selector.iter().all(|(key, value)| labels.get(key) == Some(value))
    };
    let chosen: Vec<_> = objects
        .stateful_sets
        .iter()
        .filter(|set| selected(set))
        .filter_map(|set| set.metadata.name.as_deref())
        .collect();
    assert_eq!(chosen, ["conure-bootstrap", "conure"]);
}

#[test]
fn claims_that_exist_are_kept_as_they_are() {
    let mut spec = ConureClusterSpec::default();
    spec.voters.pvc.size = Quantity("50Gi".into());
    let cluster = ConureCluster::new("conure", spec);
    let mut blueprint = blueprint(&cluster);
    let kept = Claim { size: Quantity("20Gi".into()), class: Some("fast".into()) };
    blueprint.claims.insert(Component::Voter, kept);
    let objects = objects(&blueprint);
    let claims: Vec<String> = objects
        .stateful_sets
        .iter()
        .map(|set| {
            let claim =
                &set.spec.as_ref().and_then(|spec| spec.volume_claim_templates.as_ref()).expect("claims")[0];
            let spec = claim.spec.as_ref().expect("a spec");
            let size =
                &spec.resources.as_ref().and_then(|r| r.requests.as_ref()).expect("a request")["storage"].0;
            format!("{size} {}", spec.storage_class_name.as_deref().unwrap_or("default"))
        })
        .collect();
    assert_eq!(claims, ["50Gi fast", "20Gi fast", "1Gi default"]);
}

#[test]
fn a_budget_that_is_switched_off_is_not_made() {
    assert_eq!(built(|spec| spec.pdb.enabled = false).disruption_budget, None);
}

/// What the readiness probe of each pod asks for.
fn ready_paths(blueprint: &Blueprint<'_>) -> Vec<String> {
    let path = |set: &StatefulSet| {
        let pod = set.spec.as_ref()?.template.spec.as_ref()?;
        pod.containers[0].readiness_probe.as_ref()?.http_get.as_ref()?.path.clone()
    };
    objects(blueprint).stateful_sets.iter().filter_map(path).collect()
}

#[test]
fn after_a_recovery_every_pod_is_ready_in_the_present_incarnation_only_and_before_one_a_birth_changes_no_pod()
{
    let cluster = ConureCluster::new("conure", ConureClusterSpec::default());
    let mut blueprint = blueprint(&cluster);
    for born in [None, Some(1)] {
        blueprint.incarnation = born;
        assert_eq!(ready_paths(&blueprint), ["/readyz?cluster_id=id-1"; 3]);
    }
    blueprint.incarnation = Some(3);
    assert_eq!(ready_paths(&blueprint), ["/readyz?cluster_id=id-1&incarnation=3"; 3]);
}

#[test]
fn the_budget_counts_every_member_and_lets_none_go_beside_voters_that_it_does_not_see() {
    let cluster = ConureCluster::new("conure", ConureClusterSpec::default());
    let mut blueprint = blueprint(&cluster);
    let budget = |blueprint: &Blueprint<'_>| {
        let spec = objects(blueprint).disruption_budget.and_then(|budget| budget.spec).expect("a budget");
        let selector = spec.selector.and_then(|selector| selector.match_labels).expect("a selector");
        (spec.max_unavailable, selector)
    };
    let (allowed, selector) = budget(&blueprint);
    assert_eq!(allowed, Some(IntOrString::Int(1)));
    for set in objects(&blueprint).stateful_sets {
        let name = set.metadata.name.unwrap_or_default();
        let labels = set.spec.and_then(|spec| spec.template.metadata?.labels).expect("labels");
        assert!(selector.iter().all(|(key, value)| labels.get(key) == Some(value)), "{name} is not counted");
    }
    blueprint.strangers = true;
    assert_eq!(budget(&blueprint).0, Some(IntOrString::Int(0)));
}

#[test]
fn scheduling_wishes_reach_every_pod() {
    let objects = built(|spec| {
        spec.node_selector.insert("disk".into(), "ssd".into());
        spec.tolerations = vec![Default::default()];
        spec.image_pull_secrets = vec![Default::default()];
        spec.affinity = Some(Default::default());
    });
    for set in objects.stateful_sets {
        let pod = set.spec.and_then(|spec| spec.template.spec).expect("a pod");
        assert_eq!(pod.node_selector.map(|s| s["disk"].clone()).as_deref(), Some("ssd"));
        assert_eq!(pod.tolerations.map(|t| t.len()), Some(1));
        assert_eq!(pod.image_pull_secrets.map(|s| s.len()), Some(1));
        assert_eq!(pod.affinity, Some(Default::default()));
    }
}

#[test]
fn allowed_hosts_reach_every_server() {
    let objects =
        built(|spec| spec.server_config.http_allowed_hosts = vec!["a.example".into(), "b.example".into()]);
    for set in objects.stateful_sets {
        let pod = set.spec.and_then(|spec| spec.template.spec).expect("a pod");
        let environment = pod.containers[0].env.clone().unwrap_or_default();
        let hosts = environment.iter().find(|entry| entry.name == "CONURE_HTTP_ALLOWED_HOSTS");
        assert_eq!(hosts.and_then(|entry| entry.value.as_deref()), Some("a.example,b.example"));
    }
}

#[test]
fn every_container_has_its_components_resources() {
    let of = |cpu: &str| ResourceRequirements {
        requests: Some([("cpu".to_owned(), Quantity(cpu.to_owned()))].into()),
        ..ResourceRequirements::default()
    };
    let objects = built(|spec| {
        spec.voters.resources = of("100m");
        spec.arbiter.resources = of("50m");
    });
    for set in objects.stateful_sets {
        let pod = set.spec.and_then(|spec| spec.template.spec).expect("a pod");
        let arbiter = set.metadata.name.as_deref() == Some("conure-arbiter");
        for container in pod.containers.iter().chain(pod.init_containers.iter().flatten()) {
            let expected = of(if arbiter { "50m" } else { "100m" });
            assert_eq!(container.resources, Some(expected), "{} {arbiter}", container.name);
        }
    }
}

#[test]
fn servers_listen_on_both_families() {
    for set in built(|_| {}).stateful_sets {
        let pod = set.spec.and_then(|spec| spec.template.spec).expect("a pod");
        let environment = pod.containers[0].env.clone().unwrap_or_default();
        for (name, port) in [("CONURE_RAFT_ADDR", 7001), ("CONURE_HTTP_ADDR", 8081)] {
            let found = environment.iter().find(|entry| entry.name == name);
            let expected = format!(":{port}");
            assert_eq!(found.and_then(|entry| entry.value.as_deref()), Some(expected.as_str()), "{name}");
        }
    }
}

fn live(component: Component, size: &str) -> LiveClaim {
    LiveClaim {
        name: "data-conure-0".into(),
        uid: Some("claim-1".into()),
        component,
        size: Quantity(size.into()),
        in_use: true,
        spoken_of: false,
    }
}

fn volume(live: LiveClaim, change: impl FnOnce(&mut ConureClusterSpec)) -> Option<PersistentVolumeClaim> {
    let mut spec = ConureClusterSpec::default();
    change(&mut spec);
    let cluster = ConureCluster::new("conure", spec);
    objects(&Blueprint { volumes: vec![live], ..blueprint(&cluster) }).volumes.pop()
}

fn request(claim: &PersistentVolumeClaim) -> &str {
    let resources = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref());
    resources.and_then(|all| all.requests.as_ref()).map_or("", |requests| requests["storage"].0.as_str())
}

#[test]
fn nothing_is_said_of_a_volume_that_is_as_asked() {
    assert_eq!(volume(live(Component::Voter, "20Gi"), |_| {}), None);
    assert_eq!(volume(live(Component::Voter, "50Gi"), |_| {}), None, "somebody made it larger");
}

#[test]
fn a_volume_in_use_grows_and_one_that_is_only_kept_does_not() {
    let larger = |spec: &mut ConureClusterSpec| spec.voters.pvc.size = Quantity("30Gi".into());
    let grown = volume(live(Component::Voter, "20Gi"), larger).expect("it grows");
    assert_eq!((request(&grown), grown.metadata.uid.as_deref()), ("30Gi", Some("claim-1")));
    assert_eq!(volume(LiveClaim { in_use: false, ..live(Component::Voter, "20Gi") }, larger), None);
    assert_eq!(volume(live(Component::Arbiter, "1Gi"), larger), None, "the arbiter has a size of its own");
}

#[test]
fn volumes_go_with_the_resource_only_where_the_policy_says_so() {
    let delete = |spec: &mut ConureClusterSpec| {
        spec.voters.pvc.retention.when_deleted = conure_crd::RetentionPolicy::Delete;
    };
    let owner =
        |claim: Option<PersistentVolumeClaim>| claim.and_then(|claim| claim.metadata.owner_references);
    let owned = owner(volume(live(Component::Voter, "20Gi"), delete)).expect("it has an owner");
    assert_eq!((owned[0].uid.as_str(), owned[0].controller), ("u", None));
    assert_eq!(volume(live(Component::Arbiter, "1Gi"), delete), None);
    // Back to Retain: what was said is taken back, and the size stays what it is.
    let back =
        volume(LiveClaim { spoken_of: true, ..live(Component::Voter, "50Gi") }, |_| {}).expect("it is said");
    assert_eq!((owner(Some(back.clone())), request(&back)), (None, "50Gi"));
}

#[test]
fn only_the_set_of_the_member_that_goes_on_recovers_and_it_names_cluster_incarnation_and_member() {
    let cluster = ConureCluster::new("conure", ConureClusterSpec::default());
    let record = conure_crd::RecoveryStatus {
        member_name: "conure-1".into(),
        incarnation: 3,
        last_log_term: 1,
        last_log_index: 1,
        held_no_more: Vec::new(),
    };
    let sets = objects(&Blueprint { recovering: Some(record), ..blueprint(&cluster) }).stateful_sets;
    for set in sets {
        let name = set.metadata.name.clone().unwrap_or_default();
        let pod = set.spec.and_then(|spec| spec.template.spec).expect("a pod");
        let first = pod.init_containers.unwrap_or_default().into_iter().next();
        let recovers = first.filter(|container| container.name == "recover");
        assert_eq!(recovers.is_some(), name == "conure", "{name}");
        if let Some(container) = recovers {
            let args = container.args.unwrap_or_default();
            assert_eq!(args, ["recover", "/data", "--once", "--confirm", "id-1:3", "--member", "conure-1"]);
        }
    }
}

#[test]
fn what_a_pod_may_have_besides_reaches_every_pod_and_never_what_it_is_found_by() {
    let objects = built(|spec| {
        spec.priority_class_name = Some("high".into());
        spec.service_account_name = Some("db".into());
        spec.pod_annotations.insert("a".into(), "b".into());
        spec.pod_labels.insert("team".into(), "db".into());
        spec.pod_labels.insert(ROLE.into(), "mine".into());
        spec.extra_env =
            vec![EnvVar { name: "RUST_BACKTRACE".into(), value: Some("1".into()), ..EnvVar::default() }];
    });
    for set in objects.stateful_sets {
        let template = set.spec.expect("a spec").template;
        let (metadata, pod) = (template.metadata.expect("metadata"), template.spec.expect("a pod"));
        let (labels, annotations) =
            (metadata.labels.expect("labels"), metadata.annotations.expect("annotations"));
        assert_eq!((labels["team"].as_str(), annotations["a"].as_str()), ("db", "b"));
        assert_ne!(labels[ROLE], "mine");
        assert_eq!(pod.priority_class_name.as_deref(), Some("high"));
        assert_eq!(pod.service_account_name.as_deref(), Some("db"));
        assert_eq!(pod.automount_service_account_token, Some(false));
        let environment = pod.containers[0].env.clone().unwrap_or_default();
        assert_eq!(environment.last().map(|entry| entry.name.as_str()), Some("RUST_BACKTRACE"));
    }
}
