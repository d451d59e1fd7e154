//! A client that writes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use conure_client::ClientError;

use super::{Shared, keys};
use crate::history::{Op, Outcome, Record};

/// Writes until the workload stops, one write after the other; an unknown outcome is left as it is and the next write is
/// another one.
pub(super) async fn run(shared: Arc<Shared>, number: u32) {
    let mut picker = shared.picker();
    let mut ticks = shared.ticks();
    let mut sequence = 0;
    while !shared.stopped() {
        ticks.tick().await;
        let Some((target, client)) = picker.pick() else { continue };
        sequence += 1;
        let (key, value) = (keys::key(shared.run, number, sequence), keys::value(number, sequence));
        let call_ns = shared.recorder.now();
        let answer = client.put(key.as_bytes(), value.clone()).await;
        let return_ns = shared.recorder.now();
        let outcome = match &answer {
            Ok(_) => Outcome::Ok,
            Err(error) => outcome(error),
        };
        if outcome != Outcome::Ok {
            picker.failed(&target);
        }
        let record = Record {
            client: number + 1,
            op: Op::Put,
            key,
            value: Some(value),
            revision: answer.ok().map(|answer| answer.revision),
            deleted: None,
            call_ns,
            return_ns,
            outcome,
            served_by: target.name,
        };
        shared.recorder.add(record).await;
        if outcome == Outcome::Ok {
            shared.total.fetch_add(1, Ordering::Relaxed);
            if let Some(last) = usize::try_from(number).ok().and_then(|n| shared.acknowledged.get(n)) {
                last.store(sequence, Ordering::Relaxed);
            }
        }
    }
}

/// How a failed write ended. It is only taken as not done where that is certain.
#[must_use]
pub fn outcome(error: &ClientError) -> Outcome {
    match error {
        ClientError::Refused(_)
        | ClientError::Unavailable { .. }
        | ClientError::Address { .. }
        | ClientError::Setup(_) => Outcome::Fail,
        _ => Outcome::Unknown,
    }
}
