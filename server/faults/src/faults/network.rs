//! Members that do not hear each other; clients reach all of them.

use std::sync::Arc;

use anyhow::Result;

use super::{Fault, Scene};
use crate::network::{Partition, set};

pub(super) async fn run(scene: &mut Scene, fault: Fault) -> Result<()> {
    let _shared = tokio::select! {
        shared = Arc::clone(&scene.cluster.calm).read_owned() => shared,
        () = scene.stop.cancelled() => return Ok(()),
    };
    let count = scene.cluster.count();
    let leader = scene.cluster.leader().await;
    let one = leader.unwrap_or_else(|| scene.rng.usize(..count));
    let other = (one + scene.rng.usize(1..count)) % count;
    let (partition, what) = match fault {
        Fault::OneWay => match scene.rng.u8(..4) {
            0 => (Partition::deaf_one(count, one), format!("m{} hears nobody", one + 1)),
            1 => (Partition::deaf_one(count, other), format!("m{} hears nobody", other + 1)),
            2 => (Partition::one_way(count, other, one), format!("m{} to m{}", other + 1, one + 1)),
            _ => (Partition::one_way(count, one, other), format!("m{} to m{}", one + 1, other + 1)),
        },
        Fault::Ring if scene.rng.bool() => (Partition::one_way_ring(count), "one-way".to_owned()),
        Fault::Ring => (Partition::ring(count), String::new()),
        _ => (Partition::cut_off(count, one), format!("m{}", one + 1)),
    };
    set(&partition)?;
    scene.began(fault, &what);
    scene.hold(1_000..8_000).await;
    set(&Partition::none(count))
}
