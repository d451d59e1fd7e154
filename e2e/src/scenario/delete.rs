//! The end of a cluster, and another one over what it left.

use std::time::Duration;

use anyhow::{Result, ensure};
use conure_crd::names;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Secret, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::Resource;
use kube::api::ListParams;
use serde_json::json;

use super::operator;
use super::world::{NAMESPACE, PATIENCE, World};
use crate::kubernetes::until;

const KEY: &[u8] = b"before the deletion";

pub(super) async fn deleted_cluster_leaves_its_volumes_and_a_new_one_goes_on_with_them_only_when_asked(
    world: &mut World,
) -> Result<()> {
    let identity = world.cluster.cluster_id().await?;
    world.cluster.any_member().await?.put(KEY, "kept").await?;
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
    world.say("it is asked to go on with them");
    let asked = json!({"spec": {"bootstrap": {"existingVolumes": {"clusterID": identity}}}});
    world.cluster.patch(asked).await?;
    world.settled().await?;
    ensure!(world.cluster.cluster_id().await? == identity, "the cluster's id changed");
    let kept = world.cluster.any_member().await?.get(KEY).await?;
    ensure!(kept.is_some_and(|value| value.bytes == "kept"), "what was written before is gone");
    world.told(&[("VolumesTakenOver", identity.as_str())]).await?;

    world.say("it is suspended and comes back");
    world.cluster.patch(json!({"spec": {"suspend": true}})).await?;
    until("there are no pods", PATIENCE, async || {
        let pods = names_of::<Pod>(world).await?;
        ensure!(pods.is_empty(), "there are {pods:?}");
        Ok(())
    })
    .await?;
    let (reason, _) = world.cluster.condition("Available", "False", PATIENCE).await?;
    ensure!(reason == "Suspended", "it is not available because of {reason}");
    ensure!(names_of::<PersistentVolumeClaim>(world).await? == volumes, "the volumes changed");
    world.cluster.patch(json!({"spec": {"suspend": false}})).await?;
    world.settled().await?;
    let kept = world.cluster.any_member().await?.get(KEY).await?;
    ensure!(kept.is_some_and(|value| value.bytes == "kept"), "what was written before is gone");

    world.say("its volumes go with it, with no operator there");
    world
        .cluster
        .patch(json!({"spec": {"voters": {"pvc": {"retention": {"whenDeleted": "Delete"}}}}}))
        .await?;
    world.settled().await?;
    operator::stop(world).await?;
    let gone = deleted_with_its_volumes(world).await;
    operator::start(world).await?;
    gone
}

async fn deleted_with_its_volumes(world: &World) -> Result<()> {
    world.access.kubectl(&["--namespace", NAMESPACE, "delete", "conure", "conure", "--timeout=60s"]).await?;
    until("pods and volumes are gone", PATIENCE, async || {
        // The arbiter's have a policy of their own.
        let mut left = names_of::<PersistentVolumeClaim>(world).await?;
        left.retain(|claim| !claim.contains("arbiter"));
        left.extend(names_of::<Pod>(world).await?);
        ensure!(left.is_empty(), "left: {left:?}");
        Ok(())
    })
    .await
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
