//! Hundreds of clusters on one API server without nodes: what one that rests costs, what the operator holds in memory, and how
//! soon it acts on one while the others change.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use conure_crd::ConureCluster;
use conure_crd::condition::READY;
use futures::stream::{self, StreamExt, TryStreamExt};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::Row;
use crate::bare::{Operator, Proxy, Scene, Stage, Start};
use crate::kubernetes::until;

/// How long all of them may take to become Ready.
const CREATION: Duration = Duration::from_mins(20);
/// How long rest is watched.
const REST: Duration = Duration::from_secs(120);
/// How many changes of one cluster are timed.
const PROBES: u32 = 100;
/// How many other clusters change in a second meanwhile.
const CHURN: u32 = 10;
/// Requests of the benchmark itself at a time.
const AT_ONCE: usize = 8;

/// Plays that many clusters of `members` data members.
pub async fn many(
    stage: &Stage,
    clusters: u32,
    members: i32,
    say: &(dyn Fn(String) + Sync),
) -> Result<Vec<Row>> {
    say(format!("making {clusters} clusters of {members}"));
    let scenes: Vec<Scene<'_>> = stream::iter(0..clusters)
        .map(async |_| {
            let scene = stage.scene().await?;
            scene.create(members, json!({})).await?;
            anyhow::Ok(scene)
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    let proxy = Proxy::start(stage.server.access().client()).await?;
    let folder = stage.server.folder().join("many");
    let port = 9_090;
    let first = scenes.first().context("no cluster")?;
    let start = Start {
        folder,
        url: proxy.url().to_owned(),
        namespace: String::new(),
        candidate: Some("bench".into()),
        port,
        ..first.start()
    };
    let operator = start.operator()?;
    let began = Instant::now();
    let all: Api<ConureCluster> = Api::all(stage.server.access().client());
    until("every cluster is Ready", CREATION, async || {
        let ready =
            all.list(&ListParams::default()).await?.items.iter().filter(|found| is_ready(found)).count();
        say(format!("{ready} of {clusters} are Ready"));
        sleep(Duration::from_secs(2)).await;
        if ready < scenes.len() { bail!("{ready} are; {}", operator.last_lines()) } else { Ok(()) }
    })
    .await?;
    let created = began.elapsed().as_secs_f64();
    let (reconciles, requests) = (counter(port, "reconciles_total").await?, proxy.total());
    let name = |what: &str| format!("{clusters} clusters of {members}: {what}");
    let count = f64::from(clusters);
    let mut rows = vec![
        Row::seconds(name("all Ready"), created, None),
        Row::value(name("passes a second meanwhile"), reconciles / created, "1/s", None),
        Row::value(name("API requests to make one"), to_f64(requests) / count, "", None),
    ];
    rows.push(rest(&proxy, count, name("API requests of a cluster at rest"), say).await?);
    rows.push(Row::value(name("memory of the operator"), resident_mb(&operator)?, "MB", Some(100.0)));
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    say("timing changes of one cluster alone".into());
    probe(first, PROBES / 5, &mut alone).await?;
    say(format!("timing changes of one cluster while {CHURN} others change each second"));
    tokio::select! {
        churned = churn(scenes.get(1..).unwrap_or_default()) => bail!("the churn ended: {churned:?}"),
        probed = probe(first, PROBES, &mut beside) => probed?,
    }
    rows.extend([
        Row::seconds(name("a change acted on, nothing else changes, p50"), percentile(&mut alone, 0.5), None),
        Row::seconds(name("a change acted on while others change, p50"), percentile(&mut beside, 0.5), None),
        Row::seconds(
            name("a change acted on while others change, p99"),
            percentile(&mut beside, 0.99),
            Some(1.0),
        ),
        Row::value(name("memory of the operator at the end"), resident_mb(&operator)?, "MB", Some(100.0)),
    ]);
    Ok(rows)
}

fn is_ready(cluster: &ConureCluster) -> bool {
    let conditions = cluster.status.iter().flat_map(|status| &status.conditions);
    conditions.into_iter().any(|condition| condition.type_ == READY && condition.status == "True")
}

/// Requests for each cluster and minute, once nothing is left to do.
async fn rest(proxy: &Proxy, clusters: f64, name: String, say: &(dyn Fn(String) + Sync)) -> Result<Row> {
    let mut last = proxy.total();
    until("the operator has nothing left to do", Duration::from_mins(5), async || {
        sleep(Duration::from_secs(11)).await;
        let now = proxy.total();
        let made = to_f64(now - std::mem::replace(&mut last, now));
        if made > clusters { bail!("{made} requests in 11 s") } else { Ok(()) }
    })
    .await?;
    say(format!("watching them rest for {} s", REST.as_secs()));
    let before = proxy.total();
    sleep(REST).await;
    let each = to_f64(proxy.total() - before) / clusters / (REST.as_secs_f64() / 60.0);
    Ok(Row::value(name, each, "1/min", Some(1.0)))
}

/// The time from a change of the spec to the object that it asks for.
async fn probe(scene: &Scene<'_>, times: u32, found: &mut Vec<f64>) -> Result<()> {
    let budgets: Api<PodDisruptionBudget> = scene.cluster.access.api(&scene.namespace);
    for number in 0..times {
        let wanted = number % 2 == 1;
        scene.cluster.patch(json!({"spec": {"pdb": {"enabled": wanted}}})).await?;
        let began = Instant::now();
        while budgets.get_opt(&scene.cluster.name).await?.is_some() != wanted {
            if began.elapsed() > Duration::from_secs(60) {
                bail!("a change was not acted on within a minute");
            }
            sleep(Duration::from_millis(5)).await;
        }
        found.push(began.elapsed().as_secs_f64());
        sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

/// Changes the clusters in turn, until it is dropped.
async fn churn(scenes: &[Scene<'_>]) -> Result<()> {
    let mut ticks = interval(Duration::from_secs(1) / CHURN);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for (round, scene) in scenes.iter().cycle().enumerate() {
        ticks.tick().await;
        let wanted = (round / scenes.len()) % 2 == 1;
        let change = Patch::Merge(json!({"spec": {"pdb": {"enabled": wanted}}}));
        scene.cluster.resources().patch(&scene.cluster.name, &PatchParams::default(), &change).await?;
    }
    bail!("there are no others")
}

async fn counter(port: u16, name: &str) -> Result<f64> {
    let client = conure_client::Client::new(format!("http://127.0.0.1:{port}"))?;
    let figures = client.metrics().await?;
    let start = format!("conure_operator_{name} ");
    let line =
        figures.lines().find_map(|line| line.strip_prefix(&start)).with_context(|| format!("no {name}"))?;
    Ok(line.parse()?)
}

fn resident_mb(operator: &Operator) -> Result<f64> {
    let pid = operator.pid().context("the operator ended")?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib * 1024.0 / 1e6)
}

#[expect(clippy::cast_precision_loss, reason = "counts of requests are far below 2^52")]
fn to_f64(count: u64) -> f64 {
    count as f64
}

/// The value below which that share of the values lies.
fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place in a list")]
    let place = (last as f64 * share).ceil() as usize;
    values.get(place.min(last)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_seen() {
        let mut values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(percentile(&mut values, 0.5), 51.0);
        assert_eq!(percentile(&mut values, 0.99), 100.0);
        assert_eq!(percentile(&mut [], 0.5), 0.0);
    }
}
