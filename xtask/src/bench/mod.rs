//! `cargo xtask bench …`: compiles the programs of `bench/`, optimised as for release, and runs them.
//!
//! What is compared is no part of this program, so that no other chore has to compile it.

mod cluster;
mod engine;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::Subcommand;
use conure_e2e::progress::step;

use crate::cargo::{self, target};
use crate::{go, trials};

/// The page that has the numbers.
const PAGE: &str = "docs/benchmarks.md";

/// What is measured.
#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// The storage engine beside LMDB, redb, bbolt (needs Go) and fjall: a table, and the same for programs in
    /// target/bench/engine.json. Takes about half an hour and 20 GB of disk on a small machine.
    Engine(engine::Engine),
    /// A cluster of three members beside one of etcd (needs Go), each member a process, on one disk: a table, and the same
    /// for programs in target/bench/cluster.json. Takes about a quarter of an hour and 10 GB of disk.
    Cluster(cluster::Cluster),
    /// The operator: how long its procedures take and writers wait, and what 500 clusters cost (as root): a table, and the same
    /// for programs in target/bench/operator.json.
    Operator(trials::Bench),
}

/// Compiles and measures.
pub(crate) fn run(bench: &Bench) -> Result<ExitCode> {
    let folder = target().join("bench");
    match bench {
        Bench::Engine(engine) => {
            compile(&["conure-bench"])?;
            measure("engine", engine.arguments(&folder, engine.programs(&folder)?.as_deref()))
        }
        Bench::Cluster(cluster) => {
            compile(&["conure-bench", "conure-server"])?;
            measure("cluster", cluster.arguments(&folder, cluster.programs(&folder)?.as_ref()))
        }
        Bench::Operator(options) => trials::bench(options),
    }
}

fn compile(packages: &[&str]) -> Result<()> {
    step("compiling what is measured", |step| {
        let mut build = cargo::plain("build");
        build.args(["--locked", "--release", "--bins"]);
        packages.iter().for_each(|package| {
            build.args(["-p", package]);
        });
        cargo::run(&mut build, "bench-build", step)
    })
}

/// It shows how far it is by itself, and its table is this program's answer.
fn measure(what: &str, arguments: Vec<PathBuf>) -> Result<ExitCode> {
    let status = Command::new(release("conure-bench"))
        .arg(what)
        .args(arguments)
        .status()
        .context("cannot start conure-bench")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn release(program: &str) -> PathBuf {
    target().join("release").join(program)
}

/// Compiles a Go program from a folder with a `go.mod` and a `go.sum`.
fn compile_go(source: &str, package: &str, program: &Path) -> Result<PathBuf> {
    let name = program.file_name().unwrap_or_default().display().to_string();
    step(format!("compiling {name}"), |step| {
        go::build(source, package, program, &format!("bench-{name}"), step)
            .with_context(|| format!("{name} needs Go; --help says how to leave it out"))
    })?;
    Ok(program.to_owned())
}

/// Arguments of the program that compares.
#[derive(Debug, Default)]
struct Passed(Vec<PathBuf>);

impl Passed {
    fn add(&mut self, name: &str, value: Option<impl Into<PathBuf>>) {
        if let Some(value) = value {
            self.0.extend([name.into(), value.into()]);
        }
    }

    fn count(&mut self, name: &str, count: Option<u64>) {
        self.add(name, count.map(|count| count.to_string()));
    }

    fn list(&mut self, name: &str, list: &[String]) {
        self.add(name, (!list.is_empty()).then(|| list.join(",")));
    }

    fn flag(&mut self, name: &str, given: bool) {
        if given {
            self.0.push(name.into());
        }
    }
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
        let arguments = match Typed::parse_from([&["bench"], typed].concat()).bench {
            Bench::Engine(engine) => {
                let bbolt = engine.wants("bbolt").then(|| Path::new("b"));
                engine.arguments(Path::new("t"), bbolt)
            }
            Bench::Cluster(cluster) => {
                let etcd = cluster.wants("etcd").then(|| ("e".into(), "eb".into()));
                cluster.arguments(Path::new("t"), etcd.as_ref())
            }
            Bench::Operator(_) => Vec::new(),
        };
        arguments.iter().map(|argument| argument.display().to_string()).collect()
    }

    #[test]
    fn what_is_not_said_is_left_to_the_program() {
        let defaults = arguments(&["engine"]);
        assert_eq!(defaults, ["--dir", "t/data", "--bbolt", "b", "--json", "t/engine.json"]);
        let defaults = arguments(&["cluster"]).join(" ");
        assert!(defaults.starts_with("--dir t/clusters --conure-db "), "{defaults}");
        assert!(defaults.ends_with("--etcd e --etcd-benchmark eb --json t/cluster.json"), "{defaults}");
    }

    #[test]
    fn what_is_said_is_passed_on() {
        let typed =
            ["engine", "--engines", "conure,redb", "--workloads=open", "--dir=d", "--keys=5", "--no-large"];
        assert_eq!(
            arguments(&typed).join(" "),
            "--keys 5 --engines conure,redb --workloads open --dir d --json t/engine.json --no-large"
        );
        let typed = ["cluster", "--rows=put,get", "--systems=conure", "--clients=1,64", "--seconds=2"];
        let passed = arguments(&typed).join(" ");
        assert!(
            passed.starts_with("--rows put,get --systems conure --clients 1,64 --seconds 2 --dir "),
            "{passed}"
        );
        assert!(!passed.contains("--etcd"), "{passed}");
    }

    #[test]
    fn the_page_of_the_documentation_is_named() {
        for what in ["engine", "cluster"] {
            let docs = arguments(&[what, "--write-docs", "--markdown"]);
            assert!(docs.iter().any(|argument| argument.ends_with("/docs/benchmarks.md")), "{docs:?}");
            assert_eq!(docs.last().map(String::as_str), Some("--markdown"));
        }
    }
}
