//! Formatting, lints, tests and documentation: what needs neither root nor Kubernetes.

use conure_e2e::cluster::packages;

use crate::cargo::{self, cargo};
use crate::report::Report;

pub(super) fn check(report: &mut Report) {
    report.check("formatting", |step| {
        let mut command = cargo::plain("fmt");
        command.args(["--all", "--check"]);
        cargo::run(&mut command, "fmt", step)?;
        Ok(String::new())
    });
    report.check("lints", |step| {
        // The end-to-end tests and the charts' are no part of "all targets": they run on their own.
        let by_name = ["e2e", "operator", "charts", "api_server", "memory", "disk", "volumes"]
            .map(|name| ["--test", name])
            .concat();
        let features = "conure-server/planted-bugs,conure-server/soak";
        let others = ["--bin", "conure-db-planted", "--test", "soak", "--features", features];
        let selections: [&[&str]; 3] = [&["--all-targets"], &by_name, &others];
        for (number, targets) in selections.iter().enumerate() {
            let mut command = cargo("clippy");
            command.args(*targets).args(["--keep-going", "--", "-D", "warnings"]);
            cargo::run(&mut command, &format!("clippy-{number}"), step)?;
        }
        Ok(String::new())
    });
    report.check("tests", |step| {
        let tally = cargo::test(cargo("test").arg("--no-fail-fast"), "test", step)?;
        tally.judge()?;
        Ok(tally.to_string())
    });
    report.check("documentation", |step| {
        let mut command = cargo("doc");
        command.args(["--no-deps", "--document-private-items"]).env("RUSTDOCFLAGS", "-D warnings");
        cargo::run(&mut command, "doc", step)?;
        Ok(String::new())
    });
}

/// Tests that make control groups and mount small volumes.
pub(super) fn check_as_root(report: &mut Report) {
    report.check("tests as root", |step| {
        packages::ensure(&["e2fsprogs", "mount", "util-linux"])?;
        let mut command = cargo("test");
        command.args(["--no-fail-fast", "--test", "memory", "--test", "disk", "--test", "volumes"]);
        let tally = cargo::test(&mut command, "test-root", step)?;
        tally.judge()?;
        Ok(tally.to_string())
    });
}
