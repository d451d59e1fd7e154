//! A changed spec: a template reaches every member, one at a time, the leader last; a budget goes and comes.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Result, bail, ensure};
use conure_crd::names;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde_json::json;

use super::world::{NAMESPACE, PATIENCE, World};
use crate::kubernetes::{is_ready, until};

pub(super) async fn changed_template_rolls_one_member_at_a_time_leader_last(world: &mut World) -> Result<()> {
    world.settled().await?;
    let leader = world.cluster.leader().await?;
    let before = uids(&world.cluster.pods().await?);
    let began = Instant::now();
    world.cluster.patch(json!({"spec": {"serverConfig": {"logLevel": "warn"}}})).await?;
    let mut order: Vec<String> = Vec::new();
    let mut fewest = before.len();
    until("every pod has the new template", PATIENCE, async || {
        let pods = world.cluster.pods().await?;
        fewest = fewest.min(pods.iter().filter(|pod| is_ready(pod)).count());
        for (name, uid) in uids(&pods) {
            if before.get(&name) != Some(&uid) && !order.contains(&name) {
                order.push(name);
            }
        }
        if order.len() < before.len() { bail!("replaced so far: {order:?}") } else { Ok(()) }
    })
    .await?;
    world.settled().await?;
    world.say(format!("rolled {} in {:.1} s", order.join(", then "), began.elapsed().as_secs_f64()));
    ensure!(fewest + 1 >= before.len(), "only {fewest} of {} pods were ready at one time", before.len());
    ensure!(order.last() == Some(&leader), "{leader} led and was not the last: {order:?}");
    let mut events: Vec<(&str, &str)> = order.iter().map(|pod| ("PodReplaced", pod.as_str())).collect();
    events.push(("LeadershipTransferred", "leads, so that the pod of the leader before it can be replaced"));
    world.told(&events).await
}

pub(super) async fn bad_image_stops_at_the_first_member_and_goes_back_with_the_spec(
    world: &mut World,
) -> Result<()> {
    /// An image that is nowhere.
    const TAG: &str = "conure-e2e-never-built";
    world.settled().await?;
    let leader = world.cluster.leader().await?;
    let before = uids(&world.cluster.pods().await?);
    world.cluster.patch(json!({"spec": {"image": {"tag": TAG}}})).await?;
    until("Degraded names the image", PATIENCE, async || {
        let (reason, message) = world.cluster.condition("Degraded", "True", PATIENCE).await?;
        ensure!(reason == "ImagePullFailed" && message.contains(TAG), "it says {reason}: {message}");
        Ok(())
    })
    .await?;
    // Whatever would go on has the time to.
    world.acknowledged_more(500).await?;
    let pods = world.cluster.pods().await?;
    let stuck = replaced(&before, &uids(&pods));
    let ready = pods.iter().filter(|pod| is_ready(pod)).count();
    world.say(format!("it stopped at {}, and {ready} of {} pods are ready", stuck.join(", "), pods.len()));
    ensure!(stuck.len() == 1 && !stuck.contains(&leader), "it went on to {stuck:?}; {leader} led");
    ensure!(ready + 1 == pods.len() && pods.len() == before.len(), "{ready} of {} are ready", pods.len());
    world.cluster.condition("Available", "True", PATIENCE).await?;
    world.told(&[("ImagePullFailed", TAG)]).await?;

    let tag = &world.settings.server_image.tag;
    world.cluster.patch(json!({"spec": {"image": {"tag": tag}}})).await?;
    world.settled().await?;
    let after = replaced(&before, &uids(&world.cluster.pods().await?));
    ensure!(after == stuck, "the way back replaced {after:?} and not only {stuck:?}");
    Ok(())
}

pub(super) async fn version_too_far_away_is_refused_and_the_rest_is_rolled(world: &mut World) -> Result<()> {
    world.settled().await?;
    let leader = world.cluster.leader().await?;
    let version = world.cluster.member_status(&leader).await?.version;
    let parts: Vec<u64> = version.split('.').map_while(|part| part.parse().ok()).collect();
    let [major, minor, ..] = parts[..] else { bail!("{version} is no version") };
    // The operator goes by versions only where the tag of what runs is that of the members.
    let image = world.settings.server_image.clone();
    let own = format!("v{version}");
    let from = format!("{}:{}", image.repository, image.tag);
    world.faults()?.tag(&from, &format!("{}:{own}", image.repository))?;
    world.cluster.patch(json!({"spec": {"image": {"tag": own}}})).await?;
    world.settled().await?;
    let before = uids(&world.cluster.pods().await?);

    let far = format!("v{major}.{}.0", minor + 2);
    world
        .cluster
        .patch(json!({"spec": {"image": {"tag": far}, "serverConfig": {"logLevel": "debug"}}}))
        .await?;
    until("the rest is rolled and the image is not", PATIENCE, async || {
        let (reason, message) = world.cluster.condition("Degraded", "True", PATIENCE).await?;
        ensure!(reason == "VersionStepRefused" && message.contains(&version), "{reason}: {message}");
        let pods = world.cluster.pods().await?;
        let rolled = replaced(&before, &uids(&pods));
        ensure!(rolled.len() == before.len() && pods.iter().all(is_ready), "rolled so far: {rolled:?}");
        let images = pods.iter().flat_map(|pod| &pod.spec).flat_map(|spec| &spec.containers);
        let mut others = images.filter_map(|container| container.image.as_deref());
        let other = others.find(|image| !image.ends_with(&own));
        ensure!(other.is_none(), "a container has {other:?}");
        Ok(())
    })
    .await?;
    world.cluster.condition("Ready", "False", PATIENCE).await?;
    world.cluster.condition("Available", "True", PATIENCE).await?;
    world.told(&[("VersionStepRefused", "one minor version at a time")]).await?;
    let back = json!({"spec": {"image": {"tag": image.tag}, "serverConfig": {"logLevel": "info"}}});
    world.cluster.patch(back).await?;
    world.settled().await
}

/// Pods that are not those of before.
fn replaced(before: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> Vec<String> {
    now.iter().filter(|(name, uid)| before.get(*name) != Some(*uid)).map(|(name, _)| name.clone()).collect()
}

pub(super) async fn disruption_budget_goes_and_comes_as_asked(world: &mut World) -> Result<()> {
    let budgets = world.access.api::<PodDisruptionBudget>(NAMESPACE);
    let name = names::disruption_budget(&world.cluster.name);
    for wanted in [false, true] {
        world.cluster.patch(json!({"spec": {"pdb": {"enabled": wanted}}})).await?;
        until(&format!("there is a budget: {wanted}"), PATIENCE, async || {
            let found = budgets.get_opt(&name).await?;
            ensure!(found.is_some() == wanted, "it is {}", if wanted { "missing" } else { "still there" });
            Ok(())
        })
        .await?;
    }
    world.settled().await
}

/// The uid of each pod, by name.
pub(super) fn uids(pods: &[Pod]) -> BTreeMap<String, String> {
    let pairs = pods.iter().filter_map(|pod| Some((pod.metadata.name.clone()?, pod.metadata.uid.clone()?)));
    pairs.collect()
}
