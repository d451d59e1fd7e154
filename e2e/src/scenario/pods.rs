//! Pods that go and come back.

use anyhow::{Context, Result, bail, ensure};

use super::world::{PATIENCE, World};
use crate::kubernetes::until;

pub(super) async fn deleted_pods_come_back_as_the_same_members(world: &mut World) -> Result<()> {
    world.settled().await?;
    let leader = world.cluster.leader().await?;
    world.say(format!("the leader {leader} is deleted and may end well"));
    come_back(world, &leader, false).await?;
    let leader = world.cluster.leader().await?;
    world.say(format!("the leader {leader} is deleted at once"));
    come_back(world, &leader, true).await?;
    let follower =
        world.cluster.targets().await?.into_iter().map(|target| target.name).find(|name| *name != leader);
    let follower = follower.context("there is no follower")?;
    world.say(format!("the follower {follower} is deleted at once"));
    come_back(world, &follower, true).await
}

/// Deletes a pod; its successor is the same member with the same data directory.
async fn come_back(world: &World, pod: &str, at_once: bool) -> Result<()> {
    let before = world.cluster.pod(pod).await?.metadata.uid;
    let node_id = node_id(world, pod).await?;
    world.cluster.delete_pod(pod, at_once).await?;
    until(&format!("{pod} is replaced"), PATIENCE, async || {
        if world.cluster.pod(pod).await?.metadata.uid == before {
            bail!("the old pod is still there")
        } else {
            Ok(())
        }
    })
    .await?;
    world.settled().await?;
    ensure!(self::node_id(world, pod).await? == node_id, "{pod} came back as another member");
    Ok(())
}

/// The Raft node id of a member, by the cluster's status.
pub(super) async fn node_id(world: &World, name: &str) -> Result<String> {
    let members = world.cluster.status().await?.members;
    let member = members.into_iter().find(|member| member.name == name);
    member.and_then(|member| member.node_id).with_context(|| format!("the status names no node id of {name}"))
}
