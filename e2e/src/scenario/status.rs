//! A status that is lost, as after a restore of the resource from a backup.

use anyhow::{Result, ensure};
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::scale::voters_are;
use super::world::{PATIENCE, World};
use crate::kubernetes::until;

pub(super) async fn wiped_status_is_found_again_from_the_members(world: &mut World) -> Result<()> {
    world.settled().await?;
    let identity = world.cluster.cluster_id().await?;
    let resources = world.cluster.resources();
    let wiped = resources
        .patch_status(&world.cluster.name, &PatchParams::default(), &Patch::Merge(json!({"status": null})))
        .await?;
    ensure!(wiped.status.is_none_or(|status| status.cluster_id.is_none()), "the status was not wiped");
    until("status.clusterID is there again", PATIENCE, async || {
        let found = world.cluster.cluster_id().await?;
        ensure!(found == identity, "it is {found}, not {identity}");
        Ok(())
    })
    .await?;
    world.settled().await?;
    voters_are(world, 3).await
}
