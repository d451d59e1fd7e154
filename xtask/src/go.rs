//! Running Go, which what has no library in Rust is built with.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use conure_e2e::process::run_lines;
use conure_e2e::progress::Step;

use crate::cargo::{self, root};

/// A cold build downloads its modules, and compiles them.
const LIMIT: Duration = Duration::from_mins(20);

/// A Go command in a folder of the checkout; its lines say how far it is.
pub(crate) fn run(folder: &str, arguments: &[&str], log: &str, step: &Step) -> Result<()> {
    let mut go = Command::new("go");
    // The same settings everywhere, so that nothing is compiled twice.
    go.args(arguments).current_dir(root().join(folder)).env("CGO_ENABLED", "0").env("GOFLAGS", "");
    run_lines(&mut go, &cargo::logs().join(format!("{log}.log")), LIMIT, |line| step.at(line))
        .context("this needs Go 1.25 or newer: install it")
}

/// Compiles a package of a folder of the checkout into a program.
pub(crate) fn build(folder: &str, package: &str, program: &Path, log: &str, step: &Step) -> Result<()> {
    let program = program.to_str().context("a path that Go takes")?;
    let arguments = ["build", "-v", "-trimpath", "-buildvcs=false", "-mod=readonly", "-o", program, package];
    run(folder, &arguments, log, step)
}
