//! Counting how often an engine syncs: a small run under `strace`, which shows the calls of every thread, in Rust, C
//! and Go alike. The process marks the beginning and end of a workload by its reports, which are calls too.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::process::Outcome;

/// The calls that are looked at.
const CALLS: &str = "fsync,fdatasync,msync,syncfs,sync,openat,close,write,writev,pwrite64,pwritev,pwritev2";

/// How often a workload synced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Syncs {
    /// `fdatasync`, `fsync`, `syncfs`, `sync`, and `msync` that waits.
    pub calls: u64,
    /// Writes that sync by themselves, to a file opened with `O_DSYNC` or `O_SYNC`.
    pub writes: u64,
}

/// The counts of one workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// Its name.
    pub workload: String,
    /// Its durable commits.
    pub commits: u64,
    /// Its syncs.
    pub syncs: Syncs,
}

/// The command under `strace`, its calls written to `log`.
#[must_use]
pub fn traced(command: &Command, log: &Path) -> Command {
    let mut strace = Command::new("strace");
    strace.args(["-f", "--seccomp-bpf", "-qq", "-s", "100", "-e", "signal=none", "-e"]);
    strace.arg(format!("trace={CALLS}")).arg("-o").arg(log);
    strace.arg(command.get_program()).args(command.get_args());
    strace
}

/// What a run synced, workload by workload.
///
/// # Errors
///
/// A workload synced less than once for each of its durable commits.
pub fn judged(outcome: &Outcome, log: &str) -> Result<Vec<Counted>> {
    let syncs = count(log);
    outcome
        .ended
        .iter()
        .filter(|ended| ended.commits > 0)
        .map(|ended| {
            let syncs = *syncs
                .get(&ended.workload)
                .with_context(|| format!("the trace does not show {}", ended.workload))?;
            ensure!(
                syncs.calls + syncs.writes >= ended.commits,
                "{} made {} durable commits with only {} syncs and {} syncing writes",
                ended.workload,
                ended.commits,
                syncs.calls,
                syncs.writes
            );
            Ok(Counted { workload: ended.workload.clone(), commits: ended.commits, syncs })
        })
        .collect()
}

/// The syncs of each workload in a log of `strace -f -o`.
fn count(log: &str) -> BTreeMap<String, Syncs> {
    let mut counts = BTreeMap::new();
    let mut current: Option<String> = None;
    let mut syncing: HashSet<String> = HashSet::new();
    // What a thread began and another thread's line came into the middle of.
    let mut begun: HashMap<&str, String> = HashMap::new();
    for line in log.lines() {
        let Some((thread, call)) = line.split_once(' ') else { continue };
        let call = call.trim_start();
        if let Some(beginning) = call.strip_suffix("<unfinished ...>") {
            begun.insert(thread, beginning.trim_end().to_owned());
            continue;
        }
        let whole = match call.strip_prefix("<... ").and_then(|rest| rest.split_once(" resumed>")) {
            Some((_, end)) => begun.remove(thread).unwrap_or_default() + end,
            None => call.to_owned(),
        };
        let Some((name, rest)) = whole.split_once('(') else { continue };
        let file = rest.split([',', ')']).next().unwrap_or_default();
        let result = whole.rsplit_once("= ").map_or("", |(_, result)| result.trim());
        if result.starts_with('-') {
            continue;
        }
        let mut add = |calls, writes| {
            if let Some(workload) = &current {
                let syncs: &mut Syncs = counts.entry(workload.clone()).or_default();
                syncs.calls += calls;
                syncs.writes += writes;
            }
        };
        match name {
            "fsync" | "fdatasync" | "syncfs" | "sync" => add(1, 0),
            "msync" if rest.contains("MS_SYNC") => add(1, 0),
            "openat" if rest.contains("O_DSYNC") || rest.contains("O_SYNC") => {
                syncing.insert(result.to_owned());
            }
            "close" => {
                syncing.remove(file);
            }
            "write" if file == "1" => {
                if let Some(workload) = marked(rest, "begin") {
                    counts.entry(workload.to_owned()).or_default();
                    current = Some(workload.to_owned());
                } else if marked(rest, "end").is_some() {
                    current = None;
                }
            }
            _ if name.contains("write") && syncing.contains(file) => add(0, 1),
            "pwritev2" if rest.contains("RWF_DSYNC") || rest.contains("RWF_SYNC") => add(0, 1),
            _ => {}
        }
    }
    counts
}

/// The workload of a report, as it stands in the arguments of a call.
fn marked<'a>(arguments: &'a str, event: &str) -> Option<&'a str> {
    let mark = format!(r#"{{\"event\":\"{event}\",\"workload\":\""#);
    let (_, rest) = arguments.split_once(&mark)?;
    Some(rest.split_once('\\')?.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Ended;

    const LOG: &str = r#"7 openat(AT_FDCWD, "/d/lock", O_RDWR|O_CREAT, 0644) = 4
7 openat(AT_FDCWD, "/d/data", O_WRONLY|O_DSYNC|O_CLOEXEC) = 5
7 fdatasync(4)                      = 0
7 write(1, "{\"event\":\"begin\",\"workload\":\"batches\"}\n", 39) = 39
7 fdatasync(4)                      = 0
7 pwrite64(5, "\1\2"..., 48, 4096)  = 48
7 pwrite64(4, "\1\2"..., 48, 4096)  = 48
8 fsync(6 <unfinished ...>
7 msync(0x7f, 4096, MS_ASYNC)       = 0
7 fdatasync(9)                      = -1 EBADF (Bad file descriptor)
8 <... fsync resumed>)              = 0
7 write(1, "{\"event\":\"end\",\"workload\":\"batches\",\"measures\":[{\"name\":\"batches\",\"u"..., 120) = 120
7 fdatasync(4)                      = 0
7 close(5)                          = 0
7 write(1, "{\"event\":\"begin\",\"workload\":\"open\"}\n", 36) = 36
7 pwrite64(5, "\1\2"..., 48, 4096)  = 48
"#;

    fn outcome(commits: u64) -> Outcome {
        let ended = Ended { workload: "batches".into(), measures: Vec::new(), commits, check: 0 };
        Outcome {
            ended: vec![ended],
            version: String::new(),
            entries: 0,
            digest: 0,
            peak_bytes: 0,
            peak_own_bytes: 0,
        }
    }

    #[test]
    fn syncs_between_the_marks_are_counted() {
        let counts = count(LOG);
        assert_eq!(counts["batches"], Syncs { calls: 2, writes: 1 });
        assert_eq!(counts["open"], Syncs::default());
    }

    #[test]
    fn fewer_syncs_than_durable_commits_are_refused() {
        assert_eq!(judged(&outcome(3), LOG).unwrap()[0].commits, 3);
        let error = judged(&outcome(4), LOG).unwrap_err().to_string();
        assert!(error.contains("4 durable commits with only 2 syncs and 1 syncing writes"), "{error}");
        assert!(judged(&outcome(1), "").is_err());
    }
}
