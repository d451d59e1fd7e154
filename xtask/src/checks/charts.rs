//! The charts: helm's own lint, their schemas, and what they render.

use std::path::Path;

use crate::cargo::{self, cargo};
use crate::report::Report;

pub(super) const NAME: &str = "charts";

pub(super) fn check(report: &mut Report, tools: &Path) {
    report.check(NAME, |step| {
        let mut command = cargo("test");
        command.args(["--no-fail-fast", "--test", "charts"]).env("CONURE_HELM", tools.join("helm"));
        let tally = cargo::test(&mut command, NAME, step)?;
        tally.judge()?;
        Ok(tally.to_string())
    });
}
