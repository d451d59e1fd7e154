//! The end of a cluster, and another one over what it left.

use std::time::Duration;

use anyhow::{Result, ensure};
use conure_crd::names;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Secret, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::Resource;
use kube::api::{DeleteParams, ListParams};

use super::world::{NAMESPACE, PATIENCE, World};
use crate::kubernetes::until;

pub(super) async fn deleted_cluster_leaves_its_volumes_and_a_new_one_over_them_is_refused(
    world: &mut World,
) -> Result<()> {
    let volumes = names_of::<PersistentVolumeClaim>(world).await?;
    ensure!(volumes.len() >= 3, "the volumes are {volumes:?}");
    world.access.kubectl(&["--namespace", NAMESPACE, "delete", "conure", "conure", "--timeout=60s"]).await?;
    until("everything but the volumes is gone", PATIENCE, async || {
        let left = [
            names_of::<Pod>(world).await?,
            names_of::<StatefulSet>(world).await?,
            names_of::<Service>(world).await?,
            names_of::<Secret>(world).await?,
            names_of::<PodDisruptionBudget>(world).await?,
        ]
        .concat();
        ensure!(left.is_empty(), "left: {left:?}");
        Ok(())
    })
    .await?;
    let after = names_of::<PersistentVolumeClaim>(world).await?;
    ensure!(after == volumes, "the volumes were {volumes:?} and are {after:?}");

    world.access.apply(NAMESPACE, &world.manifest("conure", 3).to_string()).await?;
    let (reason, message) = world.cluster.condition("Degraded", "True", Duration::from_mins(1)).await?;
    world.say(format!("a new cluster over the old volumes: {reason}: {message}"));
    ensure!(message.contains("data-conure"), "the message does not name the volumes");
    let status = world.cluster.status().await?;
    ensure!(status.ready_replicas == 0, "{} members of it are ready", status.ready_replicas);
    let after = names_of::<PersistentVolumeClaim>(world).await?;
    ensure!(after == volumes, "the refused cluster changed the volumes {volumes:?} to {after:?}");
    world.cluster.resources().delete("conure", &DeleteParams::default()).await?;
    Ok(())
}

/// The names of a kind's objects that carry the cluster's labels.
async fn names_of<K>(world: &World) -> Result<Vec<String>>
where
    K: Resource<Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
    K::DynamicType: Default,
{
    let labels: Vec<String> =
        names::selector_labels("conure").iter().map(|(key, value)| format!("{key}={value}")).collect();
    let list =
        world.access.api::<K>(NAMESPACE).list(&ListParams::default().labels(&labels.join(","))).await?;
    let mut names: Vec<String> = list.items.iter().filter_map(|item| item.meta().name.clone()).collect();
    names.sort();
    Ok(names)
}
