//! A run that is killed while it starts the local Kubernetes leaves nothing that the next one cannot remove.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use conure_e2e::cluster::paths::Paths;
use conure_e2e::cluster::state::Record;
use conure_e2e::cluster::{Instance, Local, cgroup};
use conure_e2e::wait::until;

use crate::report::Report;

pub(super) const NAME: &str = "leftovers of a killed run";

pub(super) fn check(report: &mut Report, instance: Instance, tools: &Path) {
    report.stage(NAME, || {
        // Whatever is up now is no leftover of the run that is killed here.
        Local::hold(instance, tools)?.down()?;
        let record = kill_while_starting(instance)?;
        let left = left(&record)?;
        ensure!(!left.is_empty(), "the killed run left nothing: it was killed too early to tell");
        Local::hold(instance, tools)?.down()?;
        let still = self::left(&record)?;
        ensure!(still.is_empty(), "still there after the removal: {}", still.join(", "));
        Ok(((), format!("{} things removed", left.len())))
    });
}

/// Starts the instance in another process and kills that when the control plane is about to come up.
fn kill_while_starting(instance: Instance) -> Result<Record> {
    let paths = Paths::of(instance)?;
    // Not by its path: the tests before may have compiled this program anew, and its file is another one then.
    let mut command = Command::new("/proc/self/exe");
    command.args(["cluster", "up", "--instance", instance.name()]);
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut child = child.context("cannot start this program again")?;
    let started = until("the run that is to be killed has started etcd", Duration::from_mins(2), || {
        ensure!(child.try_wait()?.is_none(), "it ended by itself");
        Ok(Record::read(&paths)?.filter(|record| record.daemons.contains_key("etcd")))
    });
    child.kill()?;
    child.wait()?;
    started?;
    Record::read(&paths)?.context("the killed run left no record")
}

/// What of the recorded things is on the machine.
fn left(record: &Record) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for netns in &record.netns {
        found.extend(fs::exists(format!("/run/netns/{netns}"))?.then(|| format!("namespace {netns}")));
    }
    for link in &record.links {
        found.extend(fs::exists(format!("/sys/class/net/{link}"))?.then(|| format!("link {link}")));
    }
    for group in &record.cgroups {
        found.extend(cgroup::exists(group)?.then(|| format!("control group {group}")));
    }
    if let Some(folder) = &record.folder {
        found.extend(folder.exists().then(|| folder.display().to_string()));
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        let below = mounts
            .lines()
            .filter_map(|line| line.split(' ').nth(1))
            .filter(|path| Path::new(path).starts_with(folder));
        found.extend(below.map(|path| format!("mount {path}")));
    }
    found.extend(record.daemons.iter().filter(|(_, process)| process.lives()).map(|(name, _)| name.clone()));
    Ok(found)
}
