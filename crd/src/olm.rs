//! The bundle for the Operator Lifecycle Manager, made from the operator's plain manifest and the definition. Pure.
//!
//! **Invariant:** nothing is said here that the chart or the definition says too: deployment, rights, images, fields and their meaning come from there.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

/// Where the bundle is, from the top of the repository.
pub const FOLDER: &str = "bundle";

const PACKAGE: &str = "conuredb-operator";
/// Nothing is released yet, so there is no `stable`.
const CHANNEL: &str = "candidate";
const HEADER: &str = "# Made from charts/conuredb-operator and crd/ by `cargo run -p conure-crd --features charts --bin crdgen`; changes belong there.\n";

/// How deep descriptors go into the fields of the spec.
const DEPTH: usize = 3;
/// Fields of Kubernetes' own types, which have forms of their own.
const WHOLE: [&str; 3] = ["security", "affinity", "resources"];
/// What the operator makes for a cluster.
const MADE: [&str; 6] =
    ["StatefulSet", "Pod", "Service", "PodDisruptionBudget", "Secret", "PersistentVolumeClaim"];

const DESCRIPTION: &str = "\
ConureDB is a replicated key-value store: every member runs Raft over a memory-mapped copy-on-write B+tree and answers a small HTTP
API. A `ConureCluster` says how many members there shall be. The operator starts them, joins and removes them one at a time, adds an
arbiter where their number is even, rolls changes through with the leader last, and replaces members whose node or volume is lost.

Backups and restores are commands of the server, `conure-db backup` and `restore`. Traffic is not encrypted.
";

/// A branch with two leaves.
const ICON: &str = r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64"><rect width="64" height="64" rx="12" fill="#14532d"/><path d="M32 54V22M32 40C20 40 14 32 14 22c12 0 18 8 18 18zM32 32c0-10 6-18 18-18 0 12-6 18-18 18z" fill="none" stroke="#bbf7d0" stroke-width="4" stroke-linejoin="round"/></svg>"##;

/// Why there is no bundle.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// Something that the bundle is made from is no YAML.
    #[error("{what}: {source}")]
    Yaml {
        /// What.
        what: &'static str,
        /// What is wrong.
        source: serde_yaml::Error,
    },
    /// Something that the bundle is made from is not there.
    #[error("{0} is missing")]
    Missing(&'static str),
}

/// What a bundle is made from, as text: YAML.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// The version, without `v`.
    pub version: &'a str,
    /// The operator's plain manifest.
    pub operator: &'a str,
    /// The definition.
    pub definition: &'a str,
    /// ConureClusters that work.
    pub examples: &'a [String],
}

/// The files of the bundle: path from the top of the repository, and content.
pub fn bundle(parts: &Parts<'_>) -> Result<Vec<(String, String)>, BundleError> {
    let operator = Operator::of(parts.operator)?;
    let definition: Value = serde_yaml::from_str(parts.definition)
        .map_err(|source| BundleError::Yaml { what: "definition", source })?;
    let version = service_version(parts, &operator, &definition)?;
    let files = [
        (format!("manifests/{PACKAGE}.clusterserviceversion.yaml"), yaml("version", &version)?),
        ("manifests/conureclusters.conuredb.dev.crd.yaml".to_owned(), yaml("definition", &definition)?),
        (format!("manifests/{PACKAGE}.service.yaml"), yaml("service", &operator.service)?),
        (
            "metadata/annotations.yaml".to_owned(),
            yaml("annotations", &json!({"annotations": annotations()}))?,
        ),
        ("Dockerfile".to_owned(), dockerfile()),
    ];
    Ok(files
        .into_iter()
        .map(|(path, text)| (format!("{FOLDER}/{path}"), format!("{HEADER}{text}")))
        .collect())
}

fn yaml(what: &'static str, value: &Value) -> Result<String, BundleError> {
    serde_yaml::to_string(value).map_err(|source| BundleError::Yaml { what, source })
}

/// What the plain manifest has.
struct Operator {
    account: Value,
    name: Value,
    labels: Value,
    deployment: Value,
    rules: Vec<Value>,
    images: Vec<Value>,
    service: Value,
}

impl Operator {
    fn of(manifest: &str) -> Result<Self, BundleError> {
        let objects = serde_yaml::Deserializer::from_str(manifest)
            .map(Value::deserialize)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|source| BundleError::Yaml { what: "the operator's manifest", source })?;
        let of_kind = |kind: &'static str| objects.iter().filter(move |object| object["kind"] == kind);
        let mut deployment =
            of_kind("Deployment").next().cloned().ok_or(BundleError::Missing("the Deployment"))?;
        let mut service = of_kind("Service").next().cloned().ok_or(BundleError::Missing("the Service"))?;
        if let Some(metadata) = service["metadata"].as_object_mut() {
            // It comes wherever the operator is installed.
            metadata.remove("namespace");
        }
        let rules = of_kind("ClusterRole").chain(of_kind("Role")).filter_map(|role| role["rules"].as_array());
        let rules: Vec<Value> = rules.flatten().cloned().collect();
        let account = deployment["spec"]["template"]["spec"]["serviceAccountName"].clone();
        let (name, labels) =
            (deployment["metadata"]["name"].clone(), deployment["metadata"]["labels"].clone());
        let container = deployment
            .pointer_mut("/spec/template/spec/containers/0")
            .ok_or(BundleError::Missing("the operator's container"))?;
        let variables =
            container["env"].as_array_mut().ok_or(BundleError::Missing("the operator's environment"))?;
        let server = variables.iter().find(|variable| variable["name"] == "CONURE_SERVER_IMAGE");
        let server = server.ok_or(BundleError::Missing("CONURE_SERVER_IMAGE"))?["value"].clone();
        // The namespaces that an OperatorGroup chooses: none for all of them.
        variables.push(json!({
            "name": "WATCH_NAMESPACE",
            "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['olm.targetNamespaces']"}},
        }));
        let images = vec![
            json!({"name": "operator", "image": container["image"]}),
            json!({"name": "server", "image": server}),
        ];
        let deployment = deployment["spec"].take();
        Ok(Self { account, name, labels, deployment, rules, images, service })
    }
}

fn service_version(parts: &Parts<'_>, operator: &Operator, definition: &Value) -> Result<Value, BundleError> {
    let examples = parts
        .examples
        .iter()
        .map(|example| serde_yaml::from_str::<Value>(example))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| BundleError::Yaml { what: "an example", source })?;
    let mode = |kind: &str, supported: bool| json!({"type": kind, "supported": supported});
    Ok(json!({
        "apiVersion": "operators.coreos.com/v1alpha1",
        "kind": "ClusterServiceVersion",
        "metadata": {
            "name": format!("{PACKAGE}.v{}", parts.version),
            "namespace": "placeholder",
            "annotations": {
                "alm-examples": serde_json::to_string_pretty(&examples).unwrap_or_default(),
                "capabilities": "Seamless Upgrades",
                "categories": "Database",
                "containerImage": operator.images.first().map(|image| &image["image"]),
                "description": "A replicated key-value store: Raft over a memory-mapped B+tree.",
                "support": "ConureDB",
            },
        },
        "spec": {
            "displayName": "ConureDB",
            "description": DESCRIPTION,
            "version": parts.version,
            "maturity": "alpha",
            "minKubeVersion": "1.33.0",
            "keywords": ["conuredb", "database", "key-value", "raft"],
            "provider": {"name": "ConureDB"},
            "icon": [{"mediatype": "image/svg+xml", "base64data": BASE64_STANDARD.encode(ICON)}],
            "installModes": [
                mode("OwnNamespace", true),
                mode("SingleNamespace", true),
                mode("MultiNamespace", false),
                mode("AllNamespaces", true),
            ],
            "customresourcedefinitions": {"owned": [owned(definition)?]},
            "relatedImages": operator.images,
            "install": {"strategy": "deployment", "spec": {
                // In the namespaces that are chosen, which may be all: never more than is watched.
                "permissions": [{"serviceAccountName": operator.account, "rules": operator.rules}],
                "deployments": [{
                    "name": operator.name, "label": operator.labels, "spec": operator.deployment,
                }],
            }},
        },
    }))
}

/// What the console shows of the resource.
fn owned(definition: &Value) -> Result<Value, BundleError> {
    let version = &definition["spec"]["versions"][0];
    let schema = &version["schema"]["openAPIV3Schema"];
    let fields = |part: &str| schema["properties"][part]["properties"].as_object();
    let spec = fields("spec").ok_or(BundleError::Missing("the schema of the spec"))?;
    let status = fields("status").ok_or(BundleError::Missing("the schema of the status"))?;
    let mut spec_descriptors = Vec::new();
    // What is refused wherever it is set is nothing to show.
    for (name, field) in spec.iter().filter(|(name, _)| *name != "tls") {
        describe(name, field, &mut spec_descriptors);
    }
    let shown = status.iter().filter(|(name, field)| {
        *name == "conditions" || field["type"] == "string" || field["type"] == "integer"
    });
    let status_descriptors: Vec<Value> = shown.map(|(name, field)| descriptor(name, field)).collect();
    let made = MADE.map(|kind| json!({"kind": kind, "version": "v1", "name": ""}));
    Ok(json!({
        "name": definition["metadata"]["name"],
        "kind": definition["spec"]["names"]["kind"],
        "version": version["name"],
        "displayName": "ConureDB cluster",
        "description": schema["description"],
        "resources": made,
        "specDescriptors": spec_descriptors,
        "statusDescriptors": status_descriptors,
    }))
}

fn describe(path: &str, field: &Value, found: &mut Vec<Value>) {
    let name = path.rsplit('.').next().unwrap_or(path);
    match field["properties"].as_object() {
        Some(inner) if !WHOLE.contains(&name) && path.split('.').count() < DEPTH => {
            for (name, field) in inner {
                describe(&format!("{path}.{name}"), field, found);
            }
        }
        _ => found.push(descriptor(path, field)),
    }
}

fn descriptor(path: &str, field: &Value) -> Value {
    let mut descriptor =
        json!({"path": path, "displayName": title(path), "x-descriptors": forms(path, field)});
    if let Some(text) = field["description"].as_str() {
        descriptor["description"] = json!(text);
    }
    descriptor
}

/// By which form a field is shown and changed.
fn forms(path: &str, field: &Value) -> Vec<String> {
    let ui = |form: &str| vec![format!("urn:alm:descriptor:com.tectonic.ui:{form}")];
    if let Some(words) = field["enum"].as_array() {
        return words
            .iter()
            .filter_map(Value::as_str)
            .flat_map(|word| ui(&format!("select:{word}")))
            .collect();
    }
    match (path.rsplit('.').next().unwrap_or(path), field["type"].as_str()) {
        ("conditions", _) => vec!["urn:alm:descriptor:io.kubernetes.conditions".to_owned()],
        ("storageClassName", _) => vec!["urn:alm:descriptor:io.kubernetes:StorageClass".to_owned()],
        ("serviceAccountName", _) => vec!["urn:alm:descriptor:io.kubernetes:ServiceAccount".to_owned()],
        ("resources", _) => ui("resourceRequirements"),
        ("replicas" | "readyReplicas", _) => ui("podCount"),
        (_, Some("boolean")) => ui("booleanSwitch"),
        (_, Some("integer")) => ui("number"),
        (_, Some("string")) => ui("text"),
        _ => Vec::new(),
    }
}

/// `voters.pvc.size` is `Voters pvc size`.
fn title(path: &str) -> String {
    let mut title = String::new();
    let mut letters = path.chars().peekable();
    while let Some(letter) = letters.next() {
        let begins = letter.is_ascii_uppercase() && !title.ends_with(|last: char| last.is_ascii_uppercase());
        if begins {
            title.push(' ');
        }
        let alone = begins && letters.peek().is_some_and(char::is_ascii_lowercase);
        title.push(match letter {
            '.' => ' ',
            letter if title.is_empty() => letter.to_ascii_uppercase(),
            letter if alone => letter.to_ascii_lowercase(),
            letter => letter,
        });
    }
    title
}

fn annotations() -> Value {
    let key = |name: &str| format!("operators.operatorframework.io.bundle.{name}");
    json!({
        (key("mediatype.v1")): "registry+v1",
        (key("manifests.v1")): "manifests/",
        (key("metadata.v1")): "metadata/",
        (key("package.v1")): PACKAGE,
        (key("channels.v1")): CHANNEL,
        (key("channel.default.v1")): CHANNEL,
    })
}

/// The image of the bundle, whose labels are its annotations.
fn dockerfile() -> String {
    let mut text = "FROM scratch\n".to_owned();
    for (key, value) in annotations().as_object().into_iter().flatten() {
        text.push_str(&format!("LABEL {key}={}\n", value.as_str().unwrap_or_default()));
    }
    text + "COPY manifests /manifests/\nCOPY metadata /metadata/\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_are_words() {
        assert_eq!(title("voters.pvc.storageClassName"), "Voters pvc storage class name");
        assert_eq!(title("clusterID"), "Cluster ID");
    }
}
