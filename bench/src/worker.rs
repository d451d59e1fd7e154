//! The process of one engine: it does the workloads in their order and reports each as it begins and ends.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::beside;
use crate::data::{self, Digest, KEY_BYTES, Stream, VALUE_BYTES};
use crate::engine::{Engine, Reads};
use crate::event::{Event, Measure};
use crate::plan::{OPENS, Plan, RANGE_ENTRIES, READERS, Workload};
use crate::{machine, rows};

/// Does the workloads with an engine in an empty folder.
///
/// # Errors
///
/// The engine refused, or did not give back what was put in.
pub fn run<E: Engine>(
    dir: &Path,
    plan: &Plan,
    workloads: &[Workload],
    report: &mut dyn FnMut(&Event) -> Result<()>,
) -> Result<()> {
    fs::create_dir_all(dir)?;
    let mut worker = Worker { engine: E::open(dir, plan.keys)?, dir, plan, added: 0 };
    for workload in workloads {
        let name = workload.name().to_owned();
        report(&Event::Begin { workload: name.clone() })?;
        let (next, done) = worker.work(*workload).with_context(|| format!("{} of {name}", E::NAME))?;
        worker = next;
        let Done { measures, commits, check } = done;
        report(&Event::End { workload: name, measures, commits, check })?;
    }
    // Before the scan below maps all of the file.
    let peak_bytes = machine::peak_bytes()?;
    let mut digest = Digest::default();
    worker.engine.read(&mut |snapshot| {
        // No key is below a single zero byte.
        snapshot.range(&[0], usize::MAX, &mut |key, value| digest.add(key, value))
    })?;
    worker.engine.close()?;
    report(&Event::Done {
        version: machine::version_of(E::NAME),
        entries: digest.entries(),
        digest: digest.value(),
        peak_bytes,
    })
}

struct Worker<'a, E> {
    engine: E,
    dir: &'a Path,
    plan: &'a Plan,
    /// Entries added beyond those of the bulk load.
    added: u64,
}

#[derive(Default)]
struct Done {
    measures: Vec<Measure>,
    commits: u64,
    check: u64,
}

impl Done {
    fn timed(name: &str, (time, cpu): (Duration, Duration)) -> Self {
        Self { measures: vec![Measure::time(name, time).with_cpu(cpu)], ..Self::default() }
    }
}

impl<E: Engine> Worker<'_, E> {
    /// Some workloads close the database and open it again, so the worker goes in and comes out.
    fn work(mut self, workload: Workload) -> Result<(Self, Done)> {
        let keys = self.plan.keys;
        let done = match workload {
            Workload::BulkLoad => {
                let time = timed(|| self.put(0..keys))?;
                let mut done = Done { commits: 1, ..Done::timed(rows::BULK_LOAD, time) };
                done.measures.extend(sizes(rows::SIZE_LOADED, rows::DISK_LOADED, self.dir)?);
                done
            }
            Workload::SingleCommits => self.commits(rows::SINGLE_COMMITS, self.plan.singles, 1)?,
            Workload::Batches => self.commits(rows::BATCHES, self.plan.batches, self.plan.batch_keys)?,
            Workload::RandomReads => self.random_reads()?,
            Workload::RangeReads => self.range_reads()?,
            Workload::ReadsBesideWriter => self.reads_beside_writer()?,
            Workload::Removal => {
                let time = timed(|| {
                    self.engine
                        .write(&mut |txn| (0..keys / 2).try_for_each(|entry| txn.remove(&data::key(entry))))
                })?;
                let mut done = Done { commits: 1, ..Done::timed(rows::REMOVAL, time) };
                done.measures.extend(sizes(rows::SIZE_REMOVED, rows::DISK_REMOVED, self.dir)?);
                done
            }
            Workload::Compaction => return self.compaction(),
            Workload::Open => return self.open(),
            Workload::SortedLoad => {
                let time = timed(|| self.sorted_load())?;
                Done { commits: 1, ..Done::timed(rows::SORTED_LOAD, time) }
            }
        };
        Ok((self, done))
    }

    /// One durable commit of new entries.
    fn put(&self, entries: std::ops::Range<u64>) -> Result<()> {
        self.engine.write(&mut |txn| {
            entries.clone().try_for_each(|entry| txn.put(&data::key(entry), &data::value(entry, 0)))
        })
    }

    fn commits(&mut self, name: &str, commits: u64, keys: u64) -> Result<Done> {
        let first = self.plan.keys + self.added;
        self.added += commits * keys;
        let time = timed(|| {
            (0..commits).try_for_each(|commit| self.put(first + commit * keys..first + (commit + 1) * keys))
        })?;
        Ok(Done { commits, ..Done::timed(name, time) })
    }

    fn random_reads(&self) -> Result<Done> {
        let mut check = 0_u64;
        let time = timed(|| {
            self.engine.read(&mut |snapshot| {
                let mut stream = Stream::new(1 << 42);
                for _ in 0..self.plan.reads {
                    let entry = stream.below(self.plan.keys);
                    let mut found = 0;
                    ensure!(
                        snapshot.get(&data::key(entry), &mut |value| found = data::head(value))?,
                        "entry {entry} is not there"
                    );
                    ensure!(found == data::head_of(entry), "entry {entry} has another value");
                    check = check.wrapping_add(found);
                }
                Ok(())
            })
        })?;
        Ok(Done { check, ..Done::timed(rows::RANDOM_READS, time) })
    }

    fn range_reads(&self) -> Result<Done> {
        let mut check = 0_u64;
        let time = timed(|| {
            self.engine.read(&mut |snapshot| {
                let mut stream = Stream::new(1 << 43);
                for _ in 0..self.plan.ranges {
                    let from = data::key(stream.below(self.plan.keys));
                    let mut seen = 0;
                    snapshot.range(&from, RANGE_ENTRIES, &mut |key, value| {
                        seen += 1;
                        check = check.wrapping_add(data::head(key)).wrapping_add(data::head(value));
                    })?;
                    ensure!(seen > 0, "a range from a key that is there is empty");
                }
                Ok(())
            })
        })?;
        Ok(Done { check, ..Done::timed(rows::RANGE_READS, time) })
    }

    fn reads_beside_writer(&self) -> Result<Done> {
        let mut done = Done::default();
        for readers in READERS {
            let beside = beside::run(&self.engine, self.plan, readers)?;
            done.measures.push(Measure::time(&rows::reads_by(readers), beside.reads));
            let commit = beside.commit.map(|time| Measure::time(&rows::commit_beside(readers), time));
            done.measures.extend(commit);
            done.commits += beside.commits;
            done.check = done.check.wrapping_add(beside.check);
        }
        Ok(done)
    }

    fn compaction(self) -> Result<(Self, Done)> {
        let Self { engine, dir, .. } = self;
        let (start, cpu) = (Instant::now(), machine::cpu_time()?);
        let (engine, compacted) = engine.compact(dir)?;
        let (time, cpu) = (start.elapsed(), machine::cpu_time()?.saturating_sub(cpu));
        let mut done = Done::default();
        if compacted.is_some() {
            done.measures.push(Measure::time(rows::COMPACTION, time).with_cpu(cpu));
            done.measures.extend(sizes(rows::SIZE_COMPACTED, rows::DISK_COMPACTED, dir)?);
        }
        Ok((Self { engine, ..self }, done))
    }

    fn open(self) -> Result<(Self, Done)> {
        let Self { mut engine, dir, plan, .. } = self;
        // One that no removal takes away.
        let entry = plan.keys - 1;
        let mut times = Vec::with_capacity(OPENS);
        for _ in 0..OPENS {
            engine.close()?;
            let start = Instant::now();
            engine = E::open(dir, plan.keys)?;
            engine.read(&mut |snapshot| has(snapshot, entry))?;
            times.push(start.elapsed());
        }
        times.sort_unstable();
        let median = times.get(OPENS / 2).copied().unwrap_or_default();
        let measures = vec![Measure::time(rows::OPEN, median)];
        Ok((Self { engine, ..self }, Done { measures, ..Done::default() }))
    }

    /// Makes all entries, sorts them and hands them to the engine; all of that counts.
    fn sorted_load(&self) -> Result<()> {
        type Entry = ([u8; KEY_BYTES], [u8; VALUE_BYTES]);
        let mut entries: Vec<Entry> =
            (0..self.plan.keys).map(|entry| (data::key(entry), data::value(entry, 0))).collect();
        entries.sort_unstable_by_key(|(key, _)| *key);
        self.engine.load_sorted(&mut entries.iter().map(|(key, value)| (key.as_slice(), value.as_slice())))
    }
}

fn has(snapshot: &dyn Reads, entry: u64) -> Result<()> {
    ensure!(snapshot.get(&data::key(entry), &mut |_| {})?, "entry {entry} is not there");
    Ok(())
}

/// The time that work took, and the processor time of all threads meanwhile.
fn timed(work: impl FnOnce() -> Result<()>) -> Result<(Duration, Duration)> {
    let (start, cpu) = (Instant::now(), machine::cpu_time()?);
    work()?;
    Ok((start.elapsed(), machine::cpu_time()?.saturating_sub(cpu)))
}

/// The length of all files in a folder, and the space that they take on the disk: files may have holes.
fn sizes(length: &str, disk: &str, dir: &Path) -> Result<[Measure; 2]> {
    let (mut bytes, mut allocated) = (0, 0);
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let metadata = match entry.metadata() {
                // An engine may tidy up in the background.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                metadata => metadata?,
            };
            if metadata.is_dir() {
                folders.push(entry.path());
            } else {
                bytes += metadata.len();
                allocated += metadata.blocks() * 512;
            }
        }
    }
    Ok([Measure::size(length, bytes), Measure::size(disk, allocated)])
}
