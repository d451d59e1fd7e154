//! A member's disk that cannot read one of its files any more.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use conure_client::exit::DATA_DAMAGED;

use super::{Fault, Scene, membership, process};
use crate::cluster::LOOK;

/// How long it is looked at whether the member notices.
const WHILE_MS: std::ops::Range<u64> = 3_000..10_000;

pub(super) async fn run(scene: &mut Scene) -> Result<()> {
    let Some(mut victim) = scene.leader_or_some(1).await else { return Ok(()) };
    // While it serves it may read nothing of that file; as it starts it reads most of them.
    let starts = scene.rng.bool();
    if starts {
        process::stop(scene, &mut victim).await?;
    }
    let found = tokio::task::block_in_place(|| victim.volume.set_unreadable(&mut scene.rng))?;
    if starts {
        victim.start(false)?;
    }
    if !found {
        return Ok(());
    }
    let name = victim.place.name.clone();
    scene.began(Fault::Eio, &format!("{name} {}", if starts { "as it starts" } else { "while it serves" }));
    let (began, time) = (Instant::now(), Duration::from_millis(scene.rng.u64(WHILE_MS)));
    while began.elapsed() < time && !scene.stop.is_cancelled() {
        if let Some(status) = victim.ended()? {
            ensure!(
                status.code() == Some(DATA_DAMAGED.into()),
                "{name} ended with {status} over a file that cannot be read"
            );
            ensure!(victim.said_why(), "{name} ended with {status} and did not say why");
            break;
        }
        tokio::time::sleep(LOOK).await;
    }
    membership::begin_anew(scene, &mut victim).await
}
