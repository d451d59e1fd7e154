//! A member's volume that is put back as it was some seconds earlier, as when somebody restores a snapshot of it.
//!
//! That is done only where it is promised that nothing is lost and that it is noticed: the leader that counted on the member
//! stays, the others hold whatever it acknowledged, and nothing keeps the leader from reaching it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use conure_client::exit::DATA_DAMAGED;

use super::{Fault, Scene, membership};
use crate::cluster::{Held, LOOK};
use crate::disk::Image;

/// How long the others may take to go on without the member.
const GO_ON_LIMIT: Duration = Duration::from_secs(20);

/// How long it may take until the member is told what it lost.
const NOTICED_LIMIT: Duration = Duration::from_secs(30);

/// What the leader counted on, and what the earlier volume has of it.
#[derive(Debug)]
struct Past {
    image: Image,
    /// Who leads, and in which term.
    leads: (usize, u64),
    /// The last entry that the volume may hold.
    held: u64,
    /// The last entry that the member acknowledged to the leader.
    acknowledged: u64,
}

pub(super) async fn run(scene: &mut Scene) -> Result<()> {
    let Some((calm, mut all)) = everything(scene).await? else { return Ok(()) };
    let Some((leader, term)) = scene.cluster.leads().await else { return Ok(()) };
    let number = (leader + scene.rng.usize(1..all.len())) % all.len();
    let mut victim = all.swap_remove(number);
    let Some(past) = part_with(scene, &mut victim, (leader, term)).await? else { return Ok(()) };
    let lacks = past.acknowledged > past.held;
    let what = format!("{} from {} to {}", victim.place.name, past.acknowledged, past.held);
    tokio::task::block_in_place(|| victim.volume.put_back(past.image))?;
    scene.began(Fault::RolledBackVolume, &what);
    victim.start(false)?;
    let began = Instant::now();
    while began.elapsed() < NOTICED_LIMIT && !scene.stop.is_cancelled() && lacks {
        if let Some(status) = victim.ended()? {
            ensure!(
                status.code() == Some(DATA_DAMAGED.into()) && victim.said_why(),
                "{what}: ended with {status}, or did not say why"
            );
            break;
        }
        tokio::time::sleep(LOOK).await;
    }
    let unnoticed = victim.runs() && lacks && began.elapsed() >= NOTICED_LIMIT;
    ensure!(
        !unnoticed || scene.cluster.leads().await != Some(past.leads),
        "{what}: not noticed within {} s",
        NOTICED_LIMIT.as_secs()
    );
    drop((calm, all));
    membership::begin_anew(scene, &mut victim).await
}

/// Every member, and the word of all other faults that they leave the leader alone; none where the run is over.
async fn everything(scene: &Scene) -> Result<Option<(tokio::sync::OwnedRwLockWriteGuard<()>, Vec<Held>)>> {
    let take = async {
        let calm = Arc::clone(&scene.cluster.calm).write_owned().await;
        let mut all = Vec::new();
        for number in 0..scene.cluster.count() {
            all.push(scene.cluster.wait_for(number).await?);
        }
        Ok(Some((calm, all)))
    };
    tokio::select! { taken = take => taken, () = scene.stop.cancelled() => Ok(None) }
}

/// Keeps what is on the volume, lets the member go on for a while, and stops it. None where the cluster did not go on
/// without it under the same leader: the member runs again then.
async fn part_with(scene: &mut Scene, victim: &mut Held, leads: (usize, u64)) -> Result<Option<Past>> {
    let cluster = Arc::clone(&scene.cluster);
    let image = victim.volume.image();
    let held = cluster.figure(victim.number(), "/raft/last_log_index").await;
    scene.hold(2_000..6_000).await;
    let acknowledged = cluster.figure(leads.0, &format!("/raft/matched/{}", victim.place.name)).await;
    victim.kill()?;
    let last = cluster.figure(leads.0, "/raft/last_log_index").await;
    let (Some(image), Some(held), Some(acknowledged), Some(last)) = (image, held, acknowledged, last) else {
        victim.start(false)?;
        return Ok(None);
    };
    let began = Instant::now();
    while began.elapsed() < GO_ON_LIMIT && !scene.stop.is_cancelled() {
        // A quorum of the others holds all that the member may have acknowledged, and is in the leader's term.
        let committed = cluster.figure(leads.0, "/raft/committed_index").await;
        if committed.is_some_and(|committed| committed > last) && cluster.leads().await == Some(leads) {
            return Ok(Some(Past { image, leads, held, acknowledged }));
        }
        tokio::time::sleep(LOOK).await;
    }
    victim.start(false)?;
    Ok(None)
}
