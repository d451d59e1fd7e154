//! The record of what an instance made on the machine, written before it is made, so that the leftovers of a killed
//! run are recognised by name and nothing else is ever touched.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::paths::Paths;

/// A process, recognised again by its id and the time of its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Process id.
    pub pid: u32,
    /// Clock ticks after boot at which it started; ids are used again, the pair is not.
    pub started: u64,
}

impl Process {
    /// The process that has this id now.
    pub fn by_pid(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The command's name, in parentheses, may hold spaces and parentheses itself.
        let (_, rest) = stat.rsplit_once(')')?;
        let mut fields = rest.split_whitespace();
        if matches!(fields.next(), Some("Z" | "X")) {
            return None;
        }
        // `started` is field 22 of the line; the state was field 3.
        Some(Self { pid, started: fields.nth(18)?.parse().ok()? })
    }

    /// Whether this very process still runs.
    pub fn lives(self) -> bool {
        Self::by_pid(self.pid) == Some(self)
    }

    /// Ends this very process at once; nothing happens if it is gone.
    pub fn kill(self) {
        self.signal(rustix::process::Signal::KILL);
    }

    /// Sends a signal to this very process; nothing happens if it is gone.
    pub fn signal(self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.pid).ok().and_then(rustix::process::Pid::from_raw);
        if let (true, Some(pid)) = (self.lives(), pid) {
            // It may have ended just now: nothing to do then.
            let _ = rustix::process::kill_process(pid, signal);
        }
    }
}

/// What one run of an instance made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Control groups that hold every process that was started, the pods' included.
    pub cgroups: Vec<String>,
    /// Network namespaces.
    pub netns: Vec<String>,
    /// Links in the machine's own network; their addresses and routes go with them.
    pub links: Vec<String>,
    /// Interfaces for which a rule in the machine's FORWARD chain was added.
    pub forward_rules: Vec<String>,
    /// The folder under which everything else is, mounts included.
    pub folder: Option<PathBuf>,
    /// Daemons by name.
    pub daemons: BTreeMap<String, Process>,
}

impl Record {
    /// What the last run of the instance recorded, if anything of it may be left.
    pub fn read(paths: &Paths) -> Result<Option<Self>> {
        let path = paths.record();
        match fs::read(&path) {
            Ok(bytes) => {
                let record = serde_json::from_slice(&bytes).with_context(|| {
                    format!("{} is damaged: remove what it names, then the file", path.display())
                })?;
                Ok(Some(record))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| path.display().to_string()),
        }
    }

    /// Writes the record, whole or not at all.
    pub fn write(&self, paths: &Paths) -> Result<()> {
        let path = paths.record();
        let fresh = path.with_extension("json.new");
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        fs::write(&fresh, serde_json::to_vec_pretty(self)?).with_context(|| fresh.display().to_string())?;
        fs::rename(&fresh, &path).with_context(|| path.display().to_string())
    }

    /// Everything recorded is gone, so the record goes too.
    pub fn remove(paths: &Paths) -> Result<()> {
        let path = paths.record();
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| path.display().to_string())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_id_that_is_used_again_is_another_process() {
        let own = Process::by_pid(std::process::id()).unwrap();
        assert!(own.lives());
        let earlier = Process { started: own.started - 1, ..own };
        assert!(!earlier.lives());
    }

    #[test]
    fn an_ended_process_is_gone_even_before_it_is_reaped() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let process = Process::by_pid(child.id()).unwrap();
        process.kill();
        crate::wait::until("the process is gone", std::time::Duration::from_secs(10), || {
            Ok((!process.lives()).then_some(()))
        })
        .unwrap();
        child.wait().unwrap();
    }
}
