//! Members that lose everything they had.

use anyhow::{Result, ensure};

use super::pods::node_id;
use super::scale::voters_are;
use super::world::World;

pub(super) async fn wiped_voter_rejoins_as_a_new_member_of_its_name(world: &mut World) -> Result<()> {
    wipe(world, "conure-0").await
}

pub(super) async fn wiped_bootstrap_member_rejoins_the_cluster_that_there_is(
    world: &mut World,
) -> Result<()> {
    wipe(world, "conure-bootstrap-0").await
}

async fn wipe(world: &World, pod: &str) -> Result<()> {
    world.settled().await?;
    let identity = world.cluster.cluster_id().await?;
    let before = node_id(world, pod).await?;
    let key = format!("before the wipe of {pod}");
    world.cluster.any_member().await?.put(key.as_bytes(), identity.clone()).await?;
    world.cluster.lose_volume(pod).await?;
    world.acknowledged_more(50).await?;
    world.settled().await?;
    ensure!(node_id(world, pod).await? != before, "{pod} is the same member as before its volume was lost");
    voters_are(world, 3).await?;
    ensure!(world.cluster.cluster_id().await? == identity, "status.clusterID changed");
    for target in world.cluster.targets().await? {
        let own = world.cluster.member_status(&target.name).await?.cluster_id;
        ensure!(own == identity, "{} belongs to cluster {own}, not to {identity}", target.name);
    }
    // Its own state has what was written before it was wiped.
    let read = world.cluster.member(pod).await?.get_stale(key.as_bytes()).await?;
    ensure!(
        read.value.is_some_and(|value| value.bytes == identity),
        "{pod} does not hold what was written before"
    );
    Ok(())
}
