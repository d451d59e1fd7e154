//! kubectl, with the kubeconfig of one cluster.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::process::{output, output_with};

/// Longer than any single request or wait that is asked for here.
const LIMIT: Duration = Duration::from_mins(10);

/// kubectl for one cluster.
#[derive(Debug, Clone)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: Option<PathBuf>,
}

impl Kubectl {
    /// The kubectl of `tools`, for the cluster of `kubeconfig`.
    pub fn new(tools: &Path, kubeconfig: PathBuf) -> Self {
        Self { program: tools.join("kubectl"), kubeconfig: Some(kubeconfig) }
    }

    /// A kubectl of the PATH for the current context.
    pub fn current() -> Self {
        Self { program: "kubectl".into(), kubeconfig: None }
    }

    /// A command to which arguments can be added.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        if let Some(kubeconfig) = &self.kubeconfig {
            command.env("KUBECONFIG", kubeconfig);
        }
        command
    }

    /// Runs kubectl and answers what it printed.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        output(self.command().args(arguments), LIMIT)
    }

    /// Applies manifests given as text.
    pub fn apply(&self, manifests: &str) -> Result<String> {
        output_with(self.command().args(["apply", "-f", "-"]), manifests, LIMIT)
    }

    /// Waits until an object has a condition; kubectl's own words, such as `condition=Ready`, say which.
    pub fn wait(&self, what: &str, condition: &str, limit: Duration) -> Result<()> {
        let arguments = [
            "wait".to_owned(),
            what.to_owned(),
            format!("--for={condition}"),
            format!("--timeout={}s", limit.as_secs()),
        ];
        output(self.command().args(arguments), limit + Duration::from_secs(10))?;
        Ok(())
    }
}
