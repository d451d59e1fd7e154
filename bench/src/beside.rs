//! Readers beside a writer: random reads shared by some threads, while another thread commits at a steady pace.
//!
//! The pace is the same for all engines: a faster writer would else take the processor from its own readers.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use crate::data::{self, Stream};
use crate::engine::Engine;
use crate::plan::{BESIDE_ENTRIES, BESIDE_EVERY_MS, BESIDE_KEYS, Plan, READS_PER_SNAPSHOT};

/// What was measured.
pub(crate) struct Beside {
    /// From the first read to the end of the last.
    pub(crate) reads: Duration,
    /// How long a commit took in the mean; none where none ended in that time.
    pub(crate) commit: Option<Duration>,
    pub(crate) commits: u64,
    pub(crate) check: u64,
}

pub(crate) fn run<E: Engine>(engine: &E, plan: &Plan, readers: u64) -> Result<Beside> {
    let barrier = Barrier::new(usize::try_from(readers)? + 2);
    let stop = AtomicBool::new(false);
    let (reads, check, written) = thread::scope(|scope| {
        let handles: Vec<_> = (0..readers)
            .map(|reader| {
                let share = plan.reads * (reader + 1) / readers - plan.reads * reader / readers;
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    read(engine, plan, Stream::new(1 << 40 | readers << 8 | reader), share)
                })
            })
            .collect();
        let (stop, barrier) = (&stop, &barrier);
        let writer = scope.spawn(move || {
            barrier.wait();
            write(engine, plan, stop)
        });
        barrier.wait();
        let start = Instant::now();
        let mut check = 0_u64;
        let mut failure = None;
        for handle in handles {
            match handle.join().map_err(|_| anyhow!("a reader panicked")).flatten() {
                Ok(sum) => check = check.wrapping_add(sum),
                Err(error) => failure = Some(error),
            }
        }
        let reads = start.elapsed();
        // Before anything can fail: the writer waits for nothing else.
        stop.store(true, Ordering::Relaxed);
        let written = writer.join().map_err(|_| anyhow!("the writer panicked")).flatten();
        failure.map_or(Ok(()), Err)?;
        anyhow::Ok((reads, check, written?))
    })?;
    restore(engine, plan)?;
    let commit = u32::try_from(written.commits).ok().filter(|commits| *commits > 0).map(|n| written.time / n);
    Ok(Beside { reads, commit, commits: written.commits, check })
}

fn read<E: Engine>(engine: &E, plan: &Plan, mut stream: Stream, reads: u64) -> Result<u64> {
    let mut sum = 0_u64;
    let mut left = reads;
    while left > 0 {
        let now = left.min(READS_PER_SNAPSHOT);
        left -= now;
        engine.read(&mut |snapshot| {
            for _ in 0..now {
                let entry = stream.below(plan.keys);
                let mut found = 0;
                ensure!(
                    snapshot.get(&data::key(entry), &mut |value| found = data::head(value))?,
                    "entry {entry} is not there"
                );
                ensure!(found == data::head_of(entry), "entry {entry} has another value");
                sum = sum.wrapping_add(found);
            }
            Ok(())
        })?;
    }
    Ok(sum)
}

struct Written {
    commits: u64,
    time: Duration,
}

fn write<E: Engine>(engine: &E, plan: &Plan, stop: &AtomicBool) -> Result<Written> {
    let every = Duration::from_millis(BESIDE_EVERY_MS);
    let mut stream = Stream::new(1 << 41);
    let mut written = Written { commits: 0, time: Duration::ZERO };
    let mut next = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let start = Instant::now();
        let version = written.commits + 1;
        engine
            .write(&mut |txn| {
                for _ in 0..BESIDE_ENTRIES {
                    let entry = stream.below(plan.keys.min(BESIDE_KEYS));
                    txn.put(&data::key(entry), &data::value(entry, version))?;
                }
                Ok(())
            })
            .context("the writer beside readers")?;
        written.commits += 1;
        written.time += start.elapsed();
        next += every;
        match next.checked_duration_since(Instant::now()) {
            Some(wait) => thread::sleep(wait),
            // What came too late is not made up for: the pace is a limit, not a debt.
            None => next = Instant::now(),
        }
    }
    Ok(written)
}

/// Makes what the writer changed what it was, however often it got to write.
fn restore<E: Engine>(engine: &E, plan: &Plan) -> Result<()> {
    engine.write(&mut |txn| {
        (0..plan.keys.min(BESIDE_KEYS))
            .try_for_each(|entry| txn.put(&data::key(entry), &data::value(entry, 0)))
    })
}
