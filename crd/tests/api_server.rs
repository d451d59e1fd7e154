//! The definition, the manifests and what the charts render, before a real API server: the one of KUBECONFIG. Every object is
//! sent as a dry run. The definition itself has to be there for that: it is made where it is missing, and removed again.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's helpers may fail the test")]

use std::io::Write;
use std::process::{Command, Stdio};

use conure_crd::charts::{self, helm};
use conure_crd::generated;
use serde_json::{Value, json};

const DEFINITION: &str = "conureclusters.conuredb.dev";

/// Runs kubectl; what it said, on either stream, as success or failure.
fn kubectl(arguments: &[&str], input: &str) -> Result<String, String> {
    let program = std::env::var_os("CONURE_KUBECTL").unwrap_or_else(|| "kubectl".into());
    let mut child = Command::new(&program)
        .args(arguments)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot run {}: {error}; set CONURE_KUBECTL", program.display()));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).unwrap();
    if output.status.success() { Ok(said) } else { Err(said) }
}

/// The definition at the API server, for as long as this lives.
struct Installed {
    made_here: bool,
}

impl Installed {
    fn ensure() -> Self {
        let made_here = kubectl(&["get", "crd", DEFINITION], "").is_err();
        if made_here {
            kubectl(&["create", "-f", generated::MANIFEST], "").unwrap();
        }
        kubectl(&["wait", "--for=condition=Established", "--timeout=30s", "crd", DEFINITION], "").unwrap();
        Self { made_here }
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        if self.made_here {
            // A failure leaves the definition, which the next run takes as it is.
            let _ = kubectl(&["delete", "crd", DEFINITION, "--wait=true"], "");
        }
    }
}

fn dry_run(manifest: &str) -> Result<String, String> {
    kubectl(&["apply", "--server-side", "--dry-run=server", "--force-conflicts", "-f", "-"], manifest)
}

fn cluster(name: &str, spec: &Value) -> String {
    json!({"apiVersion": "conuredb.dev/v1alpha1", "kind": "ConureCluster", "metadata": {"name": name}, "spec": spec})
        .to_string()
}

/// One test, because all of it shares the one definition of that API server.
#[test]
fn api_server_takes_what_is_right_and_refuses_what_cannot_work() {
    let _installed = Installed::ensure();
    kubectl(
        &["apply", "--server-side", "--dry-run=server", "--force-conflicts", "-f", generated::MANIFEST],
        "",
    )
    .unwrap();
    examples_are_taken();
    charts_are_taken();
    clusters_that_cannot_work_are_refused();
    unknown_fields_are_warned_of();
}

fn examples_are_taken() {
    for example in ["example-cluster", "example-single", "example-arbiter"] {
        let path = format!("manifests/{example}.yaml");
        kubectl(&["apply", "--server-side", "--dry-run=server", "-f", &path], "").unwrap();
    }
    let stored = kubectl(
        &["apply", "--server-side", "--dry-run=server", "-o", "json", "-f", "-"],
        &cluster("conure-defaults", &json!({})),
    );
    let stored: Value = serde_json::from_str(&stored.unwrap()).unwrap();
    let defaults = serde_json::to_value(conure_crd::ConureClusterSpec::default()).unwrap();
    assert_eq!(stored["spec"], defaults, "the API server and the type fill in the same defaults");
}

fn charts_are_taken() {
    // The namespace of the plain manifest is not there in a dry run, so the chart is rendered into one that is.
    let operator =
        ["template", "o", "charts/conuredb-operator", "--namespace", "default", "--set", "crd.install=false"];
    for namespaced in [
        &[][..],
        &["--set", "watchNamespace=default"],
        &["--set", "networkPolicy.enabled=true,metrics.dashboard=true"],
    ] {
        dry_run(&helm(&[&operator, namespaced].concat()).unwrap()).unwrap();
    }
    assert!(charts::operator_manifest().unwrap().contains("kind: Deployment"));
    for values in [
        &["charts/conuredb-single"][..],
        &["charts/conuredb-single", "--set", "networkPolicy.enabled=true"],
        &["charts/conuredb-ha"],
        &[
            "charts/conuredb-ha",
            "--set-json",
            r#"networkPolicy={"enabled":true,"clients":[{"podSelector":{"matchLabels":{"app":"web"}}}]}"#,
        ],
        &["charts/conuredb-ha", "--values", "charts/conuredb-ha/values-dev.yaml"],
        &["charts/conuredb-ha", "--values", "charts/conuredb-ha/values-prod.yaml"],
    ] {
        let common = ["template", "c", "--namespace", "default", "--no-hooks"];
        dry_run(&helm(&[&common, values].concat()).unwrap()).unwrap();
    }
}

/// Where a client does not ask for a refusal, as those of GitOps do not.
fn unknown_fields_are_warned_of() {
    let misplaced = cluster("a", &json!({"replicas": 3, "voters": {"pvc": {"sise": "1Gi"}}}));
    let said = kubectl(&["create", "--dry-run=server", "--validate=warn", "-f", "-"], &misplaced).unwrap();
    for field in ["spec.replicas", "spec.voters.pvc.sise"] {
        assert!(said.contains(&format!("unknown field \"{field}\"")), "{field}: {said}");
    }
}

fn clusters_that_cannot_work_are_refused() {
    let long = "a".repeat(43);
    for (name, spec, mend) in [
        (long.as_str(), json!({}), "choose a shorter metadata.name"),
        ("1a", json!({}), "starts with a letter"),
        ("a.b", json!({}), "starts with a letter"),
        ("a-bootstrap", json!({}), "another ending"),
        ("a", json!({"voters": {"replicas": 0}}), "a number between them"),
        ("a", json!({"voters": {"replicas": 8}}), "a number between them"),
        ("a", json!({"voters": {"pvc": {"size": 20}}}), "a number with its unit"),
        ("a", json!({"voters": {"pvc": {"size": "20 GB"}}}), "a number with its unit"),
        ("a", json!({"arbiter": {"pvc": {"size": "0"}}}), "a number with its unit"),
        ("a", json!({"arbiter": {"mode": "auto"}}), "\"Auto\", \"Always\", \"Never\""),
        ("a", json!({"image": {"repository": "a:b"}}), "put the tag into image.tag"),
        ("a", json!({"image": {"tag": "a b"}}), "tag is no image tag"),
        ("a", json!({"image": {"digest": "sha256:1"}}), "digest is no image digest"),
        ("a", json!({"security": {"runAsUser": 0}}), "another security.runAsUser"),
        ("a", json!({"tls": {}}), "take out spec.tls"),
        ("a", json!({"voters": {"resources": {"limits": {"cpu": "-1"}}}}), "an amount is no quantity"),
        (
            "a",
            json!({"voters": {"resources": {"requests": {"cpu": 2}, "limits": {"cpu": "1500m"}}}}),
            "larger than its limit",
        ),
        ("a", json!({"serverConfig": {"barrierTimeout": "0s"}}), "no duration above zero"),
        ("a", json!({"serverConfig": {"httpAllowedHosts": ["http://a"]}}), "without scheme"),
        ("a", json!({"voters": {"pvc": {"retention": {"whenScaled": "Recycle"}}}}), "\"Retain\", \"Delete\""),
        ("a", json!({"repair": {"replaceAfter": "1d"}}), "like 30m"),
        (
            "a",
            json!({"recovery": {"memberName": "a-0", "clusterID": "id", "incarnation": 0}}),
            "what status.incarnation says",
        ),
        (
            "a",
            json!({"bootstrap": {"existingVolumes": {"clusterID": "a b"}}}),
            "clusterID is no cluster's id",
        ),
        ("a", json!({"extraEnv": [{"name": "CONURE_ROLE", "value": "data"}]}), "take them out of extraEnv"),
        ("a", json!({"podLabels": {"conuredb.dev/role": "x"}}), "choose other keys for podLabels"),
        ("a", json!({"replicas": 3}), "spec.replicas"),
    ] {
        let refusal = dry_run(&cluster(name, &spec)).expect_err(&format!("{name} {spec} was taken"));
        assert!(refusal.contains(mend), "{name} {spec}: {refusal}");
    }
}
