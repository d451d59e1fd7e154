//! The machine and the programs that a result was measured with.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// The versions that the engines of this program were compiled from.
const LOCK: &str = include_str!("../../Cargo.lock");

/// The most memory that this process had at once, mapped files included, in bytes.
///
/// # Errors
///
/// The kernel does not say.
pub fn peak_bytes() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    status_bytes(&status, "VmHWM").context("/proc/self/status has no VmHWM")
}

/// The processor time that all threads of this process have used.
///
/// # Errors
///
/// The kernel's clock is before its beginning.
pub fn cpu_time() -> Result<Duration> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Ok(Duration::new(u64::try_from(time.tv_sec)?, u32::try_from(time.tv_nsec)?))
}

/// A figure of `/proc/PID/status`, in bytes.
pub(crate) fn status_bytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// The version of an engine that is compiled into this program.
#[must_use]
pub fn version_of(engine: &str) -> String {
    match engine {
        "conure" => locked("conure-btree"),
        "lmdb" => {
            let version = heed::lmdb_version();
            let number = format!("{}.{}.{}", version.major, version.minor, version.patch);
            format!("{number} (heed {})", locked("heed"))
        }
        other => locked(other),
    }
}

/// The version of a package in the lock file.
fn locked(package: &str) -> String {
    let name = format!("name = \"{package}\"");
    let mut lines = LOCK.lines().skip_while(|line| *line != name);
    let version = lines.nth(1).and_then(|line| line.strip_prefix("version = \""));
    version.and_then(|version| version.strip_suffix('"')).unwrap_or("unknown").to_owned()
}

/// What the machine is, a line each.
#[must_use]
pub fn describe(dir: &Path) -> Vec<String> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = status_bytes(&meminfo, "MemTotal").unwrap_or_default() >> 20;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let sync =
        sync_time(dir).map_or_else(|_| "unknown".to_owned(), |time| format!("{} µs", time.as_micros()));
    vec![
        format!("{cores} cores, {}", model.map_or("unknown processor", |(_, model)| model.trim())),
        format!("{memory} MiB of memory"),
        format!("Linux {}", kernel.trim()),
        format!("{} file system, {sync} for a write of 4 KiB and an fdatasync (median)", file_system(dir)),
    ]
}

/// How busy the machine is: how many processes ran or waited to, in the mean of the last minute.
#[must_use]
pub fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().unwrap_or("unknown").to_owned()
}

/// The commit of the checkout and whether something in these folders was changed since.
#[must_use]
pub fn commit(folders: &[&str]) -> String {
    let git = |arguments: &[&str]| {
        let output =
            Command::new("git").args(arguments).output().ok().filter(|output| output.status.success());
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short", "HEAD"]) else { return "an unknown commit".to_owned() };
    match git(&[&["status", "--porcelain", "--untracked-files=no", "--"], folders].concat()) {
        Some(changed) if changed.is_empty() => format!("commit {commit}"),
        _ => format!("commit {commit} with changes"),
    }
}

/// The kind of file system that a folder is on.
fn file_system(dir: &Path) -> String {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    let mounts = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        Some((words.next()?, words.next()?))
    });
    let longest = mounts.filter(|(at, _)| dir.starts_with(at)).max_by_key(|(at, _)| at.len());
    longest.map_or("unknown", |(_, kind)| kind).to_owned()
}

/// How long it takes to make a page durable: the median of some.
fn sync_time(dir: &Path) -> Result<Duration> {
    let path = dir.join("sync-time");
    let mut file = fs::File::create(&path)?;
    let mut times = Vec::new();
    for _ in 0..101 {
        let start = Instant::now();
        file.write_all(&[1; 4096])?;
        file.sync_data()?;
        times.push(start.elapsed());
    }
    fs::remove_file(&path)?;
    times.sort_unstable();
    times.get(times.len() / 2).copied().context("no time was taken")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_those_of_the_lock_file() {
        for engine in ["conure", "lmdb", "redb", "fjall"] {
            let version = version_of(engine);
            assert!(version.starts_with(|c: char| c.is_ascii_digit()) && version.contains('.'), "{version}");
        }
        assert_eq!(locked("no-such-package"), "unknown");
    }

    #[test]
    fn memory_is_read_in_bytes() {
        assert_eq!(status_bytes("Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t 1 kB\n", "VmHWM"), Some(2 << 20));
        assert_eq!(status_bytes("VmHWMx:\t1 kB", "VmHWM"), None);
        assert!(peak_bytes().unwrap() > 1 << 20);
    }

    #[test]
    fn the_machine_is_described() {
        let folder = tempfile::tempdir().unwrap();
        let lines = describe(folder.path());
        assert!(lines.iter().all(|line| !line.contains("unknown")), "{lines:?}");
        assert!(fs::read_dir(folder.path()).unwrap().next().is_none());
    }
}
