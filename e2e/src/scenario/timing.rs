//! How long the operator's procedures take on the local Kubernetes, and how long writers wait meanwhile: at the members' own
//! addresses, and through the Service.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, PostParams};
use serde_json::json;

use super::world::{NAMESPACE, PATIENCE, World};
use super::{chaos, install, node};
use crate::bench::Row;
use crate::cluster::instance::{NODES, node_name};
use crate::history::figures;
use crate::kubernetes::until;

/// A write waits this long at most, in every procedure.
const WRITE_PAUSE: f64 = 2.0;

/// What a writer in a pod runs: a write through the Service, and the time when it was acknowledged.
const WRITER: &str = "while :; do if curl -sf -m 3 -o /dev/null -X PUT --data-binary x \
    'http://conure:8081/kv?key=bench-'$HOSTNAME; then date +%s%N; fi; sleep 0.03; done";

/// Measures every procedure once.
pub async fn procedures(world: &mut World) -> Result<Vec<Row>> {
    install::operator_is_installed_by_its_chart(world).await?;
    let mut rows = Vec::new();
    for (members, target) in [(1, None), (5, None), (3, Some(12.0))] {
        world.access.fresh_namespace(NAMESPACE).await?;
        let began = Instant::now();
        world.access.apply(NAMESPACE, &world.manifest("conure", members).to_string()).await?;
        world.cluster.ready(members, false, PATIENCE).await?;
        let name = format!("apply to Ready, {members} member{}", if members == 1 { "" } else { "s" });
        rows.push(Row::seconds(name, began.elapsed().as_secs_f64(), target));
    }
    world.start_workload().await?;
    let writers = start_writers(world).await?;
    let mut spans: Vec<(Span, Vec<String>)> = Vec::new();
    for procedure in [
        Procedure::Scale(5, 12.0),
        Procedure::Scale(3, 6.0),
        Procedure::Roll,
        Procedure::KillLeader,
        Procedure::CutOff,
        Procedure::Drain,
    ] {
        world.phase(procedure.name());
        let began = (Instant::now(), nanoseconds());
        let gone = procedure.run(world).await.with_context(|| procedure.name().to_owned())?;
        let span =
            Span { begin: began.1, end: nanoseconds(), seconds: began.0.elapsed().as_secs_f64(), procedure };
        spans.push((span, gone));
        world.phase("between");
        world.acknowledged_more(100).await?;
    }
    let mut acknowledged = Vec::new();
    for (node, pod) in &writers {
        let log = world.access.kubectl(&["--namespace", NAMESPACE, "logs", pod]).await.unwrap_or_default();
        let times: Vec<u64> = log.lines().filter_map(|line| line.trim().parse().ok()).collect();
        acknowledged.push((node.clone(), times));
    }
    let finished = world.stop_workload().await?;
    let pauses = figures(&finished.records, &finished.phases);
    for (span, gone) in spans {
        let name = span.procedure.name();
        let members = pauses.iter().find(|figures| figures.phase == name);
        let service = acknowledged
            .iter()
            .filter(|(node, times)| !gone.contains(node) && !times.is_empty())
            .map(|(_, times)| longest_gap(times, span.begin, span.end))
            .fold(None, |longest: Option<f64>, gap| Some(longest.map_or(gap, |longest| longest.max(gap))));
        rows.push(Row {
            write_pause_seconds: members.map(|figures| figures.write_pause.as_secs_f64()),
            service_write_pause_seconds: service,
            target_write_pause_seconds: Some(WRITE_PAUSE),
            ..Row::seconds(name, span.seconds, span.procedure.target())
        });
    }
    Ok(rows)
}

/// When a procedure ran, by this machine's clock, which is the pods' too.
struct Span {
    begin: u64,
    end: u64,
    seconds: f64,
    procedure: Procedure,
}

#[derive(Debug, Clone, Copy)]
enum Procedure {
    Scale(i32, f64),
    Roll,
    KillLeader,
    CutOff,
    Drain,
}

impl Procedure {
    fn name(self) -> &'static str {
        match self {
            Self::Scale(5, _) => "3 to 5 members",
            Self::Scale(..) => "5 to 3 members",
            Self::Roll => "rolling update of 3",
            Self::KillLeader => "leader killed, Ready again",
            Self::CutOff => "leader's node cut off for 30 s, Ready again",
            Self::Drain => "leader's node drained, Ready again",
        }
    }

    fn target(self) -> Option<f64> {
        match self {
            Self::Scale(_, target) => Some(target),
            Self::Roll => Some(30.0),
            _ => None,
        }
    }

    /// Does it; the nodes that were away meanwhile are the value.
    async fn run(self, world: &World) -> Result<Vec<String>> {
        match self {
            Self::Scale(members, _) => {
                world.ask_for(members).await?;
                world.cluster.ready(members, false, PATIENCE).await?;
                Ok(Vec::new())
            }
            Self::Roll => {
                world.cluster.patch(json!({"spec": {"serverConfig": {"logLevel": "warn"}}})).await?;
                world.settled().await?;
                Ok(Vec::new())
            }
            Self::KillLeader => {
                let leader = world.cluster.leader().await?;
                let before = world.cluster.pod(&leader).await?.metadata.uid;
                world.cluster.delete_pod(&leader, true).await?;
                until("the pod is another one", PATIENCE, async || {
                    let now = world.cluster.pod(&leader).await?.metadata.uid;
                    ensure!(now != before, "it is still there");
                    Ok(())
                })
                .await?;
                world.settled().await?;
                Ok(Vec::new())
            }
            Self::CutOff => {
                let node = world.cluster.node_of(&world.cluster.leader().await?).await?;
                world.faults()?.cut_off(&node)?;
                tokio::time::sleep(Duration::from_secs(30)).await;
                world.faults()?.heal(&node)?;
                world.settled().await?;
                Ok(vec![node])
            }
            Self::Drain => {
                let node = world.cluster.node_of(&world.cluster.leader().await?).await?;
                let drained = chaos::drain(world, &node, Duration::from_mins(2)).await;
                node::schedulable(world, &node, true).await?;
                drained?;
                world.settled().await?;
                Ok(vec![node])
            }
        }
    }
}

/// A writer on each node: its node and its pod.
async fn start_writers(world: &World) -> Result<Vec<(String, String)>> {
    let pods = world.access.api::<Pod>(NAMESPACE);
    let image = format!("{}:{}", world.settings.server_image.repository, world.settings.server_image.tag);
    let mut writers = Vec::new();
    for number in 1..=NODES {
        let (node, name) = (node_name(number), format!("service-writer-{number}"));
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {
            "nodeName": node, "terminationGracePeriodSeconds": 0, "automountServiceAccountToken": false,
            "tolerations": [{"operator": "Exists"}],
            "containers": [{"name": "writer", "image": image, "command": ["sh", "-c", WRITER]}],
        }});
        // One of an earlier run.
        let _ = pods.delete(&name, &DeleteParams::default().grace_period(0)).await;
        pods.create(&PostParams::default(), &serde_json::from_value(pod)?).await?;
        writers.push((node, name));
    }
    for (_, pod) in &writers {
        until(&format!("{pod} writes"), PATIENCE, async || {
            let log = world.access.kubectl(&["--namespace", NAMESPACE, "logs", pod, "--tail=5"]).await?;
            if log.lines().count() < 5 {
                bail!("it has acknowledged {}", log.lines().count())
            } else {
                Ok(())
            }
        })
        .await?;
    }
    Ok(writers)
}

fn nanoseconds() -> u64 {
    u64::try_from(Timestamp::now().as_nanosecond()).unwrap_or_default()
}

/// The longest time between two of these that touches the span, in seconds.
fn longest_gap(times: &[u64], begin: u64, end: u64) -> f64 {
    let gaps = times.iter().zip(times.iter().skip(1)).filter(|(from, to)| **from < end && **to > begin);
    let longest = gaps.map(|(from, to)| to - from).max();
    // One that was never acknowledged again waits to the end.
    let last = times.last().map_or(0, |last| end.saturating_sub(*last));
    Duration::from_nanos(longest.unwrap_or(0).max(last)).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_counts_where_it_touches_the_span() {
        let second = 1_000_000_000;
        let times = [1, 2, 5, 6, 9].map(|at| at * second);
        assert_eq!(longest_gap(&times, 2 * second, 4 * second), 3.0);
        assert_eq!(longest_gap(&times, 5 * second, 6 * second), 1.0);
        assert_eq!(longest_gap(&times, 8 * second, 20 * second), 11.0);
    }
}
