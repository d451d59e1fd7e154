//! The command line.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::Resettable;
use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use super::ConfigError;
use super::setting::{Key, Settings};
use crate::commands::Tool;

/// A member of a ConureDB cluster: a replicated key-value store behind an HTTP API.
///
/// Without arguments it starts a one-member cluster in ./data and serves http://localhost:8081:
///
///   curl -X PUT 'localhost:8081/kv?key=colour&value=blue'
///   curl 'localhost:8081/kv?key=colour'
///
/// Three members, each in a terminal of its own; the order does not matter:
///
///   conure-db --node-id=node1 --data-dir=./data/node1 --bootstrap
///   conure-db --node-id=node2 --data-dir=./data/node2 --raft-addr=127.0.0.1:7002 --http-addr=:8082 --join=localhost:8081
///   conure-db --node-id=node3 --data-dir=./data/node3 --raft-addr=127.0.0.1:7003 --http-addr=:8083 --join=localhost:8081
///
/// Every setting may stand in a YAML file (--config; keys are the flags' names with underscores), in the environment
/// (CONURE_HTTP_ADDR for --http-addr) or on the command line; the latter win.
#[derive(Debug, Parser)]
#[command(name = "conure-db", version, verbatim_doc_comment, args_conflicts_with_subcommands = true)]
#[command(
    after_help = "Wrong settings and unusable data directories end with exit code 2, a failed disk with 1, data that is found damaged \
        with 3. `conure-db COMMAND --help` has each command's examples and exit codes."
)]
pub(super) struct Flags {
    #[command(subcommand)]
    pub(super) command: Option<Other>,

    /// Read settings from a YAML file.
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,

    #[command(flatten)]
    member: MemberFlags,
}

/// The other commands.
#[derive(Debug, Subcommand)]
pub(super) enum Other {
    /// Wait until this member may start: at once where the data directory belongs to a member already, else when a
    /// member of the cluster behind --peers answers and knows a leader.
    Wait(WaitFlags),

    #[command(flatten)]
    Tool(Tool),
}

/// What `wait` takes.
#[derive(Debug, Args)]
pub(super) struct WaitFlags {
    /// The member's data directory.
    #[arg(long, value_name = "DIR", env = "CONURE_DATA_DIR", default_value = "./data")]
    pub(super) data_dir: PathBuf,

    /// The HTTP address of the cluster, http://HOST:PORT; every address that HOST resolves to is asked.
    #[arg(long, value_name = "URL")]
    pub(super) peers: String,

    /// Wait for this cluster and no other.
    #[arg(long, value_name = "ID", env = "CONURE_CLUSTER_ID")]
    pub(super) cluster_id: Option<String>,

    /// Give up after this long, such as 90s or 5m; without it, never.
    #[arg(long, value_name = "DUR", value_parser = humantime::parse_duration)]
    pub(super) timeout: Option<Duration>,
}

#[derive(Debug, Args)]
struct MemberFlags {
    /// The member's name: unique in its cluster, the same over restarts. [default: node1]
    #[arg(long, value_name = "ID")]
    node_id: Option<String>,

    /// Where the database and the Raft state are; for one process only. [default: ./data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,

    /// Where the Raft port listens. [default: 127.0.0.1:7001]
    #[arg(long, value_name = "HOST:PORT")]
    raft_addr: Option<String>,

    /// Where other members dial this one's Raft port. [default: --raft-addr]
    #[arg(long, value_name = "HOST:PORT")]
    raft_advertise_addr: Option<String>,

    /// Where the HTTP API listens; without HOST on every interface. [default: :8081]
    #[arg(long, value_name = "[HOST]:PORT")]
    http_addr: Option<String>,

    /// Where redirects send clients for this member. [default: the host of --raft-advertise-addr, the port of
    /// --http-addr]
    #[arg(long, value_name = "HOST:PORT")]
    http_advertise_addr: Option<String>,

    /// Further names, separated by commas, that clients may call this member by; *.example.org is every name below
    /// example.org. IP addresses, localhost, names without a dot, *.svc, *.svc.cluster.local and the advertised names
    /// always work.
    #[arg(long, value_name = "HOSTS")]
    http_allowed_hosts: Option<String>,

    /// Start a one-member cluster if the data directory is empty. [default: true; false with --join]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    bootstrap: Option<String>,

    /// Members that this one asks to join it while it is in no cluster, as http://HOST:PORT of their HTTP APIs, separated by
    /// commas. It asks until it is a voter, in whichever order the members start, and never again once it is in a cluster;
    /// one that was removed stays out. All members may have the same list: an own address in it is skipped. The first
    /// member of a new cluster also gets --bootstrap, and starts the cluster unless one of the listed members is in one.
    #[arg(long, value_name = "URLS")]
    join: Option<String>,

    /// The only cluster that this member may belong to. [default: whichever it is asked to join]
    #[arg(long, value_name = "ID")]
    cluster_id: Option<String>,

    /// How long a linearizable read may wait, such as 500ms or 3s. [default: 3s]
    #[arg(long, value_name = "DUR")]
    barrier_timeout: Option<String>,

    /// Make a checkpoint, and let the log behind it go, after so many changes. [default: 50000]
    #[arg(long, value_name = "N")]
    checkpoint_entries: Option<String>,

    /// Keep so many changes in the log behind a checkpoint, for members that were briefly away: who was away longer
    /// gets a snapshot. [default: 5000]
    #[arg(long, value_name = "N")]
    log_keep_entries: Option<String>,

    /// How long a follower hears of no leader before it campaigns, and after which a leader that hears from no majority
    /// serves no more: such as 600ms or 2s. The same on all members. [default: 600ms]
    #[arg(long, value_name = "DUR")]
    election_timeout: Option<String>,

    /// How often a leader tells its followers that it lives; at most a fifth of --election-timeout. [default: 100ms]
    #[arg(long, value_name = "DUR")]
    heartbeat_interval: Option<String>,

    /// How fast a snapshot is sent to another member, in bytes a second, such as 64MiB; 0 is as fast as it goes.
    /// [default: 64MiB]
    #[arg(long, value_name = "BYTES")]
    snapshot_rate: Option<String>,

    /// Keep so much of the file system free: with less a leader takes no puts. In bytes, such as 2GiB. [default: 5 % of
    /// the file system, at least 64MiB but no more than a quarter of it, and at most 2GiB]
    #[arg(long, value_name = "SIZE")]
    disk_reserve: Option<String>,

    /// data, or arbiter: votes and keeps the log, holds no data, serves no reads. [default: data]
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,

    /// What to do with a request that only the leader can serve: redirect the client (curl needs -L), or forward it.
    /// [default: redirect]
    #[arg(long, value_name = "redirect|forward")]
    leader_routing: Option<String>,

    /// A file with the token that administration (join, remove, bootstrap, transfer-leadership, snapshot) then needs as
    /// `Authorization: Bearer`. [default: none, administration is open]
    #[arg(long, value_name = "FILE")]
    admin_token_file: Option<String>,

    /// text or json, to standard error. [default: text]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,

    /// error, warn, info, debug, trace, or directives such as info,conure_member=debug. [default: info]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
}

/// What the command line came to.
pub(super) enum Parsed {
    /// Help or version, to be printed.
    Text(String),
    /// The flags.
    Flags(Box<Flags>),
}

/// Parses a command line.
pub(super) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Parsed, ConfigError> {
    let command = without_empty_variables(Flags::command());
    let parsed = command.try_get_matches_from(args).and_then(|matches| Flags::from_arg_matches(&matches));
    match parsed {
        Ok(flags) => Ok(Parsed::Flags(Box::new(flags))),
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            Ok(Parsed::Text(error.render().to_string()))
        }
        Err(error) => Err(ConfigError::Flags(one_line(&error.render().to_string()))),
    }
}

/// An empty variable sets nothing, for commands as for a member.
fn without_empty_variables(command: clap::Command) -> clap::Command {
    let is_empty = |name: &OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
    let command = command.mut_args(|argument| {
        if argument.get_env().is_some_and(is_empty) { argument.env(Resettable::Reset) } else { argument }
    });
    command.mut_subcommands(without_empty_variables)
}

/// The error's text without the usage, in one line.
fn one_line(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("Usage:"));
    let line = lines.map(|line| line.trim_end_matches('.')).collect::<Vec<_>>().join("; ");
    line.strip_prefix("error: ").map(str::to_owned).unwrap_or(line)
}

impl Flags {
    /// The settings that were given as flags.
    pub(super) fn settings(self) -> Settings {
        let member = self.member;
        let values = [
            (Key::NodeId, member.node_id),
            (Key::DataDir, member.data_dir),
            (Key::RaftAddr, member.raft_addr),
            (Key::RaftAdvertiseAddr, member.raft_advertise_addr),
            (Key::HttpAddr, member.http_addr),
            (Key::HttpAdvertiseAddr, member.http_advertise_addr),
            (Key::HttpAllowedHosts, member.http_allowed_hosts),
            (Key::Bootstrap, member.bootstrap),
            (Key::Join, member.join),
            (Key::ClusterId, member.cluster_id),
            (Key::BarrierTimeout, member.barrier_timeout),
            (Key::CheckpointEntries, member.checkpoint_entries),
            (Key::LogKeepEntries, member.log_keep_entries),
            (Key::ElectionTimeout, member.election_timeout),
            (Key::HeartbeatInterval, member.heartbeat_interval),
            (Key::SnapshotRate, member.snapshot_rate),
            (Key::DiskReserve, member.disk_reserve),
            (Key::Role, member.role),
            (Key::LeaderRouting, member.leader_routing),
            (Key::AdminTokenFile, member.admin_token_file),
            (Key::LogFormat, member.log_format),
            (Key::LogLevel, member.log_level),
        ];
        let mut settings = Settings::default();
        for (key, value) in values {
            if let Some(value) = value {
                settings.set(key, key.flag(), value);
            }
        }
        settings
    }
}
