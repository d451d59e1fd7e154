//! `cargo xtask asan` and `cargo xtask fuzz`: the storage engine under AddressSanitizer, by its tests and by inputs that a
//! fuzzer thinks of.
//!
//! Sanitizers are unstable options of the compiler; `RUSTC_BOOTSTRAP` lets the pinned stable one take them.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use conure_e2e::cluster::paths;
use conure_e2e::process::run_lines;
use conure_e2e::progress::{Step, step};

use crate::cargo::{self, Tally, root, target};
use crate::report::Report;

/// The fuzz targets, and where the crate of each is; those are no members of the workspace.
const TARGETS: [(&str, &str); 4] = [
    ("operations", "server/btree/fuzz"),
    ("hostile_file", "server/btree/fuzz"),
    ("port", "server/member/fuzz"),
    ("log", "server/member/fuzz"),
];

const CARGO_FUZZ: &str = "0.13.2";

/// The longest input, in bytes.
const INPUT_BYTES_MAX: u32 = 600;

/// One input may take this long, in seconds, before it counts as an endless loop.
const INPUT_SECONDS_MAX: u32 = 30;

/// What to fuzz, and for how long.
#[derive(Debug, Args)]
pub(crate) struct FuzzOptions {
    /// Seconds for each target.
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u64,
    /// One target alone.
    #[arg(long, value_name = "T", value_parser = TARGETS.map(|(name, _)| name))]
    target: Option<String>,
}

/// Fuzzes; an input that finds something is an error that names it.
#[expect(clippy::print_stdout, reason = "the verdict is this program's answer")]
pub(crate) fn fuzz(options: &FuzzOptions) -> Result<ExitCode> {
    for (name, folder) in TARGETS {
        if options.target.as_deref().is_some_and(|target| target != name) {
            continue;
        }
        let runs = step(format!("fuzzing {name} for {} s", options.seconds), |step| {
            fuzz_target(name, folder, options.seconds, step)
        })?;
        println!("{name}: {runs} runs, nothing found");
    }
    Ok(ExitCode::SUCCESS)
}

/// The engine's tests under AddressSanitizer.
#[expect(clippy::print_stdout, reason = "the verdict is this program's answer")]
pub(crate) fn asan() -> Result<ExitCode> {
    let tally = step("the engine's tests under AddressSanitizer", asan_tests)?;
    println!("{tally}, nothing found");
    Ok(ExitCode::SUCCESS)
}

/// Both as checks of `cargo xtask test`: the tests, and a few seconds for each fuzz target.
pub(crate) fn check(report: &mut Report) {
    report.check("AddressSanitizer", |step| Ok(asan_tests(step)?.to_string()));
    report.check("fuzz targets", |step| {
        let mut remarks = Vec::new();
        for (name, folder) in TARGETS {
            remarks.push(format!("{name}: {} runs", fuzz_target(name, folder, 20, step)?));
        }
        Ok(remarks.join(", "))
    });
}

fn triple() -> String {
    format!("{}-unknown-linux-gnu", std::env::consts::ARCH)
}

fn asan_tests(step: &Step) -> Result<Tally> {
    let mut command = cargo::plain("test");
    command
        .args(["--locked", "--no-fail-fast", "--lib", "--tests", "--target", &triple()])
        .args(["-p", "conure-btree", "-p", "conure-io", "-p", "conure-proof"])
        .env("CARGO_TARGET_DIR", target().join("asan"))
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", "-Zsanitizer=address")
        // Every access is several times as slow.
        .env("CONURE_CRASH_IMAGES", "1500")
        .env("PROPTEST_CASES", "16");
    let tally = cargo::test(&mut command, "asan", step)?;
    tally.judge()?;
    Ok(tally)
}

/// Runs one target on the inputs that found something earlier and on new ones; how many runs that were.
fn fuzz_target(name: &str, folder: &str, seconds: u64, step: &Step) -> Result<u64> {
    let program = cargo_fuzz()?;
    let build = target().join("fuzz");
    let corpus = build.join("corpus").join(name);
    fs::create_dir_all(&corpus)?;
    let mut command = cargo::compiler(program);
    command
        .args(["fuzz", "run", "--fuzz-dir", folder, "--target", &triple(), "--target-dir"])
        .arg(&build)
        .arg(name)
        .arg(&corpus)
        .arg(root().join(folder).join("inputs").join(name))
        .arg("--")
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={INPUT_BYTES_MAX}"))
        .arg(format!("-timeout={INPUT_SECONDS_MAX}"))
        .args(["-len_control=20", "-print_final_stats=1"])
        .env("RUSTC_BOOTSTRAP", "1");
    let (mut runs, mut found) = (None, None);
    let limit = Duration::from_secs(seconds) + Duration::from_mins(20);
    let ran = run_lines(&mut command, &cargo::logs().join(format!("fuzz-{name}.log")), limit, |line| {
        step.at(format!("{name}: {}", line.trim()));
        if let Some(number) = line.strip_prefix("stat::number_of_executed_units:") {
            runs = number.trim().parse::<u64>().ok();
        }
        if let Some((_, file)) = line.split_once("Test unit written to ") {
            found = Some(file.to_owned());
        }
    });
    if let Some(file) = found {
        bail!("{name} fails with the input {file}: keep it in {folder}/inputs/{name} when it is mended");
    }
    ran?;
    let runs = runs.context("the fuzzer did not say how often it ran")?;
    ensure!(runs > 0, "{name} ran with no input");
    Ok(runs)
}

/// `cargo-fuzz`, built into the cache outside the checkout.
fn cargo_fuzz() -> Result<PathBuf> {
    let home = paths::cache()?.join("tools").join(format!("cargo-fuzz-{CARGO_FUZZ}"));
    let program = home.join("bin").join("cargo-fuzz");
    if !program.exists() {
        step("building cargo-fuzz", |step| {
            let mut command = cargo::plain("install");
            command
                .args(["cargo-fuzz", "--locked", "--version", CARGO_FUZZ, "--root"])
                .arg(&home)
                .env("CARGO_TARGET_DIR", target().join("cargo-fuzz"));
            cargo::run(&mut command, "cargo-fuzz", step)
        })?;
    }
    Ok(program)
}
