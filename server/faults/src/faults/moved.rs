//! A member that comes back at another address, as when it is moved.
//!
//! Those that stay have to be a quorum, soon: it is done in the lane of storage, where no other member is wiped or away for
//! long. Where they are none, members find each other through `--join` alone, which nothing here has.

use std::time::Duration;

use anyhow::Result;

use super::{Fault, Scene, process};
use crate::cluster::RECOVERY_LIMIT;

/// How long the others may take to know it there while other faults are about.
const KNOWN_LIMIT: Duration = Duration::from_secs(180);

/// How much higher than those that it began with its ports may be; those of its copy are higher.
const SHIFTS: std::ops::Range<u16> = 0..400;

pub(super) async fn run(scene: &mut Scene) -> Result<()> {
    let Some(mut victim) = scene.leader_or_some(1).await else { return Ok(()) };
    let number = victim.number();
    process::stop(scene, &mut victim).await?;
    victim.move_by(scene.rng.u16(SHIFTS));
    scene.began(Fault::ChangedAddresses, &format!("{} to {}", victim.place.name, victim.place.raft));
    scene.hold(0..2_000).await;
    scene.cluster.places.moved(number, victim.place.clone())?;
    victim.start(false)?;
    scene.cluster.until_it_answers(number).await?;
    // When the run is over, nothing is in the way any more and it has to work soon.
    tokio::select! {
        known = scene.cluster.until_known(number, KNOWN_LIMIT) => return known,
        () = scene.stop.cancelled() => {}
    }
    scene.cluster.heal_network()?;
    scene.cluster.until_known(number, RECOVERY_LIMIT).await
}
