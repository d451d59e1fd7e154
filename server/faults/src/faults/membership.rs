//! Members that leave and come back, and volumes that are lost.

use anyhow::Result;
use std::time::Duration;

use super::{Fault, Scene};
use crate::cluster::{Held, RECOVERY_LIMIT};

/// How long a membership change may take while other faults are about.
const CHANGE_LIMIT: Duration = Duration::from_secs(180);

/// Joins until it worked; when the run is over, nothing is in the way any more and it has to work soon.
async fn join(scene: &Scene, member: usize) -> Result<()> {
    tokio::select! {
        joined = scene.cluster.join(member, CHANGE_LIMIT) => return joined,
        () = scene.stop.cancelled() => {}
    }
    scene.cluster.heal_network()?;
    scene.cluster.join(member, RECOVERY_LIMIT).await
}

pub(super) async fn rejoin(scene: &mut Scene) -> Result<()> {
    let Some(victim) = scene.leader_or_some(1).await else { return Ok(()) };
    scene.began(Fault::Rejoin, &victim.place.name);
    let number = victim.number();
    let removed = tokio::select! {
        removed = scene.cluster.remove(number, CHANGE_LIMIT) => removed?,
        // Whether it was made is found out by joining.
        () = scene.stop.cancelled() => true,
    };
    if !removed {
        return Ok(());
    }
    scene.hold(0..2_000).await;
    join(scene, number).await
}

pub(super) async fn wipe(scene: &mut Scene) -> Result<()> {
    if scene.cluster.count() == 3 && scene.rng.bool() && wipe_the_witness(scene).await? {
        return Ok(());
    }
    let Some(mut victim) = scene.leader_or_some(1).await else { return Ok(()) };
    scene.began(Fault::Wipe, &victim.place.name);
    lose_volume(&mut victim)?;
    scene.hold(0..2_000).await;
    victim.start(false)?;
    let number = victim.number();
    scene.cluster.until_it_answers(number).await?;
    join(scene, number).await
}

/// The volume is gone; the member joins again with an empty one.
pub(super) async fn begin_anew(scene: &Scene, victim: &mut Held) -> Result<()> {
    lose_volume(victim)?;
    victim.start(false)?;
    scene.cluster.until_it_answers(victim.number()).await?;
    join(scene, victim.number()).await
}

fn lose_volume(victim: &mut Held) -> Result<()> {
    victim.kill()?;
    tokio::task::block_in_place(|| victim.volume.replace())
}

/// One member is down while the two others write; then one of these loses its volume and comes back, the other goes down,
/// and the first comes back. Were the empty one to vote as who it was, a majority would know nothing of what was written.
/// False where other faults hold a member.
async fn wipe_the_witness(scene: &mut Scene) -> Result<bool> {
    let Some(leader) = scene.cluster.leader().await else { return Ok(false) };
    let mut others: Vec<usize> = (0..3).filter(|number| *number != leader).collect();
    scene.rng.shuffle(&mut others);
    let (Some(mut leader), Some(mut behind), Some(mut witness)) =
        (scene.cluster.take(leader), scene.cluster.take(others[0]), scene.cluster.take(others[1]))
    else {
        return Ok(false);
    };
    scene.began(Fault::Wipe, &format!("{} while {} is behind", witness.place.name, behind.place.name));
    behind.kill()?;
    scene.hold(1_000..3_000).await;
    // From here on nobody but the leader holds what was written.
    lose_volume(&mut witness)?;
    witness.start(false)?;
    let number = witness.number();
    scene.cluster.until_it_answers(number).await?;
    let cluster = std::sync::Arc::clone(&scene.cluster);
    let early = tokio::spawn(async move { cluster.join(number, Duration::from_secs(2)).await });
    scene.hold(200..1_500).await;
    leader.kill()?;
    behind.start(false)?;
    scene.hold(3_000..6_000).await;
    leader.start(false)?;
    // It may or may not have worked: now it has to.
    let _ = early.await?;
    drop((leader, behind));
    join(scene, number).await?;
    drop(witness);
    Ok(true)
}
