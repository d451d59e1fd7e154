//! The whole comparison: the processes of all engines one after the other, in alternating order, and the result.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::engines::{self, Name};
use crate::event::Measure;
use crate::plan::{self, Plan, Workload};
use crate::process::{self, Outcome, Programs};
use crate::rows::{self, Numbers, Row};
use crate::syncs::{self, Counted};
use crate::{data, machine, page, table};

/// What is compared, and how.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Keys of the runs that are repeated.
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(100..))]
    pub keys: u64,
    /// Keys of the large run: bulk load, batches and random reads, once.
    #[arg(long, value_name = "N", default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(100..))]
    pub large: u64,
    /// Leave the large run out.
    #[arg(long)]
    pub no_large: bool,
    /// How often the runs are repeated; the medians count.
    #[arg(long, value_name = "R", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub repeat: u32,
    /// The engines, separated by commas: conure, lmdb, redb, bbolt, fjall.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_values_t = engines::ALL.map(|e| e.name().to_owned()))]
    pub engines: Vec<String>,
    /// The workloads, separated by commas. What one of them needs is done too, and not shown.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_values_t = plan::ALL.map(|w| w.name().to_owned()))]
    pub workloads: Vec<String>,
    /// Where the databases are made; all that the run makes there is removed.
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// The program of bbolt.
    #[arg(long, value_name = "PROGRAM")]
    pub bbolt: Option<PathBuf>,
    /// Where the result for programs is written.
    #[arg(long, value_name = "FILE")]
    pub json: PathBuf,
    /// Print the result as it stands in the documentation.
    #[arg(long)]
    pub markdown: bool,
    /// Put the result into this page.
    #[arg(long, value_name = "FILE")]
    pub page: Option<PathBuf>,
}

/// Keys of the small run that counts syncs: enough for the batches to change as many pages as they do in the others.
const COUNTED_KEYS: u64 = 100_000;

/// Batches of the small run.
const COUNTED_BATCHES: u64 = 20;

/// Entries by which the two generators are compared.
const COMPARED_ENTRIES: u64 = 10_000;

/// Everything that a run found.
#[derive(Debug)]
pub struct Found {
    /// The rows of the repeated runs, then those of the large one.
    pub rows: Vec<Row>,
    /// The processor time of all threads of those that one thread did.
    pub cpu_rows: Vec<Row>,
    /// The syncs of each engine.
    pub syncs: BTreeMap<Name, Vec<Counted>>,
    /// How it was measured, a line each.
    pub conditions: Vec<String>,
}

/// Compares the engines and shows the result.
///
/// # Errors
///
/// An engine failed, synced too seldom, or two of them read different data.
pub fn run(options: &Options) -> Result<()> {
    let session = Session::new(options)?;
    let found = session.measure()?;
    if let Some(folder) = options.json.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(&options.json, rows::json(&found.rows)? + "\n")?;
    let markdown = page::section(&found);
    if let Some(path) = &options.page {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        fs::write(path, page::replaced(&text, page::ENGINE, &markdown)?)?;
    }
    let mut out = std::io::stdout().lock();
    if options.markdown {
        write!(out, "{markdown}")?;
    } else {
        write!(out, "{}", table::text(&found, out.is_terminal()))?;
    }
    eprintln!("{} holds the same for programs", options.json.display());
    Ok(())
}

struct Session<'a> {
    options: &'a Options,
    engines: Vec<Name>,
    workloads: BTreeSet<Workload>,
    programs: Programs,
    start: Instant,
}

impl<'a> Session<'a> {
    fn new(options: &'a Options) -> Result<Self> {
        let mut engines: Vec<Name> = Vec::new();
        for name in &options.engines {
            let engine = name.parse()?;
            if !engines.contains(&engine) {
                engines.push(engine);
            }
        }
        let workloads = options.workloads.iter().map(|name| name.parse()).collect::<Result<_>>()?;
        let programs = Programs { own: std::env::current_exe()?, bbolt: options.bbolt.clone() };
        fs::create_dir_all(&options.dir).with_context(|| options.dir.display().to_string())?;
        Ok(Self { options, engines, workloads, programs, start: Instant::now() })
    }

    fn measure(&self) -> Result<Found> {
        let date = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        // Now: what is committed while it runs is not what was compiled.
        let commit = machine::commit(&[":/server/btree", ":/server/io"]);
        let machine = machine::describe(&self.options.dir);
        let load_before = machine::load();
        self.compare_generators()?;
        let syncs = self.count_syncs()?;
        let mut versions = BTreeMap::new();
        let (mut rows, mut cpu_rows) = self.repeated(&mut versions)?;
        let (large, cpu_large) = self.large(&mut versions)?;
        rows.extend(large);
        cpu_rows.extend(cpu_large);
        let load = format!("load average {load_before} before and {} after", machine::load());
        let versions: Vec<_> =
            versions.iter().map(|(name, version)| format!("{} {version}", name.title())).collect();
        let times = match self.options.repeat {
            1 => "one run".to_owned(),
            repeat => format!("median of {repeat} runs in alternating order"),
        };
        let large = if self.options.no_large {
            String::new()
        } else {
            format!("; {} keys: one run", plan::short(self.options.large))
        };
        let elapsed = humantime::format_duration(Duration::from_secs(self.start.elapsed().as_secs()));
        let runs = format!("{} keys: {times}{large}; {elapsed} in all", plan::short(self.options.keys));
        let mut conditions = vec![format!("{date}, {commit}")];
        conditions.extend(machine);
        conditions.extend([load, versions.join(", "), runs]);
        Ok(Found { rows, cpu_rows, syncs, conditions })
    }

    /// bbolt's program makes the entries itself: they have to be the same.
    fn compare_generators(&self) -> Result<()> {
        if !self.engines.contains(&Name::Bbolt) {
            return Ok(());
        }
        let program = self.programs.bbolt.as_ref().context("bbolt needs its program (--bbolt PROGRAM)")?;
        let output =
            Command::new(program).args(["generator", &format!("--entries={COMPARED_ENTRIES}")]).output()?;
        let digest = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let own = data::digest_of(COMPARED_ENTRIES).to_string();
        ensure!(digest == own, "the generators differ: {} has {digest:?}, not {own}", program.display());
        Ok(())
    }

    /// A small run of each engine under a tracer.
    fn count_syncs(&self) -> Result<BTreeMap<Name, Vec<Counted>>> {
        let plan = Plan { batches: COUNTED_BATCHES, ..Plan::of(self.options.keys.min(COUNTED_KEYS)) };
        let log = self.options.dir.join("calls.log");
        let mut all = BTreeMap::new();
        let mut agreed = Agreement::default();
        for engine in self.engines.iter().copied() {
            self.say(&format!("{}: counting its syncs", engine.title()));
            let mut counted = Vec::new();
            for workloads in self.chains(&self.workloads) {
                let outcome =
                    self.process(engine, &plan, &workloads, "", |command| syncs::traced(&command, &log))?;
                agreed.compare(engine, &workloads, &outcome)?;
                let text = fs::read_to_string(&log).context("no trace was written")?;
                fs::remove_file(&log)?;
                counted.extend(syncs::judged(&outcome, &text).context(engine.title())?);
            }
            all.insert(engine, counted);
        }
        Ok(all)
    }

    fn repeated(&self, versions: &mut BTreeMap<Name, String>) -> Result<(Vec<Row>, Vec<Row>)> {
        let plan = Plan::of(self.options.keys);
        let rounds: Vec<_> = (0..self.options.repeat).collect();
        self.rounds(&plan, &rounds, &self.workloads, "", versions)
    }

    fn large(&self, versions: &mut BTreeMap<Name, String>) -> Result<(Vec<Row>, Vec<Row>)> {
        let workloads: BTreeSet<_> =
            self.workloads.iter().copied().filter(|workload| workload.is_in_large_run()).collect();
        if self.options.no_large || workloads.is_empty() {
            return Ok(Default::default());
        }
        let plan = Plan::of(self.options.large);
        let suffix = format!("-{}", plan::short(plan.keys).replace([' ', ','], ""));
        self.rounds(&plan, &[0], &workloads, &suffix, versions)
    }

    fn rounds(
        &self,
        plan: &Plan,
        rounds: &[u32],
        workloads: &BTreeSet<Workload>,
        suffix: &str,
        versions: &mut BTreeMap<Name, String>,
    ) -> Result<(Vec<Row>, Vec<Row>)> {
        let mut numbers = Numbers::default();
        let mut agreed = Agreement::default();
        for round in rounds {
            for engine in alternated(&self.engines, *round) {
                for chain in self.chains(workloads) {
                    let at =
                        format!(" with {}, round {} of {}", plan::short(plan.keys), round + 1, rounds.len());
                    let outcome = self.process(engine, plan, &chain, &at, |command| command)?;
                    agreed.compare(engine, &chain, &outcome)?;
                    let shown = outcome
                        .ended
                        .iter()
                        .filter(|ended| workloads.iter().any(|workload| workload.name() == ended.workload));
                    shown.flat_map(|ended| &ended.measures).for_each(|measure| numbers.add(engine, measure));
                    if !chain.contains(&Workload::SortedLoad) {
                        numbers.add(engine, &Measure::size(rows::PEAK, outcome.peak_bytes));
                        numbers.add(engine, &Measure::size(rows::PEAK_OWN, outcome.peak_own_bytes));
                    }
                    versions.insert(engine, outcome.version);
                }
            }
        }
        Ok((numbers.rows(plan, suffix), numbers.cpu_rows(plan, suffix)))
    }

    /// What each engine's processes do: one goes through all workloads that need the loaded data, one loads sorted.
    fn chains(&self, workloads: &BTreeSet<Workload>) -> Vec<Vec<Workload>> {
        let mut main: BTreeSet<_> =
            workloads.iter().copied().filter(|workload| *workload != Workload::SortedLoad).collect();
        if main.contains(&Workload::Compaction) {
            main.insert(Workload::Removal);
        }
        let mut chains = Vec::new();
        if !main.is_empty() {
            main.insert(Workload::BulkLoad);
            chains.push(main.into_iter().collect());
        }
        if workloads.contains(&Workload::SortedLoad) {
            chains.push(vec![Workload::SortedLoad]);
        }
        chains
    }

    fn process(
        &self,
        engine: Name,
        plan: &Plan,
        workloads: &[Workload],
        at: &str,
        wrapped: impl FnOnce(Command) -> Command,
    ) -> Result<Outcome> {
        let dir = self.options.dir.join(engine.name());
        empty(&dir)?;
        let command = wrapped(self.programs.command(engine, &dir, plan, workloads)?);
        let outcome = process::run(command, &mut |workload| {
            if !at.is_empty() {
                self.say(&format!("{}{at}: {workload}", engine.title()));
            }
        });
        let outcome = outcome.with_context(|| engine.title())?;
        empty(&dir)?;
        // What one engine leaves to be written must not be written in the time of the next.
        rustix::fs::sync();
        Ok(outcome)
    }

    fn say(&self, what: &str) {
        let elapsed = self.start.elapsed().as_secs();
        eprintln!("[{:3} min {:02} s] {what}", elapsed / 60, elapsed % 60);
    }
}

/// The engines in the order of a round: every other one backwards, and every pair of rounds begins with another engine.
fn alternated(engines: &[Name], round: u32) -> Vec<Name> {
    let mut order = engines.to_vec();
    let rounds = usize::try_from(round).unwrap_or_default();
    if let Some(by) = (rounds / 2).checked_rem(order.len()) {
        order.rotate_left(by);
    }
    if !rounds.is_multiple_of(2) {
        order.reverse();
    }
    order
}

fn empty(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| dir.display().to_string())
        }
        _ => Ok(()),
    }
}

/// What the engines read: whoever comes first says what the others have to have read too.
#[derive(Debug, Default)]
struct Agreement(BTreeMap<String, (Name, u64)>);

impl Agreement {
    fn compare(&mut self, engine: Name, chain: &[Workload], outcome: &Outcome) -> Result<()> {
        let names: Vec<_> = chain.iter().map(|workload| workload.name()).collect();
        let done: Vec<_> = outcome.ended.iter().map(|ended| ended.workload.as_str()).collect();
        ensure!(names == done, "{} was to do {names:?} and did {done:?}", engine.title());
        let last = names.last().copied().unwrap_or_default();
        let mut seen = vec![
            (format!("entries after {last}"), outcome.entries),
            (format!("digest after {last}"), outcome.digest),
        ];
        seen.extend(outcome.ended.iter().map(|ended| (format!("reads of {}", ended.workload), ended.check)));
        for (what, value) in seen {
            let (first, expected) = *self.0.entry(what.clone()).or_insert((engine, value));
            ensure!(
                value == expected,
                "{what}: {} has {value}, {} has {expected}",
                engine.title(),
                first.title()
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Ended;

    #[test]
    fn rounds_alternate() {
        use Name::{Conure, Lmdb, Redb};
        let orders: Vec<_> = (0..4).map(|round| alternated(&[Conure, Lmdb, Redb], round)).collect();
        assert_eq!(orders[0], [Conure, Lmdb, Redb]);
        assert_eq!(orders[1], [Redb, Lmdb, Conure]);
        assert_eq!(orders[2], [Lmdb, Redb, Conure]);
        assert_eq!(orders[3], [Conure, Redb, Lmdb]);
        assert!(alternated(&[], 3).is_empty());
    }

    #[test]
    fn engines_that_read_different_data_have_no_result() {
        let outcome = |check| Outcome {
            ended: vec![Ended { workload: "bulk-load".into(), measures: Vec::new(), commits: 1, check }],
            version: String::new(),
            entries: 10,
            digest: 11,
            peak_bytes: 0,
            peak_own_bytes: 0,
        };
        let chain = [Workload::BulkLoad];
        let mut agreed = Agreement::default();
        agreed.compare(Name::Conure, &chain, &outcome(1)).unwrap();
        agreed.compare(Name::Lmdb, &chain, &outcome(1)).unwrap();
        let error = agreed.compare(Name::Redb, &chain, &outcome(2)).unwrap_err().to_string();
        assert_eq!(error, "reads of bulk-load: redb has 2, conure has 1");
        let other = Outcome { digest: 12, ..outcome(1) };
        assert!(agreed.compare(Name::Redb, &chain, &other).unwrap_err().to_string().contains("digest"));
        assert!(agreed.compare(Name::Redb, &[Workload::Open], &outcome(1)).is_err());
    }
}
