//! The charts and manifests: helm's own lint, their schemas, what they render, and what the API server says of it; the
//! bundle and the alerts before their own judges.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use conure_e2e::cluster::{Local, tools as built};
use conure_e2e::process::run_lines;

use crate::cargo::{self, cargo, root};
use crate::go;
use crate::report::Report;

pub(super) const NAME: &str = "charts";
const BUNDLE: &str = "bundle for OLM";
const ALERTS: &str = "alerts";

/// promtool takes a second.
const JUDGED_WITHIN: Duration = Duration::from_mins(2);
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

/// What needs judges of others: the Operator Framework's validators, and promtool.
pub(super) fn check_with_their_judges(report: &mut Report) {
    report.check(BUNDLE, |step| {
        // The bundle is outside of the module, so Go would not see that it changed.
        go::run("crd/judge", &["test", "-count=1", "."], "bundle", step)?;
        Ok("judged by operator-framework/api".to_owned())
    });
    report.check(ALERTS, |step| {
        let promtool = built::promtool()?;
        let chart = root().join("charts/conuredb-operator");
        for (what, file) in [("check", "files/alerts.yaml"), ("test", "tests/alerts.yaml")] {
            let mut command = Command::new(&promtool);
            command.args([what, "rules"]).arg(chart.join(file));
            run_lines(&mut command, &cargo::logs().join("alerts.log"), JUDGED_WITHIN, |line| step.at(line))?;
        }
        Ok("judged by promtool".to_owned())
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
