//! Disks that fail, and logs that are gone.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::{Fault, Scene};
use crate::cluster::{Held, LOOK};
use crate::disk::Loss;

/// The exit codes of a member whose storage failed: while it ran, and while it opened its data directory.
const STORAGE_FAILED: [i32; 2] = [1, 2];

/// How long a member may stay away until its log is gone elsewhere.
const AWAY_LIMIT: Duration = Duration::from_secs(60);

/// How long its way back is looked at; other faults may be in it.
const BACK_LIMIT: Duration = Duration::from_secs(10);

/// A member that ended because of its disk ended as documented.
fn ended_by_its_disk(victim: &mut Held) -> Result<()> {
    if let Some(status) = victim.ended()? {
        ensure!(
            status.code().is_some_and(|code| STORAGE_FAILED.contains(&code)),
            "{} ended with {status} over its disk, not with one of the exit codes {STORAGE_FAILED:?}",
            victim.place.name
        );
        ensure!(
            victim.said_why(),
            "{} ended with {status} over its disk and did not say why",
            victim.place.name
        );
    }
    Ok(())
}

pub(super) async fn full_disk(scene: &mut Scene) -> Result<()> {
    let Some(mut victim) = scene.leader_or_some(2).await else { return Ok(()) };
    victim.volume.set_full(true);
    scene.began(Fault::FullDisk, &victim.place.name);
    scene.hold(2_000..10_000).await;
    victim.volume.set_full(false);
    ended_by_its_disk(&mut victim)?;
    if victim.runs() { Ok(()) } else { victim.start(false) }
}

pub(super) async fn failing_fsync(scene: &mut Scene) -> Result<()> {
    let Some(mut victim) = scene.leader_or_some(2).await else { return Ok(()) };
    victim.volume.set_broken(true);
    scene.began(Fault::FailingFsync, &victim.place.name);
    // It may see no write meanwhile, then it does not notice.
    scene.hold(1_000..5_000).await;
    ended_by_its_disk(&mut victim)?;
    victim.kill()?;
    tokio::task::block_in_place(|| victim.volume.lose_power(Loss::All))?;
    victim.volume.set_broken(false);
    victim.start(false)
}

pub(super) async fn snapshot(scene: &mut Scene) -> Result<()> {
    let Some(mut victim) = scene.some_member() else { return Ok(()) };
    let number = victim.number();
    let Some(held) = scene.cluster.figure(number, "/raft/last_log_index").await else { return Ok(()) };
    victim.kill()?;
    scene.began(Fault::Snapshot, &format!("{} away", victim.place.name));
    let began = Instant::now();
    while began.elapsed() < AWAY_LIMIT && !scene.stop.is_cancelled() {
        if let Some(leader) = scene.cluster.leader().await
            && scene.cluster.figure(leader, "/raft/purged_index").await.is_some_and(|purged| purged > held)
        {
            break;
        }
        tokio::time::sleep(LOOK).await;
    }
    victim.start(false)?;
    let began = Instant::now();
    while began.elapsed() < BACK_LIMIT && !scene.stop.is_cancelled() {
        if scene.cluster.figure(number, "/port/snapshots_received").await.is_some_and(|count| count > 0) {
            scene.log.snapshot_installed();
            break;
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}
