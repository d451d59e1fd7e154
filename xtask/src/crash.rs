//! `cargo xtask crash`: power failures at every moment of recorded workloads, and what the storage engine makes of them.

use std::process::ExitCode;
use std::thread::available_parallelism;

use anyhow::{Result, ensure};
use clap::Args;
use conure_e2e::progress::Step;
use conure_proof::crash::{Case, Failure, Outcome, Plan, replay, run};

use crate::report::Report;

/// What to make.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How many crash images.
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    images: u64,
    /// Decides what the workloads and the images are [default: a fresh one]
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// One image of that seed alone, as a failure names it.
    #[arg(long, value_name = "WORKLOAD.IMAGE", requires = "seed", conflicts_with = "images")]
    image: Option<Case>,
}

/// Makes the images and says what was found; failures are an exit code of 1.
#[expect(clippy::print_stdout, reason = "the verdict is this program's answer")]
pub(crate) fn chore(options: &Options) -> Result<ExitCode> {
    let seed = seed(options.seed)?;
    println!("seed {seed}");
    if let Some(image) = options.image {
        return Ok(match replay(seed, image) {
            Ok(()) => {
                println!("image {image} holds what it should");
                ExitCode::SUCCESS
            }
            Err(failure) => {
                println!("{}", tell(seed, &failure));
                ExitCode::FAILURE
            }
        });
    }
    let step = Step::begin("crash images");
    let outcome = make(seed, options.images, &step);
    for failure in &outcome.failures {
        println!("{}", tell(seed, failure));
    }
    println!("{outcome}");
    if outcome.failures.is_empty() {
        step.done();
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}

/// A check of `cargo xtask test`: so many images of a fresh seed.
pub(crate) fn check(report: &mut Report, images: u64) {
    report.check("crash images", |step| {
        let seed = seed(None)?;
        let outcome = make(seed, images, step);
        let told: Vec<_> = outcome.failures.iter().map(|failure| tell(seed, failure)).collect();
        ensure!(outcome.failures.is_empty(), "{outcome}\n{}", told.join("\n"));
        Ok(format!("{outcome} (seed {seed})"))
    });
}

fn seed(given: Option<u64>) -> Result<u64> {
    given.map_or_else(|| Ok(conure_proof::seed("CONURE_CRASH_SEED")?), Ok)
}

fn make(seed: u64, images: u64, step: &Step) -> Outcome {
    let threads = available_parallelism().map_or(1, std::num::NonZero::get);
    run(Plan { seed, images, threads }, |made| {
        if made % 256 == 0 {
            step.at(format!("{made} of {images}, seed {seed}"));
        }
    })
}

/// One failure, and how to meet it again.
fn tell(seed: u64, failure: &Failure) -> String {
    let Failure { case, verdict, origin } = failure;
    format!("{origin}: {verdict}\n  again: cargo xtask crash --seed {seed} --image {case}")
}
