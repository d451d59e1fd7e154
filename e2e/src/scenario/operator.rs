//! An operator that dies between two steps.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::json;

use super::node;
use super::scale::voters_are;
use super::world::{OPERATOR_NAMESPACE, PATIENCE, World};
use crate::kubernetes::until;

/// What the crate `fail` reads.
const VARIABLE: &str = "FAILPOINTS";

pub(super) async fn killed_operator_carries_on_at_three_points_of_a_scale(world: &mut World) -> Result<()> {
    world.settled().await?;
    let identity = world.cluster.cluster_id().await?;
    let scaled = while_dying(world).await;
    // Whatever happened: the steps that follow need an operator that lives.
    live(world).await?;
    scaled?;
    world.settled().await?;
    voters_are(world, 3).await?;
    ensure!(world.cluster.cluster_id().await? == identity, "the cluster's id changed");
    Ok(())
}

async fn while_dying(world: &World) -> Result<()> {
    die_at(world, "before_join").await?;
    world.ask_for(4).await?;
    has_died(world, "before_join").await?;
    live(world).await?;
    world.cluster.ready(4, true, PATIENCE).await?;
    voters_are(world, 5).await?;
    die_at(world, "before_remove").await?;
    world.ask_for(3).await?;
    has_died(world, "before_remove").await?;
    die_at(world, "before_scale_statefulset").await?;
    has_died(world, "before_scale_statefulset").await
}

/// From now on the operator dies whenever it comes to this point.
async fn die_at(world: &World, point: &str) -> Result<()> {
    set(world, Some(format!("{point}=return"))).await?;
    running(world).await
}

async fn live(world: &World) -> Result<()> {
    set(world, None).await?;
    running(world).await
}

async fn set(world: &World, value: Option<String>) -> Result<()> {
    let deployments = world.access.api::<Deployment>(OPERATOR_NAMESPACE);
    let deployment = deployments.list(&ListParams::default()).await?.items.pop();
    let deployment = deployment.context("the operator has no Deployment")?;
    let spec = deployment.spec.and_then(|spec| spec.template.spec);
    let container =
        spec.and_then(|spec| spec.containers.into_iter().next()).context("the operator has no container")?;
    let variable = match value {
        Some(value) => json!({"name": VARIABLE, "value": value}),
        None => json!({"name": VARIABLE, "$patch": "delete"}),
    };
    let containers = json!([{"name": container.name, "env": [variable]}]);
    let patch = json!({"spec": {"template": {"spec": {"containers": containers}}}});
    let name = deployment.metadata.name.unwrap_or_default();
    deployments.patch(&name, &PatchParams::default(), &Patch::Strategic(patch)).await?;
    Ok(())
}

/// Waits until the one pod of the newest template runs; it may have died since.
async fn running(world: &World) -> Result<()> {
    let deployments = world.access.api::<Deployment>(OPERATOR_NAMESPACE);
    until("the operator's Deployment is rolled", PATIENCE, async || {
        let deployment =
            deployments.list(&ListParams::default()).await?.items.pop().context("no Deployment")?;
        let status = deployment.status.unwrap_or_default();
        ensure!(status.observed_generation == deployment.metadata.generation, "not seen yet");
        ensure!(status.updated_replicas == Some(1) && status.replicas == Some(1), "pods: {status:?}");
        Ok(())
    })
    .await
}

/// Waits until the operator's process ended badly at least once.
async fn has_died(world: &World, point: &str) -> Result<()> {
    let pods = world.access.api::<Pod>(OPERATOR_NAMESPACE);
    let exit = until(&format!("the operator dies at {point}"), Duration::from_mins(2), async || {
        let found = pods.list(&ListParams::default()).await?.items;
        let statuses = found.into_iter().filter_map(|pod| pod.status?.container_statuses).flatten();
        statuses
            .filter_map(|status| exit_code(&status))
            .find(|code| *code != 0)
            .context("no process has died")
    })
    .await?;
    world.say(format!("the operator died at {point} with exit code {exit}"));
    Ok(())
}

fn exit_code(status: &ContainerStatus) -> Option<i32> {
    let states = [&status.state, &status.last_state];
    states.into_iter().flatten().find_map(|state| state.terminated.as_ref()).map(|ended| ended.exit_code)
}

/// Moves the operator to another node, where it is on this one.
pub(super) async fn leave(world: &World, node: &str) -> Result<()> {
    let pods = world.access.api::<Pod>(OPERATOR_NAMESPACE);
    let on_node = |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == Some(node);
    let here: Vec<Pod> = pods.list(&ListParams::default()).await?.items.into_iter().filter(on_node).collect();
    if here.is_empty() {
        return Ok(());
    }
    node::schedulable(world, node, false).await?;
    for pod in here {
        pods.delete(pod.metadata.name.as_deref().unwrap_or_default(), &DeleteParams::default()).await?;
    }
    let moved = until(&format!("the operator is ready on another node than {node}"), PATIENCE, async || {
        let deployments = world.access.api::<Deployment>(OPERATOR_NAMESPACE);
        let found = deployments.list(&ListParams::default()).await?.items.pop().context("no Deployment")?;
        let ready = found.status.and_then(|status| status.ready_replicas);
        let left = pods.list(&ListParams::default()).await?.items.iter().filter(|pod| on_node(pod)).count();
        ensure!(ready == Some(1) && left == 0, "ready pods: {ready:?}, on {node}: {left}");
        Ok(())
    })
    .await;
    node::schedulable(world, node, true).await?;
    moved
}
