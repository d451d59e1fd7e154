//! Members that start over on a new volume.

use anyhow::{Context, Result, ensure};
use conure_crd::names;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::DeleteParams;
use serde_json::json;

use super::operator;
use super::pods::node_id;
use super::scale::voters_are;
use super::world::{NAMESPACE, PATIENCE, World};
use crate::kubernetes::until;

const ANNOTATION: &str = "conuredb.dev/replace-member";

pub(super) async fn follower_and_leader_are_replaced_when_asked(world: &mut World) -> Result<()> {
    world.settled().await?;
    let leader = world.cluster.leader().await?;
    let follower = ["conure-0", "conure-1"].into_iter().find(|name| **name != *leader);
    let follower = follower.context("there is no follower")?.to_owned();
    for pod in [follower, leader] {
        world.say(format!("{pod} is to be replaced"));
        replace(world, &pod).await?;
        world.told(&[("ReplaceAccepted", &pod), ("MemberReplaced", &pod)]).await?;
        let annotations = world.cluster.get().await?.metadata.annotations.unwrap_or_default();
        ensure!(!annotations.contains_key(ANNOTATION), "the request is still there");
    }
    Ok(())
}

/// Asks for a new volume, and waits until the member has it.
async fn replace(world: &World, pod: &str) -> Result<()> {
    let former = Former::of(world, pod).await?;
    ask(world, pod).await?;
    former.started_over(world).await
}

pub(super) async fn ask(world: &World, pod: &str) -> Result<()> {
    let asked = format!("{ANNOTATION}={pod}");
    world.access.kubectl(&["--namespace", NAMESPACE, "annotate", "conure", "conure", &asked]).await?;
    Ok(())
}

pub(super) async fn claims_deleted_under_their_members_are_made_anew_one_at_a_time(
    world: &mut World,
) -> Result<()> {
    world.settled().await?;
    let pods = ["conure-bootstrap-0", "conure-0", "conure-1"];
    let claims = world.access.api::<PersistentVolumeClaim>(NAMESPACE);
    let mut before = Vec::new();
    for pod in pods {
        before.push(Former::of(world, pod).await?);
    }
    for pod in pods {
        claims.delete(&names::volume_claim(pod), &DeleteParams::default()).await?;
    }
    for former in before {
        former.started_over(world).await?;
    }
    world.told(&pods.map(|pod| ("MemberReplaced", pod))).await
}

pub(super) async fn member_of_a_lost_node_starts_over_on_another(world: &mut World) -> Result<()> {
    world.settled().await?;
    // Kubernetes gives up the pods of a lost node after five minutes, where nothing else is said.
    let gives_up =
        |key: &str| json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5});
    let tolerations = ["node.kubernetes.io/unreachable", "node.kubernetes.io/not-ready"].map(gives_up);
    let spec = json!({"spec": {"tolerations": tolerations, "repair": {"replaceAfter": "10s"}}});
    world.cluster.patch(spec).await?;
    world.settled().await?;
    let leader = world.cluster.leader().await?;
    let node = world.cluster.node_of(&leader).await?;
    operator::leave(world, &node).await?;
    let former = Former::of(world, &leader).await?;
    world.say(format!("{node} with the leader {leader} is lost"));
    let faults = world.faults()?;
    faults.cut_off(&node)?;
    let outcome = former.started_over(world).await;
    let moved = world.cluster.node_of(&leader).await;
    faults.heal(&node)?;
    outcome?;
    let moved = moved?;
    ensure!(moved != node, "{leader} is still on {node}");
    world.say(format!("{leader} started over on {moved}; {node} is back"));
    world.told(&[("MemberReplaced", &leader)]).await?;
    world.cluster.patch(json!({"spec": {"tolerations": null, "repair": null}})).await?;
    world.settled().await?;
    // Two members are on one node now, which cannot be drained before they are apart again. Until its kubelet was heard again no
    // pod is placed on the node that was lost.
    takes_pods(world, &node).await?;
    replace(world, &leader).await?;
    let back = world.cluster.node_of(&leader).await?;
    ensure!(back == node, "{leader} was replaced on {back}, beside another member, although {node} has none");
    voters_are(world, 3).await
}

/// Waits until pods may be placed on the node again.
async fn takes_pods(world: &World, node: &str) -> Result<()> {
    until(&format!("{node} takes pods"), PATIENCE, async || {
        let columns = r#"jsonpath={.status.conditions[?(@.type=="Ready")].status}{.spec.taints}"#;
        let said = world.access.kubectl(&["get", "node", node, "--output", columns]).await?;
        ensure!(said.trim() == "True", "it is Ready or not, with its taints: {said}");
        Ok(())
    })
    .await
}

pub(super) async fn follower_with_damaged_data_starts_over_by_itself(world: &mut World) -> Result<()> {
    world.settled().await?;
    let leader = world.cluster.leader().await?;
    let follower = ["conure-0", "conure-1"].into_iter().find(|name| **name != *leader);
    let pod = follower.context("there is no follower")?;
    let former = Former::of(world, pod).await?;
    // The last letter of the member's name in its identity, which nothing writes while the member lives.
    let flip = "printf X | dd of=/data/identity bs=1 seek=20 conv=notrunc";
    world.access.kubectl(&["--namespace", NAMESPACE, "exec", pod, "--", "sh", "-c", flip]).await?;
    world.say(format!("the identity of {pod} is damaged, and it starts again"));
    world.cluster.delete_pod(pod, true).await?;
    former.started_over(world).await?;
    world.told(&[("DataDamaged", pod), ("MemberReplaced", pod)]).await
}

/// A member and its volume, as they were.
pub(super) struct Former {
    pod: String,
    claim: Option<String>,
    node_id: String,
}

impl Former {
    /// Those of this pod now.
    pub(super) async fn of(world: &World, pod: &str) -> Result<Self> {
        let (claim, node_id) = (claim_uid(world, pod).await?, node_id(world, pod).await?);
        Ok(Self { pod: pod.to_owned(), claim, node_id })
    }

    /// Waits until the pod has a new volume and is a new member, with the cluster Ready.
    pub(super) async fn started_over(&self, world: &World) -> Result<()> {
        let pod = &self.pod;
        until(&format!("{pod} has a new volume"), PATIENCE, async || {
            let now = claim_uid(world, pod).await?;
            ensure!(now.is_some() && now != self.claim, "its claim is {now:?}");
            Ok(())
        })
        .await?;
        world.settled().await?;
        ensure!(node_id(world, pod).await? != self.node_id, "{pod} is the member that it was");
        voters_are(world, 3).await
    }
}

async fn claim_uid(world: &World, pod: &str) -> Result<Option<String>> {
    let claims = world.access.api::<PersistentVolumeClaim>(NAMESPACE);
    Ok(claims.get_opt(&names::volume_claim(pod)).await?.and_then(|claim| claim.metadata.uid))
}
