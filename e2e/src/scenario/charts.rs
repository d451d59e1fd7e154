//! The charts for clusters, as a user installs them.

use anyhow::Result;

use super::world::{PATIENCE, World};
use crate::kubernetes::Cluster;

/// The namespace of the releases.
pub(super) const NAMESPACE: &str = "conure-e2e-charts";

pub(super) async fn single_chart_installs_and_passes_its_test(world: &mut World) -> Result<()> {
    world.access.fresh_namespace(NAMESPACE).await?;
    // The API server writes each of these amounts in another way than it was asked.
    let amounts = ["pvc.size=1024Mi", "resources.limits.cpu=1000m", "resources.requests.cpu=0.05"];
    let values: Vec<&str> = amounts.iter().flat_map(|amount| ["--set", *amount]).collect();
    helm(world, "install", "conuredb-single", &values).await?;
    Cluster::new(&world.access, NAMESPACE, "conure").ready(1, false, PATIENCE).await?;
    test(world).await?;
    world.access.helm(&["uninstall", "mydb", "--namespace", NAMESPACE, "--wait"]).await?;
    Ok(())
}

pub(super) async fn ha_chart_grows_by_an_upgrade(world: &mut World) -> Result<()> {
    world.access.fresh_namespace(NAMESPACE).await?;
    let values = world.settings.checkout.join("charts/conuredb-ha/values-dev.yaml").display().to_string();
    helm(world, "install", "conuredb-ha", &["--values", &values, "--set", "voters.replicas=3"]).await?;
    let cluster = Cluster::new(&world.access, NAMESPACE, "conure");
    cluster.ready(3, false, PATIENCE).await?;
    test(world).await?;
    helm(world, "upgrade", "conuredb-ha", &["--values", &values, "--set", "voters.replicas=5"]).await?;
    cluster.ready(5, false, PATIENCE).await?;
    test(world).await?;
    world.access.helm(&["uninstall", "mydb", "--namespace", NAMESPACE, "--wait"]).await?;
    Ok(())
}

async fn helm(world: &World, verb: &str, chart: &str, more: &[&str]) -> Result<()> {
    let path = world.settings.checkout.join("charts").join(chart).display().to_string();
    let image = &world.settings.server_image;
    let (repository, tag) =
        (format!("image.repository={}", image.repository), format!("image.tag={}", image.tag));
    let mut arguments =
        vec![verb, "mydb", &path, "--namespace", NAMESPACE, "--set", &repository, "--set", &tag];
    arguments.extend(more);
    world.access.helm(&arguments).await?;
    Ok(())
}

async fn test(world: &World) -> Result<()> {
    world.access.helm(&["test", "mydb", "--namespace", NAMESPACE, "--timeout", "2m"]).await?;
    Ok(())
}
