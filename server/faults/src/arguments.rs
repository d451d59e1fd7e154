//! What can be typed.

use std::fmt;
use std::path::PathBuf;

use clap::Parser;

use crate::faults::Fault;

/// Which members there are; the arbiter is the last.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Topology {
    pub(crate) data: usize,
    pub(crate) arbiter: bool,
}

impl Topology {
    pub(crate) fn voters(self) -> usize {
        self.data + usize::from(self.arbiter)
    }
}

impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} members{}", self.data, if self.arbiter { " and an arbiter" } else { "" })
    }
}

/// Runs a cluster under faults and judges what its clients saw. Exit code 1: something is wrong with it.
#[derive(Debug, Parser)]
#[command(name = "conure-faults", after_help = crate::faults::list())]
pub(crate) struct Arguments {
    /// How long faults and clients go on.
    #[arg(long, value_name = "N", default_value_t = 60)]
    pub(crate) seconds: u64,
    /// Decides faults, keys and clients' choices [default: a fresh one]
    #[arg(long, value_name = "S")]
    pub(crate) seed: Option<u64>,
    /// The faults, separated by commas, or none [default: all]
    #[arg(long = "fault", value_name = "LIST", value_delimiter = ',')]
    pub(crate) faults: Option<Vec<String>>,
    /// How many members the cluster has; an arbiter comes on top.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=7))]
    pub(crate) members: u64,
    /// One member more, which votes and holds no data.
    #[arg(long)]
    pub(crate) arbiter: bool,
    /// Operations a second, of all clients together.
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) rate: u64,
    /// How many clients there are.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) clients: u32,
    /// How long the members' disks take for an fsync, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 2)]
    pub(crate) fsync_ms: u64,
    /// The bug that the members shall have; only a `conure-db` with the feature `planted-bugs` knows any.
    #[arg(long, value_name = "BUG")]
    pub(crate) planted: Option<String>,
    /// The program of the members.
    #[arg(long, value_name = "FILE")]
    pub(crate) conure_db: PathBuf,
    /// The program that judges histories.
    #[arg(long, value_name = "FILE")]
    pub(crate) judge: PathBuf,
    /// Where history and logs are kept; removed again where nothing is wrong.
    #[arg(long, value_name = "DIR")]
    pub(crate) folder: PathBuf,
    /// Go on until each of the faults happened, three times as long at most; fail, too, where one could not be made or did not.
    #[arg(long)]
    pub(crate) strict: bool,
    /// Keep history and logs whatever the verdict is.
    #[arg(long)]
    pub(crate) keep: bool,
}

impl Arguments {
    /// How many members have data, and whether there is an arbiter beside them.
    pub(crate) fn topology(&self) -> Topology {
        Topology { data: usize::try_from(self.members).unwrap_or_default(), arbiter: self.arbiter }
    }

    /// The faults asked for; all where none was named.
    pub(crate) fn faults(&self) -> anyhow::Result<Vec<Fault>> {
        match self.faults.as_deref() {
            None => Ok(Fault::ALL.to_vec()),
            Some([only]) if only == "none" => Ok(Vec::new()),
            Some([only]) if only == "all" => Ok(Fault::ALL.to_vec()),
            Some(named) => named.iter().map(|name| name.parse()).collect(),
        }
    }
}
