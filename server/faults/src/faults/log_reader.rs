//! A member whose standard error is a pipe that nobody reads, or whose reader has gone.

use anyhow::{Result, ensure};

use super::{Fault, Scene, process};
use crate::member::Way;

pub(super) async fn run(scene: &mut Scene) -> Result<()> {
    let Some(mut victim) = scene.leader_or_some(2).await else { return Ok(()) };
    process::stop(scene, &mut victim).await?;
    let (reader, writer) = std::io::pipe()?;
    victim.start_in(Way { standard_error: Some(writer), ..Way::default() })?;
    let number = victim.number();
    scene.cluster.until_it_answers(number).await?;
    // First the pipe fills; then, with one of two, its reader dies.
    let reader = match scene.rng.u8(..4) {
        0 => {
            drop(reader);
            scene.began(Fault::DeadLogReader, &format!("{} from the start", victim.place.name));
            None
        }
        1 => {
            scene.began(Fault::DeadLogReader, &format!("{} later", victim.place.name));
            scene.hold(1_000..4_000).await;
            drop(reader);
            None
        }
        _ => {
            scene.began(Fault::DeadLogReader, &format!("{} lives and does not read", victim.place.name));
            Some(reader)
        }
    };
    scene.hold(3_000..10_000).await;
    ensure!(victim.ended()?.is_none(), "{} ended without a reader of its log", victim.place.name);
    scene.cluster.until_it_answers(number).await?;
    process::stop(scene, &mut victim).await?;
    drop(reader);
    victim.start(false)
}
