//! Images of other versions, whose members say so.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use conure_e2e::bare::{PATIENCE, Scene, Stage};
use conure_e2e::kubernetes::until;
use serde_json::{Value, json};

use crate::Case;

pub(crate) fn cases() -> Vec<Case> {
    let name = "versions_go_up_and_down_one_minor_at_a_time_and_no_further";
    vec![(name.to_owned(), Box::new(|stage| Box::pin(up_and_down(stage))))]
}

fn image(tag: &str) -> Value {
    json!({"image": {"tag": tag}})
}

async fn up_and_down(stage: &Stage) -> Result<()> {
    let scene = stage.scene().await?;
    scene.create(3, image("v0.4.2")).await?;
    let operator = scene.operator("")?;
    scene.settled(3).await.with_context(|| operator.last_lines())?;
    for tag in ["v0.5.0", "v0.4.2", "v0.4.9", "v0.3.0"] {
        scene.cluster.patch(json!({"spec": image(tag)})).await?;
        runs(&scene, tag).await.with_context(|| operator.last_lines())?;
    }
    let before = pods(&scene).await?;
    for far in ["v0.5.0", "v0.1.0", "v1.3.0"] {
        scene.cluster.patch(json!({"spec": image(far)})).await?;
        let says = until(&format!("{far} is refused"), PATIENCE, async || {
            let resource = scene.cluster.get().await?;
            let conditions = resource.status.unwrap_or_default().conditions;
            let degraded = conditions.into_iter().find(|condition| condition.type_ == "Degraded");
            let degraded = degraded.context("no condition Degraded")?;
            let says = format!("{} {}: {}", degraded.status, degraded.reason, degraded.message);
            ensure!(degraded.observed_generation == resource.metadata.generation, "of before: {says}");
            ensure!(degraded.reason == "VersionStepRefused", "{says}");
            Ok(says)
        })
        .await?;
        ensure!(says.contains("0.3.0") && says.contains(far), "{far}: {says}");
        scene.cluster.condition("Available", "True", PATIENCE).await?;
    }
    ensure!(pods(&scene).await? == before, "a pod was replaced for a version that was refused");
    // One minor version up is a step again, and ends what was wrong.
    scene.cluster.patch(json!({"spec": image("v0.4.0")})).await?;
    runs(&scene, "v0.4.0").await.with_context(|| operator.last_lines())?;
    scene.cluster.condition("Degraded", "False", PATIENCE).await?;
    scene.unharmed()
}

/// Waits until every member is of that version, and the cluster Ready.
async fn runs(scene: &Scene<'_>, tag: &str) -> Result<()> {
    scene.settled(3).await.with_context(|| format!("rolling to {tag}"))?;
    let status = scene.cluster.status().await?;
    let versions: Vec<_> = status.members.iter().filter_map(|member| member.version.as_deref()).collect();
    if versions.len() == 3 && versions.iter().all(|version| Some(*version) == tag.strip_prefix('v')) {
        return Ok(());
    }
    bail!("with {tag} they are {versions:?}")
}

/// The pods' uids by name.
async fn pods(scene: &Scene<'_>) -> Result<BTreeMap<String, String>> {
    let pods = scene.cluster.pods().await?;
    Ok(pods.into_iter().filter_map(|pod| Some((pod.metadata.name?, pod.metadata.uid?))).collect())
}
