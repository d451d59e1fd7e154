//! kubectl, as the user has it.

use std::process::{Command, ExitStatus, Stdio};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::Access;

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KubectlError {
    /// It could not be started.
    #[error("kubectl cannot be started: {0}; put it onto the PATH")]
    Start(std::io::Error),
    /// It said no.
    #[error("{0}")]
    Refused(String),
    /// It said what nobody understands.
    #[error("kubectl {command} answered what is not expected: {source}")]
    Answer {
        /// What was asked.
        command: String,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// The answer could not be written.
    #[error("cannot write to standard output: {0}")]
    Output(std::io::Error),
    /// The user has to be clearer.
    #[error("{0}")]
    Unclear(String),
}

#[derive(Deserialize)]
struct Items<T> {
    items: Vec<T>,
}

/// kubectl for one Kubernetes and namespace.
pub(crate) struct Kubectl<'a> {
    access: &'a Access,
}

impl<'a> Kubectl<'a> {
    pub(crate) fn new(access: &'a Access) -> Self {
        Self { access }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("kubectl");
        let flags = [
            ("--namespace", &self.access.namespace),
            ("--context", &self.access.context),
            ("--kubeconfig", &self.access.kubeconfig),
        ];
        for (flag, value) in flags {
            if let Some(value) = value {
                command.args([flag, value]);
            }
        }
        command.args(arguments);
        command
    }

    /// What it printed.
    pub(crate) fn run(&self, arguments: &[&str]) -> Result<String, KubectlError> {
        let output = self.command(arguments).stdin(Stdio::null()).output().map_err(KubectlError::Start)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.trim().trim_start_matches("error: ");
        // A member's own words are on its standard output.
        let answer = String::from_utf8_lossy(&output.stdout);
        Err(KubectlError::Refused(if answer.trim().is_empty() {
            said.to_owned()
        } else {
            format!("{} ({said})", answer.trim())
        }))
    }

    /// What it printed, as an object.
    pub(crate) fn get<T: DeserializeOwned>(&self, arguments: &[&str]) -> Result<T, KubectlError> {
        let arguments = [&["get", "-o", "json"], arguments].concat();
        let text = self.run(&arguments)?;
        serde_json::from_str(&text)
            .map_err(|source| KubectlError::Answer { command: arguments.join(" "), source })
    }

    /// The objects that it printed as a list; kubectl calls every list `List`, whatever is in it.
    pub(crate) fn list<T: DeserializeOwned>(&self, arguments: &[&str]) -> Result<Vec<T>, KubectlError> {
        Ok(self.get::<Items<T>>(arguments)?.items)
    }

    /// Lets it write to the user's terminal.
    pub(crate) fn show(&self, arguments: &[&str]) -> Result<ExitStatus, KubectlError> {
        self.command(arguments).status().map_err(KubectlError::Start)
    }
}
