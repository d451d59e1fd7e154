//! `cargo xtask test`: every check, in the order in which it is cheapest to fail. A check that fails does not stop those
//! that do not need it.

mod charts;
pub(crate) mod end_to_end;
mod leftovers;
mod rust;

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use conure_e2e::cluster::{Instance, Local, packages};

use crate::report::Report;
use crate::{cluster, crash, linearizability, sanitizer, simulate};

/// Runs the checks and prints what they found.
#[expect(clippy::print_stdout, reason = "the table and the verdict are this program's answer")]
pub(crate) fn run(fast: bool) -> Result<ExitCode> {
    if !fast {
        Local::allowed().context("`cargo xtask test --fast` leaves out what needs it")?;
    }
    let mut report = Report::new();
    report.stage("programs that tests run", || Ok((programs(fast)?, String::new())));
    rust::check(&mut report);
    crash::check(&mut report, if fast { 10_000 } else { 50_000 });
    simulate::check(&mut report, if fast { 6 } else { 18 });
    if !fast {
        simulate::check_itself(&mut report);
        sanitizer::check(&mut report);
        linearizability::check(&mut report);
        kubernetes(&mut report);
    }
    let left_out = fast.then_some("charts, images and end-to-end tests (--fast)");
    println!("{}", report.render(left_out));
    Ok(if report.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The charts and what is made from them, without an API server.
#[expect(clippy::print_stdout, reason = "the table and the verdict are this program's answer")]
pub(crate) fn charts_alone() -> Result<ExitCode> {
    let mut report = Report::new();
    if let Some(tools) = report.stage("packages and tools", || Ok((cluster::tools()?, String::new()))) {
        charts::check(&mut report, &tools);
        charts::check_with_their_judges(&mut report);
    }
    println!("{}", report.render(Some("every other check")));
    Ok(if report.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Sees to the programs that tests start; without root, what is missing is named.
fn programs(fast: bool) -> Result<()> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = |program: &&str| std::env::split_paths(&paths).any(|folder| folder.join(program).is_file());
    let missing: Vec<&str> = ["curl", "ip", "kill"].into_iter().filter(|program| !found(program)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    ensure!(!fast, "not in the PATH: {}; the tests start them: install them first", missing.join(", "));
    packages::ensure(&packages::NEEDED_BY_TESTS)
}

/// What needs root, and the tools of Kubernetes.
fn kubernetes(report: &mut Report) {
    rust::check_as_root(report);
    let Some(tools) = report.stage("packages and tools", || Ok((cluster::tools()?, String::new()))) else {
        return report.not_run(&[
            charts::NAME,
            leftovers::NAME,
            charts::ON_KUBERNETES,
            end_to_end::NAME,
            end_to_end::DEMONSTRATION,
        ]);
    };
    charts::check(report, &tools);
    charts::check_with_their_judges(report);
    leftovers::check(report, Instance::TEST, &tools);
    end_to_end::check(report, Instance::TEST, &tools);
}
