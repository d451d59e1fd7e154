//! `cargo xtask cluster`: the local Kubernetes, without anything of ConureDB on it.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use conure_e2e::cluster::{Instance, Local, packages, tools};

/// Installs and builds what is missing; answers the folder of the tools.
pub(crate) fn tools() -> Result<PathBuf> {
    Local::allowed()?;
    packages::ensure(&packages::NEEDED)?;
    packages::ensure(&packages::NEEDED_FOR_IMAGES)?;
    tools::ensure()
}

/// The same, and takes hold of an instance.
pub(crate) fn prepare(instance: Instance) -> Result<Local> {
    Local::hold(instance, &tools()?)
}

/// Starts an instance and says how to reach it.
#[expect(clippy::print_stdout, reason = "what to type next is this program's answer")]
pub(crate) fn up(instance: Instance) -> Result<ExitCode> {
    let local = prepare(instance)?;
    local.up()?;
    println!("export KUBECONFIG={}", local.paths().kubeconfig().display());
    println!("export PATH={}:$PATH", local.tools().display());
    Ok(ExitCode::SUCCESS)
}

/// Removes an instance; needs no tools.
pub(crate) fn down(instance: Instance) -> Result<ExitCode> {
    Local::hold(instance, "".as_ref())?.down()?;
    Ok(ExitCode::SUCCESS)
}
