//! What must hold for the objects, whatever the spec.

use super::*;
use conure_crd::ConureClusterSpec;
use k8s_openapi::api::core::v1::ResourceRequirements;

fn blueprint(cluster: &ConureCluster) -> Blueprint<'_> {
    Blueprint {
        cluster,
        name: "conure",
        namespace: "db",
        owner: OwnerReference { name: "conure".into(), uid: "u".into(), ..OwnerReference::default() },
        identity: Identity { cluster_id: "id-1".into(), bootstrap_volume: None, born: true },
        image: "conuredb/conuredb:1.0".into(),
        sizes: BTreeMap::from([(Component::Bootstrap, 1), (Component::Voter, 2), (Component::Arbiter, 1)]),
        claims: BTreeMap::new(),
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
