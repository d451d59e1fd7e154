//! A member that may open few files, and strangers who take what there is of them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::{Fault, Scene, process};
use crate::member::Way;

/// How many files it may open.
const LIMITS: [u32; 2] = [64, 128];

/// How many connections are opened to it.
const CONNECTIONS: usize = 400;

/// How long one of them may take; those behind a full queue are given up.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);

pub(super) async fn run(scene: &mut Scene) -> Result<()> {
    let Some(mut victim) = scene.leader_or_some(2).await else { return Ok(()) };
    process::stop(scene, &mut victim).await?;
    let limit = LIMITS[scene.rng.usize(..LIMITS.len())];
    victim.start_in(Way { descriptors: Some(limit), ..Way::default() })?;
    let (number, name) = (victim.number(), victim.place.name.clone());
    scene.cluster.until_it_answers(number).await?;
    let server = victim.place.url.strip_prefix("http://").context("no HTTP address")?.to_owned();
    let idle = idle_connections(&server).await;
    scene.began(Fault::DescriptorLimit, &format!("{name}, {limit} and {} connections", idle.len()));
    scene.hold(3_000..10_000).await;
    ensure!(victim.ended()?.is_none(), "{name} ended for want of file descriptors");
    drop(idle);
    scene.cluster.until_it_answers(number).await?;
    process::restart(scene, &mut victim).await
}

/// Those that could be opened.
async fn idle_connections(server: &str) -> Vec<TcpStream> {
    let mut opening = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let connect = TcpStream::connect(server.to_owned());
        opening.spawn(tokio::time::timeout(CONNECT_LIMIT, connect));
    }
    let opened = opening.join_all().await;
    opened.into_iter().filter_map(|connection| connection.ok()?.ok()).collect()
}
