//! One operator at a time: who holds the Lease, what becomes of it, and what the holder counts.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use serde_json::json;

use super::world::{NAMESPACE, OPERATOR_NAMESPACE, PATIENCE, World};
use crate::kubernetes::{is_ready, until};

/// Whoever takes the Lease away.
const STRANGER: &str = "somebody-else";
/// For how long, in seconds.
const STOLEN_SECONDS: i32 = 15;

pub(super) async fn operator_shows_its_figures_through_its_service(world: &mut World) -> Result<()> {
    let cluster = format!("namespace=\"{NAMESPACE}\",name=\"{}\"", world.cluster.name);
    let expected = [
        "conure_operator_leading 1".to_owned(),
        format!("conure_operator_cluster_condition{{{cluster},condition=\"Ready\"}} 1"),
        format!("conure_operator_cluster_condition{{{cluster},condition=\"QuorumLost\"}} 0"),
        format!("conure_operator_cluster_ready_members{{{cluster}}} 3"),
    ];
    until("the operator's figures are those of a cluster that is Ready", PATIENCE, async || {
        let figures = figures(world).await?;
        for line in &expected {
            ensure!(figures.lines().any(|found| found == line), "{line} is not in\n{figures}");
        }
        ensure!(counter(&figures, "reconciles_total")? > 0, "no pass was counted in\n{figures}");
        Ok(())
    })
    .await
}

/// The operator counted the joins and the resized StatefulSets of a scale.
pub(super) async fn scaling_was_counted(world: &World) -> Result<()> {
    let figures = figures(world).await?;
    for kind in ["Join", "Remove", "Scale"] {
        let count = counter(&figures, &format!("actions_total{{action=\"{kind}\"}}"))?;
        ensure!(count > 0, "{kind} was counted {count} times");
    }
    Ok(())
}

/// What the operator shows, through the API server and its Service.
pub(super) async fn figures(world: &World) -> Result<String> {
    let services = world.access.api::<Service>(OPERATOR_NAMESPACE).list(&ListParams::default()).await?.items;
    let name = services.into_iter().filter_map(|service| service.metadata.name).next();
    let name = name.context("the operator has no Service")?;
    let path = format!("/api/v1/namespaces/{OPERATOR_NAMESPACE}/services/{name}:http/proxy/metrics");
    world.access.kubectl(&["get", "--raw", &path]).await
}

fn counter(figures: &str, name: &str) -> Result<u64> {
    let start = format!("conure_operator_{name} ");
    let count = figures.lines().find_map(|line| line.strip_prefix(&start));
    Ok(count.with_context(|| format!("no {name} in\n{figures}"))?.parse()?)
}

pub(super) async fn deleted_operator_leaves_its_lease_to_the_next(world: &mut World) -> Result<()> {
    world.settled().await?;
    let before = an_operator_holds_it(world).await?;
    let began = Instant::now();
    pods(world).delete(&before, &DeleteParams::default()).await?;
    until("the next operator holds the Lease", PATIENCE, async || {
        let holder = held_by_the_operator(world).await?;
        ensure!(holder != before, "{holder} still holds it");
        Ok(())
    })
    .await?;
    world.say(format!("the next operator holds the Lease {:.1} s later", began.elapsed().as_secs_f64()));

    // That it works: what it says of a change, and that it makes the change only when it is asked to.
    world.cluster.patch(json!({"spec": {"paused": true, "pdb": {"enabled": false}}})).await?;
    until("the cluster says that it is paused", PATIENCE, async || {
        let found = world.cluster.get().await?;
        let conditions = found.status.unwrap_or_default().conditions;
        let ready =
            conditions.into_iter().find(|condition| condition.type_ == "Ready").context("no Ready")?;
        let says = format!("Ready={} {}: {}", ready.status, ready.reason, ready.message);
        ensure!(ready.observed_generation == found.metadata.generation, "{says}, of an older generation");
        ensure!(ready.status == "False" && ready.reason == "Paused", "{says}");
        ensure!(ready.message.contains("PodDisruptionBudget conure"), "{says}");
        Ok(())
    })
    .await?;
    world.cluster.patch(json!({"spec": {"paused": false, "pdb": {"enabled": true}}})).await?;
    world.settled().await
}

pub(super) async fn operator_that_lost_its_lease_ends_and_waits_for_it(world: &mut World) -> Result<()> {
    world.settled().await?;
    let operator = an_operator_holds_it(world).await?;
    let before = restarts(world, &operator).await?;
    let now = MicroTime(Timestamp::now());
    let stolen = json!({"spec": {
        "holderIdentity": STRANGER,
        "acquireTime": now,
        "renewTime": now,
        "leaseDurationSeconds": STOLEN_SECONDS,
    }});
    let name = lease(world).await?.metadata.name.context("a Lease without a name")?;
    let began = Instant::now();
    leases(world).patch(&name, &PatchParams::default(), &Patch::Merge(&stolen)).await?;
    until("the operator notices the loss and ends", PATIENCE, async || {
        let now = restarts(world, &operator).await?;
        ensure!(now > before, "its container was started again {now} times, as before");
        Ok(())
    })
    .await?;
    world.say(format!("the operator ended within {:.1} s", began.elapsed().as_secs_f64()));
    until("the operator holds the Lease again", PATIENCE, async || {
        let holder = held_by_the_operator(world).await?;
        ensure!(holder == operator, "{holder} holds it");
        Ok(())
    })
    .await?;
    world.say(format!("and held the Lease again after {:.1} s", began.elapsed().as_secs_f64()));
    world.settled().await
}

fn pods(world: &World) -> Api<Pod> {
    world.access.api(OPERATOR_NAMESPACE)
}

fn leases(world: &World) -> Api<Lease> {
    world.access.api(OPERATOR_NAMESPACE)
}

async fn lease(world: &World) -> Result<Lease> {
    let mut found = leases(world).list(&ListParams::default()).await?.items;
    ensure!(found.len() == 1, "there are {} Leases", found.len());
    found.pop().context("there is no Lease")
}

/// Waits until the operator works: one that has just been rolled or was killed waits for the Lease of the one before,
/// and the cluster is Ready all the while.
async fn an_operator_holds_it(world: &World) -> Result<String> {
    until("an operator holds the Lease", PATIENCE, async || held_by_the_operator(world).await).await
}

/// The name of the operator's pod, which is ready and holds the Lease.
async fn held_by_the_operator(world: &World) -> Result<String> {
    let holder = lease(world).await?.spec.and_then(|spec| spec.holder_identity);
    let holder = holder.context("nobody holds the Lease")?;
    let pod = pods(world).get_opt(&holder).await?;
    let pod = pod.with_context(|| format!("{holder} holds the Lease and is no pod of the operator"))?;
    ensure!(is_ready(&pod), "{holder} holds the Lease and is not ready");
    Ok(holder)
}

async fn restarts(world: &World, pod: &str) -> Result<i32> {
    let status = pods(world).get(pod).await?.status.unwrap_or_default();
    Ok(status.container_statuses.iter().flatten().map(|container| container.restart_count).sum())
}
