//! More and fewer members.

use anyhow::{Result, ensure};
use conure_client::api::{RaftConfig, Suffrage};
use conure_crd::names;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use serde_json::json;

use super::lease;
use super::world::{NAMESPACE, PATIENCE, World};
use crate::kubernetes::until;

pub(super) async fn cluster_scales_from_3_to_5_to_3(world: &mut World) -> Result<()> {
    world.settled().await?;
    let identity = world.cluster.cluster_id().await?;
    world.scale(5).await?;
    voters_are(world, 5).await?;
    world.scale(3).await?;
    voters_are(world, 3).await?;
    world
        .told(&[
            ("ScaledUp", "conure from 2 to 4 pods"),
            ("MemberJoined", "conure-2 is a caught-up voter"),
            ("MemberJoined", "conure-3 is a caught-up voter"),
            ("MemberRemoved", "conure-3 is no longer a member"),
            ("ScaledDown", "conure from 4 to 3 pods"),
            ("MemberRemoved", "conure-2 is no longer a member"),
            ("ScaledDown", "conure from 3 to 2 pods"),
        ])
        .await?;
    lease::scaling_was_counted(world).await?;
    let claims = world.access.api::<PersistentVolumeClaim>(NAMESPACE);
    for pod in ["conure-2", "conure-3"] {
        let kept = claims.get_opt(&names::volume_claim(pod)).await?;
        ensure!(kept.is_some(), "the volume of {pod} went when the cluster shrank");
    }
    // Up again over the volumes that were kept: their members know that they were removed, and come back as new ones.
    world.scale(5).await?;
    voters_are(world, 5).await?;
    world.scale(3).await?;
    ensure!(world.cluster.cluster_id().await? == identity, "the cluster's id changed");
    Ok(())
}

pub(super) async fn changes_of_mind_end_where_the_last_one_says(world: &mut World) -> Result<()> {
    world.settled().await?;
    for (asked, passed) in [(5, 4), (2, 3), (5, 4)] {
        world.ask_for(asked).await?;
        until(&format!("{passed} members on the way to {asked}"), PATIENCE, async || {
            let config = world.cluster.any_member().await?.raft_config().await?;
            let count = i32::try_from(config.members.len())?;
            // A member that comes is there for a moment only before the next one.
            ensure!(if asked > passed { count >= passed } else { count <= passed }, "there are {count}");
            world.say(format!("asked for {asked}, there are {count} members"));
            Ok(())
        })
        .await?;
    }
    world.scale(3).await?;
    voters_are(world, 3).await
}

pub(super) async fn volumes_of_members_that_go_are_deleted_where_the_policy_says_so(
    world: &mut World,
) -> Result<()> {
    world.settled().await?;
    let claims = world.access.api::<PersistentVolumeClaim>(NAMESPACE);
    let policy = |policy: &str| json!({"spec": {"voters": {"pvc": {"retention": {"whenScaled": policy}}}}});
    world.scale(4).await?;
    world.scale(3).await?;
    world.cluster.patch(policy("Delete")).await?;
    world.settled().await?;
    let kept = claims.get_opt("data-conure-2").await?;
    ensure!(kept.is_some(), "the policy deleted the volume of a member that went before it");
    world.scale(5).await?;
    world.scale(3).await?;
    for pod in ["conure-2", "conure-3"] {
        until(&format!("the volume of {pod} is gone"), PATIENCE, async || {
            let there = claims.get_opt(&names::volume_claim(pod)).await?;
            ensure!(there.is_none(), "it is still there");
            Ok(())
        })
        .await?;
    }
    world.told(&[("VolumeDeleted", "data-conure-2"), ("VolumeDeleted", "data-conure-3")]).await?;
    world.cluster.patch(policy("Retain")).await?;
    world.settled().await
}

/// The members themselves agree on how many voters there are.
pub(super) async fn voters_are(world: &World, count: usize) -> Result<()> {
    let config: RaftConfig = world.cluster.any_member().await?.raft_config().await?;
    let voters = config.members.iter().filter(|member| member.suffrage == Suffrage::Voter).count();
    ensure!(voters == count && config.members.len() == count, "the members' configuration is {config:?}");
    Ok(())
}
