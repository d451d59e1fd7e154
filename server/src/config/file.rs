//! The YAML file.

use std::path::Path;

use serde::{Deserialize, Deserializer};

use super::ConfigError;
use super::setting::{Key, Settings};

/// A number, quoted or not, as its text: `resolve` parses it, and its errors name the key.
#[derive(Debug)]
struct Count(String);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The text as it stands there: `5e4` and `1.0` are no counts, and not to be made into some.
        String::deserialize(deserializer).map(Self)
    }
}

/// A YAML list of texts, or one text with commas, as the text with commas.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "join takes a list of servers, or one text with commas")]
enum Texts {
    List(Vec<String>),
    One(String),
}

impl From<Texts> for String {
    fn from(texts: Texts) -> Self {
        match texts {
            Texts::List(texts) => texts.join(","),
            Texts::One(text) => text,
        }
    }
}

/// The file's keys. A key that is not here is refused.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    node_id: Option<String>,
    data_dir: Option<String>,
    raft_addr: Option<String>,
    raft_advertise_addr: Option<String>,
    http_addr: Option<String>,
    http_advertise_addr: Option<String>,
    http_allowed_hosts: Option<Vec<String>>,
    bootstrap: Option<bool>,
    join: Option<Texts>,
    cluster_id: Option<String>,
    barrier_timeout: Option<String>,
    checkpoint_entries: Option<Count>,
    log_keep_entries: Option<Count>,
    election_timeout: Option<String>,
    heartbeat_interval: Option<String>,
    snapshot_rate: Option<String>,
    disk_reserve: Option<String>,
    role: Option<String>,
    leader_routing: Option<String>,
    admin_token_file: Option<String>,
    log_format: Option<String>,
    log_level: Option<String>,
}

/// Reads the file's settings; `given_as` says where its path was given.
pub(super) fn read(given_as: &str, path: &Path) -> Result<Settings, ConfigError> {
    let bad = |reason: String, mend: &'static str| ConfigError::File {
        key: given_as.to_owned(),
        path: path.display().to_string(),
        reason,
        mend,
    };
    let text = std::fs::read_to_string(path)
        .map_err(|error| bad(format!("cannot be read: {error}"), "give a readable YAML file"))?;
    let file =
        parse(&text).map_err(|reason| bad(reason, "correct that key; `conure-db --help` lists them all"))?;
    Ok(settings(file, &path.display().to_string()))
}

fn parse(text: &str) -> Result<File, String> {
    let one_line = |error: serde_yaml::Error| error.to_string().replace('\n', " ");
    // A file that holds nothing, or only comments, sets nothing.
    let value: serde_yaml::Value = serde_yaml::from_str(text).map_err(one_line)?;
    if value.is_null() {
        return Ok(File::default());
    }
    // A key without a value is a mistake, such as a template variable that was never set.
    if let Some((key, _)) =
        value.as_mapping().and_then(|mapping| mapping.iter().find(|(_, value)| value.is_null()))
    {
        let key = key.as_str().unwrap_or("a key");
        return Err(format!("{key} has no value; give it one or leave the key out"));
    }
    serde_yaml::from_str(text).map_err(one_line)
}

fn settings(file: File, path: &str) -> Settings {
    let values = [
        (Key::NodeId, file.node_id),
        (Key::DataDir, file.data_dir),
        (Key::RaftAddr, file.raft_addr),
        (Key::RaftAdvertiseAddr, file.raft_advertise_addr),
        (Key::HttpAddr, file.http_addr),
        (Key::HttpAdvertiseAddr, file.http_advertise_addr),
        (Key::HttpAllowedHosts, file.http_allowed_hosts.map(|hosts| hosts.join(","))),
        (Key::Bootstrap, file.bootstrap.map(|bootstrap| bootstrap.to_string())),
        (Key::Join, file.join.map(String::from)),
        (Key::ClusterId, file.cluster_id),
        (Key::BarrierTimeout, file.barrier_timeout),
        (Key::CheckpointEntries, file.checkpoint_entries.map(|count| count.0)),
        (Key::LogKeepEntries, file.log_keep_entries.map(|count| count.0)),
        (Key::ElectionTimeout, file.election_timeout),
        (Key::HeartbeatInterval, file.heartbeat_interval),
        (Key::SnapshotRate, file.snapshot_rate),
        (Key::DiskReserve, file.disk_reserve),
        (Key::Role, file.role),
        (Key::LeaderRouting, file.leader_routing),
        (Key::AdminTokenFile, file.admin_token_file),
        (Key::LogFormat, file.log_format),
        (Key::LogLevel, file.log_level),
    ];
    let mut settings = Settings::default();
    for (key, value) in values {
        if let Some(value) = value {
            settings.set(key, format!("{} in {path}", key.name()), value);
        }
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_can_stand_in_the_file() {
        for key in Key::ALL {
            let value = match key {
                Key::Bootstrap => "false",
                Key::CheckpointEntries | Key::LogKeepEntries => "1000",
                Key::HttpAllowedHosts => "[a.example, b.example]",
                _ => "some-text",
            };
            let settings = settings(parse(&format!("{}: {value}", key.name())).unwrap(), "f.yaml");
            let setting = settings.required(key);
            assert_eq!(setting.key, format!("{} in f.yaml", key.name()));
        }
    }

    #[test]
    fn an_unknown_key_is_named_with_its_place() {
        let error = parse("node_id: a\nnode_name: b\n").unwrap_err();
        assert!(error.contains("node_name") && error.contains("line 2"), "{error}");
    }

    #[test]
    fn a_key_without_a_value_is_named() {
        for key in Key::ALL {
            for nothing in ["", " ~", " null", " # later"] {
                let error = parse(&format!("{}:{nothing}\n", key.name())).unwrap_err();
                assert!(error.starts_with(key.name()) && error.contains("has no value"), "{error}");
            }
        }
    }

    #[test]
    fn a_doubled_key_is_refused() {
        assert!(parse("node_id: a\nnode_id: b\n").unwrap_err().contains("node_id"));
    }

    #[test]
    fn an_empty_file_sets_nothing() {
        for text in ["", "# only a comment\n", "---\n"] {
            assert_eq!(settings(parse(text).unwrap(), "f"), Settings::default(), "{text:?}");
        }
    }
}
