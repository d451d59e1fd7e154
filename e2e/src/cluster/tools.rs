//! The programs of Kubernetes, and what checks use beside them, built from their Go modules into a cache outside the
//! checkout. The modules' exact versions and checksums are the files below `e2e/tools`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use super::images::digest::hex;
use super::lock::Lock;
use super::paths;
use crate::process::{output, run_lines};
use crate::progress::step;

/// A throw-away Go module that requires what is built.
struct Module {
    name: &'static str,
    go_mod: &'static str,
    go_sum: &'static str,
    /// The program's file name and its package.
    programs: &'static [(&'static str, &'static str)],
    link_flags: &'static str,
    /// Build tags.
    tags: &'static str,
}

macro_rules! module {
    ($name:literal, $link_flags:expr, $($program:literal: $package:literal),+) => {
        Module {
            name: $name,
            go_mod: include_str!(concat!("../../tools/", $name, "/go.mod")),
            go_sum: include_str!(concat!("../../tools/", $name, "/go.sum")),
            programs: &[$(($program, $package)),+],
            link_flags: $link_flags,
            tags: "",
        }
    };
}

/// Without them every program would call itself v0.0.0-master, and refuse nodes of another version than its own.
const KUBERNETES_VERSION: &str = "-s -w -X k8s.io/component-base/version.gitVersion=v1.34.4 \
    -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=34";

const MODULES: [Module; 5] = [
    module!(
        "kubernetes", KUBERNETES_VERSION,
        "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
        "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
        "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
        "kubelet": "k8s.io/kubernetes/cmd/kubelet",
        "kube-proxy": "k8s.io/kubernetes/cmd/kube-proxy",
        "kubectl": "k8s.io/kubernetes/cmd/kubectl"
    ),
    module!("etcd", "-s -w", "etcd": "go.etcd.io/etcd/server/v3"),
    module!("helm", "-s -w", "helm": "helm.sh/helm/v3/cmd/helm"),
    module!("coredns", "-s -w", "coredns": "github.com/coredns/coredns"),
    module!(
        "local-path-provisioner", "-s -w",
        "local-path-provisioner": "github.com/rancher/local-path-provisioner"
    ),
];

/// Without what finds targets in clouds, which rules need nothing of and which would double the build.
const CHECKERS: [Module; 1] = [Module {
    tags: "remove_all_sd",
    ..module!("promtool", "-s -w", "promtool": "github.com/prometheus/prometheus/cmd/promtool")
}];

/// A program's build from nothing takes minutes on a small machine.
const BUILD_LIMIT: Duration = Duration::from_mins(45);

/// Two builders would only take twice as long.
const PATIENCE: Duration = Duration::from_mins(60);

/// The folder with every program of Kubernetes; builds those that are not there yet.
pub fn ensure() -> Result<PathBuf> {
    ensure_all("Kubernetes tools", &MODULES)
}

/// The judge of alert rules; builds it where it is not there yet.
pub fn promtool() -> Result<PathBuf> {
    Ok(ensure_all("tools for checks", &CHECKERS)?.join("promtool"))
}

fn ensure_all(what: &str, modules: &[Module]) -> Result<PathBuf> {
    let all = paths::cache()?.join("tools");
    let home = all.join(version(modules));
    if !home.exists() {
        let _lock = Lock::take(&all.join("lock"), &format!("the build of the {what}"), PATIENCE)?;
        if !home.exists() {
            build_all(what, modules, &home)?;
        }
    }
    Ok(home.join("bin"))
}

/// Names everything that the programs depend on.
fn version(modules: &[Module]) -> String {
    let mut digest = Sha256::new();
    for module in modules {
        let parts = [module.name, module.go_mod, module.go_sum, module.link_flags, std::env::consts::ARCH];
        for part in parts.into_iter().chain((!module.tags.is_empty()).then_some(module.tags)) {
            digest.update(part);
            digest.update([0]);
        }
    }
    hex(digest.finalize().get(..8).unwrap_or_default())
}

/// Builds beside `home` and moves the whole there; what an interrupted build finished is not built again.
fn build_all(what: &str, modules: &[Module], home: &Path) -> Result<()> {
    output(Command::new("go").arg("version"), Duration::from_secs(20))
        .with_context(|| format!("the {what} are built with Go: install Go 1.25 or newer"))?;
    let work = home.with_extension("partial");
    let bin = work.join("bin");
    fs::create_dir_all(&bin).with_context(|| bin.display().to_string())?;
    for (done, module) in modules.iter().enumerate() {
        let what = format!("building {what}, {} of {}: {}", done + 1, modules.len(), module.name);
        if module.programs.iter().all(|(program, _)| bin.join(program).exists()) {
            continue;
        }
        step(what, |step| build(module, &work, &bin, |package| step.at(package)))?;
    }
    fs::remove_dir_all(work.join("source"))?;
    fs::rename(&work, home).with_context(|| home.display().to_string())
}

fn build(module: &Module, work: &Path, bin: &Path, at: impl Fn(&str)) -> Result<()> {
    let source = work.join("source").join(module.name);
    fs::create_dir_all(&source)?;
    fs::write(source.join("go.mod"), module.go_mod)?;
    fs::write(source.join("go.sum"), module.go_sum)?;
    let log = work.join(format!("{}.log", module.name));
    for (program, package) in module.programs {
        let fresh = bin.join(format!("{program}.new"));
        let mut go = Command::new("go");
        go.args([
            "build",
            "-v",
            "-trimpath",
            "-buildvcs=false",
            "-mod=readonly",
            "-ldflags",
            module.link_flags,
            "-tags",
            module.tags,
            "-o",
        ]);
        go.arg(&fresh).arg(package).current_dir(&source).env("CGO_ENABLED", "0").env("GOFLAGS", "");
        // Its lines are the packages that it compiles, or the modules that it downloads.
        run_lines(&mut go, &log, BUILD_LIMIT, |line| at(&format!("{program}, {line}")))?;
        fs::rename(&fresh, bin.join(program))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_is_a_tool_of_its_module() {
        for module in MODULES.iter().chain(&CHECKERS) {
            for (_, package) in module.programs {
                assert!(module.go_mod.contains(package), "{package} in {}/go.mod", module.name);
            }
        }
    }
}
