//! Starting what runs on: each daemon in a session and the control group of its instance, its output in a log, its
//! process recorded.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::paths::Paths;
use super::state::{Process, Record};

/// Starts the daemons of one instance.
pub struct Launcher<'a> {
    /// The instance's files.
    pub paths: &'a Paths,
    /// Where the programs of Kubernetes are.
    pub tools: &'a Path,
    /// Where a process writes its id to enter the instance's control group.
    pub cgroup: PathBuf,
    /// What was made so far.
    pub record: &'a mut Record,
}

/// In which namespaces a daemon runs; everything else is the machine's.
#[derive(Debug, Clone, Default)]
pub struct Place {
    /// Network namespace, by name.
    pub netns: Option<String>,
    /// Mount namespace, by a process that lives in it.
    pub mounts_of: Option<u32>,
}

impl Place {
    /// In a network namespace.
    pub fn netns(name: String) -> Self {
        Self { netns: Some(name), mounts_of: None }
    }

    fn enter(&self) -> Vec<OsString> {
        let mut words: Vec<OsString> = Vec::new();
        if self.netns.is_some() || self.mounts_of.is_some() {
            words.push("nsenter".into());
            words.extend(self.netns.iter().map(|netns| format!("--net=/run/netns/{netns}").into()));
            words.extend(self.mounts_of.iter().map(|pid| format!("--mount=/proc/{pid}/ns/mnt").into()));
            words.push("--".into());
        }
        words
    }
}

impl Launcher<'_> {
    /// A program of Kubernetes.
    pub fn tool(&self, name: &str) -> OsString {
        self.tools.join(name).into()
    }

    /// Starts a daemon and records it.
    pub fn start<A: AsRef<OsStr>>(
        &mut self,
        name: &str,
        place: &Place,
        program: impl AsRef<OsStr>,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<Process> {
        let log = self.paths.log(name);
        let folder = log.parent().context("a log in a folder")?;
        fs::create_dir_all(folder)?;
        let log = File::options().create(true).append(true).open(&log)?;
        let mut command = Command::new("setsid");
        // It enters its control group before it is the daemon, so that no child of its can be born outside.
        command.args(["sh", "-c", r#"echo $$ > "$0" && exec "$@""#]).arg(&self.cgroup);
        command.args(place.enter()).arg(program);
        for argument in arguments {
            command.arg(argument);
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).current_dir("/");
        let mut child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let process = Process::by_pid(child.id()).with_context(|| format!("{name} ended at once"))?;
        // It outlives this program; as long as this one lives, it has to be reaped.
        std::thread::spawn(move || child.wait());
        self.record.daemons.insert(name.to_owned(), process);
        self.record.write(self.paths)?;
        Ok(process)
    }
}
