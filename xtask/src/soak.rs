//! `cargo xtask soak`: clusters under full load for minutes, whose memory, file descriptors and latency must stay flat.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use conure_e2e::process::run_lines;
use conure_e2e::progress::Step;

use crate::cargo::{self, logs};

/// What to run, and for how long.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Minutes for each cluster.
    #[arg(long, value_name = "N", default_value_t = 5)]
    minutes: u64,
    /// How many members; several, separated by commas, one cluster after the other.
    #[arg(long, value_name = "M", value_delimiter = ',', default_values_t = [1, 3, 5])]
    members: Vec<u32>,
}

/// Prints what each cluster did; an exit code of 1 where something grew.
#[expect(clippy::print_stdout, reason = "the table is this program's answer")]
pub(crate) fn chore(options: &Options) -> Result<ExitCode> {
    let mut flat = true;
    for members in &options.members {
        let step = Step::begin(format!("{members} members under full load for {} min", options.minutes));
        let mut command = cargo::plain("test");
        command
            .args([
                "--locked",
                "-p",
                "conure-server",
                "--features",
                "soak",
                "--test",
                "soak",
                "--",
                "--nocapture",
            ])
            .env("CONURE_SOAK_SECONDS", (options.minutes * 60).to_string())
            .env("CONURE_SOAK_MEMBERS", members.to_string());
        let limit = Duration::from_mins(options.minutes + 30);
        let mut begun = false;
        let ran = run_lines(&mut command, &logs().join(format!("soak-{members}.log")), limit, |line| {
            begun |= line.starts_with("running ");
            if begun {
                println!("{line}");
            } else {
                step.at(line.trim());
            }
        });
        match ran {
            Ok(()) => drop(step.done()),
            Err(error) => {
                println!("{error:#}");
                flat = false;
            }
        }
    }
    Ok(if flat { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
