//! What happens to processes.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::{Fault, Scene, names};
use crate::cluster::{Held, LOOK};
use crate::disk::Loss;

/// How long a transfer is asked for.
const TRANSFER_LIMIT: Duration = Duration::from_secs(10);

pub(super) async fn kill(scene: &mut Scene) -> Result<()> {
    let mut victims: Vec<Held> = scene.leader_or_some(2).await.into_iter().collect();
    if scene.rng.u8(..4) == 0 {
        victims.extend(scene.some_member());
    }
    if victims.is_empty() {
        return Ok(());
    }
    for victim in &mut victims {
        victim.kill()?;
    }
    scene.began(Fault::Kill, &names(&victims));
    scene.hold(0..5_000).await;
    victims.iter_mut().try_for_each(|victim| victim.start(false))
}

pub(super) async fn power_loss(scene: &mut Scene) -> Result<()> {
    let count = scene.cluster.count();
    let wanted = [1, count / 2 + 1, count][scene.rng.usize(..3)];
    let mut victims = scene.some_members(wanted);
    if victims.is_empty() {
        return Ok(());
    }
    // All at once: what one of them still does, the others would see.
    for victim in &victims {
        victim.volume.cut_power();
    }
    for victim in &mut victims {
        victim.kill()?;
        let loss = if scene.rng.bool() { Loss::All } else { Loss::Torn(scene.rng.u64(..)) };
        tokio::task::block_in_place(|| victim.volume.lose_power(loss))?;
    }
    scene.began(Fault::PowerLoss, &names(&victims));
    scene.hold(0..2_000).await;
    victims.iter_mut().try_for_each(|victim| victim.start(false))
}

pub(super) async fn pause(scene: &mut Scene) -> Result<()> {
    let mut victims: Vec<Held> = scene.leader_or_some(3).await.into_iter().collect();
    if scene.rng.u8(..4) == 0 {
        victims.extend(scene.some_member());
    }
    if victims.is_empty() {
        return Ok(());
    }
    for victim in &victims {
        victim.pause();
    }
    scene.began(Fault::Pause, &names(&victims));
    scene.hold(500..8_000).await;
    for victim in &victims {
        victim.resume();
    }
    Ok(())
}

pub(super) async fn clock(scene: &mut Scene) -> Result<()> {
    let wanted = if scene.rng.bool() { 1 } else { scene.cluster.count() };
    let victims = scene.some_members(wanted);
    if victims.is_empty() {
        return Ok(());
    }
    for victim in &victims {
        let far = [2, 60, 3_600, 86_400 * 400][scene.rng.usize(..4)];
        victim.set_clock(if scene.rng.bool() { far } else { -far })?;
    }
    scene.began(Fault::Clock, &names(&victims));
    scene.hold(1_000..6_000).await;
    victims.iter().try_for_each(|victim| victim.set_clock(0))
}

/// Stops one member by SIGTERM and starts it again. It has to end well.
pub(super) async fn restart(scene: &Scene, victim: &mut Held) -> Result<()> {
    stop(scene, victim).await?;
    victim.start(false)
}

/// Stops one member by SIGTERM. It has to end well.
pub(super) async fn stop(scene: &Scene, victim: &mut Held) -> Result<()> {
    // One that only just started does not listen for signals yet.
    scene.cluster.until_it_answers(victim.number()).await?;
    victim.terminate();
    let status = victim.wait().await?;
    ensure!(status.success(), "{} ended with {status} on SIGTERM", victim.place.name);
    Ok(())
}

pub(super) async fn rolling_restart(scene: &mut Scene) -> Result<()> {
    scene.began(Fault::RollingRestart, "");
    let mut numbers: Vec<usize> = (0..scene.cluster.count()).collect();
    scene.rng.shuffle(&mut numbers);
    for number in numbers {
        let mut victim = scene.cluster.wait_for(number).await?;
        restart(scene, &mut victim).await?;
        drop(victim);
        // As an operator does it; where another fault is in the way, not for ever.
        let began = std::time::Instant::now();
        while !scene.stop.is_cancelled() && began.elapsed() < Duration::from_secs(5) {
            if scene.cluster.status(number).await.is_some_and(|status| !status.leader.is_empty()) {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        if scene.stop.is_cancelled() {
            break;
        }
    }
    Ok(())
}

pub(super) async fn transfer(scene: &mut Scene) -> Result<()> {
    let _shared = tokio::select! {
        shared = Arc::clone(&scene.cluster.calm).read_owned() => shared,
        () = scene.stop.cancelled() => return Ok(()),
    };
    let Some(leader) = scene.cluster.leader().await else { return Ok(()) };
    if scene.rng.bool() {
        let to = scene.rng.usize(..scene.cluster.count());
        scene.began(Fault::Transfer, &format!("to m{}", to + 1));
        // Another fault may be in the way: then there is none, and that is an answer too.
        tokio::select! {
            _ = scene.cluster.transfer(to) => {}
            () = tokio::time::sleep(TRANSFER_LIMIT) => {}
            () = scene.stop.cancelled() => {}
        }
        return Ok(());
    }
    let Some(mut victim) = scene.cluster.take(leader) else { return Ok(()) };
    scene.began(Fault::Transfer, &format!("by SIGTERM of {}", victim.place.name));
    restart(scene, &mut victim).await
}
