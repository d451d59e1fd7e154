//! `cargo xtask simulate`: whole members on a simulated network, clock and disk, seed after seed.
//!
//! The simulation is a build of its own: it takes the place of the members' sockets and disks.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use clap::Args;
use conure_e2e::process::run_lines;
use conure_e2e::progress::{Step, step};

use crate::cargo::{self, binaries};
use crate::report::Report;

/// Of the build and of every check.
const SELECTION: [&str; 5] = ["--locked", "-p", "conure-sim", "--features", "simulation"];

/// What to simulate.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How many seeds, one after the other from the first on.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seeds: u64,
    /// The first seed [default: a fresh one]
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// How many at once.
    #[arg(long, value_name = "N", default_value_t = 2)]
    jobs: usize,
    /// Tell what happens in the one simulation.
    #[arg(long, conflicts_with = "seeds")]
    tell: bool,
    /// With openraft's debug assertions, which no published image has.
    #[arg(long)]
    checked: bool,
    /// Plant a bug, to see that it is found.
    #[arg(long, value_name = "BUG")]
    plant: Option<String>,
}

/// Simulates and says what was found; a broken promise is an exit code of 1.
#[expect(clippy::print_stdout, reason = "the seed is what repeats the run")]
pub(crate) fn chore(options: &Options) -> Result<ExitCode> {
    let checked = options.checked;
    step("building the simulation", |step| build(step, checked))?;
    let seed = seed(options.seed)?;
    println!("seed {seed}");
    let mut command = simulation(seed, options.seeds, checked);
    command.args(["--jobs", &options.jobs.to_string()]);
    if options.tell {
        command.arg("--tell");
    }
    if let Some(bug) = &options.plant {
        command.args(["--plant", bug]);
    }
    let status = command.status().context("starting the simulation")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Checks of `cargo xtask test`: the tests of the simulation, and so many seeds.
pub(crate) fn check(report: &mut Report, seeds: u64) {
    report.check("simulation", |step| {
        build(step, false)?;
        let seed = seed(None)?;
        let mut last = String::new();
        let log = cargo::logs().join("simulation.log");
        let mut command = simulation(seed, seeds, false);
        let ran = run_lines(&mut command, &log, cargo::LIMIT, |line| {
            step.at(line.trim());
            last = line.trim().to_owned();
        });
        ran.with_context(|| format!("seeds from {seed} on; {} says which", log.display()))?;
        ensure!(last.ends_with(" 0 violations"), "the simulation ended with {last:?}");
        Ok(format!("{last} (from seed {seed} on)"))
    });
}

/// The lints and tests of the simulation itself, which are no part of the workspace's.
pub(crate) fn check_itself(report: &mut Report) {
    report.check("lints of the simulation", |step| {
        let mut command = cargo::plain("clippy");
        command.args(SELECTION).args(["-p", "conure-member", "-p", "conure-wal"]);
        command.args(["--all-targets", "--", "-D", "warnings"]);
        cargo::run(&mut command, "clippy-simulation", step)?;
        Ok(String::new())
    });
    report.check("tests of the simulation", |step| {
        let mut command = cargo::plain("test");
        command.args(SELECTION).arg("--no-fail-fast");
        let tally = cargo::test(&mut command, "test-simulation", step)?;
        tally.judge()?;
        Ok(tally.to_string())
    });
}

fn seed(given: Option<u64>) -> Result<u64> {
    // Small enough to be typed again; the seeds after it are the next ones.
    given.map_or_else(|| Ok(conure_proof::seed("CONURE_SIM_SEED")? % 1_000_000_000), Ok)
}

/// Where the simulation with openraft's debug assertions is built, beside the one without.
fn checked_target() -> PathBuf {
    cargo::target().join("simulation-checked")
}

fn build(step: &Step, checked: bool) -> Result<()> {
    let mut command = cargo::plain("build");
    command.args(SELECTION);
    if checked {
        for package in ["openraft", "validit"] {
            command.args(["--config", &format!("profile.dev.package.{package}.debug-assertions=true")]);
        }
        command.arg("--target-dir").arg(checked_target());
    }
    cargo::run(&mut command, "build-simulation", step)
}

fn simulation(seed: u64, seeds: u64, checked: bool) -> Command {
    let folder = if checked { checked_target().join("debug") } else { binaries() };
    let mut command = Command::new(folder.join("conure-sim"));
    command.args(["--seed", &seed.to_string(), "--seeds", &seeds.to_string()]);
    command
}
