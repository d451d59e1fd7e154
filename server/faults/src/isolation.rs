//! A place of its own for each run: namespaces for networks, mounts and processes, in which this program is process 1.
//!
//! Whatever a run makes lives in them and is gone with their last process, however that ends; nothing has a name outside,
//! so any number of runs may go on at once.

use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use conure_e2e::process::output;
use rustix::process::{Signal, geteuid, set_parent_process_death_signal};

/// Says that the program was started inside already.
const INSIDE: &str = "CONURE_FAULTS_INSIDE";

/// Starts this program again inside; returns once it is there.
pub(crate) fn enter() -> Result<()> {
    if std::env::var_os(INSIDE).is_some() {
        return settle();
    }
    // The namespaces' keeper goes with whoever started it, and everything inside with the keeper.
    set_parent_process_death_signal(Some(Signal::KILL)).context("cannot tie this run to its caller")?;
    let mut command = Command::new("unshare");
    if !geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command.args(["--net", "--mount", "--pid", "--mount-proc", "--fork", "--kill-child=KILL", "--"]);
    command.arg(std::env::current_exe()?).args(std::env::args_os().skip(1)).env(INSIDE, "1");
    let failed = command.exec();
    bail!("cannot start `unshare` (Debian package util-linux): {failed}")
}

/// Names of network namespaces are files below /run: those of this run are nobody else's.
fn settle() -> Result<()> {
    output(Command::new("mount").args(["-t", "tmpfs", "conure-faults", "/run"]), Duration::from_secs(10))
        .context("cannot mount a /run of its own")?;
    Ok(())
}
