//! The storage engine beside its peers: what can be typed.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;

use super::{PAGE, Passed, compile_go};
use crate::cargo::root;

/// What is compared; what is not said is as `bench/` has it.
#[derive(Debug, Args)]
pub(crate) struct Engine {
    /// Keys of the runs that are repeated [default: 1000000].
    #[arg(long, value_name = "N")]
    keys: Option<u64>,
    /// Keys of the large run: bulk load, batches and random reads, once [default: 10000000].
    #[arg(long, value_name = "N")]
    large: Option<u64>,
    /// Leave the large run out.
    #[arg(long)]
    no_large: bool,
    /// How often the runs are repeated, in alternating order; the medians count [default: 3].
    #[arg(long, value_name = "R")]
    repeat: Option<u32>,
    /// The engines, separated by commas [default: conure,lmdb,redb,bbolt,fjall]. Without Go, leave bbolt out.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    engines: Vec<String>,
    /// The workloads, separated by commas [default: all]. What one of them needs is done too, and not shown.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    workloads: Vec<String>,
    /// Where the databases are made, and removed again [default: target/bench/data].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Print the result as docs/benchmarks.md has it.
    #[arg(long)]
    markdown: bool,
    /// Put the result into docs/benchmarks.md.
    #[arg(long)]
    write_docs: bool,
}

impl Engine {
    pub(super) fn wants(&self, engine: &str) -> bool {
        self.engines.is_empty() || self.engines.iter().any(|wanted| wanted == engine)
    }

    /// bbolt's, where it is wanted.
    pub(super) fn programs(&self, folder: &Path) -> Result<Option<PathBuf>> {
        self.wants("bbolt").then(|| compile_go("bench/bbolt", ".", &folder.join("bbolt"))).transpose()
    }

    /// The arguments of the program that compares.
    pub(super) fn arguments(&self, folder: &Path, bbolt: Option<&Path>) -> Vec<PathBuf> {
        let mut passed = Passed::default();
        passed.count("--keys", self.keys);
        passed.count("--large", self.large);
        passed.count("--repeat", self.repeat.map(u64::from));
        passed.list("--engines", &self.engines);
        passed.list("--workloads", &self.workloads);
        passed.add("--dir", Some(self.dir.clone().unwrap_or_else(|| folder.join("data"))));
        passed.add("--bbolt", bbolt);
        passed.add("--json", Some(folder.join("engine.json")));
        passed.add("--page", self.write_docs.then(|| root().join(PAGE)));
        passed.flag("--no-large", self.no_large);
        passed.flag("--markdown", self.markdown);
        passed.0
    }
}
