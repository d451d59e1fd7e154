//! `cargo xtask operator`, `bench operator` and `chaos`: the operator at its limits. The first plays nodes and members on an API
//! server of its own, the last works on a local Kubernetes.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use clap::Args;
use conure_e2e::bench::{Row, markdown};
use conure_e2e::cluster::{Instance, Local, packages, tools};
use conure_e2e::progress::{self, Step};

use crate::cargo::{self, Tally, cargo, root, target};
use crate::checks::end_to_end;

const NAME: &str = "operator on an API server without nodes";
const BEGIN: &str = "<!-- begin: measured by `cargo xtask bench operator --write-docs` -->";
const END: &str = "<!-- end: measured by `cargo xtask bench operator --write-docs` -->";

/// What `cargo xtask operator` was told.
#[derive(Debug, Args)]
pub(crate) struct Tests {
    /// Only the cases whose names contain one of these.
    filter: Vec<String>,
}

/// What `cargo xtask bench operator` was told.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// The local Kubernetes for what needs nodes; started if it is not up, and left up.
    #[arg(long, default_value = "dev")]
    instance: Instance,
    /// How many clusters share one API server without nodes; 0 leaves that out.
    #[arg(long, value_name = "N", default_value_t = 500)]
    clusters: u32,
    /// The data members of each of them.
    #[arg(long, value_name = "N", default_value_t = 3)]
    members: u8,
    /// Leave out what needs nodes.
    #[arg(long)]
    no_procedures: bool,
    /// Put the table into docs/benchmarks.md.
    #[arg(long)]
    write_docs: bool,
}

/// What `cargo xtask chaos` was told.
#[derive(Debug, Args)]
pub(crate) struct Chaos {
    /// For how long.
    #[arg(long, value_name = "N", default_value_t = 10)]
    minutes: u32,
    /// The same seed makes the same choices.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// The local Kubernetes; started if it is not up, and left up.
    #[arg(long, default_value = "dev")]
    instance: Instance,
}

/// What the programs are told by their environment.
fn environment(tools: &Path) -> Vec<(&'static str, OsString)> {
    vec![
        ("CONURE_E2E_TOOLS", tools.into()),
        ("CONURE_E2E_OPERATOR", cargo::binaries().join("conure-operator").into()),
        ("CONURE_E2E_OUTPUT", cargo::logs().into()),
    ]
}

fn tests(tools: &Path, filter: &[String], step: &Step) -> Result<Tally> {
    let mut build = cargo("build");
    cargo::run(build.args(["--bin", "conure-operator", "--bin", "kubectl-conure"]), "operator-build", step)?;
    let mut command = cargo("test");
    command.args(["--test", "operator", "--"]).args(filter).envs(environment(tools));
    cargo::test(&mut command, "operator", step)
}

/// `cargo xtask operator`.
#[expect(clippy::print_stdout, reason = "the verdict is this program's answer")]
pub(crate) fn operator(options: &Tests) -> Result<ExitCode> {
    Local::allowed()?;
    packages::ensure(&packages::NEEDED_BY_TESTS)?;
    let tools = tools::ensure()?;
    let step = Step::begin(NAME);
    let tally = tests(&tools, &options.filter, &step)?;
    step.done();
    ensure!(tally.passed > 0, "no test ran");
    println!("{tally}");
    Ok(ExitCode::SUCCESS)
}

/// Compiles the program that does the rest.
fn program() -> Result<Command> {
    progress::step("compiling", |step| {
        let mut build = cargo("build");
        cargo::run(build.args(["--bin", "conure-operator", "--bin", "conure-trials"]), "trials-build", step)
    })?;
    Ok(Command::new(cargo::binaries().join("conure-trials")))
}

/// Runs it to its end; its output is this program's.
fn run(command: &mut Command) -> Result<()> {
    let status = command.status().context("conure-trials cannot be started")?;
    ensure!(status.success(), "conure-trials failed ({status})");
    Ok(())
}

/// `cargo xtask bench operator`.
pub(crate) fn bench(options: &Bench) -> Result<ExitCode> {
    Local::allowed()?;
    let tools = tools::ensure()?;
    let folder = target().join("bench");
    std::fs::create_dir_all(&folder)?;
    let mut parts: Vec<PathBuf> = Vec::new();
    if !options.no_procedures {
        let (local, settings) = end_to_end::prepared(options.instance)?;
        let part = folder.join("operator-procedures.json");
        run(program()?.arg("procedures").envs(settings).env("CONURE_BENCH_ROWS", &part))?;
        drop(local);
        parts.push(part);
    }
    if options.clusters > 0 {
        let part = folder.join("operator-many.json");
        let (clusters, members) = (options.clusters.to_string(), options.members.to_string());
        let mut command = program()?;
        command.args(["many", &clusters, &members]).envs(environment(&tools)).env("CONURE_BENCH_ROWS", &part);
        run(&mut command)?;
        parts.push(part);
    }
    let mut rows: Vec<Row> = Vec::new();
    for part in &parts {
        rows.extend(serde_json::from_slice::<Vec<Row>>(&std::fs::read(part)?)?);
    }
    let json = serde_json::json!({"rows": rows});
    std::fs::write(folder.join("operator.json"), format!("{json:#}\n"))?;
    if options.write_docs {
        let page = root().join("docs/benchmarks.md");
        let text = std::fs::read_to_string(&page)?;
        std::fs::write(&page, replaced(&text, &markdown(&rows))?)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The page with another table.
fn replaced(page: &str, table: &str) -> Result<String> {
    let (before, rest) = page.split_once(BEGIN).context("docs/benchmarks.md has no place for the table")?;
    let (_, after) =
        rest.split_once(END).context("the place for the table in docs/benchmarks.md has no end")?;
    Ok(format!("{before}{BEGIN}\n\n{table}\n{END}{after}"))
}

/// `cargo xtask chaos`.
pub(crate) fn chaos(options: &Chaos) -> Result<ExitCode> {
    let (local, settings) = end_to_end::prepared(options.instance)?;
    let (minutes, seed) = (options.minutes.to_string(), options.seed.to_string());
    let ended = run(program()?.args(["chaos", &minutes, &seed]).envs(settings));
    if ended.is_err() {
        end_to_end::dump(&local);
    }
    ended.map(|()| ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_table_is_replaced() {
        let page = format!("a\n{BEGIN}\nold\n{END}\nb\n");
        assert_eq!(replaced(&page, "new\n").unwrap(), format!("a\n{BEGIN}\n\nnew\n\n{END}\nb\n"));
        assert!(replaced("a", "new").is_err());
    }
}
