//! What the clients saw from the first write to here.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use conure_crd::names;

use super::world::{PATIENCE, World};
use crate::history::{Op, Outcome, figures, judge};
use crate::kubernetes::until;

/// How many writes must have been acknowledged.
const ACKNOWLEDGED_MIN: u64 = 10_000;
/// How long no client may have to wait.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// How many keys are compared on every replica.
const COMPARED: usize = 400;

pub(super) async fn no_acknowledged_write_was_lost_and_no_read_was_old(world: &mut World) -> Result<()> {
    world.settled().await?;
    let (table, longest, verdict) = {
        let finished = world.stop_workload().await?;
        let figures = figures(&finished.records, &finished.phases);
        let mut table = format!(
            "{:>8} {:>7} {:>8} {:>11} {:>11}  step\n",
            "acked", "unknown", "reads", "write pause", "read pause"
        );
        let mut longest = (Duration::ZERO, String::new());
        for row in &figures {
            table += &format!(
                "{:>8} {:>7} {:>8} {:>9.2} s {:>9.2} s  {}\n",
                row.acknowledged,
                row.unknown,
                row.reads,
                row.write_pause.as_secs_f64(),
                row.read_pause.as_secs_f64(),
                row.phase
            );
            longest = longest.max((row.write_pause.max(row.read_pause), row.phase.clone()));
        }
        (table, longest, judge(&finished.records))
    };
    world.say(format!("what the clients saw, step by step (a pause is one client's):\n{table}"));
    world.say(format!(
        "{} writes acknowledged, {} of unknown outcome, {} reads, longest pause {:.2} s in {}",
        verdict.acknowledged,
        verdict.unknown,
        verdict.reads,
        longest.0.as_secs_f64(),
        longest.1
    ));
    if verdict.violation_count > 0 {
        let lines: Vec<String> = verdict.violations.iter().map(ToString::to_string).collect();
        bail!("{} violations, the first ones:\n{}", verdict.violation_count, lines.join("\n"));
    }
    ensure!(
        verdict.acknowledged >= ACKNOWLEDGED_MIN,
        "only {} writes were acknowledged",
        verdict.acknowledged
    );
    ensure!(longest.0 <= PAUSE_MAX, "a client waited {:.1} s during {}", longest.0.as_secs_f64(), longest.1);
    Ok(())
}

pub(super) async fn every_replica_holds_the_same(world: &mut World) -> Result<()> {
    let finished = world.finished.as_ref().context("there is no history to compare with")?;
    let mut keys: Vec<&str> = finished
        .records
        .iter()
        .filter(|record| record.op == Op::Put && record.outcome == Outcome::Ok)
        .map(|record| record.key.as_str())
        .collect();
    keys.sort_unstable();
    keys.dedup();
    let stride = (keys.len() / COMPARED).max(1);
    let any = world.cluster.any_member().await?;
    let revision = any.status().await?.revision;
    for target in world.cluster.targets().await? {
        let Some((component, _)) = names::parse_pod(&world.cluster.name, &target.name) else { continue };
        if !component.holds_data() {
            continue;
        }
        until(&format!("{} has applied revision {revision}", target.name), PATIENCE, async || {
            let own = world.cluster.member_status(&target.name).await?.revision;
            ensure!(own >= revision, "it is at {own}");
            Ok(())
        })
        .await?;
        let member = world.cluster.member(&target.name).await?;
        for key in keys.iter().step_by(stride) {
            let (own, truth) =
                (member.get_stale(key.as_bytes()).await?.value, any.get(key.as_bytes()).await?);
            ensure!(own == truth, "{} holds {own:?} under {key}, the cluster {truth:?}", target.name);
        }
    }
    Ok(())
}
