//! A quorum that is lost for good, and a cluster that goes on with one of its members.

use anyhow::{Context, Result, ensure};
use conure_crd::names;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::DeleteParams;
use serde_json::json;

use super::lease;
use super::world::{PATIENCE, World};
use crate::kubernetes::{Cluster, until};

/// The namespace of the cluster here.
const NAMESPACE: &str = "conure-e2e-quorum";
/// How many keys must outlive it.
const KEYS: u32 = 200;
const LOST: [&str; 3] = ["lost-1", "lost-2", "lost-3"];

pub(super) async fn cluster_goes_on_after_three_of_five_volumes_were_lost(world: &mut World) -> Result<()> {
    world.access.fresh_namespace(NAMESPACE).await?;
    world.access.apply(NAMESPACE, &world.manifest("lost", 5).to_string()).await?;
    let cluster = Cluster::new(&world.access, NAMESPACE, "lost");
    cluster.ready(5, false, PATIENCE).await?;
    let (identity, before) = written(&cluster).await?;
    lose(&cluster).await?;

    let (reason, message) = cluster.condition("QuorumLost", "True", PATIENCE).await?;
    world.say(format!("{reason}: {message}"));
    let event = format!("ConureCluster/{}", cluster.name);
    until(&format!("an event says {reason}"), PATIENCE, async || {
        let events = world.access.events(NAMESPACE).await?;
        let said = events.iter().any(|said| said.about == event && said.reason == reason);
        ensure!(said, "{} events say something else", events.len());
        Ok(())
    })
    .await?;
    let labels = format!("namespace=\"{NAMESPACE}\",name=\"{}\",condition=\"QuorumLost\"", cluster.name);
    let figure = format!("conure_operator_cluster_condition{{{labels}}} 1");
    until("the figures say so", PATIENCE, async || {
        let figures = lease::figures(world).await?;
        ensure!(figures.lines().any(|line| line == figure), "{figure} is not in\n{figures}");
        Ok(())
    })
    .await?;
    ensure!(LOST.iter().all(|pod| message.contains(pod)), "the message does not name who is missing");
    ensure!(message.contains("spec.recovery {memberName: "), "the message does not say how to go on");
    let survivor = message.split("memberName: ").nth(1).and_then(|rest| rest.split(',').next());
    let survivor = survivor.context("the message names no member")?.to_owned();
    ensure!(!LOST.contains(&survivor.as_str()), "{survivor} has lost its volume");

    for (member, id, incarnation, expected) in [
        (survivor.as_str(), "another", 1, "ClusterIDDiffers"),
        (survivor.as_str(), identity.as_str(), 7, "IncarnationDiffers"),
        (LOST[0], identity.as_str(), 1, "MemberNotReachable"),
    ] {
        ask(&cluster, member, id, incarnation).await?;
        let (reason, message) = recovered(&cluster, "False", expected).await?;
        world.say(format!("{reason}: {message}"));
    }
    ask(&cluster, &survivor, &identity, 1).await?;
    cluster.ready(5, false, PATIENCE).await?;
    let (_, message) = recovered(&cluster, "True", "RecoveryDone").await?;
    world.say(message);

    let status = cluster.status().await?;
    ensure!(status.cluster_id.as_deref() == Some(&identity), "the cluster's id changed");
    ensure!(status.incarnation == Some(2), "the incarnation is {:?}", status.incarnation);
    let any = cluster.any_member().await?;
    let after = any.status().await?.revision;
    ensure!(after >= before + (1 << 32), "the revision went from {before} to {after}: ETags may come twice");
    for key in 0..KEYS {
        let value = any.get(format!("key-{key}").as_bytes()).await?;
        ensure!(value.is_some_and(|value| value.bytes == format!("value-{key}")), "key-{key} is lost");
    }
    let copy = ["--namespace", NAMESPACE, "exec", &survivor, "--", "ls", "/data/before-recovery-1"];
    let copy = world.access.kubectl(&copy).await?;
    ensure!(copy.contains("identity"), "the copy of {survivor}'s data holds {copy}");
    // The request stays in the resource, as in Git, and does nothing any more.
    ensure!(cluster.get().await?.spec.recovery.is_some(), "the request is gone");
    any.put(b"after", "recovery").await?;
    cluster.resources().delete("lost", &DeleteParams::default()).await?;
    Ok(())
}

/// Writes the keys, and waits until every member has them; the cluster's id and revision.
async fn written(cluster: &Cluster) -> Result<(String, u64)> {
    let any = cluster.any_member().await?;
    for key in 0..KEYS {
        any.put(format!("key-{key}").as_bytes(), format!("value-{key}")).await?;
    }
    let revision = any.status().await?.revision;
    for target in cluster.targets().await? {
        until(&format!("{} has everything", target.name), PATIENCE, async || {
            let own = cluster.member_status(&target.name).await?.revision;
            ensure!(own >= revision, "it is at {own} of {revision}");
            Ok(())
        })
        .await?;
    }
    Ok((cluster.cluster_id().await?, revision))
}

/// Takes the volumes of three members at once.
async fn lose(cluster: &Cluster) -> Result<()> {
    let claims = cluster.access.api::<PersistentVolumeClaim>(NAMESPACE);
    let mut before = Vec::new();
    for pod in LOST {
        let claim = names::volume_claim(pod);
        before.push((claim.clone(), claims.get(&claim).await?.metadata.uid));
        claims.delete(&claim, &DeleteParams::default()).await?;
    }
    for pod in LOST {
        cluster.delete_pod(pod, true).await?;
    }
    for (claim, uid) in before {
        until(&format!("{claim} is another one"), PATIENCE, async || {
            let now = claims.get_opt(&claim).await?;
            ensure!(now.is_some_and(|now| now.metadata.uid != uid), "it is not");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

async fn ask(cluster: &Cluster, member: &str, id: &str, incarnation: i64) -> Result<()> {
    let recovery = json!({"memberName": member, "clusterID": id, "incarnation": incarnation});
    cluster.patch(json!({"spec": {"recovery": recovery}})).await.map(drop)
}

/// Waits for the outcome of a request, with this reason.
async fn recovered(cluster: &Cluster, wanted: &str, reason: &str) -> Result<(String, String)> {
    until(&format!("the condition Recovered is {wanted} because of {reason}"), PATIENCE, async || {
        let found = cluster.condition("Recovered", wanted, PATIENCE).await?;
        ensure!(found.0 == reason, "it is {}: {}", found.0, found.1);
        Ok(found)
    })
    .await
}
