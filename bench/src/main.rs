//! `conure-bench engine` and `conure-bench cluster` run the whole comparisons; `conure-bench worker` is the process of one
//! engine, which can be run alone, too, to profile it, and `conure-bench load` the clients of a cluster that runs already.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};
use conure_bench::cluster::load::{Kind, Load, Until};
use conure_bench::engines::{Conure, Fjall, Lmdb, Name, Redb};
use conure_bench::plan::{Plan, Workload};
use conure_bench::{cluster, data, session, worker};

#[derive(Parser)]
#[command(
    name = "conure-bench",
    about = "Measures the storage engine beside LMDB, redb, fjall and bbolt, and a cluster beside etcd's"
)]
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
    /// Compare clusters of ConureDB and etcd.
    Cluster(cluster::options::Options),
    /// Ask the members of a cluster of ConureDB that runs already, to profile them.
    Load(LoadArguments),
    /// Serve a handler that does nothing, for ever.
    Nothing {
        /// Where it listens.
        address: SocketAddr,
    },
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

#[derive(Args)]
struct LoadArguments {
    /// What is asked.
    #[arg(long, value_enum)]
    kind: Kind,
    /// The members' HTTP addresses, the leader first.
    #[arg(long, value_delimiter = ',', required = true)]
    members: Vec<SocketAddr>,
    /// How many clients.
    #[arg(long, default_value_t = 64)]
    clients: usize,
    /// The length of a value.
    #[arg(long, default_value_t = 256)]
    value_len: usize,
    /// How long.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
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
        Task::Cluster(options) => cluster::session::run(&options),
        Task::Load(arguments) => load(arguments),
        Task::Nothing { address } => cluster::limits::serve_nothing(address),
        Task::Generator { entries } => Ok(writeln!(std::io::stdout(), "{}", data::digest_of(entries))?),
    }
}

fn load(arguments: LoadArguments) -> Result<()> {
    let LoadArguments { kind, members, clients, value_len, seconds } = arguments;
    let leader = *members.first().context("no members")?;
    let until = Until::Time(Duration::from_secs(seconds));
    let done = Load { kind, leader, members, clients, value_len, until }.run()?;
    Ok(writeln!(std::io::stdout(), "gets {:?}\nputs {:?}", done.gets(), done.puts())?)
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
