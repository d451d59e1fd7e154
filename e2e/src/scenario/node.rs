//! A node that nobody can reach for a while.

use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::Node;
use kube::api::Api;

use super::world::{PATIENCE, World};
use super::{chaos, operator};
use crate::cluster::instance::{NODES, node_name};
use crate::kubernetes::until;

pub(super) async fn cut_off_node_stops_nobody_else(world: &mut World) -> Result<()> {
    world.settled().await?;
    let leader = world.cluster.leader().await?;
    let node = world.cluster.node_of(&leader).await?;
    let members = world.cluster.status().await?.members;
    // What the cluster says meanwhile is tested too, and an operator that is cut off says nothing.
    operator::leave(world, &node).await?;
    world.say(format!("{node} with the leader {leader} is cut off"));
    let faults = world.faults()?;
    faults.cut_off(&node)?;
    let outcome = while_cut_off(world, &leader, &node).await;
    faults.heal(&node)?;
    outcome?;
    world.settled().await?;
    let after = world.cluster.status().await?.members;
    for member in members {
        let same = after.iter().any(|now| now.name == member.name && now.node_id == member.node_id);
        ensure!(same, "{} is no longer the member that it was", member.name);
    }
    Ok(())
}

async fn while_cut_off(world: &World, leader: &str, node: &str) -> Result<()> {
    let successor = until("another member leads", PATIENCE, async || {
        let now = world.cluster.leader().await?;
        if now == leader { bail!("{now} says that it still leads") } else { Ok(now) }
    })
    .await?;
    world.say(format!("{successor} leads"));
    world.acknowledged_more(200).await?;
    let nodes: Api<Node> = Api::all(world.access.client());
    until(&format!("{node} is not Ready"), PATIENCE, async || {
        let conditions =
            nodes.get(node).await?.status.and_then(|status| status.conditions).unwrap_or_default();
        let ready =
            conditions.iter().find(|condition| condition.type_ == "Ready").map(|ready| ready.status.clone());
        ensure!(ready.as_deref() != Some("True"), "its condition Ready is {ready:?}");
        Ok(())
    })
    .await?;
    // A missing member is no wish for a smaller cluster.
    let (_, message) = world.cluster.condition("Ready", "False", PATIENCE).await?;
    world.say(format!("the cluster says: {message}"));
    world.cluster.condition("Available", "True", PATIENCE).await?;
    let config = world.cluster.any_member().await?.raft_config().await?;
    ensure!(config.members.len() == 3, "the cluster shrank to {:?}", config.members);
    world.acknowledged_more(100).await
}

pub(super) async fn every_node_is_drained_in_turn_and_writers_go_on(world: &mut World) -> Result<()> {
    world.settled().await?;
    for number in 1..=NODES {
        let node = node_name(number);
        let began = Instant::now();
        let drained = chaos::drain(world, &node, PATIENCE).await;
        let written = world.acknowledged_more(100).await;
        schedulable(world, &node, true).await?;
        drained.with_context(|| format!("draining {node}"))?;
        written?;
        world.settled().await?;
        world.say(format!(
            "{node} was drained and is whole again after {:.1} s",
            began.elapsed().as_secs_f64()
        ));
    }
    Ok(())
}

/// Whether new pods may start on a node.
pub(super) async fn schedulable(world: &World, node: &str, may: bool) -> Result<()> {
    let nodes: Api<Node> = Api::all(world.access.client());
    if may {
        nodes.uncordon(node).await?
    } else {
        nodes.cordon(node).await?
    };
    Ok(())
}
