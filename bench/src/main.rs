//! `conure-bench engine` runs the whole comparison; `conure-bench worker` is the process of one engine, which can be run
//! alone, too, to profile it.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Args, Parser, Subcommand};
use conure_bench::engines::{Conure, Fjall, Lmdb, Name, Redb};
use conure_bench::plan::{Plan, Workload};
use conure_bench::{data, session, worker};

#[derive(Parser)]
#[command(name = "conure-bench", about = "Measures the storage engine beside LMDB, redb, fjall and bbolt")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Compare the engines.
    Engine(session::Options),
    /// Do the workloads of one engine and report them as lines of JSON.
    Worker(WorkerArguments),
    /// Print the digest of the first entries, to compare generators.
    Generator {
        /// How many entries.
        #[arg(long)]
        entries: u64,
    },
}

#[derive(Args)]
struct WorkerArguments {
    /// conure, lmdb, redb or fjall.
    #[arg(long)]
    engine: Name,
    /// A folder that is empty or not there.
    #[arg(long)]
    dir: PathBuf,
    #[command(flatten)]
    plan: Plan,
    /// What to do, in this order.
    #[arg(long, value_delimiter = ',')]
    workloads: Vec<Workload>,
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    match task {
        Task::Engine(options) => session::run(&options),
        Task::Worker(arguments) => work(&arguments),
        Task::Generator { entries } => Ok(writeln!(std::io::stdout(), "{}", data::digest_of(entries))?),
    }
}

fn work(arguments: &WorkerArguments) -> Result<()> {
    let WorkerArguments { engine, dir, plan, workloads } = arguments;
    // A line is one write, so that a trace shows it whole.
    let mut report = |event: &_| {
        let line = serde_json::to_string(event)? + "\n";
        Ok(std::io::stdout().lock().write_all(line.as_bytes())?)
    };
    match engine {
        Name::Conure => worker::run::<Conure>(dir, plan, workloads, &mut report),
        Name::Lmdb => worker::run::<Lmdb>(dir, plan, workloads, &mut report),
        Name::Redb => worker::run::<Redb>(dir, plan, workloads, &mut report),
        Name::Fjall => worker::run::<Fjall>(dir, plan, workloads, &mut report),
        Name::Bbolt => bail!("bbolt is a program of its own"),
    }
}
