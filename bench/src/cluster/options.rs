//! What can be asked for.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;

/// What is measured, and how.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// The rows, separated by commas.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_values_t = Part::ALL.map(|part| part.name().to_owned()))]
    pub rows: Vec<String>,
    /// The systems, separated by commas: conure, etcd.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_values_t = ["conure", "etcd"].map(str::to_owned))]
    pub systems: Vec<String>,
    /// With how many clients, separated by commas.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_values_t = [1, 64, 1000])]
    pub clients: Vec<usize>,
    /// How long each load lasts.
    #[arg(long, value_name = "S", default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub seconds: u64,
    /// How often the loads are repeated, in alternating order; the medians count.
    #[arg(long, value_name = "R", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub repeat: u32,
    /// Keys of the large database.
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1000..=99_999_999))]
    pub keys: u64,
    /// How often the leader is killed.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub kills: u32,
    /// How much a new member has to catch up with, in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = clap::value_parser!(u64).range(1..=1500))]
    pub catch_up_mib: u64,
    /// Where the members' data is; all that the run makes there is removed.
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
    /// The program conure-db.
    #[arg(long, value_name = "PROGRAM")]
    pub conure_db: PathBuf,
    /// The program etcd.
    #[arg(long, value_name = "PROGRAM")]
    pub etcd: Option<PathBuf>,
    /// etcd's program benchmark.
    #[arg(long, value_name = "PROGRAM")]
    pub etcd_benchmark: Option<PathBuf>,
    /// Where the result for programs is written.
    #[arg(long, value_name = "FILE")]
    pub json: PathBuf,
    /// Print the result as it stands in the documentation.
    #[arg(long)]
    pub markdown: bool,
    /// Put the result into this page.
    #[arg(long, value_name = "FILE")]
    pub page: Option<PathBuf>,
}

/// What can be measured by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The disk, and a handler that does nothing.
    Limits,
    /// 90 % gets, 10 % puts.
    Mix,
    /// Puts.
    Put,
    /// Linearizable gets.
    Get,
    /// Stale (serializable) gets.
    Stale,
    /// Puts into a large database.
    PutLarge,
    /// A member with a large database starts again.
    Restart,
    /// The leader is killed.
    Failover,
    /// A new member catches up.
    CatchUp,
}

impl Part {
    /// All of them, in the order in which they are measured.
    pub const ALL: [Self; 9] = [
        Self::Limits,
        Self::Mix,
        Self::Put,
        Self::Get,
        Self::Stale,
        Self::PutLarge,
        Self::Restart,
        Self::Failover,
        Self::CatchUp,
    ];

    /// How it is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Limits => "limits",
            Self::Mix => "mix",
            Self::Put => "put",
            Self::Get => "get",
            Self::Stale => "stale",
            Self::PutLarge => "put-large",
            Self::Restart => "restart",
            Self::Failover => "failover",
            Self::CatchUp => "catch-up",
        }
    }

    /// By their names.
    ///
    /// # Errors
    ///
    /// No part has one of the names.
    pub fn named(names: &[String]) -> Result<Vec<Self>> {
        let named = |name: &String| match Self::ALL.into_iter().find(|part| part.name() == name) {
            Some(part) => Ok(part),
            None => bail!("no row is called {name:?}; there are {}", Self::ALL.map(Self::name).join(", ")),
        };
        names.iter().map(named).collect()
    }
}
