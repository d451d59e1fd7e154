//! `cargo xtask test`: every check, in the order in which it is cheapest to fail.

use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::cargo::{self, cargo, root};
use crate::report::Report;

/// Runs the checks and prints what they found.
#[expect(clippy::print_stdout, reason = "the table and the verdict are this program's answer")]
pub(crate) fn run(fast: bool) -> Result<ExitCode> {
    let mut report = Report::new();
    rust(&mut report);
    let left_out = fast.then_some("charts, images and end-to-end tests (--fast)");
    println!("{}", report.render(left_out));
    Ok(if report.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What needs neither root nor Kubernetes.
fn rust(report: &mut Report) {
    report.check("formatting", |step| {
        let mut command = Command::new("cargo");
        command.args(["fmt", "--all", "--check"]).current_dir(root());
        cargo::run(&mut command, "fmt", step)?;
        Ok(String::new())
    });
    report.check("lints", |step| {
        let mut command = cargo("clippy");
        command.args(["--locked", "--all-targets", "--", "-D", "warnings"]);
        cargo::run(&mut command, "clippy", step)?;
        Ok(String::new())
    });
    report.check("tests", |step| {
        let tally = cargo::test(cargo("test").args(["--locked", "--no-fail-fast"]), "test", step)?;
        Ok(format!("{} tests", tally.passed))
    });
    report.check("documentation", |step| {
        let mut command = cargo("doc");
        command
            .args(["--locked", "--no-deps", "--document-private-items"])
            .env("RUSTDOCFLAGS", "-D warnings");
        cargo::run(&mut command, "doc", step)?;
        Ok(String::new())
    });
}
