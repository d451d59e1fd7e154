//! Every rule, both ways: what it lets through and what it refuses, with the message that says the mend.

#![expect(clippy::unwrap_used, reason = "a test's helpers may fail the test")]

use std::sync::LazyLock;

use kube::core::cel::Validator;
use serde_json::{Value, json};

static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let definition = conure_crd::schema::definition().unwrap();
    let schema = definition.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap();
    serde_json::to_value(schema).unwrap()
});

/// The messages with which the API server would refuse `object`, after `old` if there was one.
fn refusals(object: &Value, old: Option<&Value>) -> Vec<String> {
    match Validator::new().validate(&SCHEMA, object, old) {
        Ok(()) => Vec::new(),
        Err(errors) => errors.iter().map(|error| error.message.clone()).collect(),
    }
}

/// A cluster as it is stored, defaults filled in.
fn cluster(name: &str, spec: Value) -> Value {
    let spec: conure_crd::ConureClusterSpec = serde_json::from_value(spec).unwrap();
    json!({"apiVersion": "conuredb.dev/v1alpha1", "kind": "ConureCluster", "metadata": {"name": name}, "spec": spec})
}

fn assert_accepted(name: &str, spec: Value) {
    assert_eq!(refusals(&cluster(name, spec.clone()), None), [""; 0], "{name} {spec}");
}

fn assert_refused(name: &str, spec: Value, mend: &str) {
    let messages = refusals(&cluster(name, spec.clone()), None);
    assert!(messages.len() == 1 && messages[0].contains(mend), "{name} {spec}: {messages:?}");
}

fn assert_change(old: Value, new: Value, mend: Option<&str>) {
    let messages = refusals(&cluster("conure", new.clone()), Some(&cluster("conure", old.clone())));
    match mend {
        None => assert_eq!(messages, [""; 0], "{old} to {new}"),
        Some(mend) => {
            assert!(messages.len() == 1 && messages[0].contains(mend), "{old} to {new}: {messages:?}");
        }
    }
}

#[test]
fn empty_spec_is_a_cluster() {
    assert_accepted("conure", json!({}));
}

#[test]
fn names_leave_room_for_what_is_made_from_them() {
    assert_accepted(&"a".repeat(42), json!({}));
    assert_refused(&"a".repeat(43), json!({}), "choose a shorter metadata.name");
}

#[test]
fn names_are_names_of_services() {
    for name in ["a", "a-1", "conure-2"] {
        assert_accepted(name, json!({}));
    }
    for name in ["1a", "a.b", "a-", "A"] {
        assert_refused(name, json!({}), "starts with a letter");
    }
}

#[test]
fn names_never_meet_the_objects_of_another_cluster() {
    assert_accepted("bootstrap", json!({}));
    for name in ["x-bootstrap", "x-arbiter", "x-peers"] {
        assert_refused(name, json!({}), "another ending");
    }
}

#[test]
fn one_to_seven_data_members() {
    for replicas in [1, 2, 7] {
        assert_accepted("conure", json!({"voters": {"replicas": replicas}}));
    }
    for replicas in [-1, 0, 8] {
        assert_refused("conure", json!({"voters": {"replicas": replicas}}), "1 to 7 data members");
    }
}

#[test]
fn repository_holds_no_tag() {
    for repository in
        ["conuredb/conuredb", "localhost/conuredb", "registry.example.com:5000/a/b_c", "conuredb"]
    {
        assert_accepted("conure", json!({"image": {"repository": repository}}));
    }
    for repository in ["conuredb:v1", "a/b@sha256:0", "", "Upper/Case", "a b", "/a", "a/"] {
        assert_refused("conure", json!({"image": {"repository": repository}}), "put the tag into image.tag");
    }
}

#[test]
fn tag_and_digest_are_well_formed() {
    let digest = format!("sha256:{}", "0a".repeat(32));
    assert_accepted("conure", json!({"image": {"tag": "v1.0.0", "digest": digest}}));
    for tag in ["", "-x", "a b", "a:b"] {
        assert_refused("conure", json!({"image": {"tag": tag}}), "tag is no image tag");
    }
    for digest in ["", "0a", "sha256:0A", "md5:00"] {
        assert_refused("conure", json!({"image": {"digest": digest}}), "digest is no image digest");
    }
}

#[test]
fn volumes_have_a_size_with_its_unit() {
    for part in ["voters", "arbiter"] {
        for size in [json!("20Gi"), json!("16Mi"), json!("1.5Gi"), json!(1_073_741_824)] {
            assert_accepted("conure", json!({part: {"pvc": {"size": size}}}));
        }
        for size in [json!("0"), json!(20), json!("-1Gi"), json!("20 GB"), json!("much"), json!("")] {
            assert_refused(
                "conure",
                json!({part: {"pvc": {"size": size}}}),
                "a number with its unit, like 20Gi",
            );
        }
    }
}

#[test]
fn volumes_grow_and_never_shrink() {
    let size = |part: &str, size: &str| json!({part: {"pvc": {"size": size}}});
    for part in ["voters", "arbiter"] {
        assert_change(size(part, "20Gi"), size(part, "20480Mi"), None);
        assert_change(size(part, "20Gi"), size(part, "21Gi"), None);
        assert_change(size(part, "20Gi"), size(part, "20479Mi"), Some("a volume cannot shrink"));
    }
}

#[test]
fn a_size_that_no_volume_reached_may_be_taken_back() {
    for (part, reached) in [("voters", "dataVolumeSize"), ("arbiter", "arbiterVolumeSize")] {
        let at = |size: &str| {
            let mut cluster = cluster("conure", json!({part: {"pvc": {"size": size}}}));
            cluster["status"] = json!({reached: "20Gi"});
            cluster
        };
        assert_eq!(refusals(&at("20Gi"), Some(&at("50Gi"))), [""; 0], "{part}");
        assert_eq!(refusals(&at("30Gi"), Some(&at("50Gi"))), [""; 0], "{part}");
        let refused = refusals(&at("19Gi"), Some(&at("50Gi")));
        assert!(refused.len() == 1 && refused[0].contains("a volume cannot shrink"), "{part}: {refused:?}");
    }
}

#[test]
fn retention_is_one_of_the_two_policies() {
    for part in ["voters", "arbiter"] {
        for policy in ["Retain", "Delete"] {
            let retention = json!({"whenScaled": policy, "whenDeleted": policy});
            assert_accepted("conure", json!({part: {"pvc": {"retention": retention}}}));
        }
    }
    let mut wrong = cluster("conure", json!({}));
    wrong["spec"]["voters"]["pvc"]["retention"]["whenScaled"] = json!("Recycle");
    assert!(serde_json::from_value::<conure_crd::ConureCluster>(wrong).is_err());
}

#[test]
fn storage_class_stays_set_or_unset() {
    let class = |part: &str, class: Option<&str>| json!({part: {"pvc": {"storageClassName": class}}});
    for part in ["voters", "arbiter"] {
        assert_change(class(part, None), class(part, None), None);
        assert_change(class(part, Some("fast")), class(part, Some("fast")), None);
        for (old, new) in [(None, Some("fast")), (Some("fast"), None), (Some("fast"), Some("slow"))] {
            assert_change(class(part, old), class(part, new), Some("storage class cannot change"));
        }
    }
}

#[test]
fn root_is_refused_where_non_root_is_asked_for() {
    assert_accepted("conure", json!({"security": {"runAsNonRoot": true, "runAsUser": 2000}}));
    assert_accepted("conure", json!({"security": {"runAsNonRoot": false, "runAsUser": 0}}));
    assert_refused(
        "conure",
        json!({"security": {"runAsNonRoot": true, "runAsUser": 0}}),
        "another security.runAsUser",
    );
}

#[test]
fn requests_stay_within_limits() {
    for part in ["voters", "arbiter"] {
        let resources = |requests: Value, limits: Value| json!({part: {"resources": {"requests": requests, "limits": limits}}});
        assert_accepted(
            "conure",
            resources(json!({"cpu": "100m", "memory": "1Gi"}), json!({"cpu": 1, "memory": "1024Mi"})),
        );
        assert_accepted("conure", resources(json!({"cpu": 4}), json!({"memory": "1Gi"})));
        assert_refused(
            "conure",
            resources(json!({"cpu": "1500m"}), json!({"cpu": 1})),
            "larger than its limit",
        );
    }
}

#[test]
fn amounts_are_quantities_of_zero_or_more() {
    for kind in ["requests", "limits"] {
        assert_accepted("conure", json!({"voters": {"resources": {kind: {"cpu": "0"}}}}));
        for amount in ["-1", "lots", ""] {
            assert_refused(
                "conure",
                json!({"voters": {"resources": {kind: {"cpu": amount}}}}),
                "an amount is no quantity",
            );
        }
    }
}

#[test]
fn barrier_timeout_is_one_that_the_server_takes() {
    for timeout in
        ["1ms", "3s", "1500ms", "2m", "99999ms", "599999ms", "600000ms", "99s", "600s", "9m", "10m"]
    {
        assert_accepted("conure", json!({"serverConfig": {"barrierTimeout": timeout}}));
    }
    for timeout in [
        "0s",
        "3",
        "-1s",
        "s",
        "",
        "3 s",
        "01s",
        "600001ms",
        "700000ms",
        "1000000ms",
        "601s",
        "1000s",
        "11m",
        "9999999m",
        "1h",
    ] {
        assert_refused(
            "conure",
            json!({"serverConfig": {"barrierTimeout": timeout}}),
            "no duration above zero and up to 10m",
        );
    }
}

/// What a chart takes as values.
fn values_schema(chart: &str) -> Value {
    let path = format!("{}/../charts/{chart}/values.schema.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn charts_take_the_barrier_timeouts_that_the_definition_takes() {
    for chart in ["conuredb-ha", "conuredb-single"] {
        let schema = values_schema(chart);
        let found = schema.pointer("/$defs/serverConfig/properties/barrierTimeout/pattern");
        assert_eq!(
            found.and_then(Value::as_str),
            Some(conure_crd::rules::BARRIER_TIMEOUT_PATTERN),
            "{chart}"
        );
    }
}

#[test]
fn charts_take_those_fields_of_kubernetes_types_that_the_definition_takes() {
    let fields = |of: &Value| -> Vec<String> {
        let of = of.get("items").unwrap_or(of);
        of["properties"].as_object().unwrap().keys().cloned().collect()
    };
    let of_members = ["security", "affinity", "tolerations", "topologySpreadConstraints", "extraEnv"];
    for (chart, names) in [
        ("conuredb-ha", &of_members[..]),
        ("conuredb-single", &of_members),
        ("conuredb-operator", &["affinity", "tolerations"]),
    ] {
        let values = values_schema(chart);
        for name in names {
            let defined = &SCHEMA["properties"]["spec"]["properties"][name];
            assert_eq!(fields(&values["properties"][name]), fields(defined), "{chart} {name}");
        }
    }
}

#[test]
fn repair_waits_for_some_time() {
    for time in ["1s", "90s", "30m", "24h", "99999h"] {
        assert_accepted("conure", json!({"repair": {"replaceAfter": time}}));
    }
    for time in ["", "0m", "30", "1d", "-1m", "1.5h", "100000s"] {
        assert_refused("conure", json!({"repair": {"replaceAfter": time}}), "like 30m");
    }
}

#[test]
fn a_recovery_names_an_incarnation() {
    let recovery = |incarnation: i64| json!({"recovery": {"memberName": "conure-0", "clusterID": "id", "incarnation": incarnation}});
    assert_accepted("conure", recovery(1));
    for incarnation in [0, -1] {
        assert_refused(
            "conure",
            recovery(incarnation),
            "set recovery.incarnation to what status.incarnation says",
        );
    }
}

#[test]
fn existing_volumes_name_a_cluster() {
    let volumes = |id: &str| json!({"bootstrap": {"existingVolumes": {"clusterID": id}}});
    assert_accepted("conure", volumes("6f9619ff-8b86-4d01-b42d-00cf4fc964ff"));
    for id in ["", "a b", "a/b"] {
        assert_refused("conure", volumes(id), "clusterID is no cluster's id");
    }
}

#[test]
fn the_operators_variables_and_labels_are_its_own() {
    assert_accepted(
        "conure",
        json!({"extraEnv": [{"name": "RUST_BACKTRACE", "value": "1"}], "podLabels": {"team": "db"}}),
    );
    assert_refused(
        "conure",
        json!({"extraEnv": [{"name": "CONURE_ROLE", "value": "data"}]}),
        "take them out of extraEnv",
    );
    for key in ["app.kubernetes.io/name", "conuredb.dev/role", "controller-revision-hash"] {
        assert_refused("conure", json!({"podLabels": {key: "x"}}), "choose other keys for podLabels");
    }
}

#[test]
fn allowed_hosts_are_bare_names() {
    assert_accepted("conure", json!({"serverConfig": {"httpAllowedHosts": ["db.example.com", "db"]}}));
    for host in ["http://db", "db:80", "*.example.com", ""] {
        assert_refused(
            "conure",
            json!({"serverConfig": {"httpAllowedHosts": [host]}}),
            "without scheme, port",
        );
    }
}

#[test]
fn tls_is_refused_until_it_is_there() {
    assert_accepted("conure", json!({"tls": null}));
    for tls in [json!({}), json!({"secretName": "certificate"})] {
        assert_refused("conure", json!({"tls": tls}), "take out spec.tls");
    }
}

#[test]
fn schema_and_type_have_the_same_defaults() {
    let typed = serde_json::to_value(conure_crd::ConureClusterSpec::default()).unwrap();
    let properties = SCHEMA["properties"]["spec"]["properties"].as_object().unwrap();
    for (name, property) in properties {
        assert_eq!(typed.get(name), property.get("default"), "spec.{name}");
    }
    assert!(typed.as_object().unwrap().keys().all(|name| properties.contains_key(name)));
}
