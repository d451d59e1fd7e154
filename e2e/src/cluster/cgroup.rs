//! Control groups: every process of an instance runs in one below the instance's own, so that all of them can be
//! found and ended, the ones that a killed containerd left behind included. Works with cgroup v1 and v2.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::state::Process;
use crate::wait;

const ROOT: &str = "/sys/fs/cgroup";

/// The group, below an instance's own, of what is no pod: cgroup v2 wants processes in leaves only.
const DAEMONS: &str = "daemons";

/// The hierarchies that are mounted: one with v2, one per controller with v1.
fn hierarchies() -> Result<Vec<PathBuf>> {
    if Path::new(ROOT).join("cgroup.controllers").exists() {
        return Ok(vec![ROOT.into()]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(ROOT).with_context(|| format!("{ROOT}: are control groups mounted?"))? {
        let path = entry?.path();
        let link = path.symlink_metadata()?.is_symlink();
        if !link && path.join("cgroup.procs").exists() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Makes the groups of an instance, one for each of `parts` and one for daemons; answers the file to which a daemon
/// writes its id to enter the latter.
pub fn create(name: &str, parts: &[String]) -> Result<PathBuf> {
    let all = hierarchies()?;
    for hierarchy in &all {
        let own = hierarchy.join(name);
        make(&own)?;
        for part in parts {
            make(&own.join(part))?;
        }
    }
    // Any hierarchy will do to find processes again; `pids` needs no settings before it takes some.
    let chosen = all.iter().find(|path| path.ends_with("pids")).or_else(|| all.first());
    let group =
        chosen.context("no control group hierarchy is mounted at /sys/fs/cgroup")?.join(name).join(DAEMONS);
    make(&group)?;
    Ok(group.join("cgroup.procs"))
}

/// Makes one group ready to hold others or processes.
fn make(group: &Path) -> Result<()> {
    let context = || group.display().to_string();
    fs::create_dir_all(group).with_context(context)?;
    let parent = group.parent().with_context(context)?;
    // v1: a group without processors and memory nodes takes no process.
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if let Ok(value) = fs::read_to_string(parent.join(file)) {
            fs::write(group.join(file), value).with_context(context)?;
        }
    }
    // v2: a group has the controllers that its parent hands down.
    if let Ok(controllers) = fs::read_to_string(parent.join("cgroup.controllers")) {
        for controller in controllers.split_whitespace() {
            // Some cannot be handed down (realtime processes, say): the kubelet names those that it misses.
            let _ = fs::write(parent.join("cgroup.subtree_control"), format!("+{controller}"));
        }
    }
    Ok(())
}

/// Whether a group is there in any hierarchy.
pub fn exists(name: &str) -> Result<bool> {
    Ok(hierarchies()?.iter().any(|path| path.join(name).exists()))
}

/// Ends every process in a group and below, then removes the group.
pub fn remove(name: &str) -> Result<()> {
    let roots: Vec<PathBuf> = hierarchies()?.into_iter().map(|path| path.join(name)).collect();
    wait::until(&format!("the processes of control group {name} end"), Duration::from_secs(30), || {
        let mut left = 0;
        for process in roots.iter().flat_map(|root| processes(root)) {
            process.kill();
            left += 1;
        }
        Ok((left == 0).then_some(()))
    })?;
    wait::until(&format!("control group {name} goes"), Duration::from_secs(10), || {
        for root in &roots {
            remove_tree(root)?;
        }
        Ok(Some(()))
    })
}

fn processes(group: &Path) -> Vec<Process> {
    let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    let mut found: Vec<Process> = text.lines().filter_map(|pid| Process::by_pid(pid.parse().ok()?)).collect();
    found.extend(folders(group).iter().flat_map(|folder| processes(folder)));
    found
}

fn remove_tree(group: &Path) -> Result<()> {
    if !group.exists() {
        return Ok(());
    }
    for folder in folders(group) {
        remove_tree(&folder)?;
    }
    fs::remove_dir(group).with_context(|| group.display().to_string())
}

fn folders(group: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(group).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}
