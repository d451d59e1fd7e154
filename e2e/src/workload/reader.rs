//! A client that reads, linearizably, what writers were told is there.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use conure_client::Client;

use super::{Shared, Target, keys};
use crate::history::{Op, Outcome, Record};

/// Readers' client numbers begin here.
const FIRST_CLIENT: u32 = 101;

/// Reads until the workload stops.
pub(super) async fn run(shared: Arc<Shared>, number: u32) {
    let mut picker = shared.picker();
    let mut ticks = shared.ticks();
    while !shared.stopped() {
        ticks.tick().await;
        let Some(key) = some_key(&shared) else { continue };
        let Some((target, client)) = picker.pick() else { continue };
        let record = read(&shared, FIRST_CLIENT + number, &target, &client, key).await;
        if record.outcome != Outcome::Ok {
            picker.failed(&target);
        }
        shared.recorder.add(record).await;
    }
}

/// One read and its record.
pub(super) async fn read(
    shared: &Shared,
    number: u32,
    target: &Target,
    client: &Client,
    key: String,
) -> Record {
    let call_ns = shared.recorder.now();
    let answer = client.get(key.as_bytes()).await;
    let return_ns = shared.recorder.now();
    let outcome = if answer.is_ok() { Outcome::Ok } else { Outcome::Fail };
    let found = answer.ok().flatten();
    Record {
        client: number,
        op: Op::Get,
        key,
        deleted: None,
        revision: found.as_ref().map(|found| found.revision),
        value: found.map(|found| String::from_utf8_lossy(&found.bytes).into_owned()),
        call_ns,
        return_ns,
        outcome,
        served_by: target.name.clone(),
    }
}

/// The key of a writer's last write or of any earlier one; none before the first.
fn some_key(shared: &Shared) -> Option<String> {
    let writer = fastrand::usize(..shared.acknowledged.len().max(1));
    let last = shared.acknowledged.get(writer)?.load(Ordering::Relaxed);
    let sequence = if fastrand::bool() { last } else { fastrand::u64(..=last) };
    (sequence > 0).then(|| keys::key(shared.run, u32::try_from(writer).unwrap_or(u32::MAX), sequence))
}
