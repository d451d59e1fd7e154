//! The real operator, as a process that a test starts, kills and waits for.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::process::tail_of;

/// How an operator is started.
#[derive(Debug, Clone)]
pub struct Start {
    /// The program.
    pub program: PathBuf,
    /// Where its kubeconfig and log go.
    pub folder: PathBuf,
    /// The API server's URL, which asks for no identity.
    pub url: String,
    /// The namespace to watch; empty for all.
    pub namespace: String,
    /// What the crate `fail` reads.
    pub failpoints: String,
    /// Its name in Leases, where it takes part in the election; the Lease is in the namespace `default`.
    pub candidate: Option<String>,
    /// Where it serves its figures; 0 for any port.
    pub port: u16,
}

/// A running operator; it is killed with this value.
pub struct Operator {
    child: Child,
    log: PathBuf,
}

impl Start {
    /// Starts it.
    pub fn operator(&self) -> Result<Operator> {
        fs::create_dir_all(&self.folder)?;
        let kubeconfig = self.folder.join("operator.kubeconfig");
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "bare", "cluster": {"server": self.url}}],
            "users": [{"name": "operator", "user": {}}],
            "contexts": [{"name": "bare", "context": {"cluster": "bare", "user": "operator", "namespace": "default"}}],
            "current-context": "bare",
        });
        fs::write(&kubeconfig, config.to_string())?;
        let log = self.folder.join("operator.log");
        let file = File::options().create(true).append(true).open(&log)?;
        let mut command = Command::new(&self.program);
        command
            .env("KUBECONFIG", &kubeconfig)
            .env("WATCH_NAMESPACE", &self.namespace)
            .env("FAILPOINTS", &self.failpoints)
            .env("LEADER_ELECTION", self.candidate.is_some().to_string())
            .env("POD_NAME", self.candidate.as_deref().unwrap_or("operator"))
            .env("CONURE_OPERATOR_HTTP_ADDR", format!("127.0.0.1:{}", self.port))
            .env("LOG_LEVEL", "info,conure_operator=debug,conure_operator::failpoint=trace")
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .kill_on_drop(true);
        let child = command.spawn().with_context(|| format!("cannot start {}", self.program.display()))?;
        Ok(Operator { child, log })
    }
}

impl Operator {
    /// Waits for its end; `None` where it goes on living.
    pub async fn ended(&mut self, limit: Duration) -> Result<Option<ExitStatus>> {
        match timeout(limit, self.child.wait()).await {
            Ok(status) => Ok(Some(status?)),
            Err(_) => Ok(None),
        }
    }

    /// Asks it to end well.
    pub fn stop(&self) -> Result<()> {
        let pid = self.child.id().context("it has ended")?;
        rustix::process::kill_process(
            rustix::process::Pid::from_raw(i32::try_from(pid)?).context("a pid")?,
            rustix::process::Signal::TERM,
        )
        .map_err(Into::into)
    }

    /// Ends it as a crash would.
    pub async fn kill(mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Its process id, while it lives.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// How often its log, and that of those before it in the same folder, tells of passing a failpoint.
    pub fn passed(&self, point: &str) -> Result<usize> {
        let log = fs::read_to_string(&self.log)?;
        // The field may be the line's last word.
        let told = |line: &&str| {
            line.contains("passes a point")
                && line.split_whitespace().any(|word| word == format!("point=\"{point}\""))
        };
        Ok(log.lines().filter(told).count())
    }

    /// The end of its log.
    #[must_use]
    pub fn last_lines(&self) -> String {
        tail_of(&self.log, 12)
    }
}
