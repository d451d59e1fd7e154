//! Real clusters of `conure-db` processes under every fault that a machine can make, and whether what their clients saw is
//! linearizable. `cargo xtask linearizability` compiles and starts it.
//!
//! **Invariant:** what is judged is what clients saw: nothing here reads a member's files or trusts its own word for it.
//! Everything follows from the seed, save what the machine's own timing decides.

mod arguments;
mod clients;
mod cluster;
mod disk;
mod faults;
mod isolation;
mod judge;
mod keys;
mod last_reads;
mod member;
mod network;
mod places;
mod possible;
mod report;
mod run;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser as _;

fn main() -> ExitCode {
    match begin() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn begin() -> Result<ExitCode> {
    let arguments = arguments::Arguments::parse();
    isolation::enter()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run::run(&arguments))
}
