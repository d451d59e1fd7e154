//! `cargo xtask linearizability`: compiles the members, the faults and the judge, and lets them run.
//!
//! The programs are no part of this one, so that no other chore has to compile them.

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use conure_e2e::cluster::packages;
use conure_e2e::process::run_lines;
use conure_e2e::progress::{Step, step};

use crate::cargo::{self, cargo, target};
use crate::go;
use crate::report::Report;

/// Where the judge of histories is.
const JUDGE: &str = "server/faults/judge";

/// The packages of `ip`, `nft`, `unshare`, `mount` and the library that makes clocks jump.
const PACKAGES: [&str; 5] = ["iproute2", "libfaketime", "mount", "nftables", "util-linux"];

/// How long the check of `cargo xtask test` lets faults and clients go on.
const CHECK_SECONDS: u64 = 180;
/// All faults but `descriptor-limit`, whose many changes of unknown outcome can be judged too slowly for a check.
const CHECK_FAULTS: &str = "cut-off-leader,one-way,ring,kill,power-loss,pause,clock,rolling-restart,transfer,dead-log-reader,\
                            rejoin,wipe,full-disk,failing-fsync,snapshot,rolled-back-volume,eio,changed-addresses,copied-directory";

/// How long each planted bug has to be caught.
const PLANTED_LIMIT: Duration = Duration::from_mins(10);

/// How a run tells that a member ended since it found its data damaged, as one does that lost what it had acknowledged.
const DAMAGED: &str = "ended by itself: exit status: 3";

/// A bug that members can be built with, and what brings it to light.
struct Planted {
    bug: &'static str,
    faults: &'static str,
    /// A slow disk: many a write waits for it at any moment.
    fsync_ms: &'static str,
    /// Operations a second.
    rate: &'static str,
}

const PLANTED: [Planted; 3] = [
    Planted { bug: "acks-before-fsync", faults: "power-loss", fsync_ms: "200", rate: "1500" },
    Planted {
        bug: "reads-without-barrier",
        faults: "cut-off-leader,one-way,pause",
        fsync_ms: "50",
        rate: "300",
    },
    Planted { bug: "reuses-node-id", faults: "wipe", fsync_ms: "50", rate: "300" },
];

/// What is passed on.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// `--seconds N`, `--seed S`, `--fault LIST`, `--members N`, `--rate N` and what else conure-faults takes; after `--`,
    /// `--help` lists all of it.
    #[arg(value_name = "OPTIONS", trailing_var_arg = true, allow_hyphen_values = true)]
    passed_on: Vec<String>,
}

/// Compiles and runs.
pub(crate) fn chore(options: &Options) -> Result<ExitCode> {
    install()?;
    step("compiling the members and the faults", |step| {
        let mut build = cargo::plain("build");
        build.args(["--locked", "-p", "conure-server", "-p", "conure-faults", "--bins"]);
        cargo::run(&mut build, "linearizability-build", step)
    })?;
    compile_judge()?;
    let mut faults = faults("conure-db")?;
    let status = faults.args(&options.passed_on).status().context("cannot start conure-faults")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Checks of `cargo xtask test`, as root: some minutes of everything, and that bugs are caught.
pub(crate) fn check(report: &mut Report) {
    let compiled = report.check("members and faults compiled", |step| {
        install()?;
        // All targets: the same build as for the images, so that nothing is compiled twice.
        cargo::run(cargo("build").arg("--all-targets"), "faults-build", step)?;
        let mut planted = cargo("build");
        planted.args(["--bin", "conure-db-planted", "--features", "conure-server/planted-bugs"]);
        cargo::run(&mut planted, "planted-build", step)?;
        compile_judge()?;
        for arguments in [["vet", "."], ["test", "."]] {
            go::run(JUDGE, &arguments, "judge-test", step)?;
        }
        Ok(String::new())
    });
    const NAMES: [&str; 2] = ["linearizability under faults", "planted bugs of replication"];
    if !compiled {
        return report.not_run(&NAMES);
    }
    report.check(NAMES[0], |step| {
        let mut faults = faults("conure-db")?;
        faults.args(["--strict", "--seconds", &CHECK_SECONDS.to_string(), "--fault", CHECK_FAULTS]);
        let limit = Duration::from_secs(CHECK_SECONDS) + Duration::from_mins(10);
        last_line(&mut faults, "linearizability", limit, step)
    });
    report.check(NAMES[1], |step| {
        let caught = PLANTED.iter().map(|planted| catch(planted, step)).collect::<Result<Vec<_>>>()?;
        Ok(caught.join(", "))
    });
}

fn install() -> Result<()> {
    packages::ensure(&PACKAGES)
}

fn judge() -> PathBuf {
    target().join("faults/judge")
}

fn compile_judge() -> Result<()> {
    step("compiling the judge of histories", |step| go::build(JUDGE, ".", &judge(), "judge-build", step))
}

/// conure-faults over the members' program of this name.
fn faults(members: &str) -> Result<Command> {
    let programs = cargo::binaries();
    let mut command = Command::new(programs.join("conure-faults"));
    command.arg("--conure-db").arg(programs.join(members)).arg("--judge").arg(judge());
    command.arg("--folder").arg(target().join("faults"));
    ensure!(programs.join(members).exists(), "{members} was not compiled");
    Ok(command)
}

/// Runs it; its last line is the value.
fn last_line(command: &mut Command, log: &str, limit: Duration, step: &Step) -> Result<String> {
    let mut last = String::new();
    let ran = run_lines(command, &cargo::logs().join(format!("{log}.log")), limit, |line| {
        step.at(line);
        line.clone_into(&mut last);
    });
    ran.with_context(|| last.clone())?;
    Ok(last)
}

/// Runs short histories, each of another seed, until one of them shows the bug: what clients saw, not that a member fell over.
fn catch(planted: &Planted, step: &Step) -> Result<String> {
    let Planted { bug, faults: list, fsync_ms, rate } = *planted;
    let began = Instant::now();
    while began.elapsed() < PLANTED_LIMIT {
        let mut faults = faults("conure-db-planted")?;
        faults.args(["--planted", bug, "--fault", list, "--seconds", "20"]);
        faults.args(["--fsync-ms", fsync_ms, "--rate", rate]);
        let (mut verdict, mut noticed) = (String::new(), false);
        let ran = run_lines(
            &mut faults,
            &cargo::logs().join(format!("planted-{bug}.log")),
            PLANTED_LIMIT,
            |line| {
                step.at(format!("{bug}: {line}"));
                noticed |= line.contains(DAMAGED);
                if line.starts_with("FAILED") || line.starts_with("LINEARIZABLE") {
                    line.clone_into(&mut verdict);
                }
            },
        );
        match ran {
            Ok(()) => {}
            Err(_) if noticed => {
                return Ok(format!("{bug} noticed by its member in {} s", began.elapsed().as_secs()));
            }
            Err(_) if verdict.contains("; 0 violations, 0 lost writes") => {}
            Err(_) if verdict.starts_with("FAILED") => {
                return Ok(format!("{bug} caught in {} s", began.elapsed().as_secs()));
            }
            Err(error) => return Err(error.context(format!("{bug}: no verdict"))),
        }
    }
    bail!("the planted bug {bug} was not caught in {} s", PLANTED_LIMIT.as_secs())
}
