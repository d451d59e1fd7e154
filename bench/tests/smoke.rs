//! All engines in Rust do all workloads on a few thousand keys, and give back the same data. No time is judged here.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may fail as loudly as tests")]

use conure_bench::data::{self, Digest};
use conure_bench::engine::Engine;
use conure_bench::engines::{Conure, Fjall, Lmdb, Redb};
use conure_bench::event::Event;
use conure_bench::plan::{self, Plan, Workload};
use conure_bench::worker;

const KEYS: u64 = 3000;

/// The workloads with what they read, and the final count and digest.
type Read = (Vec<(String, u64)>, u64, u64);

fn done_by<E: Engine>(workloads: &[Workload]) -> Read {
    let folder = tempfile::tempdir().unwrap();
    let mut events = Vec::new();
    worker::run::<E>(&folder.path().join("data"), &Plan::of(KEYS), workloads, &mut |event| {
        events.push(event.clone());
        Ok(())
    })
    .unwrap();
    let Some(Event::Done { entries, digest, peak_bytes, .. }) = events.pop() else {
        panic!("{} did not say that it was done", E::NAME)
    };
    assert!(peak_bytes > 0);
    let mut ended = Vec::new();
    let mut begun = None;
    for event in events {
        match event {
            Event::Begin { workload } => begun = Some(workload),
            Event::End { workload, measures, check, .. } => {
                assert_eq!(begun.take(), Some(workload.clone()));
                assert!(!measures.is_empty(), "{} measured nothing in {workload}", E::NAME);
                assert!(measures.iter().all(|measure| measure.value > 0.0), "{}: {measures:?}", E::NAME);
                ended.push((workload, check));
            }
            Event::Done { .. } => panic!("{} was done twice", E::NAME),
        }
    }
    (ended, entries, digest)
}

/// What the database has to hold: the entries with these numbers.
fn digest_of(numbers: impl Iterator<Item = u64>) -> u64 {
    let mut entries: Vec<_> = numbers.map(|entry| (data::key(entry), data::value(entry, 0))).collect();
    entries.sort_unstable();
    let mut digest = Digest::default();
    entries.iter().for_each(|(key, value)| digest.add(key, value));
    digest.value()
}

#[test]
fn all_engines_give_back_the_same_data() {
    let workloads: Vec<_> =
        plan::ALL.into_iter().filter(|workload| *workload != Workload::SortedLoad).collect();
    let plan = Plan::of(KEYS);
    let added = plan.singles + plan.batches * plan.batch_keys;
    let read = done_by::<Conure>(&workloads);
    assert_eq!(read.0.len(), workloads.len());
    assert!(read.0.iter().filter(|(_, check)| *check > 0).count() >= 3);
    assert_eq!(read.1, KEYS / 2 + added);
    assert_eq!(read.2, digest_of(KEYS / 2..KEYS + added));
    assert_eq!(done_by::<Lmdb>(&workloads), read);
    assert_eq!(done_by::<Redb>(&workloads), read);
    assert_eq!(done_by::<Fjall>(&workloads), read);
}

#[test]
fn all_engines_load_sorted_entries() {
    let workloads = [Workload::SortedLoad];
    let read = done_by::<Conure>(&workloads);
    assert_eq!((read.1, read.2), (KEYS, digest_of(0..KEYS)));
    assert_eq!(done_by::<Lmdb>(&workloads), read);
    assert_eq!(done_by::<Redb>(&workloads), read);
    assert_eq!(done_by::<Fjall>(&workloads), read);
}
