//! A local Kubernetes from its start to its end.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};

use super::daemon::Launcher;
use super::instance::{Instance, NODES, node_name};
use super::kubectl::Kubectl;
use super::lock::{Lock, PATIENCE};
use super::paths::Paths;
use super::state::Record;
use super::{cgroup, control_plane, images, network, node, pki, volumes};
use crate::progress::step;

/// An instance of the local Kubernetes, held by this run alone.
#[derive(Debug)]
pub struct Local {
    instance: Instance,
    paths: Paths,
    tools: PathBuf,
    _lock: Lock,
}

impl Local {
    /// Whether this user may start one; better said before long builds than after.
    pub fn allowed() -> Result<()> {
        ensure!(
            rustix::process::geteuid().is_root(),
            "the local Kubernetes makes network namespaces: run this as root"
        );
        Ok(())
    }

    /// Takes hold of an instance, up or not; waits for another run that has it.
    pub fn hold(instance: Instance, tools: &Path) -> Result<Self> {
        Self::allowed()?;
        let paths = Paths::of(instance)?;
        let lock = Lock::take(&paths.lock(), &format!("instance {instance}"), PATIENCE)?;
        Ok(Self { instance, paths, tools: tools.to_path_buf(), _lock: lock })
    }

    /// Starts the instance afresh; what an earlier run left is removed first.
    pub fn up(&self) -> Result<()> {
        self.down()?;
        step(format!("starting Kubernetes ({NODES} nodes, instance {})", self.instance), |step| {
            self.start(|at| step.at(at))
        })
    }

    fn start(&self, at: impl Fn(&str)) -> Result<()> {
        let (instance, paths) = (self.instance, &self.paths);
        let mut record = Record { folder: Some(paths.root().to_path_buf()), ..Record::default() };
        record.cgroups.push(instance.cgroup());
        record.write(paths)?;
        for folder in ["etc", "log", "pki"] {
            let folder = paths.root().join(folder);
            fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        }
        at("identities");
        pki::create(instance, paths)?;
        at("network");
        network::create(instance, paths, &mut record)?;
        let nodes: Vec<String> = (1..=NODES).map(node_name).collect();
        let cgroup = cgroup::create(&instance.cgroup(), &nodes)?;
        let mut launcher = Launcher { paths, tools: &self.tools, cgroup, record: &mut record };
        at("containerd");
        for number in 1..=NODES {
            node::start_containerd(instance, number, &mut launcher)?;
        }
        let archive = images::busybox::archive(paths.root())?;
        self.import(&[archive])?;
        at("control plane");
        let kubectl = self.kubectl();
        control_plane::start(instance, &mut launcher, &kubectl)?;
        at("nodes");
        for number in 1..=NODES {
            node::start_kubelet(instance, number, &mut launcher)?;
            node::start_proxy(instance, number, &mut launcher)?;
        }
        volumes::start(instance, &mut launcher, &kubectl)?;
        for number in 1..=NODES {
            let name = format!("node/{}", node_name(number));
            at(&format!("{name} is there"));
            kubectl.wait(&name, "create", Duration::from_mins(1))?;
            at(&format!("{name} is Ready"));
            kubectl.wait(&name, "condition=Ready", Duration::from_secs(90))?;
        }
        Ok(())
    }

    /// Whether the instance is up and answers.
    pub fn answers(&self) -> bool {
        self.paths.kubeconfig().exists()
            && self.kubectl().run(&["get", "--raw", "/readyz", "--request-timeout=5s"]).is_ok()
    }

    /// Removes what the record of the instance names; nothing happens when there is none.
    pub fn down(&self) -> Result<()> {
        let Some(record) = Record::read(&self.paths)? else { return Ok(()) };
        step(format!("removing the Kubernetes instance {}", self.instance), |step| {
            for cgroup in &record.cgroups {
                step.at("processes");
                cgroup::remove(cgroup)?;
            }
            step.at("network");
            network::remove(&record)?;
            step.at("files");
            if let Some(folder) = record.folder.as_deref().filter(|folder| folder.exists()) {
                remove_folder(folder)?;
            }
            Record::remove(&self.paths)
        })
    }

    /// Imports image archives into every node, all nodes at once.
    pub fn import(&self, archives: &[PathBuf]) -> Result<()> {
        thread::scope(|scope| {
            let workers: Vec<_> = (1..=NODES)
                .map(|number| {
                    scope.spawn(move || {
                        archives.iter().try_for_each(|archive| node::import(&self.paths, number, archive))
                    })
                })
                .collect();
            workers
                .into_iter()
                .try_for_each(|worker| worker.join().map_err(|_| anyhow!("an import panicked"))?)
        })
    }

    /// The instance.
    pub fn instance(&self) -> Instance {
        self.instance
    }

    /// Where the programs of Kubernetes are.
    pub fn tools(&self) -> &Path {
        &self.tools
    }

    /// Its files.
    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    /// kubectl, as the administrator.
    pub fn kubectl(&self) -> Kubectl {
        Kubectl::new(&self.tools, self.paths.kubeconfig())
    }
}

/// Removes a folder with all that is in it, unless something is mounted there: the nodes' mounts were in namespaces of
/// their own, so that would be somebody else's.
fn remove_folder(folder: &Path) -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let below = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .find(|path| Path::new(path).starts_with(folder));
    if let Some(path) = below {
        bail!("{path} is a mount that the local Kubernetes did not make: unmount it, then try again");
    }
    fs::remove_dir_all(folder).with_context(|| folder.display().to_string())
}
