//! `kubectl conure` on the API server without nodes: all of it that needs no process in a pod.

use std::collections::BTreeMap;
use std::env;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use conure_e2e::bare::{PATIENCE, Scene, Stage};
use conure_e2e::kubernetes::until;
use conure_e2e::process::output;
use serde_json::{Value, json};

use crate::Case;

const LIMIT: Duration = Duration::from_mins(1);
/// Who is replaced.
const REPLACED: &str = "conure-1";

pub(crate) fn cases() -> Vec<Case> {
    let name = "kubectl_conure_shows_checks_and_restarts".to_owned();
    vec![(name, Box::new(|stage| Box::pin(shows_checks_and_restarts(stage))))]
}

async fn shows_checks_and_restarts(stage: &Stage) -> Result<()> {
    let scene = stage.scene().await?;
    scene.create(3, json!({})).await?;
    let operator = scene.operator("")?;
    scene.settled(3).await.with_context(|| operator.last_lines())?;
    let conure = async |arguments: &[&str]| conure(stage, &scene, arguments).await;

    let status = conure(&["status"]).await?;
    for part in ["members ready 3/3", "CONDITION", "QuorumServes", "conure-bootstrap-0"] {
        ensure!(status.contains(part), "status shows no {part:?}:\n{status}");
    }
    let json: Value = serde_json::from_str(&conure(&["status", "conure", "-o", "json"]).await?)?;
    let ready = |member: &Value| member["ready"] == true && member["volume"] == "Bound";
    let members = json["members"].as_array().context("no members")?;
    ensure!(members.len() == 3 && members.iter().all(ready), "members are {members:?}");
    let checked = conure(&["check"]).await?;
    ensure!(checked.contains("3 voters are ready") && !checked.contains("WRONG"), "check found:\n{checked}");
    let listed = conure(&["members"]).await?;
    for part in ["conure-bootstrap-0", "conure-0", "conure-1", "Voter"] {
        ensure!(listed.contains(part), "members shows no {part:?}:\n{listed}");
    }
    let refused = conure(&["promote", "conure-9"]).await.err().context("conure-9 was promoted")?.to_string();
    ensure!(refused.contains("no member conure-9") && refused.contains("conure-bootstrap-0"), "{refused}");

    let before = uids(&scene).await?;
    conure(&["restart"]).await?;
    until("every pod is another one", PATIENCE, async || {
        let now = uids(&scene).await?;
        let same: Vec<&String> = before.keys().filter(|pod| before.get(*pod) == now.get(*pod)).collect();
        if same.is_empty() { Ok(()) } else { bail!("the same as before: {same:?}") }
    })
    .await?;
    scene.settled(3).await?;

    let volume = scene.claim_uid(REPLACED).await?;
    let asked = conure(&["replace", REPLACED]).await.err().context("replaced with no --yes")?.to_string();
    ensure!(asked.contains("repeat with --yes"), "{asked}");
    let annotations = scene.cluster.get().await?.metadata.annotations.unwrap_or_default();
    ensure!(!annotations.contains_key("conuredb.dev/replace-member"), "it asked already");
    conure(&["replace", REPLACED, "--yes"]).await?;
    until(&format!("{REPLACED} has a new volume"), PATIENCE, async || {
        let now = scene.claim_uid(REPLACED).await?;
        ensure!(now.is_some() && now != volume, "it has the old one, or none");
        Ok(())
    })
    .await?;
    scene.settled(3).await?;
    scene.unharmed()
}

async fn uids(scene: &Scene<'_>) -> Result<BTreeMap<String, String>> {
    let pods = scene.cluster.pods().await?.into_iter().map(|pod| pod.metadata);
    Ok(pods.map(|pod| (pod.name.unwrap_or_default(), pod.uid.unwrap_or_default())).collect())
}

async fn conure(stage: &Stage, scene: &Scene<'_>, arguments: &[&str]) -> Result<String> {
    let path =
        |name: &str| env::var_os(name).map(PathBuf::from).with_context(|| format!("{name} is not set"));
    let mut command = Command::new(path("CONURE_E2E_OPERATOR")?.with_file_name("kubectl-conure"));
    let inherited = env::var_os("PATH").unwrap_or_default();
    let folders = [path("CONURE_E2E_TOOLS")?].into_iter().chain(env::split_paths(&inherited));
    command
        .args(["--namespace", &scene.namespace])
        .args(arguments)
        .env("KUBECONFIG", stage.server.kubeconfig())
        .env("PATH", env::join_paths(folders)?);
    tokio::task::spawn_blocking(move || output(&mut command, LIMIT)).await?
}
