//! The clients: each asks some member for something, waits for the answer and writes down what it saw.
//!
//! **Invariant:** every request is one record, none is sent twice, and a change is taken for not done only where that is
//! certain; a change of unknown outcome stays open to the end of the history.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use conure_client::{Client, ClientError};
use conure_e2e::history::{Op, Outcome, Record};
use conure_e2e::workload::{Recorder, outcome};
use tokio_util::sync::CancellationToken;

use crate::keys;
use crate::places::Places;

/// How long a client waits for an answer. Longer than an election, so that most outcomes are known.
const TIMEOUT: Duration = Duration::from_secs(4);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// What clients have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) recorder: Recorder,
    pub(crate) places: Arc<Places>,
    pub(crate) counts: Counts,
    pub(crate) stop: CancellationToken,
}

/// How the operations ended.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) operations: AtomicU64,
    pub(crate) acknowledged: AtomicU64,
    pub(crate) unknown: AtomicU64,
    pub(crate) reads: AtomicU64,
}

impl Counts {
    fn count(&self, record: &Record) {
        let add = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
        add(&self.operations);
        match (record.op, record.outcome) {
            (Op::Get, Outcome::Ok) => add(&self.reads),
            (_, Outcome::Ok) => add(&self.acknowledged),
            (_, Outcome::Unknown) => add(&self.unknown),
            (_, Outcome::Fail) => 0,
        };
    }
}

/// A client of the member at this address.
fn client(url: String) -> Result<(String, Client), ClientError> {
    let builder = Client::builder().server(&url).attempts(1);
    Ok((url, builder.timeout(TIMEOUT).connect_timeout(CONNECT_TIMEOUT).build()?))
}

/// A change that ended unknown within that time broke off.
const BREAK_OFF_MAX: Duration = Duration::from_millis(200);
/// How long its client stays away. Such a change stays open to the end of the history, and hundreds of them on a few keys, as
/// from a member that closes what it has no descriptor for, can be judged no more.
const BREAK_OFF_PAUSE: Duration = Duration::from_secs(3);

/// One client.
#[derive(Debug)]
pub(crate) struct Worker {
    shared: Arc<Shared>,
    number: u32,
    /// Of each member, and the address that it asks.
    clients: Vec<(String, Client)>,
    sequence: u64,
}

impl Worker {
    pub(crate) fn new(shared: Arc<Shared>, number: u32) -> Result<Self> {
        let places = (0..shared.places.count()).filter_map(|member| shared.places.get(member));
        let clients = places.map(|place| client(place.url)).collect::<Result<_, _>>()?;
        Ok(Self { shared, number, clients, sequence: 0 })
    }

    /// One request after the other, `pace` apart.
    pub(crate) async fn run(mut self, mut rng: fastrand::Rng, pace: Duration) {
        let mut ticks = tokio::time::interval(pace);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !self.shared.stop.is_cancelled() {
            ticks.tick().await;
            let op = match rng.u8(..20) {
                0..9 => Op::Put,
                9..11 => Op::Delete,
                _ => Op::Get,
            };
            let member = rng.usize(..self.clients.len());
            let (now_ns, old) = (self.shared.recorder.now(), op == Op::Get && rng.u8(..8) == 0);
            let key = keys::pick(&mut rng, now_ns, old);
            let asked = tokio::time::Instant::now();
            if self.ask(op, key, member).await == Outcome::Unknown && asked.elapsed() < BREAK_OFF_MAX {
                tokio::select! {
                    () = self.shared.stop.cancelled() => {}
                    () = tokio::time::sleep(BREAK_OFF_PAUSE) => {}
                }
            }
        }
    }

    fn renew(&mut self, url: String, member: usize) {
        if let (Some(old), Ok(fresh)) = (self.clients.get_mut(member), client(url)) {
            *old = fresh;
        }
    }

    /// The member may have moved.
    fn follow(&mut self, url: &str, member: usize) {
        if self.clients.get(member).is_some_and(|(known, _)| known != url) {
            self.renew(url.to_owned(), member);
        }
    }

    /// One request of one member, and its record.
    pub(crate) async fn ask(&mut self, op: Op, key: String, member: usize) -> Outcome {
        let Some(place) = self.shared.places.get(member) else { return Outcome::Fail };
        self.follow(&place.url, member);
        let Some((_, client)) = self.clients.get(member) else { return Outcome::Fail };
        self.sequence += 1;
        let mut record = Record {
            client: self.number,
            op,
            // No other write carries it.
            value: (op == Op::Put).then(|| format!("{}.{}", self.number, self.sequence)),
            key,
            revision: None,
            deleted: None,
            call_ns: self.shared.recorder.now(),
            return_ns: 0,
            outcome: Outcome::Ok,
            served_by: place.name.clone(),
        };
        let key = record.key.as_bytes();
        let error = match op {
            Op::Put => match client.put(key, record.value.clone().unwrap_or_default()).await {
                Ok(answer) => {
                    record.revision = Some(answer.revision);
                    None
                }
                Err(error) => Some(error),
            },
            Op::Delete => match client.delete(key).await {
                Ok(answer) => {
                    (record.revision, record.deleted) = (Some(answer.revision), Some(answer.deleted));
                    None
                }
                Err(error) => Some(error),
            },
            Op::Get => match client.get(key).await {
                Ok(found) => {
                    record.revision = found.as_ref().map(|found| found.revision);
                    record.value = found.map(|found| String::from_utf8_lossy(&found.bytes).into_owned());
                    None
                }
                Err(error) => Some(error),
            },
        };
        record.return_ns = self.shared.recorder.now();
        record.outcome = match (&error, op) {
            (None, _) => Outcome::Ok,
            (Some(_), Op::Get) => Outcome::Fail,
            (Some(error), _) => outcome(error),
        };
        if error.is_some() {
            // A connection that broke, or led elsewhere, is not used again.
            self.renew(place.url, member);
        }
        let outcome = record.outcome;
        self.shared.counts.count(&record);
        self.shared.recorder.add(record).await;
        outcome
    }
}
