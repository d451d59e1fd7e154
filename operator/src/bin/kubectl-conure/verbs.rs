//! What each verb does.

use std::process::ExitCode;

use conure_crd::ConureCluster;
use conure_crd::names;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::check::{Level, findings};
use crate::kubectl::{Kubectl, KubectlError};
use crate::table::table;
use crate::view::View;
use crate::{Access, Output, Shown, Verb};

/// Asks a member for administration, which it passes on to the leader. The token never leaves the pod.
const ADMINISTER: &str = r#"exec curl --silent --show-error --fail-with-body --max-time 45 -X POST \
    -H "Authorization: Bearer $(cat "$CONURE_ADMIN_TOKEN_FILE")" -H 'Content-Type: application/json' \
    --data "$2" "http://localhost:8081$1""#;

pub(crate) fn run(access: &Access, verb: &Verb) -> Result<ExitCode, KubectlError> {
    let kubectl = Kubectl::new(access);
    match verb {
        Verb::Status(shown) => {
            let view = look(&kubectl, shown)?;
            show(shown, || view.json(), || view.status_text(Timestamp::now()))?;
        }
        Verb::Members(shown) => {
            let view = look(&kubectl, shown)?;
            show(shown, || json!(view.members()), || view.members_text())?;
        }
        Verb::Check(shown) => return check(&kubectl, shown),
        Verb::Promote { member } => {
            let cluster = cluster_of(&kubectl, member)?;
            let pod = via(&cluster)?;
            let body = json!({"ID": member}).to_string();
            let exec = ["exec", &pod, "-c", "conure-db", "--", "sh", "-c", ADMINISTER, "sh"];
            let answer = kubectl.run(&[&exec[..], &["/transfer-leadership", &body]].concat())?;
            let leader = serde_json::from_str::<Value>(&answer).unwrap_or_default();
            say(&format!("{} leads", leader["leader"].as_str().unwrap_or(member)))?;
        }
        Verb::Restart { name } => {
            let name = choose(&kubectl, name.as_deref())?;
            annotate(&kubectl, &name, "conuredb.dev/restarted-at", &Timestamp::now().to_string())?;
            say(&format!(
                "every pod of {name} is replaced, one at a time, the leader last; wait for it with\n  \
                 kubectl wait --for=condition=Ready conure/{name} --timeout=10m"
            ))?;
        }
        Verb::Replace { member, yes } => {
            let name = cluster_of(&kubectl, member)?.name_any();
            if !yes {
                say(&format!(
                    "{member} would leave {name}, its volume {} would be deleted with all that only it holds, and a new \
                     member of that name would join; repeat with --yes",
                    names::volume_claim(member)
                ))?;
                return Ok(ExitCode::FAILURE);
            }
            annotate(&kubectl, &name, "conuredb.dev/replace-member", member)?;
            say(&format!("{member} is replaced; follow it with kubectl conure status {name}"))?;
        }
        Verb::Logs { of, follow, tail } => return logs(&kubectl, of.as_deref(), *follow, *tail),
    }
    Ok(ExitCode::SUCCESS)
}

fn say(text: &str) -> Result<(), KubectlError> {
    conure_program::answer(format!("{}\n", text.trim_end()).as_bytes()).map_err(KubectlError::Output)
}

fn show(
    shown: &Shown,
    json: impl FnOnce() -> Value,
    text: impl FnOnce() -> String,
) -> Result<(), KubectlError> {
    match shown.output {
        Output::Json => say(&format!("{:#}", json())),
        Output::Text => say(&text()),
    }
}

fn check(kubectl: &Kubectl<'_>, shown: &Shown) -> Result<ExitCode, KubectlError> {
    let findings = findings(&look(kubectl, shown)?);
    let text = || {
        let sign = |level| match level {
            Level::Ok => "ok",
            Level::Warning => "WARNING",
            Level::Wrong => "WRONG",
        };
        let rows: Vec<Vec<String>> = findings
            .iter()
            .map(|finding| {
                vec![sign(finding.level).to_owned(), finding.what.to_owned(), finding.detail.clone()]
            })
            .collect();
        table(&["", "LOOKED AT", "FOUND"], &rows)
    };
    show(shown, || json!(findings), text)?;
    let wrong = findings.iter().any(|finding| finding.level == Level::Wrong);
    Ok(if wrong { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn logs(kubectl: &Kubectl<'_>, of: Option<&str>, follow: bool, tail: i64) -> Result<ExitCode, KubectlError> {
    let tail = format!("--tail={tail}");
    let follow = if follow { "--follow=true" } else { "--follow=false" };
    let member = match of {
        Some(word) => {
            clusters(kubectl)?.iter().any(|cluster| names::parse_pod(&cluster.name_any(), word).is_some())
        }
        None => false,
    };
    let status = if let (Some(member), true) = (of, member) {
        kubectl.show(&["logs", member, "-c", "conure-db", &tail, follow])?
    } else {
        let selector = selector(&choose(kubectl, of)?);
        let all =
            ["logs", "-l", &selector, "-c", "conure-db", "--prefix", "--max-log-requests=10", &tail, follow];
        kubectl.show(&all)?
    };
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn annotate(kubectl: &Kubectl<'_>, cluster: &str, key: &str, value: &str) -> Result<(), KubectlError> {
    let (cluster, pair) = (format!("conureclusters.conuredb.dev/{cluster}"), format!("{key}={value}"));
    kubectl.run(&["annotate", "--overwrite", &cluster, &pair]).map(drop)
}

fn clusters(kubectl: &Kubectl<'_>) -> Result<Vec<ConureCluster>, KubectlError> {
    kubectl.list(&["conureclusters.conuredb.dev"])
}

/// The cluster that was named, or the only one.
fn choose(kubectl: &Kubectl<'_>, name: Option<&str>) -> Result<String, KubectlError> {
    if let Some(name) = name {
        return Ok(name.to_owned());
    }
    let names: Vec<String> = clusters(kubectl)?.iter().map(ResourceExt::name_any).collect();
    match names.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(KubectlError::Unclear(
            "there is no ConureCluster in this namespace; give another one with -n".into(),
        )),
        many => Err(KubectlError::Unclear(format!("there are {}: say which one", many.join(", ")))),
    }
}

fn cluster_of(kubectl: &Kubectl<'_>, member: &str) -> Result<ConureCluster, KubectlError> {
    let clusters = clusters(kubectl)?;
    let is_known = |cluster: &&ConureCluster| {
        cluster.status.iter().flat_map(|status| &status.members).any(|known| known.name == member)
    };
    if let Some(found) = clusters.iter().find(is_known) {
        return Ok(found.clone());
    }
    let members =
        clusters.iter().filter_map(|cluster| cluster.status.as_ref()).flat_map(|status| &status.members);
    let members: Vec<&str> = members.map(|member| member.name.as_str()).collect();
    let known = if members.is_empty() {
        "there are none".to_owned()
    } else {
        format!("there are {}", members.join(", "))
    };
    Err(KubectlError::Unclear(format!("no member {member} in this namespace: {known}")))
}

/// A member that answers.
fn via(cluster: &ConureCluster) -> Result<String, KubectlError> {
    let mut members = cluster.status.iter().flat_map(|status| &status.members);
    let ready = members.find(|member| member.ready).map(|member| member.name.clone());
    ready.ok_or_else(|| {
        KubectlError::Unclear(format!("no member of {} is ready to be asked", cluster.name_any()))
    })
}

fn selector(cluster: &str) -> String {
    let labels = names::selector_labels(cluster);
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

fn look(kubectl: &Kubectl<'_>, shown: &Shown) -> Result<View, KubectlError> {
    let name = choose(kubectl, shown.name.as_deref())?;
    let selector = selector(&name);
    let cluster = kubectl.get::<ConureCluster>(&["conureclusters.conuredb.dev", &name])?;
    let pods = kubectl.list::<Pod>(&["pods", "-l", &selector])?;
    let claims = kubectl.list::<PersistentVolumeClaim>(&["persistentvolumeclaims", "-l", &selector])?;
    Ok(View {
        cluster,
        pods: pods.into_iter().map(|pod| (pod.name_any(), pod)).collect(),
        claims: claims.into_iter().map(|claim| (claim.name_any(), claim)).collect(),
    })
}
