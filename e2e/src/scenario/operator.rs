//! An operator that dies between two steps.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::json;

use super::repair::Former;
use super::scale::voters_are;
use super::world::{NAMESPACE, OPERATOR_NAMESPACE, PATIENCE, World};
use super::{node, repair};
use crate::kubernetes::{Cluster, until};

/// What the crate `fail` reads.
const VARIABLE: &str = "FAILPOINTS";

/// Something that the operator has to do.
#[derive(Clone, Copy)]
enum Change {
    /// So many data members.
    Scale(i32),
    /// Another template, to which all pods are rolled.
    LogLevel(Option<&'static str>),
    /// A new volume for the member in this pod.
    Replace(&'static str),
    /// A cluster of one more, which goes again.
    Create(&'static str),
    /// A disruption budget or none.
    Budget(bool),
}

/// Where the operator dies, and of what it is in the midst.
const DEATHS: [(&str, Change); 10] = [
    ("before_join", Change::Scale(4)),
    ("after_remove", Change::Scale(3)),
    ("after_scale_statefulset", Change::Scale(4)),
    ("before_remove", Change::Scale(3)),
    ("before_evict", Change::LogLevel(Some("warn"))),
    ("before_transfer_leadership", Change::LogLevel(None)),
    ("after_delete_claim", Change::Replace("conure-0")),
    ("after_bootstrap", Change::Create("second")),
    ("before_delete_budget", Change::Budget(false)),
    ("after_apply", Change::Budget(true)),
];

pub(super) async fn killed_operator_carries_on_at_ten_points(world: &mut World) -> Result<()> {
    world.settled().await?;
    let identity = world.cluster.cluster_id().await?;
    for (point, change) in DEATHS {
        let died = die_while(world, point, change).await;
        // Whatever happened: the steps that follow need an operator that lives.
        live(world).await?;
        let former = died.with_context(|| format!("while it was to die at {point}"))?;
        reached(world, change, former).await.with_context(|| format!("after it died at {point}"))?;
        ensure!(world.cluster.cluster_id().await? == identity, "the cluster's id changed");
    }
    world.settled().await?;
    voters_are(world, 3).await
}

/// Makes the change, of which the operator dies; gives whom it is to replace.
async fn die_while(world: &World, point: &str, change: Change) -> Result<Option<Former>> {
    die_at(world, point).await?;
    let mut former = None;
    match change {
        Change::Scale(voters) => world.ask_for(voters).await?,
        Change::LogLevel(level) => {
            world.cluster.patch(json!({"spec": {"serverConfig": {"logLevel": level}}})).await?;
        }
        Change::Replace(pod) => {
            former = Some(Former::of(world, pod).await?);
            repair::ask(world, pod).await?;
        }
        Change::Create(name) => {
            world.access.apply(NAMESPACE, &world.manifest(name, 1).to_string()).await?;
        }
        Change::Budget(enabled) => {
            world.cluster.patch(json!({"spec": {"pdb": {"enabled": enabled}}})).await?;
        }
    }
    has_died(world, point).await?;
    Ok(former)
}

async fn reached(world: &World, change: Change, former: Option<Former>) -> Result<()> {
    if let Some(former) = former {
        return former.started_over(world).await;
    }
    match change {
        Change::Scale(voters) => {
            world.scaled(voters).await?;
            let all = usize::try_from(voters + 1 - voters % 2)?;
            voters_are(world, all).await
        }
        Change::Create(name) => {
            let cluster = Cluster::new(&world.access, NAMESPACE, name);
            cluster.ready(1, false, PATIENCE).await?;
            cluster.resources().delete(name, &DeleteParams::default()).await?;
            Ok(())
        }
        Change::LogLevel(_) | Change::Replace(_) | Change::Budget(_) => world.settled().await,
    }
}

/// Takes the operator away.
pub(super) async fn stop(world: &World) -> Result<()> {
    replicas(world, 0).await?;
    let pods = world.access.api::<Pod>(OPERATOR_NAMESPACE);
    until("the operator is gone", PATIENCE, async || {
        let left = pods.list(&ListParams::default()).await?.items.len();
        ensure!(left == 0, "{left} pods of it are there");
        Ok(())
    })
    .await
}

/// Brings it back.
pub(super) async fn start(world: &World) -> Result<()> {
    replicas(world, 1).await?;
    running(world).await
}

async fn replicas(world: &World, count: u8) -> Result<()> {
    let count = format!("--replicas={count}");
    let scale = ["--namespace", OPERATOR_NAMESPACE, "scale", "deployment", "--all", &count];
    world.access.kubectl(&scale).await?;
    Ok(())
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
