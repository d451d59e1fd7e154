//! Where things are kept outside the checkout.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::instance::{Instance, node_name};

/// `${XDG_CACHE_HOME:-~/.cache}/conuredb`: what takes long to make and can be made again.
pub fn cache() -> Result<PathBuf> {
    Ok(base("XDG_CACHE_HOME", ".cache")?.join("conuredb"))
}

/// `${XDG_STATE_HOME:-~/.local/state}/conuredb`: what is up now.
pub fn state() -> Result<PathBuf> {
    Ok(base("XDG_STATE_HOME", ".local/state")?.join("conuredb"))
}

fn base(variable: &str, below_home: &str) -> Result<PathBuf> {
    // The XDG rules: a path that is not absolute counts as not set.
    if let Some(path) = env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute()) {
        return Ok(path);
    }
    let home = env::var_os("HOME").context("neither HOME nor an XDG directory is set: set HOME")?;
    Ok(PathBuf::from(home).join(below_home))
}

/// The files of one instance.
#[derive(Debug, Clone)]
pub struct Paths {
    root: PathBuf,
}

impl Paths {
    /// The files of `instance`, whether it is up or not.
    pub fn of(instance: Instance) -> Result<Self> {
        Ok(Self { root: state()?.join(instance.name()) })
    }

    /// Those of a cluster that is no instance, below a folder of its own.
    pub fn at(root: PathBuf) -> Self {
        Self { root }
    }

    /// The folder that holds everything; gone when the instance is down.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What the instance made on the machine. Beside the folder, so that it outlives it.
    pub fn record(&self) -> PathBuf {
        self.root.with_extension("json")
    }

    /// Who may work on the instance now.
    pub fn lock(&self) -> PathBuf {
        self.root.with_extension("lock")
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.kubeconfig_of("admin")
    }

    /// A component's kubeconfig.
    pub fn kubeconfig_of(&self, component: &str) -> PathBuf {
        self.root.join(format!("{component}.kubeconfig"))
    }

    /// Keys and certificates.
    pub fn pki(&self, file: &str) -> PathBuf {
        self.root.join("pki").join(file)
    }

    /// A component's configuration file.
    pub fn config(&self, file: &str) -> PathBuf {
        self.root.join("etc").join(file)
    }

    /// A component's log.
    pub fn log(&self, component: &str) -> PathBuf {
        self.root.join("log").join(format!("{component}.log"))
    }

    /// The API server's audit log: a JSON event a line.
    pub fn audit_log(&self) -> PathBuf {
        self.root.join("log/audit.jsonl")
    }

    /// Where the pods' volumes are, a folder each.
    pub fn volumes(&self) -> PathBuf {
        self.root.join("volumes")
    }

    /// What one node keeps.
    pub fn node(&self, node: u8) -> PathBuf {
        self.root.join(node_name(node))
    }

    /// The socket of one node's containerd.
    pub fn containerd(&self, node: u8) -> PathBuf {
        self.node(node).join("containerd.sock")
    }
}
