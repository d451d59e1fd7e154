//! When which fault happens: each lane draws from its faults, one after the other, as the seed says.

use anyhow::{Context, Result};

use super::{
    Fault, Lane, Scene, copied, descriptors, eio, log_reader, membership, moved, network, process,
    rolled_back, storage,
};

/// The time from one fault of a lane to its next.
const BETWEEN_MS: std::ops::Range<u64> = 500..6_000;

/// Does one fault after the other until the run is over.
pub(crate) async fn run_lane(mut scene: Scene, lane: Lane, faults: Vec<Fault>) -> Result<()> {
    let of_lane: Vec<Fault> = faults.into_iter().filter(|fault| fault.lane() == lane).collect();
    // Each once in some order, then again: a short run has as many kinds as a long one.
    let mut left: Vec<Fault> = Vec::new();
    // Those that other faults left no member for come first the next time.
    let mut missed: Vec<Fault> = Vec::new();
    while !of_lane.is_empty() && !scene.stop.is_cancelled() {
        scene.hold(BETWEEN_MS).await;
        if left.is_empty() {
            left.clone_from(&of_lane);
            scene.rng.shuffle(&mut left);
            left.append(&mut missed);
        }
        let Some(fault) = left.pop() else { break };
        let before = scene.log.counts().get(&fault).copied();
        if scene.stop.is_cancelled() {
            break;
        }
        let done = match fault {
            Fault::CutOffLeader | Fault::OneWay | Fault::Ring => network::run(&mut scene, fault).await,
            Fault::Kill => process::kill(&mut scene).await,
            Fault::PowerLoss => process::power_loss(&mut scene).await,
            Fault::Pause => process::pause(&mut scene).await,
            Fault::Clock => process::clock(&mut scene).await,
            Fault::RollingRestart => process::rolling_restart(&mut scene).await,
            Fault::Transfer => process::transfer(&mut scene).await,
            Fault::DeadLogReader => log_reader::run(&mut scene).await,
            Fault::ChangedAddresses => moved::run(&mut scene).await,
            Fault::DescriptorLimit => descriptors::run(&mut scene).await,
            Fault::Rejoin => membership::rejoin(&mut scene).await,
            Fault::Wipe => membership::wipe(&mut scene).await,
            Fault::FullDisk => storage::full_disk(&mut scene).await,
            Fault::FailingFsync => storage::failing_fsync(&mut scene).await,
            Fault::Snapshot => storage::snapshot(&mut scene).await,
            Fault::RolledBackVolume => rolled_back::run(&mut scene).await,
            Fault::Eio => eio::run(&mut scene).await,
            Fault::CopiedDirectory => copied::run(&mut scene).await,
        };
        scene.ended(fault);
        if scene.log.counts().get(&fault).copied() == before {
            missed.push(fault);
        }
        done.with_context(|| format!("fault {fault}"))?;
    }
    Ok(())
}
