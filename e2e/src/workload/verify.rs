//! Reads every acknowledged key once more after the clients have stopped.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use futures::{StreamExt, TryStreamExt, stream};

use super::{Shared, reader};
use crate::history::{Op, Outcome, Record};

/// How many keys are read at once.
const AT_ONCE: u32 = 16;
/// How long one key may take.
const LIMIT: Duration = Duration::from_secs(30);
/// The client numbers of these reads begin here.
const FIRST_CLIENT: u32 = 201;

/// Adds one answered read of each acknowledged key to the history.
pub(super) async fn read_back(shared: &Shared, records: &[Record]) -> Result<()> {
    let keys: BTreeSet<&str> = records
        .iter()
        .filter(|record| record.op == Op::Put && record.outcome == Outcome::Ok)
        .map(|record| record.key.as_str())
        .collect();
    let keys: Vec<&str> = keys.into_iter().collect();
    let share = keys.len().div_ceil(usize::try_from(AT_ONCE)?).max(1);
    stream::iter(keys.chunks(share).zip(FIRST_CLIENT..))
        .map(Ok)
        .try_for_each_concurrent(None, |(keys, client)| read_all(shared, client, keys))
        .await
}

async fn read_all(shared: &Shared, number: u32, keys: &[&str]) -> Result<()> {
    let mut picker = shared.picker();
    for key in keys {
        let began = Instant::now();
        loop {
            if let Some((target, client)) = picker.pick() {
                let record = reader::read(shared, number, &target, &client, (*key).to_owned()).await;
                let outcome = record.outcome;
                shared.recorder.add(record).await;
                if outcome == Outcome::Ok {
                    break;
                }
                picker.failed(&target);
            }
            if began.elapsed() > LIMIT {
                bail!("no member answered a read of {key} within {} s", LIMIT.as_secs());
            }
            tokio::time::sleep(shared.pace).await;
        }
    }
    Ok(())
}
