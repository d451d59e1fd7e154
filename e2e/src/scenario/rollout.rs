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
