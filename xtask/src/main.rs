//! Chores of the project, as programs: `cargo xtask demo`, `test`, `e2e`, `cluster`.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use conure_e2e::cluster::{Instance, Local};

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "Chores of the project")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// The local Kubernetes alone.
    Cluster {
        up: String,
        #[arg(long, default_value = "dev")]
        instance: Instance,
    },
}

fn main() -> anyhow::Result<()> {
    let Chore::Cluster { up, instance } = Arguments::parse().chore;
    let local = Local::hold(instance, &PathBuf::from("/root/.cache/conuredb/warm-bin"))?;
    if up == "up" { local.up() } else { local.down() }
}
