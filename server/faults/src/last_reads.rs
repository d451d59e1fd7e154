//! The end of a history: every key read on every member, once nothing is in the way any more.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use conure_e2e::history::{Op, Outcome};

use crate::clients::{Shared, Worker};

/// How long one key of one member may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Adds an answered read of each key by each of the `members` that have data. Client numbers begin at `first_client`.
pub(crate) async fn run(
    shared: &Arc<Shared>,
    members: usize,
    keys: &[String],
    first_client: u32,
) -> Result<()> {
    let mut reading = tokio::task::JoinSet::new();
    for (member, client) in (0..members).zip(first_client..) {
        let mut worker = Worker::new(Arc::clone(shared), client)?;
        let keys = keys.to_vec();
        reading.spawn(async move {
            for key in keys {
                let began = Instant::now();
                while worker.ask(Op::Get, key.clone(), member).await != Outcome::Ok {
                    if began.elapsed() > LIMIT {
                        bail!("m{} answered no read of {key} within {} s", member + 1, LIMIT.as_secs());
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
            Ok(())
        });
    }
    while let Some(done) = reading.join_next().await {
        done??;
    }
    Ok(())
}
