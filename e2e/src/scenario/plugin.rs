//! `kubectl conure`, as a user types it.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::rollout::uids;
use super::world::{NAMESPACE, PATIENCE, World};
use crate::kubernetes::until;
use crate::process::output;

const LIMIT: Duration = Duration::from_mins(2);

pub(super) async fn kubectl_conure_shows_and_changes_what_there_is(world: &mut World) -> Result<()> {
    world.settled().await?;
    let status = conure(world, &["status"]).await?;
    for part in ["conure-e2e/conure: members ready 3/3", "CONDITION", "QuorumServes", "conure-bootstrap-0"] {
        ensure!(status.contains(part), "status shows no {part:?}:\n{status}");
    }
    let json: Value = serde_json::from_str(&conure(world, &["status", "conure", "-o", "json"]).await?)?;
    let members = json["members"].as_array().context("no members")?;
    ensure!(
        members.len() == 3 && members.iter().all(|member| member["node"] != "-"),
        "members are {members:?}"
    );
    let checked = conure(world, &["check"]).await?;
    ensure!(!checked.contains("WRONG"), "check found something wrong:\n{checked}");

    let leader = world.cluster.leader().await?;
    let other = members.iter().filter_map(|member| member["name"].as_str()).find(|name| *name != leader);
    let other = other.context("everybody leads")?;
    let said = conure(world, &["promote", other]).await?;
    ensure!(said.contains(&format!("{other} leads")), "promote said {said:?}");
    ensure!(world.cluster.leader().await? == other, "{other} does not lead");
    let refused = conure(world, &["promote", "conure-9"]).await;
    let error = refused.err().context("a member that is not there was promoted")?.to_string();
    ensure!(error.contains("no member conure-9") && error.contains("conure-bootstrap-0"), "{error}");

    // What a member logs depends on its level; that its log can be read does not.
    conure(world, &["logs", other, "--tail=5"]).await?;

    let before = uids(&world.cluster.pods().await?);
    conure(world, &["restart"]).await?;
    until("every pod is another one", PATIENCE, async || {
        let now = uids(&world.cluster.pods().await?);
        let same: Vec<&String> =
            before.iter().filter(|(name, uid)| now.get(*name) == Some(uid)).map(|(name, _)| name).collect();
        if same.is_empty() { Ok(()) } else { bail!("the same as before: {same:?}") }
    })
    .await?;
    world.settled().await
}

async fn conure(world: &World, arguments: &[&str]) -> Result<String> {
    let program =
        world.settings.plugin.as_ref().context("CONURE_E2E_PLUGIN is not set: give kubectl-conure")?;
    let mut command = Command::new(program);
    command.args(["--namespace", NAMESPACE]).args(arguments).env("KUBECONFIG", &world.settings.kubeconfig);
    if let Some(tools) = &world.settings.tools {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = [tools.clone()].into_iter().chain(std::env::split_paths(&path));
        command.env("PATH", std::env::join_paths(folders)?);
    }
    tokio::task::spawn_blocking(move || output(&mut command, LIMIT)).await?
}
