//! `cargo xtask bench engine`: compiles the programs of `bench/`, optimised as for release, and runs them.
//!
//! The engines that are compared are no part of this program, so that no other chore has to compile them.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use conure_e2e::process::run_lines;
use conure_e2e::progress::step;

use crate::cargo::{self, root, target};

/// A cold build of the Go program downloads its modules.
const GO_LIMIT: Duration = Duration::from_mins(10);

/// The page that has the numbers.
const PAGE: &str = "docs/benchmarks.md";

/// What is measured.
#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// The storage engine beside LMDB, redb, bbolt (needs Go) and fjall: a table, and the same for programs in
    /// target/bench/engine.json. Takes about half an hour and 20 GB of disk on a small machine.
    Engine(Engine),
}

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
    /// The engines, separated by commas [default: conure,lmdb,redb,bbolt,fjall].
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
    fn wants(&self, engine: &str) -> bool {
        self.engines.is_empty() || self.engines.iter().any(|wanted| wanted == engine)
    }

    /// The arguments of the program that compares.
    fn arguments(&self, folder: &Path, bbolt: Option<&Path>) -> Vec<PathBuf> {
        let mut arguments: Vec<PathBuf> = Vec::new();
        let mut add = |name: &str, value: Option<PathBuf>| {
            if let Some(value) = value {
                arguments.extend([name.into(), value]);
            }
        };
        let list = |list: &[String]| (!list.is_empty()).then(|| list.join(",").into());
        let count = |count: Option<u64>| count.map(|count| count.to_string().into());
        add("--keys", count(self.keys));
        add("--large", count(self.large));
        add("--repeat", count(self.repeat.map(u64::from)));
        add("--engines", list(&self.engines));
        add("--workloads", list(&self.workloads));
        add("--dir", Some(self.dir.clone().unwrap_or_else(|| folder.join("data"))));
        add("--bbolt", bbolt.map(Path::to_owned));
        add("--json", Some(folder.join("engine.json")));
        add("--page", self.write_docs.then(|| root().join(PAGE)));
        let flags = [("--no-large", self.no_large), ("--markdown", self.markdown)];
        arguments.extend(flags.iter().filter(|(_, given)| *given).map(|(name, _)| PathBuf::from(name)));
        arguments
    }
}

/// Compiles and measures.
pub(crate) fn run(bench: &Bench) -> Result<ExitCode> {
    let Bench::Engine(engine) = bench;
    let folder = target().join("bench");
    step("compiling the engines", |step| {
        let mut build = Command::new("cargo");
        build.args(["build", "--locked", "--release", "-p", "conure-bench"]);
        cargo::run(build.current_dir(root()), "bench-build", step)
    })?;
    let bbolt = engine.wants("bbolt").then(|| compile_bbolt(&folder)).transpose()?;
    // It shows how far it is by itself, and its table is this program's answer.
    let status = Command::new(target().join("release/conure-bench"))
        .arg("engine")
        .args(engine.arguments(&folder, bbolt.as_deref()))
        .status()
        .context("cannot start conure-bench")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn compile_bbolt(folder: &Path) -> Result<PathBuf> {
    let program = folder.join("bbolt");
    step("compiling bbolt", |step| {
        let mut go = Command::new("go");
        go.args(["build", "-v", "-trimpath", "-buildvcs=false", "-mod=readonly", "-o"])
            .arg(&program)
            .arg(".");
        go.current_dir(root().join("bench/bbolt")).env("CGO_ENABLED", "0").env("GOFLAGS", "");
        run_lines(&mut go, &cargo::logs().join("bench-bbolt.log"), GO_LIMIT, |line| step.at(line))
            .context("bbolt needs Go; --engines conure,lmdb,redb,fjall leaves it out")
    })?;
    Ok(program)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Typed {
        #[command(subcommand)]
        bench: Bench,
    }

    fn arguments(typed: &[&str]) -> Vec<String> {
        let Bench::Engine(engine) = Typed::parse_from([&["bench", "engine"], typed].concat()).bench;
        let bbolt = engine.wants("bbolt").then(|| Path::new("b"));
        let arguments = engine.arguments(Path::new("t"), bbolt);
        arguments.iter().map(|argument| argument.display().to_string()).collect()
    }

    #[test]
    fn what_is_not_said_is_left_to_the_program() {
        let defaults = arguments(&[]);
        assert_eq!(defaults, ["--dir", "t/data", "--bbolt", "b", "--json", "t/engine.json"]);
    }

    #[test]
    fn what_is_said_is_passed_on() {
        let typed = ["--engines", "conure,redb", "--workloads=open", "--dir=d", "--keys=5", "--no-large"];
        assert_eq!(
            arguments(&typed).join(" "),
            "--keys 5 --engines conure,redb --workloads open --dir d --json t/engine.json --no-large"
        );
        let docs = arguments(&["--write-docs", "--markdown"]);
        assert!(docs.iter().any(|argument| argument.ends_with("/docs/benchmarks.md")), "{docs:?}");
        assert_eq!(docs.last().map(String::as_str), Some("--markdown"));
    }
}
