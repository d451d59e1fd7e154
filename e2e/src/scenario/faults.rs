//! What can be done to nodes and processes of the local Kubernetes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use rustix::process::Signal;

use crate::cluster::Instance;
use crate::cluster::daemon::Launcher;
use crate::cluster::instance::{NODES, node_name, node_number};
use crate::cluster::paths::Paths;
use crate::cluster::state::{Process, Record};
use crate::cluster::{cgroup, control_plane, network, node};
use crate::process::output;
use crate::wait::until;

const LIMIT: Duration = Duration::from_secs(20);

/// Faults of one local Kubernetes.
#[derive(Debug, Clone)]
pub(super) struct Faults {
    instance: Instance,
    paths: Paths,
}

impl Faults {
    /// Those of the instance of that name.
    pub(super) fn of(instance: &str) -> Result<Self> {
        let instance = instance.parse()?;
        Ok(Self { instance, paths: Paths::of(instance)? })
    }

    /// The API server's audit log.
    pub(super) fn audit_log(&self) -> PathBuf {
        self.paths.audit_log()
    }

    /// Gives an image another name as well, on every node.
    pub(super) fn tag(&self, image: &str, name: &str) -> Result<()> {
        (1..=NODES).try_for_each(|number| node::tag(&self.paths, number, image, name))
    }

    /// Takes a node, pods included, off the network.
    pub(super) fn cut_off(&self, node: &str) -> Result<()> {
        self.link(node, "down")
    }

    /// Gives it back.
    pub(super) fn heal(&self, node: &str) -> Result<()> {
        self.link(node, "up")?;
        network::routes(self.instance, node_number(node)?)
    }

    fn link(&self, node: &str, state: &str) -> Result<()> {
        let netns = self.instance.node_netns(node_number(node)?);
        let mut command = Command::new("ip");
        output(command.args(["-n", &netns, "link", "set", "eth0", state]), LIMIT)?;
        Ok(())
    }

    /// Kills a node's kubelet and starts another.
    pub(super) fn restart_kubelet(&self, tools: &Path, node: &str) -> Result<()> {
        let number = node_number(node)?;
        self.restart(tools, &node::daemon_name("kubelet", number), |launcher| {
            node::start_kubelet(self.instance, number, launcher)
        })
    }

    /// Kills the API server and starts another.
    pub(super) fn restart_api_server(&self, tools: &Path) -> Result<()> {
        self.restart(tools, "apiserver", |launcher| control_plane::start_api_server(self.instance, launcher))
    }

    fn restart(
        &self,
        tools: &Path,
        name: &str,
        start: impl FnOnce(&mut Launcher<'_>) -> Result<Process>,
    ) -> Result<()> {
        let mut record = Record::read(&self.paths)?.context("the local Kubernetes is not up")?;
        let process = record.daemons.get(name).copied().with_context(|| format!("there is no {name}"))?;
        process.kill();
        until(&format!("{name} is gone"), LIMIT, || Ok((!process.lives()).then_some(())))?;
        let nodes: Vec<String> = (1..=NODES).map(node_name).collect();
        let cgroup = cgroup::create(&self.instance.cgroup(), &nodes)?;
        start(&mut Launcher { paths: &self.paths, tools, cgroup, record: &mut record }).map(drop)
    }

    /// Stops a pod's processes where they are.
    pub(super) fn stop(&self, pod: &Pod) -> Result<()> {
        signal(pod, Signal::STOP)
    }

    /// Lets them go on.
    pub(super) fn go_on(&self, pod: &Pod) -> Result<()> {
        signal(pod, Signal::CONT)
    }
}

/// Signals every process of the pod's containers.
fn signal(pod: &Pod, signal: Signal) -> Result<()> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    let ids: Vec<&str> = statuses
        .into_iter()
        .flatten()
        .filter_map(|status| status.container_id.as_deref()?.strip_prefix("containerd://"))
        .collect();
    ensure!(!ids.is_empty(), "{name} has no container");
    let mut signalled = 0;
    for entry in fs::read_dir("/proc").context("/proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // A process may end while we look.
        let Ok(groups) = fs::read_to_string(entry.path().join("cgroup")) else { continue };
        if ids.iter().any(|id| groups.contains(id))
            && let Some(process) = Process::by_pid(pid)
        {
            process.signal(signal);
            signalled += 1;
        }
    }
    ensure!(signalled > 0, "no process of {name} was found on this machine");
    Ok(())
}
