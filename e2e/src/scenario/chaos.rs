//! Everything at once, for as long as one likes: nodes cut off, pods, kubelets, operators and the API server killed, nodes
//! drained, the cluster scaled and rolled, while clients write and read.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use fastrand::Rng;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams};
use serde_json::json;
use tokio::time::sleep;

use super::world::{OPERATOR_NAMESPACE, World};
use super::{install, node};
use crate::cluster::instance::{NODES, node_name};
use crate::history::{Violation, judge};
use crate::kubernetes::until;

/// How long the cluster may take to be whole again at the end.
const CONVERGENCE: Duration = Duration::from_mins(10);

#[derive(Debug, Clone, Copy)]
enum Fault {
    CutOff,
    KillPod,
    KillOperator,
    KillKubelet,
    KillApiServer,
    Drain,
    Scale,
    Roll,
}

const FAULTS: [Fault; 8] = [
    Fault::CutOff,
    Fault::KillPod,
    Fault::KillOperator,
    Fault::KillKubelet,
    Fault::KillApiServer,
    Fault::Drain,
    Fault::Scale,
    Fault::Roll,
];

/// Makes chaos for so long; the same seed makes the same choices. Answers the verdict in one line.
pub async fn chaos(world: &mut World, length: Duration, seed: u64) -> Result<String> {
    install::operator_is_installed_by_its_chart(world).await?;
    install::applied_cluster_becomes_ready(world).await?;
    let mut rng = Rng::with_seed(seed);
    let began = Instant::now();
    let mut faults = 0_u64;
    while began.elapsed() < length {
        let fault = *rng.choice(&FAULTS).context("there are faults")?;
        faults += 1;
        world.say(format!("fault {faults}: {fault:?}"));
        // While the API server is away, a fault that needs it is none: the next one comes.
        if let Err(error) = make(world, fault, &mut rng).await {
            world.say(format!("{fault:?} could not be made: {error:#}"));
            faults -= 1;
        }
        sleep(Duration::from_millis(rng.u64(500..10_000))).await;
    }
    mend(world).await?;
    let mended = Instant::now();
    until("the API server takes the last spec", CONVERGENCE, async || {
        let last = json!({"spec": {"voters": {"replicas": 3}, "paused": false}});
        world.cluster.patch(last).await.map(drop)
    })
    .await?;
    world.cluster.ready(3, false, CONVERGENCE).await?;
    let converged = mended.elapsed().as_secs_f64();
    let verdict = judge(&world.stop_workload().await?.records);
    let lost = verdict.violations.iter().filter(|found| matches!(found, Violation::Unread { .. })).count();
    for violation in &verdict.violations {
        world.say(violation);
    }
    let linearizable = if verdict.violation_count == 0 { "linearizable" } else { "NOT linearizable" };
    let line = format!(
        "{faults} faults, {} acknowledged, {lost} lost, {linearizable}, converged in {converged:.1} s",
        verdict.acknowledged
    );
    ensure!(verdict.violation_count == 0, "seed {seed}: {line}");
    Ok(line)
}

async fn make(world: &World, fault: Fault, rng: &mut Rng) -> Result<()> {
    let number = rng.u8(1..=NODES);
    let node = node_name(number);
    match fault {
        Fault::CutOff => {
            let length = Duration::from_millis(rng.u64(2_000..30_000));
            world.say(format!("{node} is cut off for {:.1} s", length.as_secs_f64()));
            world.faults()?.cut_off(&node)?;
            sleep(length).await;
            world.faults()?.heal(&node)
        }
        Fault::KillPod => {
            let pods = world.cluster.pods().await?;
            let pod = rng.choice(&pods).context("there is no pod")?.metadata.name.clone().unwrap_or_default();
            world.say(format!("{pod} is deleted"));
            world.cluster.delete_pod(&pod, rng.bool()).await
        }
        Fault::KillOperator => {
            let pods = world.access.api::<Pod>(OPERATOR_NAMESPACE);
            for pod in pods.list(&ListParams::default()).await?.items {
                let name = pod.metadata.name.unwrap_or_default();
                pods.delete(&name, &DeleteParams::default().grace_period(0)).await?;
            }
            Ok(())
        }
        Fault::KillKubelet => world.faults()?.restart_kubelet(tools(world)?, &node),
        Fault::KillApiServer => world.faults()?.restart_api_server(tools(world)?),
        Fault::Drain => {
            world.say(format!("{node} is drained"));
            let drained = drain(world, &node, Duration::from_secs(rng.u64(10..60))).await;
            node::schedulable(world, &node, true).await?;
            // A drain that a budget holds up is as good as one that ends.
            drained
                .or_else(|error| if format!("{error:#}").contains("timeout") { Ok(()) } else { Err(error) })
        }
        Fault::Scale => {
            let voters = rng.i32(3..=5);
            world.say(format!("scaled to {voters}"));
            world.ask_for(voters).await
        }
        Fault::Roll => {
            let level = ["info", "warn", "error"][rng.usize(0..3)];
            world.cluster.patch(json!({"spec": {"serverConfig": {"logLevel": level}}})).await.map(drop)
        }
    }
}

fn tools(world: &World) -> Result<&std::path::Path> {
    world.settings.tools.as_deref().context("the folder of the programs of Kubernetes is not known")
}

/// `kubectl drain`, as an administrator types it.
pub(super) async fn drain(world: &World, node: &str, limit: Duration) -> Result<()> {
    let timeout = format!("--timeout={}s", limit.as_secs());
    let arguments =
        ["drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--force", timeout.as_str()];
    world.access.kubectl(&arguments).await.map(drop)
}

/// Every node is there again and takes pods.
async fn mend(world: &World) -> Result<()> {
    for number in 1..=NODES {
        let node = node_name(number);
        until(&format!("{node} takes pods again"), CONVERGENCE, async || {
            node::schedulable(world, &node, true).await?;
            let wait = ["wait", "--for=condition=Ready", "--timeout=5s", &format!("node/{node}")];
            match world.access.kubectl(&wait).await {
                Ok(_) => Ok(()),
                Err(error) => bail!("{error:#}"),
            }
        })
        .await?;
    }
    Ok(())
}
