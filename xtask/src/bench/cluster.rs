//! A cluster beside etcd's: what can be typed.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;

use super::{PAGE, Passed, compile_go, release};
use crate::cargo::root;

/// What is compared; what is not said is as `bench/` has it.
#[derive(Debug, Args)]
pub(crate) struct Cluster {
    /// The rows, separated by commas [default: limits,mix,put,get,stale,put-large,restart,failover,catch-up].
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    rows: Vec<String>,
    /// The systems, separated by commas [default: conure,etcd]. Without Go, leave etcd out.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    systems: Vec<String>,
    /// With how many clients, separated by commas [default: 1,64,1000].
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    clients: Vec<String>,
    /// How long each load lasts [default: 4].
    #[arg(long, value_name = "S")]
    seconds: Option<u64>,
    /// How often the loads are repeated, in alternating order; the medians count [default: 3].
    #[arg(long, value_name = "R")]
    repeat: Option<u32>,
    /// Keys of the large database [default: 1000000].
    #[arg(long, value_name = "N")]
    keys: Option<u64>,
    /// How often the leader is killed [default: 10].
    #[arg(long, value_name = "N")]
    kills: Option<u32>,
    /// How much a new member has to catch up with, in MiB [default: 1024].
    #[arg(long, value_name = "MIB")]
    catch_up_mib: Option<u64>,
    /// Where the members' data is made, and removed again [default: target/bench/clusters].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Print the result as docs/benchmarks.md has it.
    #[arg(long)]
    markdown: bool,
    /// Put the result into docs/benchmarks.md.
    #[arg(long)]
    write_docs: bool,
}

impl Cluster {
    pub(super) fn wants(&self, system: &str) -> bool {
        self.systems.is_empty() || self.systems.iter().any(|wanted| wanted == system)
    }

    /// etcd's server and its tool, where they are wanted.
    pub(super) fn programs(&self, folder: &Path) -> Result<Option<(PathBuf, PathBuf)>> {
        if !self.wants("etcd") {
            return Ok(None);
        }
        let server = compile_go("e2e/tools/etcd", "go.etcd.io/etcd/server/v3", &folder.join("etcd"))?;
        let tool = "go.etcd.io/etcd/v3/tools/benchmark";
        Ok(Some((server, compile_go("bench/etcd", tool, &folder.join("etcd-benchmark"))?)))
    }

    /// The arguments of the program that compares.
    pub(super) fn arguments(&self, folder: &Path, etcd: Option<&(PathBuf, PathBuf)>) -> Vec<PathBuf> {
        let mut passed = Passed::default();
        passed.list("--rows", &self.rows);
        passed.list("--systems", &self.systems);
        passed.list("--clients", &self.clients);
        passed.count("--seconds", self.seconds);
        passed.count("--repeat", self.repeat.map(u64::from));
        passed.count("--keys", self.keys);
        passed.count("--kills", self.kills.map(u64::from));
        passed.count("--catch-up-mib", self.catch_up_mib);
        passed.add("--dir", Some(self.dir.clone().unwrap_or_else(|| folder.join("clusters"))));
        passed.add("--conure-db", Some(release("conure-db")));
        passed.add("--etcd", etcd.map(|(server, _)| server));
        passed.add("--etcd-benchmark", etcd.map(|(_, tool)| tool));
        passed.add("--json", Some(folder.join("cluster.json")));
        passed.add("--page", self.write_docs.then(|| root().join(PAGE)));
        passed.flag("--markdown", self.markdown);
        passed.0
    }
}
