//! A definition of ConureCluster that is newer or older than the operator.

use anyhow::{Context, Result, bail, ensure};
use conure_crd::condition::{AVAILABLE, DEGRADED};
use conure_e2e::bare::{PATIENCE, Scene, Stage};
use conure_e2e::kubernetes::until;
use serde_json::json;

use crate::Case;

const DEFINITION: &str = "conureclusters.conuredb.dev";
const SCHEMA: &str = "/spec/versions/0/schema/openAPIV3Schema/properties";

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!(resource_of_a_newer_definition_is_reported_and_left_alone),
        case!(older_definition_is_reported_and_clusters_are_worked_on),
    ]
}

/// Changes the definition for everybody, as one that was brought alone would.
async fn redefine(stage: &Stage, change: &serde_json::Value) -> Result<()> {
    let patch = json!([change]).to_string();
    let access = stage.server.access();
    access.kubectl(&["patch", "crd", DEFINITION, "--type=json", "--patch", &patch]).await.map(drop)
}

/// Brings the present definition back.
async fn restore(stage: &Stage) -> Result<()> {
    let present = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/crd.yaml");
    let apply = ["apply", "--server-side", "--force-conflicts", "-f", present];
    stage.server.access().kubectl(&apply).await.map(drop)
}

/// A condition's status and reason, read as text: what the tests know of the resource is what the operator knows.
async fn said(scene: &Scene<'_>, stage: &Stage, kind: &str) -> Result<String> {
    let path = format!("jsonpath={{.status.conditions[?(@.type==\"{kind}\")]['status','reason']}}");
    let get = ["--namespace", &scene.namespace, "get", "conure", "conure", "-o", &path];
    stage.server.access().kubectl(&get).await
}

async fn resource_of_a_newer_definition_is_reported_and_left_alone(stage: &Stage) -> Result<()> {
    let scene = stage.scene().await?;
    scene.create(3, json!({})).await?;
    let operator = scene.operator("")?;
    scene.settled(3).await.with_context(|| operator.last_lines())?;
    let before = scene.shape().await?;
    let path = format!("{SCHEMA}/spec/properties/arbiter/properties/mode/enum/-");
    redefine(stage, &json!({"op": "add", "path": path, "value": "Twice"})).await?;
    let outcome = newer(stage, &scene).await;
    restore(stage).await?;
    outcome.with_context(|| operator.last_lines())?;
    scene.settled(3).await.with_context(|| operator.last_lines())?;
    ensure!(scene.shape().await? == before, "something was changed");
    scene.unharmed()
}

async fn newer(stage: &Stage, scene: &Scene<'_>) -> Result<()> {
    let patch =
        |mode: &str| json!({"spec": {"arbiter": {"mode": mode}, "voters": {"replicas": 3}}}).to_string();
    let set = async |mode: &str| {
        let patch = patch(mode);
        let set =
            ["--namespace", &scene.namespace, "patch", "conure", "conure", "--type=merge", "--patch", &patch];
        stage.server.access().kubectl(&set).await
    };
    // The API server may take a moment to know of its new definition.
    until("the newer definition takes its mode", PATIENCE, async || set("Twice").await.map(drop)).await?;
    until("the resource is reported", PATIENCE, async || {
        for (kind, expected) in [
            ("Ready", "False ResourceUnreadable"),
            ("Degraded", "True ResourceUnreadable"),
            ("Available", "Unknown ResourceUnreadable"),
        ] {
            let said = said(scene, stage, kind).await?;
            ensure!(said == expected, "{kind} is {said}");
        }
        Ok(())
    })
    .await?;
    let events = stage.server.access().events(&scene.namespace).await?;
    let told =
        events.iter().any(|event| event.reason == "ResourceUnreadable" && event.message.contains("Twice"));
    ensure!(told, "no event tells of it");
    set("Auto").await.map(drop)
}

async fn older_definition_is_reported_and_clusters_are_worked_on(stage: &Stage) -> Result<()> {
    let scene = stage.scene().await?;
    let path = format!("{SCHEMA}/status/properties/membersReady");
    redefine(stage, &json!({"op": "remove", "path": path})).await?;
    let operator = scene.operator("")?;
    let outcome = older(&scene).await;
    restore(stage).await?;
    outcome.with_context(|| operator.last_lines())?;
    scene.settled(5).await.with_context(|| operator.last_lines())?;
    scene.unharmed()
}

async fn older(scene: &Scene<'_>) -> Result<()> {
    scene.create(3, json!({})).await?;
    let (reason, message) = scene.cluster.condition(DEGRADED, "True", PATIENCE).await?;
    ensure!(reason == "DefinitionOutdated" && message.contains("status.membersReady"), "{reason}: {message}");
    scene.cluster.condition(AVAILABLE, "True", PATIENCE).await?;
    scene.cluster.patch(json!({"spec": {"voters": {"replicas": 5}}})).await?;
    until("five members vote", PATIENCE, async || {
        let members = scene.cluster.status().await?.members;
        let voters =
            members.iter().filter(|member| member.suffrage == Some(conure_crd::MemberSuffrage::Voter));
        match voters.count() {
            5 => Ok(()),
            voters => bail!("{voters} vote"),
        }
    })
    .await
}
