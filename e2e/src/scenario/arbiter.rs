//! An even number of data members, whose arbiter may for a moment be the only one that holds what was acknowledged.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use conure_client::Client;

use super::node;
use super::world::{NAMESPACE, PATIENCE, World};
use crate::kubernetes::until;
use crate::workload::Target;

/// The arbiter's pod.
const ARBITER: &str = "conure-arbiter-0";

pub(super) async fn two_data_members_and_an_arbiter_survive_the_leader_while_the_other_is_behind(
    world: &mut World,
) -> Result<()> {
    world.settled().await?;
    world.scale(2).await?;
    lose_the_leader(world, 2).await
}

pub(super) async fn four_data_members_and_an_arbiter_survive_the_leader_while_one_is_behind(
    world: &mut World,
) -> Result<()> {
    world.scale(4).await?;
    lose_the_leader(world, 4).await?;
    world.scale(3).await
}

/// One follower stands still while writes go on; then the leader dies, and the follower moves again.
async fn lose_the_leader(world: &World, voters: i32) -> Result<()> {
    let leader = world.cluster.leader().await?;
    ensure!(leader != ARBITER, "the arbiter leads");
    let targets = world.cluster.targets().await?;
    let behind =
        targets.iter().map(|target| target.name.clone()).find(|name| *name != leader && name != ARBITER);
    let behind = behind.context("there is no other data member")?;
    let home = world.cluster.node_of(&leader).await?;
    let faults = world.faults()?;

    world.say(format!("{behind} stands still"));
    faults.stop(&world.cluster.pod(&behind).await?)?;
    let written = while_behind(world, &leader).await;
    // The leader must not come back before this is over: its volume is on this node, where nothing new may start.
    node::schedulable(world, &home, false).await?;
    let stopped = faults.stop(&world.cluster.pod(&leader).await?);
    let deleted = world.cluster.delete_pod(&leader, true).await;
    let died = Instant::now();
    world.say(format!("the leader {leader} is dead, {behind} moves again"));
    faults.go_on(&world.cluster.pod(&behind).await?)?;
    let survived = match (written, stopped, deleted) {
        (Ok((key, revision)), Ok(()), Ok(())) => {
            survivors(world, &targets, &leader, &key, revision, died).await
        }
        (written, stopped, deleted) => written.map(drop).and(stopped).and(deleted),
    };
    node::schedulable(world, &home, true).await?;
    survived?;
    world.cluster.ready(voters, true, PATIENCE).await?;
    let leads = world.cluster.leader().await?;
    ensure!(leads != ARBITER, "the arbiter leads a whole cluster");
    Ok(())
}

/// Writes that the one that stands still cannot have.
async fn while_behind(world: &World, leader: &str) -> Result<(String, u64)> {
    world.acknowledged_more(100).await?;
    let key = format!("while {leader} led");
    let answer = world.cluster.member(leader).await?.put(key.as_bytes(), leader.to_owned()).await?;
    Ok((key, answer.revision))
}

/// A data member leads within a few seconds and holds the last write that the dead leader acknowledged.
async fn survivors(
    world: &World,
    targets: &[Target],
    dead: &str,
    key: &str,
    revision: u64,
    died: Instant,
) -> Result<()> {
    let alive: Vec<(&str, Client)> = targets
        .iter()
        .filter(|target| target.name != dead)
        .map(|target| {
            let client =
                Client::builder().server(&target.url).attempts(1).timeout(Duration::from_secs(1)).build();
            Ok((target.name.as_str(), client?))
        })
        .collect::<Result<_>>()?;
    let mut led: Vec<String> = Vec::new();
    let (name, client) = until("a data member leads", PATIENCE, async || {
        for (name, client) in &alive {
            let Ok(status) = client.status().await else { continue };
            if !status.is_leader {
                continue;
            }
            let line = format!("{name} in term {}", status.term);
            if led.last() != Some(&line) {
                led.push(line);
            }
            if *name != ARBITER {
                return Ok((*name, client));
            }
        }
        bail!("led so far: {led:?}")
    })
    .await?;
    world.say(format!(
        "led after {dead}: {} ({:.1} s after its death)",
        led.join(", then "),
        died.elapsed().as_secs_f64()
    ));
    let found = until("the new leader serves the last write", PATIENCE, async || {
        Ok(client.get(key.as_bytes()).await?)
    });
    let found = found.await?;
    let found = found
        .with_context(|| format!("{name} does not hold revision {revision}, which {dead} acknowledged"))?;
    ensure!(found.revision == revision, "{key} is at revision {}, not {revision}", found.revision);
    world.say(format!(
        "revision {revision}, which only {dead} and whoever moved could acknowledge, survived in {name}"
    ));
    world.acknowledged_more(100).await?;
    let held = world.access.kubectl(&["--namespace", NAMESPACE, "get", "pods", "--no-headers"]).await?;
    ensure!(
        held.lines().any(|line| line.starts_with(dead) && !line.contains("Running")),
        "{dead} came back too early"
    );
    Ok(())
}
