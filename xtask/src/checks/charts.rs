//! The charts and manifests: helm's own lint, their schemas, what they render, and what the API server says of it.

use std::path::Path;

use conure_e2e::cluster::Local;

use crate::cargo::{self, cargo};
use crate::report::Report;

pub(super) const NAME: &str = "charts";
pub(super) const ON_KUBERNETES: &str = "charts on the API server";

/// What needs helm alone.
pub(super) fn check(report: &mut Report, tools: &Path) {
    report.check(NAME, |step| {
        let mut command = cargo("test");
        command.args(["--no-fail-fast", "--test", "charts"]).env("CONURE_HELM", tools.join("helm"));
        let tally = cargo::test(&mut command, NAME, step)?;
        tally.judge()?;
        Ok(tally.to_string())
    });
}

/// What needs an API server too.
pub(super) fn check_on(report: &mut Report, local: &Local) {
    report.check(ON_KUBERNETES, |step| {
        let mut command = cargo("test");
        command.args(["--no-fail-fast", "--test", "api_server"]);
        command.env("CONURE_HELM", local.tools().join("helm"));
        command.env("CONURE_KUBECTL", local.tools().join("kubectl"));
        command.env("KUBECONFIG", local.paths().kubeconfig());
        let tally = cargo::test(&mut command, "charts-api-server", step)?;
        tally.judge()?;
        Ok(tally.to_string())
    });
}
