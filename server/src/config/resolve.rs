//! From texts to checked values.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use conure_client::api::Role;
use tracing_subscriber::EnvFilter;

use super::setting::{Key, Setting, Settings};
use super::{Addr, Config, ConfigError, Join, LeaderRouting, LogFormat};

/// The longest name of a member, as Kubernetes has it for pods.
const NAME_LEN_MAX: usize = 253;
/// A read that may wait longer than this was meant otherwise.
const BARRIER_TIMEOUT_MAX: Duration = Duration::from_secs(600);
/// Fewer would make checkpoints without a pause, more a restart without an end.
const CHECKPOINT_ENTRIES: RangeInclusive<u64> = 100..=10_000_000;
const LOG_KEEP_ENTRIES: RangeInclusive<u64> = 0..=10_000_000;
/// Below that a busy disk would be taken for a dead leader; above it nobody waits.
const ELECTION_TIMEOUT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(60));
/// The network is not there for heartbeats.
const HEARTBEAT_MIN: Duration = Duration::from_millis(10);
/// So many heartbeats fit into an election timeout: some may be lost or late.
const HEARTBEATS_PER_ELECTION: u32 = 5;
/// Slower, a snapshot would never arrive before the log that follows it is let go of.
const SNAPSHOT_RATE_MIN: u64 = 1 << 20;

/// Less, and what is on its way to the disk could fill it.
const DISK_RESERVE_MIN: u64 = 16 << 20;

/// Checks merged settings.
pub(super) fn resolve(settings: &Settings, unknown_variables: Vec<String>) -> Result<Config, ConfigError> {
    let raft_setting = settings.required(Key::RaftAddr);
    let raft_addr = addr(&raft_setting, "give HOST:PORT, such as 127.0.0.1:7001")?;
    let raft_advertise_addr = match settings.get(Key::RaftAdvertiseAddr) {
        Some(setting) => reachable(&setting)?,
        None if raft_addr.is_unspecified() => {
            return Err(raft_setting.error(
                "it is every interface, which no other member can dial",
                "name one address, or say what others dial with --raft-advertise-addr",
            ));
        }
        None => raft_addr.clone(),
    };
    let http_addr = addr(&settings.required(Key::HttpAddr), "give [HOST]:PORT, such as :8081")?;
    let http_advertise_addr = match settings.get(Key::HttpAdvertiseAddr) {
        Some(setting) => reachable(&setting)?,
        None => Addr { host: raft_advertise_addr.host.clone(), port: http_addr.port },
    };
    let (election_timeout, heartbeat_interval) =
        timing(&settings.required(Key::ElectionTimeout), &settings.required(Key::HeartbeatInterval))?;
    let own = [&http_addr, &http_advertise_addr];
    let join = settings.get(Key::Join).map(|setting| Join::parse(&setting, own)).transpose()?;
    Ok(Config {
        node_id: name(&settings.required(Key::NodeId))?,
        data_dir: path(&settings.required(Key::DataDir), "name a directory, such as ./data")?,
        raft_addr: raft_addr.to_bind(),
        raft_advertise_addr,
        http_addr,
        http_advertise_addr,
        http_allowed_hosts: settings
            .get(Key::HttpAllowedHosts)
            .map_or(Ok(Vec::new()), |setting| hosts(&setting))?,
        bootstrap: bootstrap(settings)?,
        join,
        cluster_id: settings.get(Key::ClusterId).map(|setting| cluster_id(&setting)).transpose()?,
        barrier_timeout: barrier_timeout(&settings.required(Key::BarrierTimeout))?,
        election_timeout,
        heartbeat_interval,
        snapshot_rate: rate(&settings.required(Key::SnapshotRate))?,
        disk_reserve: settings.get(Key::DiskReserve).map(|setting| disk_reserve(&setting)).transpose()?,
        checkpoint_entries: count(&settings.required(Key::CheckpointEntries), CHECKPOINT_ENTRIES)?,
        log_keep_entries: count(&settings.required(Key::LogKeepEntries), LOG_KEEP_ENTRIES)?,
        role: one_of(&settings.required(Key::Role), &[("data", Role::Data), ("arbiter", Role::Arbiter)])?,
        leader_routing: one_of(
            &settings.required(Key::LeaderRouting),
            &[("redirect", LeaderRouting::Redirect), ("forward", LeaderRouting::Forward)],
        )?,
        admin_token_file: settings
            .get(Key::AdminTokenFile)
            .map(|setting| path(&setting, "name a file that holds the token"))
            .transpose()?,
        log_format: one_of(
            &settings.required(Key::LogFormat),
            &[("text", LogFormat::Text), ("json", LogFormat::Json)],
        )?,
        log_level: log_level(&settings.required(Key::LogLevel))?,
        unknown_variables,
    })
}

/// One that asks others to join it founds no cluster of its own, unless that was asked for too.
fn bootstrap(settings: &Settings) -> Result<bool, ConfigError> {
    if settings.is_given(Key::Join) && !settings.is_given(Key::Bootstrap) {
        return Ok(false);
    }
    one_of(&settings.required(Key::Bootstrap), &[("true", true), ("false", false)])
}

fn one_of<T: Copy>(setting: &Setting, choices: &[(&str, T)]) -> Result<T, ConfigError> {
    let chosen = choices.iter().find(|(text, _)| *text == setting.value);
    chosen.map(|(_, value)| *value).ok_or_else(|| {
        let texts: Vec<_> = choices.iter().map(|(text, _)| *text).collect();
        setting.error("there is no such choice", format!("choose {}", texts.join(" or ")))
    })
}

fn addr(setting: &Setting, mend: &str) -> Result<Addr, ConfigError> {
    Addr::parse(&setting.value).map_err(|reason| setting.error(reason, mend))
}

/// An address that others dial.
fn reachable(setting: &Setting) -> Result<Addr, ConfigError> {
    let mend = "give the HOST:PORT that others dial, such as 10.0.0.7:7001";
    let addr = addr(setting, mend)?;
    if addr.is_unspecified() {
        return Err(setting.error("it is every interface, which nobody can dial", mend));
    }
    Ok(addr)
}

fn name(setting: &Setting) -> Result<String, ConfigError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let value = &setting.value;
    if value.is_empty() || value.len() > NAME_LEN_MAX || !value.chars().all(allowed) {
        return Err(setting.error(
            "it is not a member's name",
            format!("use 1 to {NAME_LEN_MAX} letters, digits, '-', '_' and '.'"),
        ));
    }
    Ok(value.clone())
}

fn cluster_id(setting: &Setting) -> Result<String, ConfigError> {
    let value = &setting.value;
    if value.is_empty() || value.len() > 128 || !value.chars().all(|c| c.is_ascii_graphic()) {
        return Err(setting.error("it is not a cluster's id", "copy it from /status, or leave it out"));
    }
    Ok(value.clone())
}

fn path(setting: &Setting, mend: &str) -> Result<PathBuf, ConfigError> {
    if setting.value.is_empty() {
        return Err(setting.error("it is empty", mend));
    }
    Ok(PathBuf::from(&setting.value))
}

fn duration(setting: &Setting, mend: &str, min: Duration, max: Duration) -> Result<Duration, ConfigError> {
    let duration = humantime::parse_duration(&setting.value)
        .map_err(|error| setting.error(format!("it is not a duration ({error})"), mend))?;
    if duration < min || duration > max {
        return Err(setting.error("it is out of range", mend));
    }
    Ok(duration)
}

fn count(setting: &Setting, range: RangeInclusive<u64>) -> Result<u64, ConfigError> {
    let mend = || format!("give a number from {} to {}", range.start(), range.end());
    let count = setting.value.parse().map_err(|_| setting.error("it is not a number", mend()))?;
    if range.contains(&count) { Ok(count) } else { Err(setting.error("it is out of range", mend())) }
}

fn barrier_timeout(setting: &Setting) -> Result<Duration, ConfigError> {
    let mend = "give a time with its unit, such as 500ms or 3s, up to 10m";
    duration(setting, mend, Duration::from_nanos(1), BARRIER_TIMEOUT_MAX)
}

/// The election timeout and the heartbeat's interval, which have to go together.
fn timing(election: &Setting, heartbeat: &Setting) -> Result<(Duration, Duration), ConfigError> {
    let (min, max) = ELECTION_TIMEOUT;
    let timeout = duration(election, "give a time with its unit from 100ms to 60s, such as 600ms", min, max)?;
    let mend = "give a time with its unit from 10ms, such as 100ms, at most a fifth of the election timeout";
    let interval = duration(heartbeat, mend, HEARTBEAT_MIN, max)?;
    if interval * HEARTBEATS_PER_ELECTION > timeout {
        return Err(heartbeat.error(
            format!("it is more than a fifth of the election timeout, {:?}", election.value),
            "make the heartbeat shorter or the election timeout longer",
        ));
    }
    Ok((timeout, interval))
}

fn rate(setting: &Setting) -> Result<Option<u64>, ConfigError> {
    let mend = "give bytes a second from 1MiB on, such as 64MiB, or 0 for as fast as it goes";
    match bytes(setting, mend)? {
        0 => Ok(None),
        rate if rate >= SNAPSHOT_RATE_MIN => Ok(Some(rate)),
        _ => Err(setting.error("it is too slow", mend)),
    }
}

fn disk_reserve(setting: &Setting) -> Result<u64, ConfigError> {
    let mend = "give bytes from 16MiB on, such as 2GiB";
    let reserve = bytes(setting, mend)?;
    if reserve < DISK_RESERVE_MIN {
        return Err(setting.error("it is too little", mend));
    }
    Ok(reserve)
}

/// A number of bytes, with or without a unit.
fn bytes(setting: &Setting, mend: &str) -> Result<u64, ConfigError> {
    let digits = setting.value.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match setting.value.get(digits.len()..).unwrap_or_default() {
        "" | "B" => 1,
        "KiB" | "Ki" => 1 << 10,
        "MiB" | "Mi" => 1 << 20,
        "GiB" | "Gi" => 1 << 30,
        _ => return Err(setting.error("there is no such unit", mend)),
    };
    let number = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    number.ok_or_else(|| setting.error("it is not a number of bytes", mend))
}

fn hosts(setting: &Setting) -> Result<Vec<String>, ConfigError> {
    let mut hosts = Vec::new();
    for host in setting.value.split(',').map(str::trim).filter(|host| !host.is_empty()) {
        let name = host.strip_prefix("*.").unwrap_or(host);
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || !name.chars().all(allowed) {
            return Err(setting.error(
                format!("{host:?} is not a host name"),
                "give names without port, separated by commas, such as db.example.org or *.example.org",
            ));
        }
        hosts.push(host.to_ascii_lowercase());
    }
    Ok(hosts)
}

fn log_level(setting: &Setting) -> Result<String, ConfigError> {
    let mend = "use error, warn, info, debug or trace, or directives such as info,conure_member=debug";
    // A lone word is a level; the filter itself would take any word for a module's name.
    let lone = !setting.value.contains(['=', ',']);
    if lone && setting.value.parse::<tracing::Level>().is_err() && setting.value != "off" {
        return Err(setting.error("there is no such level", mend));
    }
    EnvFilter::builder().parse(&setting.value).map_err(|error| setting.error(error.to_string(), mend))?;
    Ok(setting.value.clone())
}
