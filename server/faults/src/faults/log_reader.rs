//! A member whose standard error is a pipe that nobody reads, or whose reader has gone.

use std::io::{ErrorKind, PipeWriter, Write as _};

use anyhow::{Result, ensure};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use super::{Fault, Scene, process};
use crate::member::Way;

pub(super) async fn run(scene: &mut Scene) -> Result<()> {
    let Some(mut victim) = scene.leader_or_some(2).await else { return Ok(()) };
    process::stop(scene, &mut victim).await?;
    let (reader, mut writer) = std::io::pipe()?;
    if scene.rng.u8(..4) > 0 {
        fill(&mut writer)?;
    }
    victim.start_in(Way { standard_error: Some(writer), ..Way::default() })?;
    let number = victim.number();
    scene.cluster.until_it_answers(number).await?;
    // The pipe is full, or gets so; then, with one of two, its reader dies.
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

/// Writes until it takes no more.
fn fill(pipe: &mut PipeWriter) -> Result<()> {
    let flags = fcntl_getfl(&*pipe)?;
    fcntl_setfl(&*pipe, flags | OFlags::NONBLOCK)?;
    let full = loop {
        match pipe.write(b"\n") {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    // Whoever has the other copy of it expects to wait.
    fcntl_setfl(&*pipe, flags)?;
    Ok(full?)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn a_full_pipe_takes_more_once_somebody_reads() {
        let (mut reader, mut writer) = std::io::pipe().unwrap();
        fill(&mut writer).unwrap();
        assert!(!fcntl_getfl(&writer).unwrap().contains(OFlags::NONBLOCK));
        assert!(reader.read(&mut [0; 1 << 16]).unwrap() > 0);
        writer.write_all(b"more").unwrap();
    }
}
