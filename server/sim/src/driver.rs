//! The command line: one seed in this process, or many, a process each.

use std::collections::VecDeque;
use std::fmt;
use std::io::Write as _;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::Parser;

use crate::{entropy, run, world};

/// No simulation takes longer than this, or it hangs.
const PATIENCE: Duration = Duration::from_secs(300);
/// As large as a main thread's.
const STACK_BYTES: usize = 8 << 20;

/// Simulates clusters of whole members. The same seed gives the same simulation.
#[derive(Debug, Parser)]
#[command(name = "conure-sim")]
struct Arguments {
    /// The first seed.
    #[arg(long, value_name = "S")]
    seed: u64,
    /// How many seeds, one after the other from the first on.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seeds: u64,
    /// How many at once.
    #[arg(long, value_name = "N", default_value_t = 2)]
    jobs: usize,
    /// Tell what happens in the one simulation.
    #[arg(long)]
    tell: bool,
    /// Plant a bug, to see that it is found.
    #[arg(long, value_name = "BUG", value_parser = BUGS)]
    plant: Option<String>,
    /// Only this seed, in this process.
    #[arg(long, hide = true)]
    here: bool,
}

/// The bugs that members can be asked for (`conure_member`, `planted`).
const BUGS: [&str; 7] = [
    "acks-before-fsync",
    "reads-without-barrier",
    "reuses-node-id",
    "vote-not-durable",
    "checkpoint-not-durable",
    "applies-out-of-order",
    "snapshot-without-membership",
];

pub(crate) fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = if arguments.here { here(&arguments) } else { many(&arguments) };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::from(2)
        }
    }
}

/// One simulation in this process. Whether all promises were kept.
#[expect(clippy::print_stdout, reason = "the verdict is this program's answer")]
fn here(arguments: &Arguments) -> Result<bool> {
    // A panic anywhere is a violation, and nothing that comes after it is of interest.
    std::panic::set_hook(Box::new(|panic| {
        println!("violation: {panic}");
        std::process::exit(1);
    }));
    if arguments.tell {
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time().init();
    }
    // On a thread of its own: what was done before has drawn from this thread's randomness.
    let (seed, tell) = (arguments.seed, arguments.tell);
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || {
        entropy::seed(seed);
        if tell {
            world::tell();
        }
        judged(seed)
    })?;
    Ok(thread.join().unwrap_or(false))
}

/// Simulates on this thread and says what came of it.
#[expect(clippy::print_stdout, reason = "the verdict is this program's answer")]
fn judged(seed: u64) -> bool {
    let outcome = run::run(seed);
    if let Some(violation) = &outcome.violation {
        println!("violation: {violation}");
    }
    let (asked, acknowledged, reads, unknown) = world::with(|world| {
        let history = &world.history;
        (history.asked, history.acknowledged, history.reads, history.unknown)
    });
    println!(
        "{} steps, {} faults, {} leaders, {} snapshots, {asked} asked, {acknowledged} acknowledged, {reads} read, {unknown} unknown, trace {:016x}",
        outcome.steps, outcome.faults, outcome.leaders, outcome.snapshots, outcome.trace
    );
    outcome.violation.is_none()
}

/// What all the simulations come to.
#[derive(Debug, Default)]
struct Sum {
    seeds: u64,
    steps: u64,
    faults: u64,
    leaders: u64,
    snapshots: u64,
    asked: u64,
    acknowledged: u64,
    reads: u64,
    unknown: u64,
    violations: u64,
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} seeds, {} steps, {} violations", self.seeds, self.steps, self.violations)
    }
}

impl Sum {
    /// Adds the last line of a simulation.
    fn add(&mut self, line: &str) {
        for part in line.split(", ") {
            let mut words = part.split(' ');
            let (Some(Ok(count)), Some(what)) = (words.next().map(str::parse::<u64>), words.next()) else {
                continue;
            };
            match what {
                "steps" => self.steps += count,
                "faults" => self.faults += count,
                "leaders" => self.leaders += count,
                "snapshots" => self.snapshots += count,
                "asked" => self.asked += count,
                "acknowledged" => self.acknowledged += count,
                "read" => self.reads += count,
                "unknown" => self.unknown += count,
                _ => {}
            }
        }
    }
}

struct Running {
    seed: u64,
    child: Child,
    begun: Instant,
}

/// A process a seed. Whether all promises were kept in all of them.
#[expect(clippy::print_stdout, reason = "the verdict is this program's answer")]
fn many(arguments: &Arguments) -> Result<bool> {
    let program = std::env::current_exe().context("this program's path")?;
    let end = arguments.seed.saturating_add(arguments.seeds);
    let mut waiting = arguments.seed..end;
    let mut running: VecDeque<Running> = VecDeque::new();
    let (mut sum, begun) = (Sum::default(), Instant::now());
    loop {
        while running.len() < arguments.jobs.max(1)
            && let Some(seed) = waiting.next()
        {
            running.push_back(Running {
                seed,
                child: start(&program, seed, arguments)?,
                begun: Instant::now(),
            });
        }
        let Some(first) = running.pop_front() else { break };
        let (seed, output) = (first.seed, finish(first)?);
        sum.seeds += 1;
        match output {
            Some((true, text)) => sum.add(text.lines().last().unwrap_or_default()),
            Some((false, text)) => {
                sum.violations += 1;
                println!("seed {seed}: {}\n  again: {}", text.trim(), again(seed, arguments));
            }
            None => {
                sum.violations += 1;
                println!("seed {seed}: hangs\n  again: {}", again(seed, arguments));
            }
        }
        if arguments.seeds > 1 {
            eprint!("\r{sum}, {} s ", begun.elapsed().as_secs());
        }
    }
    if arguments.seeds > 1 {
        eprintln!();
    }
    println!(
        "{} faults, {} leaders, {} snapshots, {} asked, {} acknowledged, {} read, {} unknown",
        sum.faults, sum.leaders, sum.snapshots, sum.asked, sum.acknowledged, sum.reads, sum.unknown
    );
    println!("{sum}");
    std::io::stdout().flush()?;
    Ok(sum.violations == 0)
}

fn again(seed: u64, arguments: &Arguments) -> String {
    let plant = arguments.plant.as_ref().map_or_else(String::new, |bug| format!(" --plant {bug}"));
    format!("cargo xtask simulate --seed {seed} --tell{plant}")
}

fn start(program: &std::path::Path, seed: u64, arguments: &Arguments) -> Result<Child> {
    let mut command = Command::new(program);
    command.args(["--here", "--seed", &seed.to_string()]).stdin(Stdio::null()).stdout(Stdio::piped());
    if let Some(bug) = &arguments.plant {
        command.env("PLANTED_BUG", bug);
    }
    if arguments.tell && arguments.seeds == 1 {
        command.arg("--tell");
    } else {
        command.stderr(Stdio::null());
    }
    command.spawn().context("starting a simulation")
}

/// What it said, and whether all promises were kept; `None` where it hung.
fn finish(mut running: Running) -> Result<Option<(bool, String)>> {
    loop {
        if running.child.try_wait()?.is_some() {
            let output = running.child.wait_with_output()?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            return Ok(Some((output.status.success(), text)));
        }
        if running.begun.elapsed() > PATIENCE {
            running.child.kill()?;
            running.child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
