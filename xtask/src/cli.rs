//! What can be typed.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use conure_e2e::cluster::Instance;

use crate::checks::end_to_end;
use crate::{
    bench, checks, cluster, crash, demo, images, linearizability, sanitizer, simulate, soak, trials,
};

/// `cargo xtask …`
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "Chores of the project")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Every check: formatting, lints, tests, documentation, charts, end-to-end tests on a local Kubernetes (as root).
    Test {
        /// Leave out what needs root or Kubernetes.
        #[arg(long)]
        fast: bool,
    },
    /// The whole way on this machine (as root): a three-node Kubernetes, the operator, a cluster written to, scaled and
    /// read back; it stays up.
    Demo {
        /// Remove all of it.
        #[arg(long)]
        down: bool,
        /// A folder with conure-db, repl and conure-operator, in place of compiling them.
        #[arg(long, value_name = "DIR", conflicts_with = "down")]
        binaries: Option<PathBuf>,
    },
    /// The charts, the bundle for OLM and the alerts alone (as root).
    Charts,
    /// The end-to-end tests, on a local Kubernetes (as root) or on another.
    E2e(end_to_end::Options),
    /// The operator on an API server whose nodes and members are played (as root): killed at every point, in bad weather.
    Operator(trials::Tests),
    /// Everything at once on a local Kubernetes (as root), while clients write and read; the last line is the verdict.
    Chaos(trials::Chaos),
    /// The two images for a local Kubernetes, from the binaries of the last `cargo build` (as root).
    Images {
        /// The folder with conure-db, repl and conure-operator.
        #[arg(long, value_name = "DIR", conflicts_with = "from_source")]
        binaries: Option<PathBuf>,
        /// Compile inside containers, as the Dockerfiles say, and keep nothing: only whether it works is of interest. To be
        /// run after a change of the Dockerfiles or of the locked packages; ten minutes.
        #[arg(long)]
        from_source: bool,
    },
    /// Power failures at every moment of recorded workloads of the storage engine: nothing is lost, no file is corrupt.
    Crash(crash::Options),
    /// Whole members on a simulated network, clock and disk: nothing acknowledged is lost, no read goes back, all agree.
    Simulate(simulate::Options),
    /// The storage engine's tests under AddressSanitizer.
    Asan,
    /// Inputs that a fuzzer thinks of, for the storage engine, the Raft port and the Raft log under AddressSanitizer.
    Fuzz(sanitizer::FuzzOptions),
    /// A real cluster under every fault that this machine can make, and whether what its clients saw is linearizable.
    Linearizability(linearizability::Options),
    /// Clusters under full load for minutes: memory, file descriptors and latency must stay flat.
    Soak(soak::Options),
    /// How fast something is beside its peers.
    #[command(subcommand)]
    Bench(bench::Bench),
    /// A local three-node Kubernetes alone (as root).
    #[command(subcommand)]
    Cluster(ClusterChore),
}

#[derive(Debug, Subcommand)]
enum ClusterChore {
    /// Start it afresh; what an earlier run left is removed first.
    Up(Which),
    /// Remove it and everything that it made on this machine.
    Down(Which),
}

#[derive(Debug, Args)]
struct Which {
    /// demo, test or dev: each has its own names and addresses, all may be up at once.
    #[arg(long, default_value = "dev")]
    instance: Instance,
}

impl Arguments {
    pub(crate) fn run(self) -> Result<ExitCode> {
        match self.chore {
            Chore::Test { fast } => checks::run(fast),
            Chore::Demo { down: true, .. } => demo::down(),
            Chore::Demo { down: false, binaries } => demo::up(binaries),
            Chore::Charts => checks::charts_alone(),
            Chore::E2e(options) => end_to_end::run(&options),
            Chore::Operator(options) => trials::operator(&options),
            Chore::Chaos(options) => trials::chaos(&options),
            Chore::Images { from_source: true, .. } => images::try_from_source(),
            Chore::Images { from_source: false, binaries } => images::run(binaries),
            Chore::Crash(options) => crash::chore(&options),
            Chore::Simulate(options) => simulate::chore(&options),
            Chore::Asan => sanitizer::asan(),
            Chore::Fuzz(options) => sanitizer::fuzz(&options),
            Chore::Linearizability(options) => linearizability::chore(&options),
            Chore::Soak(options) => soak::chore(&options),
            Chore::Bench(bench) => bench::run(&bench),
            Chore::Cluster(ClusterChore::Up(which)) => cluster::up(which.instance),
            Chore::Cluster(ClusterChore::Down(which)) => cluster::down(which.instance),
        }
    }
}
