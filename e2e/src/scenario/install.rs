//! The operator by its chart, the cluster by `kubectl apply`, and everything away again.

use std::time::Instant;

use anyhow::{Result, ensure};

use super::world::{NAMESPACE, OPERATOR_NAMESPACE, PATIENCE, World};
use super::{bad_input, charts};

/// The operator's release.
const RELEASE: &str = "conure-operator";

pub(super) async fn operator_is_installed_by_its_chart(world: &mut World) -> Result<()> {
    for namespace in [NAMESPACE, bad_input::NAMESPACE, charts::NAMESPACE] {
        world.access.remove_namespace(namespace).await?;
    }
    // A run that was killed may have left an operator that dies at some point.
    world
        .access
        .helm(&["uninstall", RELEASE, "--namespace", OPERATOR_NAMESPACE, "--ignore-not-found", "--wait"])
        .await?;
    // With no Lease left there: that the operator may make one has to be seen in use too.
    world.access.fresh_namespace(OPERATOR_NAMESPACE).await?;
    if let Some(faults) = &world.faults {
        // Where the log is missing, the step that reads it says so.
        world.audited_before = std::fs::metadata(faults.audit_log()).map_or(0, |found| found.len());
    }
    let chart = world.settings.checkout.join("charts/conuredb-operator").display().to_string();
    let (operator, server) = (&world.settings.operator_image, &world.settings.server_image);
    let values = [
        format!("image.repository={}", operator.repository),
        format!("image.tag={}", operator.tag),
        format!("serverImage.repository={}", server.repository),
        format!("serverImage.tag={}", server.tag),
    ];
    let mut arguments =
        vec!["install", RELEASE, &chart, "--namespace", OPERATOR_NAMESPACE, "--wait", "--timeout", "2m"];
    arguments.extend(values.iter().flat_map(|value| ["--set", value.as_str()]));
    world.access.helm(&arguments).await?;
    Ok(())
}

pub(super) async fn applied_cluster_becomes_ready(world: &mut World) -> Result<()> {
    world.access.fresh_namespace(NAMESPACE).await?;
    let began = Instant::now();
    world.access.apply(NAMESPACE, &world.manifest("conure", 3).to_string()).await?;
    let kubectl =
        ["--namespace", NAMESPACE, "wait", "conure/conure", "--for=condition=Ready", "--timeout=180s"];
    world.access.kubectl(&kubectl).await?;
    world.say(format!("Ready {:.1} s after kubectl apply", began.elapsed().as_secs_f64()));
    world.cluster.ready(3, false, PATIENCE).await?;
    let shown = world.access.kubectl(&["--namespace", NAMESPACE, "get", "conure"]).await?;
    for column in ["NAME", "READY", "MEMBERS", "LEADER", "VERSION", "AGE", "True", "3/3"] {
        ensure!(shown.contains(column), "kubectl get conure shows no {column}:\n{shown}");
    }
    world
        .told(&[
            ("ClusterIDAssigned", "the cluster is"),
            ("Bootstrapped", "conure-bootstrap-0 began the cluster"),
            ("MemberJoined", "conure-0 is a caught-up voter"),
            ("MemberJoined", "conure-1 is a caught-up voter"),
            ("Available", "voters are up"),
            ("Ready", "the spec is fully reached"),
        ])
        .await?;
    world.start_workload().await
}

pub(super) async fn everything_is_removed_again(world: &mut World) -> Result<()> {
    for namespace in [NAMESPACE, bad_input::NAMESPACE, charts::NAMESPACE] {
        world.access.remove_namespace(namespace).await?;
    }
    world.access.helm(&["uninstall", RELEASE, "--namespace", OPERATOR_NAMESPACE, "--wait"]).await?;
    world.access.remove_namespace(OPERATOR_NAMESPACE).await?;
    // The definition stays, or every cluster of every user would go with the chart.
    let kept = world.access.kubectl(&["get", "crd", "conureclusters.conuredb.dev", "-o", "name"]).await?;
    ensure!(kept.contains("conureclusters.conuredb.dev"), "the CRD went with the chart");
    Ok(())
}
