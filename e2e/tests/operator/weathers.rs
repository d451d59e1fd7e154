//! An API server that is slow, unwilling, forgetful or gone for a while, members that are out of order, and two operators.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use conure_crd::condition::{AVAILABLE, READY};
use conure_e2e::bare::{Mood, PATIENCE, Scene, Stage, Start, Weather};
use conure_e2e::kubernetes::until;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::Api;
use serde_json::json;

use crate::Case;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!(two_operators_at_once_do_no_harm),
        case!(lease_that_was_given_back_is_taken_before_its_end),
        case!(slow_api_server_is_waited_for),
        case!(api_server_that_refuses_and_loses_answers_is_asked_again),
        case!(watches_that_say_nothing_hold_nothing_up),
        case!(api_server_that_is_started_again_is_found_again),
        case!(members_out_of_order_are_reported_and_nothing_is_done_to_them),
        case!(cluster_at_rest_costs_the_api_server_nothing),
        case!(restricted_pod_security_takes_every_pod),
        case!(figures_of_a_cluster_go_with_it),
        case!(upgraded_chart_keeps_the_definition_and_the_clusters_and_so_does_its_removal),
    ]
}

/// Through everything that is done to a cluster every day.
pub(crate) async fn days(scene: &Scene<'_>) -> Result<()> {
    scene.settled(3).await?;
    for voters in [5, 2, 3] {
        scene.cluster.patch(json!({"spec": {"voters": {"replicas": voters}}})).await?;
        scene.settled(voters).await?;
    }
    scene.cluster.patch(json!({"spec": {"serverConfig": {"logLevel": "warn"}}})).await?;
    scene.settled(3).await?;
    scene.unharmed()
}

async fn two_operators_at_once_do_no_harm(stage: &Stage) -> Result<()> {
    let scene = stage.scene().await?;
    let operators = [scene.operator("")?, scene.operator("")?];
    scene.create(3, json!({})).await?;
    days(&scene).await.with_context(|| operators[0].last_lines())
}

async fn lease_that_was_given_back_is_taken_before_its_end(stage: &Stage) -> Result<()> {
    let leases: Api<Lease> = stage.server.access().api("default");
    let held_by = async |who: &str| {
        until(&format!("{who} holds the Lease"), PATIENCE, async || {
            let spec = leases.get("conure-operator").await?.spec.context("an empty Lease")?;
            ensure!(spec.holder_identity.as_deref() == Some(who), "{:?} does", spec.holder_identity);
            Ok(spec)
        })
        .await
    };
    let scene = stage.scene().await?;
    let start = |who: &str| Start {
        candidate: Some(who.to_owned()),
        folder: scene.start().folder.join(who),
        ..scene.start()
    };
    let mut first = start("first").operator()?;
    held_by("first").await?;
    let second = start("second").operator()?;
    until("the second one waits for the Lease", PATIENCE, async || {
        ensure!(fs::read_to_string(second.log())?.contains("waits for the lease"), "not yet");
        Ok(())
    })
    .await?;
    let before = held_by("first").await?;
    first.stop()?;
    let status = first.ended(PATIENCE).await?.context("the first one does not end")?;
    ensure!(status.success(), "the first one ended with {status}");
    let after = held_by("second").await?;
    let renewed = before.renew_time.context("no renewTime")?.0;
    let end = renewed.as_second() + i64::from(before.lease_duration_seconds.unwrap_or_default());
    let taken = after.acquire_time.context("no acquireTime")?.0.as_second();
    ensure!(taken < end, "it was taken {} s after its end", taken - end);
    Ok(())
}

async fn in_weather(stage: &Stage, weather: Weather) -> Result<()> {
    let scene = stage.scene().await?;
    scene.proxy.set(weather);
    scene.create(3, json!({})).await?;
    let operator = scene.operator("")?;
    days(&scene).await.with_context(|| format!("{weather:?}: {}", operator.last_lines()))
}

async fn slow_api_server_is_waited_for(stage: &Stage) -> Result<()> {
    in_weather(stage, Weather { delay: Duration::from_millis(300), ..Weather::default() }).await
}

async fn api_server_that_refuses_and_loses_answers_is_asked_again(stage: &Stage) -> Result<()> {
    // A pass reads a dozen objects, so that about every third one fails.
    for code in [429, 500] {
        in_weather(stage, Weather { refuse: Some((31, code)), ..Weather::default() }).await?;
    }
    for code in [409, 500] {
        in_weather(stage, Weather { refuse_change: Some((3, code)), ..Weather::default() }).await?;
    }
    in_weather(stage, Weather { lose_answer: Some(3), ..Weather::default() }).await
}

async fn watches_that_say_nothing_hold_nothing_up(stage: &Stage) -> Result<()> {
    let scene = stage.scene().await?;
    scene.create(3, json!({})).await?;
    scene.proxy.set(Weather { mute_watches: true, ..Weather::default() });
    let operator = scene.operator("")?;
    scene.settled(3).await.with_context(|| operator.last_lines())?;
    scene.unharmed()
}

async fn api_server_that_is_started_again_is_found_again(stage: &Stage) -> Result<()> {
    let scene = stage.scene().await?;
    scene.create(3, json!({})).await?;
    let operator = scene.operator("")?;
    scene.settled(3).await.with_context(|| operator.last_lines())?;
    scene.cluster.patch(json!({"spec": {"voters": {"replicas": 5}}})).await?;
    stage.server.restart().await?;
    scene.settled(5).await.with_context(|| operator.last_lines())?;
    scene.unharmed()
}

async fn members_out_of_order_are_reported_and_nothing_is_done_to_them(stage: &Stage) -> Result<()> {
    let scene = stage.scene().await?;
    scene.create(3, json!({})).await?;
    let operator = scene.operator("")?;
    scene.settled(3).await.with_context(|| operator.last_lines())?;
    let before = scene.shape().await?;
    for mood in [Mood::Hangs, Mood::Babbles, Mood::Fails] {
        stage.members.set_mood(&scene.namespace, "conure-1", mood);
        let (reason, message) = scene.cluster.condition(READY, "False", PATIENCE).await?;
        ensure!(message.contains("conure-1"), "{mood:?}: Ready is False for {reason}: {message}");
        scene.cluster.condition(AVAILABLE, "True", PATIENCE).await?;
        stage.members.set_mood(&scene.namespace, "conure-1", Mood::Well);
        scene.settled(3).await?;
    }
    ensure!(scene.shape().await? == before, "something was changed");
    scene.unharmed()
}

async fn cluster_at_rest_costs_the_api_server_nothing(stage: &Stage) -> Result<()> {
    let scene = stage.scene().await?;
    scene.create(3, json!({})).await?;
    let operator = scene.operator("")?;
    scene.settled(3).await.with_context(|| operator.last_lines())?;
    // Until the operator has seen that it is at rest, and then a whole look at its members and the beginning of another.
    let mut seen = (scene.proxy.total(), stage.members.asked());
    until("members are asked and the API server is not", PATIENCE, async || {
        let now = (scene.proxy.total(), stage.members.asked());
        if now.0 != seen.0 {
            seen = now;
        }
        if now.1 < seen.1 + 4 {
            bail!("{} members were asked, {:?}", now.1 - seen.1, scene.proxy.counts())
        } else {
            Ok(())
        }
    })
    .await?;
    // And it wakes up.
    scene.cluster.patch(json!({"spec": {"voters": {"replicas": 1}}})).await?;
    scene.settled(1).await
}

async fn restricted_pod_security_takes_every_pod(stage: &Stage) -> Result<()> {
    let scene = stage.scene().await?;
    let label = format!("namespace/{}", scene.namespace);
    let enforce = ["label", &label, "pod-security.kubernetes.io/enforce=restricted"];
    stage.server.access().kubectl(&enforce).await?;
    scene.create(4, json!({})).await?;
    let operator = scene.operator("")?;
    scene.settled(4).await.with_context(|| operator.last_lines())?;
    // That it is enforced: a pod that may do more is refused.
    let bad = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bad"},
        "spec": {"containers": [{"name": "bad", "image": "bad", "securityContext": {"privileged": true}}]}});
    let refused = stage.server.access().apply(&scene.namespace, &bad.to_string()).await;
    let error = refused.err().context("a privileged pod was taken")?.to_string();
    ensure!(error.contains("restricted"), "{error}");
    Ok(())
}

async fn figures_of_a_cluster_go_with_it(stage: &Stage) -> Result<()> {
    const PORT: u16 = 9_091;
    let scene = stage.scene().await?;
    scene.create(1, json!({})).await?;
    let operator = Start { port: PORT, ..scene.start() }.operator()?;
    scene.settled(1).await.with_context(|| operator.last_lines())?;
    let client = conure_client::Client::new(format!("http://127.0.0.1:{PORT}"))?;
    let series = format!("cluster_members{{namespace=\"{}\"", scene.namespace);
    until("the cluster has figures", PATIENCE, async || {
        let figures = client.metrics().await?;
        ensure!(figures.contains(&series), "there is no {series}");
        Ok(())
    })
    .await?;
    scene.delete().await?;
    until("the cluster has no figures any more", PATIENCE, async || {
        let figures = client.metrics().await?;
        ensure!(!figures.contains(&scene.namespace), "there still are");
        Ok(())
    })
    .await
}

async fn upgraded_chart_keeps_the_definition_and_the_clusters_and_so_does_its_removal(
    stage: &Stage,
) -> Result<()> {
    let scene = stage.scene().await?;
    scene.create(1, json!({})).await?;
    let uid = scene.cluster.get().await?.metadata.uid;
    let access = stage.server.access();
    let present = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/conuredb-operator");
    let past = older_chart(present, &stage.server.folder().join("older-chart"))?;
    let short_names = async || {
        let path = ["get", "crd", "conureclusters.conuredb.dev", "-o", "jsonpath={.spec.names.shortNames}"];
        access.kubectl(&path).await
    };
    let release = ["operator", "--namespace", &scene.namespace];
    access.helm(&[&["install", "--take-ownership"], &release[..], &[&past]].concat()).await?;
    ensure!(short_names().await?.contains("olderconure"), "the older chart has the present definition");
    access.helm(&[&["upgrade"], &release[..], &[present]].concat()).await?;
    ensure!(short_names().await? == r#"["conure"]"#, "the upgrade left the older definition");
    access.helm(&[&["uninstall"], &release[..]].concat()).await?;
    ensure!(short_names().await? == r#"["conure"]"#, "the definition went with the chart");
    ensure!(scene.cluster.get().await?.metadata.uid == uid, "the cluster went with the chart");
    let operator = scene.operator("")?;
    scene.settled(1).await.with_context(|| operator.last_lines())
}

/// The chart as it might have been in an earlier version: its definition has another short name.
fn older_chart(present: &str, folder: &Path) -> Result<String> {
    let _ = fs::remove_dir_all(folder);
    conure_e2e::process::output(
        Command::new("cp").args(["-r", present]).arg(folder),
        Duration::from_secs(20),
    )?;
    for (file, from, to) in [
        ("Chart.yaml", format!("version: {}", env!("CARGO_PKG_VERSION")), "version: 0.0.1"),
        (
            "files/crd.yaml",
            "    shortNames:\n    - conure\n".to_owned(),
            "    shortNames:\n    - olderconure\n",
        ),
    ] {
        let path = folder.join(file);
        let text = fs::read_to_string(&path)?;
        ensure!(text.contains(&from), "{file} has no {from:?}");
        fs::write(&path, text.replacen(&from, to, 1))?;
    }
    Ok(folder.display().to_string())
}
