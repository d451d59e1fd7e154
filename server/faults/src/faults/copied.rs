//! A member's volume that is copied, and a process on the copy beside the one on the original.

use std::time::Duration;

use anyhow::{Result, ensure};
use conure_client::Client;
use conure_client::api::Role;
use tokio::time::Instant;

use super::{Fault, Scene, process};
use crate::cluster::LOOK;
use crate::member::Member;

/// How long the copy may take for an answer.
const ASK_LIMIT: Duration = Duration::from_secs(1);

pub(super) async fn run(scene: &mut Scene) -> Result<()> {
    let Some(mut original) = scene.leader_or_some(1).await else { return Ok(()) };
    process::stop(scene, &mut original).await?;
    let folder = scene.cluster.folder.clone();
    let mut copy = tokio::task::block_in_place(|| original.copy(&folder))?;
    original.start(false)?;
    // Where the original is down, the copy is the member and may do all that it does.
    scene.cluster.until_it_answers(original.number()).await?;
    scene.began(Fault::CopiedDirectory, &original.place.name);
    copy.start(false)?;
    let time = Duration::from_millis(scene.rng.u64(5_000..15_000));
    watch(scene, &mut copy, time).await?;
    // The original's end would be noticed later and mistaken for something else.
    ensure!(original.ended()?.is_none(), "{} ended beside its copy", original.place.name);
    copy.kill()?;
    if let Some(known) = scene.cluster.known_at(original.number()).await {
        ensure!(known != copy.place.raft, "{} is taken for its copy at {known}", original.place.name);
    }
    let panics = copy.panics();
    ensure!(panics.is_empty(), "the copy of {}: {}", original.place.name, panics.join("; "));
    tokio::task::block_in_place(|| copy.remove_volume())
}

/// It serves nobody, leads nobody, and either stays up or ends and says why.
async fn watch(scene: &Scene, copy: &mut Member, time: Duration) -> Result<()> {
    let client = Client::builder().server(&copy.place.url).attempts(1).timeout(ASK_LIMIT).build()?;
    let name = copy.place.name.clone();
    let end = Instant::now() + time;
    while Instant::now() < end && !scene.stop.is_cancelled() {
        if let Some(status) = copy.ended()? {
            ensure!(status.code().is_some_and(|code| code > 0), "the copy of {name} ended with {status}");
            ensure!(copy.said_why(), "the copy of {name} ended with {status} and did not say why");
        }
        if copy.runs() {
            let ready = client.readyz(None).await.is_ok_and(|probe| probe.ok);
            ensure!(!ready, "the copy of {name} is ready");
            let status = client.status().await.ok();
            ensure!(!status.as_ref().is_some_and(|status| status.is_leader), "the copy of {name} leads");
            // An arbiter sends readers to the leader that it last heard of, which may answer.
            let reads = status.is_some_and(|status| status.role == Role::Data);
            ensure!(!reads || client.get(b"any").await.is_err(), "the copy of {name} answered a read");
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}
