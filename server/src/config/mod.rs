//! What the process is started with: YAML file, `CONURE_*` environment, flags; the latter win.
//!
//! Every error is one line that names the key as it was given, the value and the mend.
//!
//! **Invariant:** a [`Config`] is whole and checked; nothing after it looks at flags or environment.

mod error;
mod file;
mod flags;
mod join;
mod resolve;
mod setting;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use conure_client::api::Role;

use crate::commands::Tool;
pub use conure_client::Addr;
pub use error::ConfigError;
use flags::{Other, Parsed};
pub use join::Join;
use setting::{Key, Settings};

/// What to do with a request that only the leader can serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaderRouting {
    /// Answer 307 with the leader's address.
    Redirect,
    /// Ask the leader, and hand its answer on.
    Forward,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// A member's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The member's name.
    pub node_id: String,
    /// Where the database and the Raft state are.
    pub data_dir: PathBuf,
    /// What the Raft port binds.
    pub raft_addr: Addr,
    /// What other members dial.
    pub raft_advertise_addr: Addr,
    /// What the HTTP API binds; an empty host is every interface.
    pub http_addr: Addr,
    /// What redirects name.
    pub http_advertise_addr: Addr,
    /// Further names that clients may call this member by.
    pub http_allowed_hosts: Vec<String>,
    /// Whether an empty data directory starts a one-member cluster.
    pub bootstrap: bool,
    /// Whom a member that is in no cluster asks to join it.
    pub join: Option<Join>,
    /// The only cluster that this member may belong to.
    pub cluster_id: Option<String>,
    /// How long a linearizable read may wait.
    pub barrier_timeout: Duration,
    /// A checkpoint is made after so many changes.
    pub checkpoint_entries: u64,
    /// So many changes stay in the log behind a checkpoint.
    pub log_keep_entries: u64,
    /// How long silence lasts before it is taken for a failure.
    pub election_timeout: Duration,
    /// How often a leader says that it lives.
    pub heartbeat_interval: Duration,
    /// How fast snapshots are sent, in bytes a second; `None` is as fast as it goes.
    pub snapshot_rate: Option<u64>,
    /// How much of the file system stays free, in bytes; `None` is as much as suits its size.
    pub disk_reserve: Option<u64>,
    /// Data member or arbiter.
    pub role: Role,
    /// What happens to requests for the leader.
    pub leader_routing: LeaderRouting,
    /// The file with the administration's token.
    pub admin_token_file: Option<PathBuf>,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Which log lines there are: a `tracing` filter.
    pub log_level: String,
    /// `CONURE_*` variables that name no setting.
    pub unknown_variables: Vec<String>,
}

/// What `wait` is started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitConfig {
    /// The member's data directory.
    pub data_dir: PathBuf,
    /// The HTTP address of the cluster.
    pub peers: String,
    /// The only cluster that counts.
    pub cluster_id: Option<String>,
    /// When to give up.
    pub timeout: Option<Duration>,
}

/// What a command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Print this and leave.
    Print(String),
    /// Run a member.
    Run(Box<Config>),
    /// Wait for the cluster.
    Wait(WaitConfig),
    /// Work on a data directory or a backup.
    Tool(Tool),
}

/// Reads a command line (its first argument is the program's name) over an environment.
pub fn load(
    args: impl IntoIterator<Item = OsString>,
    environment: &BTreeMap<String, OsString>,
) -> Result<Command, ConfigError> {
    let mut flags = match flags::parse(args)? {
        Parsed::Text(text) => return Ok(Command::Print(text)),
        Parsed::Flags(flags) => *flags,
    };
    match flags.command.take() {
        Some(Other::Wait(wait)) => {
            let cluster_id = wait.cluster_id.filter(|id| !id.is_empty());
            let (data_dir, peers, timeout) = (wait.data_dir, wait.peers, wait.timeout);
            return Ok(Command::Wait(WaitConfig { data_dir, peers, cluster_id, timeout }));
        }
        Some(Other::Tool(tool)) => return Ok(Command::Tool(tool)),
        None => {}
    }
    let file = match (&flags.config, environment.get("CONURE_CONFIG").filter(|path| !path.is_empty())) {
        (Some(path), _) => file::read("--config", path)?,
        (None, Some(path)) => file::read("CONURE_CONFIG", path.as_ref())?,
        (None, None) => Settings::default(),
    };
    let (variables, unknown_variables) = from_environment(environment)?;
    let settings = file.overlay(variables).overlay(flags.settings());
    Ok(Command::Run(Box::new(resolve::resolve(&settings, unknown_variables)?)))
}

/// The settings that the environment gives, and the `CONURE_*` names in it that mean nothing. An empty variable sets
/// nothing.
fn from_environment(
    environment: &BTreeMap<String, OsString>,
) -> Result<(Settings, Vec<String>), ConfigError> {
    let mut settings = Settings::default();
    let mut known = vec!["CONURE_CONFIG".to_owned()];
    for key in Key::ALL {
        let variable = key.variable();
        if let Some(value) = environment.get(&variable).filter(|value| !value.is_empty()) {
            // Another value than the one given would be worse than none.
            let value = value.to_str().ok_or_else(|| ConfigError::Value {
                key: variable.clone(),
                value: value.to_string_lossy().into_owned(),
                reason: "it is not UTF-8".to_owned(),
                mend: "give a value that is".to_owned(),
            })?;
            settings.set(key, variable.clone(), value.to_owned());
        }
        known.push(variable);
    }
    let unknown = environment
        .iter()
        .filter(|(name, value)| {
            name.starts_with("CONURE_") && !known.contains(name) && !is_of_a_service(name, value)
        })
        .map(|(name, _)| name.clone())
        .collect();
    Ok((settings, unknown))
}

/// Whether Kubernetes added this variable for a Service whose name begins with `conure`, which is nobody's mistake:
/// `CONURE_PORT=tcp://…`, `CONURE_PORT_8081_TCP_ADDR`, `CONURE_SERVICE_HOST` and so on.
fn is_of_a_service(name: &str, value: &OsStr) -> bool {
    const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];
    let ends = |end: &str| name.ends_with(end);
    let of_port = |rest: &str| {
        let (number, rest) = rest.split_once('_').unwrap_or((rest, ""));
        let (protocol, rest) = rest.split_once('_').unwrap_or((rest, ""));
        let counts = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        counts && PROTOCOLS.contains(&protocol) && ["", "PROTO", "PORT", "ADDR"].contains(&rest)
    };
    if name.rsplit_once("_PORT_").is_some_and(|(_, rest)| of_port(rest))
        || name
            .strip_suffix("_PORT")
            .and_then(|name| name.rsplit_once("_PORT_"))
            .is_some_and(|(_, rest)| of_port(rest))
    {
        return true;
    }
    if ends("_SERVICE_HOST") || ends("_SERVICE_PORT") || name.contains("_SERVICE_PORT_") {
        return true;
    }
    // A port that somebody set is a number.
    let is_url = |value: &str| {
        PROTOCOLS.iter().any(|protocol| value.starts_with(&format!("{}://", protocol.to_lowercase())))
    };
    ends("_PORT") && value.to_str().is_some_and(is_url)
}

#[cfg(test)]
mod tests;
