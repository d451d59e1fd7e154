//! Chores of the project, as programs: `cargo xtask demo`, `test`, `e2e`, `cluster`.

mod bench;
mod cargo;
mod checks;
mod cli;
mod cluster;
mod crash;
mod demo;
mod go;
mod images;
mod linearizability;
mod report;
mod sanitizer;
mod simulate;
mod soak;
mod trials;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match cli::Arguments::parse().run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
