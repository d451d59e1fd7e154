//! The charts: what they render, and what they refuse.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's helpers may fail the test")]

use conure_crd::charts::{CHARTS, OPERATOR_MANIFEST, bundle, helm, operator_manifest, readmes};
use kube::core::cel::Validator;
use serde::Deserialize;
use serde_json::{Value, json};

const OPERATOR: &str = CHARTS[0];
const HA: &str = CHARTS[1];
const SINGLE: &str = CHARTS[2];

fn text(path: &str) -> String {
    std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)).unwrap()
}

/// Every object that `chart` renders under these arguments.
fn render(chart: &str, arguments: &[&str]) -> Vec<Value> {
    let rendered =
        helm(&[&["template", "release", chart, "--namespace", "somewhere"], arguments].concat()).unwrap();
    serde_yaml::Deserializer::from_str(&rendered)
        .map(|document| Value::deserialize(document).unwrap())
        .filter(|object| !object.is_null())
        .collect()
}

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

/// The one ConureCluster of a chart, after checking it as the API server does: no unknown field, every rule kept.
fn cluster(chart: &str, arguments: &[&str]) -> Value {
    let objects = render(chart, arguments);
    let [cluster] = of_kind(&objects, "ConureCluster")[..] else {
        panic!("not one ConureCluster in {objects:?}")
    };
    let typed: conure_crd::ConureCluster = serde_json::from_value(cluster.clone()).unwrap();
    assert_within("spec", &cluster["spec"], &serde_json::to_value(&typed.spec).unwrap());
    let definition = conure_crd::schema::definition().unwrap();
    let schema = definition.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap();
    let validated = Validator::new().validate(
        &serde_json::to_value(schema).unwrap(),
        &serde_json::to_value(typed).unwrap(),
        None,
    );
    assert!(validated.is_ok(), "{validated:?}");
    cluster.clone()
}

/// Every field of `rendered` is in `typed` too: the type knows it.
fn assert_within(path: &str, rendered: &Value, typed: &Value) {
    match (rendered, typed) {
        (Value::Object(rendered), Value::Object(typed)) => {
            for (name, value) in rendered {
                let known = typed.get(name).unwrap_or_else(|| panic!("{path}.{name} is no field"));
                assert_within(&format!("{path}.{name}"), value, known);
            }
        }
        _ => assert_eq!(rendered, typed, "{path}"),
    }
}

fn assert_refused(chart: &str, arguments: &[&str], message: &str) {
    let refused = helm(&[&["template", "release", chart], arguments].concat());
    let error = refused.expect_err(&format!("{chart} {arguments:?} was rendered")).to_string();
    assert!(error.contains(message), "{chart} {arguments:?}: {error}");
}

#[test]
fn charts_lint_with_every_set_of_values() {
    for chart in CHARTS {
        helm(&["lint", "--strict", chart]).unwrap();
    }
    for values in ["values-dev.yaml", "values-prod.yaml"] {
        helm(&["lint", "--strict", HA, "--values", &format!("{HA}/{values}")]).unwrap();
    }
}

#[test]
fn charts_have_the_version_of_the_workspace() {
    for chart in CHARTS {
        let chart: Value = serde_yaml::from_str(&text(&format!("{chart}/Chart.yaml"))).unwrap();
        assert_eq!(chart["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(chart["appVersion"], concat!("v", env!("CARGO_PKG_VERSION")));
    }
}

#[test]
fn ha_is_one_cluster_of_three_named_conure() {
    let cluster = cluster(HA, &[]);
    assert_eq!(cluster["metadata"]["name"], "conure");
    assert_eq!(cluster["metadata"]["namespace"], "somewhere");
    assert_eq!(cluster["spec"]["voters"], json!({"replicas": 3, "pvc": {"size": "20Gi"}, "resources": {}}));
    assert_eq!(cluster["spec"]["arbiter"]["mode"], "Auto");
    assert_eq!(
        cluster["spec"]["security"],
        json!({"runAsNonRoot": true, "runAsUser": 1000, "fsGroup": 1000})
    );
    assert_eq!(
        cluster["spec"]["image"],
        json!({
            "repository": "conuredb/conuredb",
            "tag": concat!("v", env!("CARGO_PKG_VERSION")),
            "pullPolicy": "IfNotPresent"
        })
    );
}

#[test]
fn ha_passes_every_value_on() {
    let values = json!({
        "fullnameOverride": "other",
        "image": {"repository": "r/i", "tag": "t", "digest": format!("sha256:{}", "0".repeat(64)), "pullPolicy": "Never"},
        "imagePullSecrets": [{"name": "s"}],
        "voters": {"replicas": 4, "pvc": {"size": "3Gi", "storageClassName": "c", "retention": {"whenScaled": "Delete"}}, "resources": {"limits": {"memory": "1Gi"}}},
        "arbiter": {"mode": "always", "pvc": {"size": "2Gi", "storageClassName": "d"}, "resources": {"requests": {"cpu": "5m"}}},
        "security": {"runAsNonRoot": false, "runAsUser": 7, "fsGroup": 8},
        "pdb": {"enabled": false},
        "nodeSelector": {"a": "b"},
        "tolerations": [{"operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"}],
        "repair": {"automatic": false, "replaceAfter": "1h"},
        "priorityClassName": "high",
        "serviceAccountName": "db",
        "podAnnotations": {"p": "q"},
        "podLabels": {"r": "s"},
        "extraEnv": [{"name": "RUST_BACKTRACE", "value": "1"}],
        "bootstrap": {"existingVolumes": {"clusterID": "id"}},
        "recovery": {"memberName": "other-0", "clusterID": "id", "incarnation": 1},
        "suspend": true,
        "paused": true,
        "serverConfig": {"barrierTimeout": "5s", "httpAllowedHosts": ["db.example.com"], "logLevel": "debug", "logFormat": "text"},
        "labels": {"l": "m"},
        "annotations": {"n": "o"}
    });
    let arguments: Vec<String> = values
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(name, value)| ["--set-json".to_owned(), format!("{name}={value}")])
        .collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let cluster = cluster(HA, &arguments);
    assert_eq!(cluster["metadata"]["name"], "other");
    assert_eq!(cluster["metadata"]["labels"]["l"], "m");
    assert_eq!(cluster["metadata"]["annotations"]["n"], "o");
    let mut expected = values.clone();
    for name in ["fullnameOverride", "labels", "annotations"] {
        expected.as_object_mut().unwrap().remove(name);
    }
    expected["arbiter"]["mode"] = json!("Always");
    assert_eq!(cluster["spec"], expected);
}

#[test]
fn dev_values_are_three_small_members() {
    let spec = &cluster(HA, &["--values", "charts/conuredb-ha/values-dev.yaml"])["spec"];
    assert_eq!(
        spec["voters"],
        json!({"replicas": 3, "pvc": {"size": "1Gi"}, "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}}})
    );
    assert_eq!(spec["arbiter"]["mode"], "Never");
}

#[test]
fn prod_values_are_five_members_on_database_nodes() {
    let spec = &cluster(HA, &["--values", "charts/conuredb-ha/values-prod.yaml"])["spec"];
    assert_eq!(
        spec["voters"],
        json!({
            "replicas": 5,
            "pvc": {"size": "100Gi", "storageClassName": "fast-ssd"},
            "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": "1000m", "memory": "2Gi"}}
        })
    );
    assert_eq!(spec["security"], json!({"runAsNonRoot": true, "runAsUser": 1000, "fsGroup": 1000}));
    assert_eq!(spec["pdb"], json!({"enabled": true}));
    assert_eq!(spec["nodeSelector"], json!({"workload": "database"}));
    assert_eq!(spec["tolerations"][0]["effect"], "NoSchedule");
}

#[test]
fn ha_refuses_fewer_than_three_data_members() {
    assert_refused(HA, &["--set", "voters.replicas=2"], "/voters/replicas");
    let past_schema = ["--set", "voters.replicas=2", "--skip-schema-validation"];
    assert_refused(HA, &past_schema, "install the chart conuredb-single");
}

#[test]
fn single_is_one_cluster_of_one() {
    let cluster = cluster(SINGLE, &["--set", "image.tag=v1.0.0", "--set", "pvc.size=5Gi"]);
    assert_eq!(cluster["metadata"]["name"], "conure");
    assert_eq!(cluster["spec"]["voters"], json!({"replicas": 1, "pvc": {"size": "5Gi"}, "resources": {}}));
    assert_eq!(cluster["spec"]["arbiter"], json!({"mode": "Never"}));
    assert_eq!(cluster["spec"]["image"]["tag"], "v1.0.0");
}

#[test]
fn single_refuses_more_than_one_data_member() {
    assert_refused(SINGLE, &["--set", "voters.replicas=3"], "/voters/replicas");
    let past_schema = ["--set", "voters.replicas=3", "--skip-schema-validation"];
    assert_refused(SINGLE, &past_schema, "install the chart conuredb-ha");
}

#[test]
fn values_that_mean_nothing_are_refused() {
    for chart in CHARTS {
        assert_refused(chart, &["--set", "replcias=3"], "'replcias' not allowed");
        assert_refused(chart, &["--set", "image.tga=v1"], "'tga' not allowed");
        assert_refused(chart, &["--set", "image.tag=a:b"], "/image/tag");
        assert_refused(chart, &["--set", "image.digest=sha256:1"], "/image/digest");
    }
    for (value, place) in [
        ("voters.replicas=8", "/voters/replicas"),
        ("voters.pvc.size=20GB", "/voters/pvc/size"),
        ("arbiter.mode=Auto", "/arbiter/mode"),
        ("fullnameOverride=a-peers", "/fullnameOverride"),
        ("fullnameOverride=A", "/fullnameOverride"),
        ("serverConfig.barrierTimeout=3", "/serverConfig/barrierTimeout"),
        ("voters.resources.request.cpu=1", "'request' not allowed"),
        ("networkPolicy.enabled=maybe", "/networkPolicy/enabled"),
        ("security.runAsUsr=1", "'runAsUsr' not allowed"),
        ("affinity.node={}", "'node' not allowed"),
        ("tolerations[0].keys=a", "'keys' not allowed"),
        ("extraEnv[0].vaule=a", "'vaule' not allowed"),
        ("topologySpreadConstraints[0].skew=1", "'skew' not allowed"),
    ] {
        assert_refused(HA, &["--set", value], place);
    }
    assert_refused(SINGLE, &["--set", "arbiter.mode=always"], "'arbiter' not allowed");
    assert_refused(OPERATOR, &["--set", "logLevel=loud"], "/logLevel");
    assert_refused(OPERATOR, &["--set", "resources.request.cpu=1"], "'request' not allowed");
    assert_refused(OPERATOR, &["--set", "metrics.rules=true"], "'rules' not allowed");
}

#[test]
fn helm_test_writes_and_reads_through_the_service() {
    for chart in [HA, SINGLE] {
        let objects = render(chart, &["--set", "fullnameOverride=other"]);
        let [pod] = of_kind(&objects, "Pod")[..] else { panic!("not one pod in {objects:?}") };
        assert_eq!(pod["metadata"]["annotations"]["helm.sh/hook"], "test");
        let container = &pod["spec"]["containers"][0];
        assert_eq!(container["env"][0]["value"], "http://other.somewhere.svc:8081/kv?key=helm-test-release");
        assert_eq!(container["image"], concat!("conuredb/conuredb:v", env!("CARGO_PKG_VERSION")));
        assert_restricted(&pod["spec"]);
    }
}

/// What the restricted Pod Security Standard asks for.
fn assert_restricted(pod: &Value) {
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    for container in pod["containers"].as_array().unwrap() {
        let context = &container["securityContext"];
        assert_eq!(context["allowPrivilegeEscalation"], false);
        assert_eq!(context["capabilities"]["drop"], json!(["ALL"]));
        assert_eq!(context["readOnlyRootFilesystem"], true);
    }
}

#[test]
fn operator_is_one_restricted_pod_at_a_time() {
    let objects = render(OPERATOR, &[]);
    let [deployment] = of_kind(&objects, "Deployment")[..] else { panic!("not one Deployment") };
    assert_eq!(deployment["spec"]["replicas"], 1);
    assert_eq!(deployment["spec"]["strategy"], json!({"type": "Recreate"}));
    assert_restricted(&deployment["spec"]["template"]["spec"]);
}

#[test]
fn operator_gives_clusters_the_server_image_of_its_release() {
    let image = |arguments: &[&str]| {
        let objects = render(OPERATOR, arguments);
        let environment =
            of_kind(&objects, "Deployment")[0]["spec"]["template"]["spec"]["containers"][0]["env"].clone();
        let found =
            environment.as_array().unwrap().iter().find(|entry| entry["name"] == "CONURE_SERVER_IMAGE");
        found.unwrap()["value"].as_str().unwrap().to_owned()
    };
    assert_eq!(image(&[]), concat!("conuredb/conuredb:v", env!("CARGO_PKG_VERSION")));
    assert_eq!(
        image(&["--set", "serverImage.repository=localhost/c,serverImage.tag=local"]),
        "localhost/c:local"
    );
    let digest = format!("sha256:{}", "0".repeat(64));
    assert_eq!(
        image(&["--set", &format!("serverImage.digest={digest}")]),
        format!("conuredb/conuredb@{digest}")
    );
}

#[test]
fn definition_is_kept_when_the_operator_is_uninstalled() {
    let objects = render(OPERATOR, &[]);
    let [definition] = of_kind(&objects, "CustomResourceDefinition")[..] else {
        panic!("not one definition")
    };
    assert_eq!(definition["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
    assert!(
        of_kind(&render(OPERATOR, &["--set", "crd.install=false"]), "CustomResourceDefinition").is_empty()
    );
}

#[test]
fn no_right_of_the_operator_is_a_wildcard() {
    for arguments in [&[][..], &["--set", "watchNamespace=db"]] {
        for role in render(OPERATOR, arguments)
            .iter()
            .filter(|object| object["kind"].as_str().unwrap().ends_with("Role"))
        {
            for rule in role["rules"].as_array().unwrap() {
                for part in ["apiGroups", "resources", "verbs"] {
                    let values = rule[part].as_array().unwrap();
                    assert!(!values.is_empty() && !values.contains(&json!("*")), "{rule}");
                }
            }
        }
    }
}

#[test]
fn operator_of_one_namespace_has_no_right_elsewhere() {
    let objects = render(OPERATOR, &["--set", "watchNamespace=db"]);
    assert!(
        of_kind(&objects, "ClusterRole").is_empty() && of_kind(&objects, "ClusterRoleBinding").is_empty()
    );
    for kind in ["Role", "RoleBinding"] {
        let namespaces: Vec<_> =
            of_kind(&objects, kind).iter().map(|role| role["metadata"]["namespace"].clone()).collect();
        assert_eq!(namespaces, ["db", "somewhere"], "{kind}");
    }
}

#[test]
fn plain_manifest_is_what_the_chart_renders() {
    assert!(
        text(OPERATOR_MANIFEST) == operator_manifest().unwrap(),
        "{OPERATOR_MANIFEST} is out of date: run `cargo run -p conure-crd --features charts --bin crdgen`"
    );
}

#[test]
fn readmes_are_what_the_values_say() {
    for (path, page) in readmes().unwrap() {
        let committed = text(&path);
        let mend = "run `cargo run -p conure-crd --features charts --bin crdgen`";
        assert!(committed == page, "{path} is out of date: {mend}");
    }
}

#[test]
fn bundle_is_what_the_chart_and_the_definition_say() {
    let files = bundle().unwrap();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(conure_crd::olm::FOLDER);
    let mut there = 0;
    for part in ["", "manifests", "metadata"] {
        let entries = std::fs::read_dir(folder.join(part)).unwrap();
        there += entries.filter(|entry| entry.as_ref().unwrap().path().is_file()).count();
    }
    assert_eq!(there, files.len(), "{} has files that nobody makes", folder.display());
    for (path, content) in files {
        let mend = "run `cargo run -p conure-crd --features charts --bin crdgen`";
        assert!(text(&path) == content, "{path} is out of date: {mend}");
    }
}

#[test]
fn bundle_installs_what_the_chart_does() {
    let files = bundle().unwrap();
    let (_, version) = files.iter().find(|(path, _)| path.ends_with("clusterserviceversion.yaml")).unwrap();
    let version: Value = serde_yaml::from_str(version).unwrap();
    let install = &version["spec"]["install"]["spec"];
    let objects: Vec<Value> = serde_yaml::Deserializer::from_str(&operator_manifest().unwrap())
        .map(|document| Value::deserialize(document).unwrap())
        .collect();
    let mut expected = of_kind(&objects, "Deployment")[0]["spec"].clone();
    let watched = json!({"name": "WATCH_NAMESPACE", "valueFrom":
        {"fieldRef": {"fieldPath": "metadata.annotations['olm.targetNamespaces']"}}});
    let variables = expected["template"]["spec"]["containers"][0]["env"].as_array_mut().unwrap();
    variables.push(watched);
    assert_eq!(install["deployments"][0]["spec"], expected);
    let rules = install["permissions"][0]["rules"].as_array().unwrap().len();
    let roles = of_kind(&objects, "ClusterRole").into_iter().chain(of_kind(&objects, "Role"));
    assert_eq!(rules, roles.map(|role| role["rules"].as_array().unwrap().len()).sum::<usize>());
    let descriptors = &version["spec"]["customresourcedefinitions"]["owned"][0]["specDescriptors"];
    let paths: Vec<&str> =
        descriptors.as_array().unwrap().iter().map(|field| field["path"].as_str().unwrap()).collect();
    for path in ["voters.replicas", "voters.pvc.size", "arbiter.mode", "image.tag", "suspend"] {
        assert!(paths.contains(&path), "{path} is not in {paths:?}");
    }
}

/// What the charts render, kept, so that a change of it is seen by whoever makes it.
#[test]
fn rendered_output_is_as_it_was_kept() {
    let everything = ["--set", "networkPolicy.enabled=true"];
    let sets: [(&str, &str, &[&str]); 7] = [
        ("operator", OPERATOR, &["--set", "crd.install=false"]),
        (
            "operator_of_one_namespace_with_everything",
            OPERATOR,
            &[
                "--set",
                "crd.install=false,watchNamespace=db,networkPolicy.enabled=true,metrics.serviceMonitor=true",
                "--set",
                "metrics.prometheusRule=true,metrics.dashboard=true,priorityClassName=high",
            ],
        ),
        ("ha", HA, &[]),
        ("ha_dev", HA, &["--values", "charts/conuredb-ha/values-dev.yaml"]),
        ("ha_prod", HA, &["--values", "charts/conuredb-ha/values-prod.yaml"]),
        (
            "ha_with_a_network_policy",
            HA,
            &[
                "--set",
                "networkPolicy.enabled=true",
                "--set-json",
                r#"networkPolicy.clients=[{"podSelector":{"matchLabels":{"app":"web"}}}]"#,
            ],
        ),
        ("single", SINGLE, &everything),
    ];
    for (name, chart, arguments) in sets {
        let rendered =
            helm(&[&["template", "release", chart, "--namespace", "somewhere"], arguments].concat());
        insta::assert_snapshot!(name, rendered.unwrap());
    }
}

#[test]
fn alerts_of_the_chart_are_the_rules_file() {
    let objects = render(OPERATOR, &["--set", "metrics.prometheusRule=true"]);
    let [rule] = of_kind(&objects, "PrometheusRule")[..] else { panic!("not one PrometheusRule") };
    let file: Value = serde_yaml::from_str(&text("charts/conuredb-operator/files/alerts.yaml")).unwrap();
    assert_eq!(rule["spec"], file);
    for alert in file["groups"][0]["rules"].as_array().unwrap() {
        let summary = alert["annotations"]["summary"].as_str();
        assert!(summary.is_some() && alert["labels"]["severity"].is_string(), "{alert}");
    }
}

/// promtool runs these tests; this is that none is missing.
#[test]
fn every_alert_has_a_test_that_it_fires_and_one_that_it_does_not() {
    let read = |path: &str| -> Value {
        serde_yaml::from_str(&text(&format!("charts/conuredb-operator/{path}"))).unwrap()
    };
    let (rules, tests) = (read("files/alerts.yaml"), read("tests/alerts.yaml"));
    let cases: Vec<&Value> = tests["tests"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|test| test["alert_rule_test"].as_array().unwrap())
        .collect();
    for rule in
        rules["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap())
    {
        let of_rule = cases.iter().filter(|case| case["alertname"] == rule["alert"]);
        let (silent, firing): (Vec<&&Value>, Vec<&&Value>) =
            of_rule.partition(|case| case["exp_alerts"].as_array().unwrap().is_empty());
        assert!(!silent.is_empty() && !firing.is_empty(), "{} is not tested both ways", rule["alert"]);
    }
}

#[test]
fn network_policy_keeps_strangers_off_the_raft_port() {
    for chart in [HA, SINGLE] {
        assert!(of_kind(&render(chart, &[]), "NetworkPolicy").is_empty());
        let objects = render(chart, &["--set", "networkPolicy.enabled=true,fullnameOverride=other"]);
        let [policy] = of_kind(&objects, "NetworkPolicy")[..] else { panic!("not one policy") };
        let members = json!({"matchLabels": {"app.kubernetes.io/name": "conuredb", "app.kubernetes.io/instance": "other"}});
        assert_eq!(policy["spec"]["podSelector"], members);
        let raft = &policy["spec"]["ingress"][0];
        assert_eq!(raft["ports"], json!([{"port": 7001, "protocol": "TCP"}]));
        assert_eq!(raft["from"], json!([{"podSelector": members}]));
        assert_eq!(policy["spec"]["ingress"][1]["from"], Value::Null);
    }
}

#[test]
fn both_cluster_charts_share_their_helpers() {
    for file in ["_helpers.tpl", "networkpolicy.yaml", "tests/write-read.yaml"] {
        assert!(
            text(&format!("{HA}/templates/{file}")) == text(&format!("{SINGLE}/templates/{file}")),
            "{file}"
        );
    }
}
