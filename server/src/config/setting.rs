//! The settings, their names in each layer, and where a value came from.

use std::collections::BTreeMap;

use super::ConfigError;

/// Every setting. Its name is its YAML key; flag and environment variable follow from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    NodeId,
    DataDir,
    RaftAddr,
    RaftAdvertiseAddr,
    HttpAddr,
    HttpAdvertiseAddr,
    HttpAllowedHosts,
    Bootstrap,
    Join,
    ClusterId,
    BarrierTimeout,
    CheckpointEntries,
    LogKeepEntries,
    ElectionTimeout,
    HeartbeatInterval,
    SnapshotRate,
    DiskReserve,
    Role,
    LeaderRouting,
    AdminTokenFile,
    LogFormat,
    LogLevel,
}

impl Key {
    pub(super) const ALL: [Self; 22] = [
        Self::NodeId,
        Self::DataDir,
        Self::RaftAddr,
        Self::RaftAdvertiseAddr,
        Self::HttpAddr,
        Self::HttpAdvertiseAddr,
        Self::HttpAllowedHosts,
        Self::Bootstrap,
        Self::Join,
        Self::ClusterId,
        Self::BarrierTimeout,
        Self::CheckpointEntries,
        Self::LogKeepEntries,
        Self::ElectionTimeout,
        Self::HeartbeatInterval,
        Self::SnapshotRate,
        Self::DiskReserve,
        Self::Role,
        Self::LeaderRouting,
        Self::AdminTokenFile,
        Self::LogFormat,
        Self::LogLevel,
    ];

    /// The YAML key.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::NodeId => "node_id",
            Self::DataDir => "data_dir",
            Self::RaftAddr => "raft_addr",
            Self::RaftAdvertiseAddr => "raft_advertise_addr",
            Self::HttpAddr => "http_addr",
            Self::HttpAdvertiseAddr => "http_advertise_addr",
            Self::HttpAllowedHosts => "http_allowed_hosts",
            Self::Bootstrap => "bootstrap",
            Self::Join => "join",
            Self::ClusterId => "cluster_id",
            Self::BarrierTimeout => "barrier_timeout",
            Self::CheckpointEntries => "checkpoint_entries",
            Self::LogKeepEntries => "log_keep_entries",
            Self::ElectionTimeout => "election_timeout",
            Self::HeartbeatInterval => "heartbeat_interval",
            Self::SnapshotRate => "snapshot_rate",
            Self::DiskReserve => "disk_reserve",
            Self::Role => "role",
            Self::LeaderRouting => "leader_routing",
            Self::AdminTokenFile => "admin_token_file",
            Self::LogFormat => "log_format",
            Self::LogLevel => "log_level",
        }
    }

    /// `--http-addr`.
    pub(super) fn flag(self) -> String {
        format!("--{}", self.name().replace('_', "-"))
    }

    /// `CONURE_HTTP_ADDR`.
    pub(super) fn variable(self) -> String {
        format!("CONURE_{}", self.name().to_uppercase())
    }

    /// The value where nobody gives one; `None` where it follows from others or is off.
    fn default(self) -> Option<&'static str> {
        match self {
            Self::NodeId => Some("node1"),
            Self::DataDir => Some("./data"),
            Self::RaftAddr => Some("127.0.0.1:7001"),
            Self::HttpAddr => Some(":8081"),
            Self::Bootstrap => Some("true"),
            Self::BarrierTimeout => Some("3s"),
            Self::CheckpointEntries => Some("50000"),
            Self::LogKeepEntries => Some("5000"),
            Self::ElectionTimeout => Some("600ms"),
            Self::HeartbeatInterval => Some("100ms"),
            Self::SnapshotRate => Some("64MiB"),
            Self::Role => Some("data"),
            Self::LeaderRouting => Some("redirect"),
            Self::LogFormat => Some("text"),
            Self::LogLevel => Some("info"),
            _ => None,
        }
    }
}

/// A value and where it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) key: String,
    pub(super) value: String,
}

impl Setting {
    pub(super) fn error(&self, reason: impl Into<String>, mend: impl Into<String>) -> ConfigError {
        ConfigError::Value {
            key: self.key.clone(),
            value: self.value.clone(),
            reason: reason.into(),
            mend: mend.into(),
        }
    }
}

/// The values of one layer, or of all layers merged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Settings(BTreeMap<Key, Setting>);

impl Settings {
    pub(super) fn set(&mut self, key: Key, given_as: String, value: String) {
        self.0.insert(key, Setting { key: given_as, value });
    }

    /// Lays `stronger` over these.
    pub(super) fn overlay(mut self, stronger: Self) -> Self {
        self.0.extend(stronger.0);
        self
    }

    /// Whether anybody gave it: a default does not count.
    pub(super) fn is_given(&self, key: Key) -> bool {
        self.0.contains_key(&key)
    }

    /// What was given, or the default.
    pub(super) fn get(&self, key: Key) -> Option<Setting> {
        let default = || Some(Setting { key: key.flag(), value: key.default()?.to_owned() });
        self.0.get(&key).cloned().or_else(default)
    }

    /// What was given; for keys that have a default this is never `None`.
    pub(super) fn required(&self, key: Key) -> Setting {
        self.get(key).unwrap_or_else(|| Setting { key: key.flag(), value: String::new() })
    }
}
