//! The Debian packages that the local Kubernetes runs on; installed only where one is missing.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::paths;
use crate::process::{output, run};
use crate::progress::step;

/// What tests run beside the project's own programs: the packages of `curl`, `ip` and `kill`.
pub const NEEDED_BY_TESTS: [&str; 3] = ["curl", "iproute2", "procps"];

/// What a local Kubernetes and the images for it need.
pub const NEEDED: [&str; 9] = [
    "buildah",
    "busybox-static",
    "conntrack",
    "containerd",
    "containernetworking-plugins",
    "curl",
    "iproute2",
    "iptables",
    "runc",
];

/// What base images are made with.
pub const NEEDED_FOR_IMAGES: [&str; 3] = ["binutils", "ca-certificates", "mmdebstrap"];

const LIMIT: Duration = Duration::from_mins(15);

/// Installs the packages of `wanted` that are missing.
pub fn ensure(wanted: &[&str]) -> Result<()> {
    let missing = missing(wanted)?;
    if missing.is_empty() {
        return Ok(());
    }
    if !rustix::process::geteuid().is_root() {
        bail!("packages are missing: run `apt-get install {}` as root", missing.join(" "));
    }
    step(format!("installing Debian packages: {}", missing.join(" ")), |step| {
        let log = paths::cache()?.join("log/apt.log");
        step.at("package lists");
        run(&mut apt(&["update"]), &log, LIMIT)?;
        step.at("packages");
        let mut install = apt(&["install", "--yes", "--no-install-recommends"]);
        run(install.args(&missing), &log, LIMIT)
    })
}

fn apt(arguments: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    // Another package manager may be at work, on a machine that has just started above all.
    command.env("DEBIAN_FRONTEND", "noninteractive").args(["-o", "DPkg::Lock::Timeout=300"]).args(arguments);
    command
}

fn missing<'a>(wanted: &[&'a str]) -> Result<Vec<&'a str>> {
    let mut query = Command::new("dpkg-query");
    // It fails where a package is unknown, so the answer is made to say so instead.
    let script =
        "dpkg-query --show --showformat='${Package} ${db:Status-Status}\\n' \"$@\" 2>/dev/null || true";
    if query.arg("--version").output().is_err() {
        bail!(
            "this is no Debian: install what these packages hold, and put a `dpkg-query` that knows them in the PATH: {}",
            wanted.join(" ")
        );
    }
    let known = output(Command::new("sh").args(["-c", script, "sh"]).args(wanted), LIMIT)
        .context("asking which packages are installed")?;
    let installed = |name: &str| known.lines().any(|line| line.split_once(' ') == Some((name, "installed")));
    Ok(wanted.iter().copied().filter(|name| !installed(name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_is_named() {
        let wanted = ["dpkg", "no-package-has-this-name", "coreutils"];
        assert_eq!(missing(&wanted).unwrap(), ["no-package-has-this-name"]);
    }
}
