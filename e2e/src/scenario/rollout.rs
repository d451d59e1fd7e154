//! A changed template reaches every member, one at a time, the leader last.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Result, bail, ensure};
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use super::world::{PATIENCE, World};
use crate::kubernetes::until;

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
    Ok(())
}

fn uids(pods: &[Pod]) -> BTreeMap<String, String> {
    let pairs = pods.iter().filter_map(|pod| Some((pod.metadata.name.clone()?, pod.metadata.uid.clone()?)));
    pairs.collect()
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let ready = |conditions: &Vec<k8s_openapi::api::core::v1::PodCondition>| {
        conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
    };
    pod.metadata.deletion_timestamp.is_none() && conditions.is_some_and(ready)
}
