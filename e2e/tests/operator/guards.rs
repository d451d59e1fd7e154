//! What the operator says and does not do: objects of others are left alone, and no removal costs the quorum.

use anyhow::{Context, Result, bail, ensure};
use conure_client::api::Role;
use conure_crd::condition::{DEGRADED, PROGRESSING, READY};
use conure_crd::names;
use conure_e2e::bare::{Mood, PATIENCE, Scene, Stage};
use conure_e2e::kubernetes::until;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Secret, Service};
use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams};
use serde_json::json;

use crate::Case;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!(objects_of_others_are_named_and_left_alone),
        case!(volume_of_somebody_else_is_no_volume_of_a_member_to_come),
        case!(removal_that_would_lose_the_quorum_waits_and_is_said_once),
        case!(arbiter_that_adds_no_safety_is_made_and_warned_of),
    ]
}

async fn objects_of_others_are_named_and_left_alone(stage: &Stage) -> Result<()> {
    let scene = stage.scene().await?;
    let name = scene.cluster.name.clone();
    let theirs = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"ports": [{"port": 80}], "selector": {"app": "theirs"}}});
    stage.server.access().apply(&scene.namespace, &theirs.to_string()).await?;
    let services: Api<Service> = stage.server.access().api(&scene.namespace);
    let before = services.get(&name).await?;
    scene.create(3, json!({})).await?;
    let operator = scene.operator("")?;
    let (reason, message) = scene.cluster.condition(DEGRADED, "True", PATIENCE).await?;
    ensure!(reason == "ObjectsNotOurs", "{reason}: {message}");
    ensure!(message.contains(&format!("Service {name}")), "it is not named: {message}");
    scene.cluster.condition(READY, "False", PATIENCE).await?;
    said_once(&scene, "ObjectsNotOurs").await?;
    let sets =
        stage.server.access().api::<StatefulSet>(&scene.namespace).list(&ListParams::default()).await?;
    let secrets = stage.server.access().api::<Secret>(&scene.namespace).list(&ListParams::default()).await?;
    let made = sets.items.len() + secrets.items.len();
    ensure!(made == 0, "{made} objects were made beside it");
    let after = services.get(&name).await?;
    ensure!(after.resource_version() == before.resource_version(), "it was changed");

    services.delete(&name, &DeleteParams::default()).await?;
    scene.settled(3).await.with_context(|| operator.last_lines())?;
    scene.unharmed()
}

async fn volume_of_somebody_else_is_no_volume_of_a_member_to_come(stage: &Stage) -> Result<()> {
    const COMING: &str = "conure-3";
    let scene = stage.scene().await?;
    scene.create(3, json!({})).await?;
    let operator = scene.operator("")?;
    scene.settled(3).await.with_context(|| operator.last_lines())?;
    let claim = names::volume_claim(COMING);
    let theirs = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": claim},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}}});
    stage.server.access().apply(&scene.namespace, &theirs.to_string()).await?;
    let uid = scene.claim_uid(COMING).await?;

    scene.cluster.patch(json!({"spec": {"voters": {"replicas": 5}}})).await?;
    let (reason, message) = scene.cluster.condition(DEGRADED, "True", PATIENCE).await?;
    ensure!(reason == "VolumesNotOurs" && message.contains(&claim), "{reason}: {message}");
    said_once(&scene, "VolumesNotOurs").await?;
    ensure!(scene.cluster.pods().await?.len() == 3, "a pod came");
    // A change of mind needs no mend.
    scene.cluster.patch(json!({"spec": {"voters": {"replicas": 3}}})).await?;
    scene.settled(3).await?;
    scene.cluster.patch(json!({"spec": {"voters": {"replicas": 5}}})).await?;
    scene.cluster.condition(DEGRADED, "True", PATIENCE).await?;

    // What the message says, as a user types it.
    let label = message.split("kubectl ").last().context("the message says no command")?;
    let words: Vec<&str> = label.split_whitespace().collect();
    stage.server.access().kubectl(&[&["--namespace", &scene.namespace], &words[..]].concat()).await?;
    scene.settled(5).await.with_context(|| operator.last_lines())?;
    ensure!(scene.claim_uid(COMING).await? == uid, "{claim} is another one");
    let claims: Api<PersistentVolumeClaim> = stage.server.access().api(&scene.namespace);
    ensure!(claims.get(&claim).await?.metadata.deletion_timestamp.is_none(), "{claim} is deleted");
    scene.unharmed()
}

async fn removal_that_would_lose_the_quorum_waits_and_is_said_once(stage: &Stage) -> Result<()> {
    const REASON: &str = "RemovalWouldLoseQuorum";
    let scene = stage.scene().await?;
    scene.create(3, json!({"arbiter": {"mode": "Never"}})).await?;
    let operator = scene.operator("")?;
    scene.settled(3).await.with_context(|| operator.last_lines())?;
    scene.set_mood("conure-0", Mood::Hangs);
    scene.cluster.patch(json!({"spec": {"voters": {"replicas": 2}}})).await?;
    until(&format!("the cluster says {REASON}"), PATIENCE, async || {
        let (reason, message) = scene.cluster.condition(PROGRESSING, "True", PATIENCE).await?;
        ensure!(reason == REASON, "it says {reason}: {message}");
        ensure!(message.contains("conure-1") && message.contains("waits for conure-0"), "{message}");
        Ok(())
    })
    .await?;
    // Several looks later it has still been said once, and nobody was asked to remove anything.
    let before = stage.members.asked();
    until("members were asked again", PATIENCE, async || {
        let now = stage.members.asked();
        if now < before + 10 { bail!("{} times", now - before) } else { Ok(()) }
    })
    .await?;
    said_once(&scene, REASON).await?;
    let id = scene.cluster.cluster_id().await?;
    let members = stage.members.config(&id).context("no configuration")?.members.len();
    ensure!(members == 3, "there are {members} members");
    scene.set_mood("conure-0", Mood::Well);
    scene.cluster.ready(2, false, PATIENCE).await.with_context(|| operator.last_lines())?;
    scene.unharmed()
}

async fn arbiter_that_adds_no_safety_is_made_and_warned_of(stage: &Stage) -> Result<()> {
    let scene = stage.scene().await?;
    scene.create(3, json!({"arbiter": {"mode": "Always"}})).await?;
    let operator = scene.operator("")?;
    scene.cluster.ready(3, true, PATIENCE).await.with_context(|| operator.last_lines())?;
    said_once(&scene, "ArbiterAddsNoSafety").await?;
    let id = scene.cluster.cluster_id().await?;
    let config = stage.members.config(&id).context("no configuration")?;
    let arbiters = config.members.iter().filter(|member| member.role == Role::Arbiter).count();
    ensure!(arbiters == 1, "there are {arbiters} arbiters");
    // The other way round: an even number without one, as asked.
    let never = json!({"spec": {"voters": {"replicas": 2}, "arbiter": {"mode": "Never"}}});
    scene.cluster.patch(never).await?;
    scene.cluster.ready(2, false, PATIENCE).await.with_context(|| operator.last_lines())?;
    scene.unharmed()
}

/// One event of that reason comes, and it has not been repeated.
async fn said_once(scene: &Scene<'_>, reason: &str) -> Result<()> {
    let events: Api<Event> = scene.cluster.access.api(&scene.namespace);
    until(&format!("an event says {reason}"), PATIENCE, async || {
        let found = events.list(&ListParams::default()).await?.items;
        let said: Vec<Event> =
            found.into_iter().filter(|event| event.reason.as_deref() == Some(reason)).collect();
        ensure!(said.len() == 1, "there are {} such events", said.len());
        let repeated = said.iter().filter_map(|event| event.series.as_ref()).map(|series| series.count).max();
        ensure!(repeated.is_none(), "it was said {repeated:?} times");
        ensure!(said.iter().all(|event| event.type_.as_deref() == Some("Warning")), "it is no warning");
        Ok(())
    })
    .await
}
