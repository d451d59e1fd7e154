//! The end-to-end tests, on a local Kubernetes or on one that is there already.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use conure_e2e::cluster::{Instance, Kubectl, Local};
use conure_e2e::process::output;
use conure_e2e::progress::{self, Step};

use super::charts;
use crate::cargo::{self, Tally, cargo};
use crate::images::Images;
use crate::report::Report;
use crate::{cluster, demo};

pub(super) const NAME: &str = "end-to-end tests";
pub(super) const DEMONSTRATION: &str = "demonstration";

/// On the instance of the tests, started afresh and removed afterwards.
pub(super) fn check(report: &mut Report, instance: Instance, tools: &Path) {
    let Some(images) = report.stage("images", || Ok((build_images()?, String::new()))) else {
        return report.not_run(&[charts::ON_KUBERNETES, NAME, DEMONSTRATION]);
    };
    let up = report.stage("local Kubernetes", || {
        let local = Local::hold(instance, tools)?;
        local.up()?;
        import(&local, &images)?;
        Ok((local, String::new()))
    });
    let Some(local) = up else { return report.not_run(&[charts::ON_KUBERNETES, NAME, DEMONSTRATION]) };
    charts::check_on(report, &local);
    let passed = report.check(NAME, |step| {
        let tally = run_on(&local, &images, &[], step)?;
        tally.judge()?;
        Ok(tally.to_string())
    });
    // The tests leave nothing behind when they pass.
    let shown =
        passed && report.stage(DEMONSTRATION, || Ok((demo::show(&local, &images)?, String::new()))).is_some();
    if !shown {
        dump(&local);
    }
    if !passed {
        report.not_run(&[DEMONSTRATION]);
    }
    report.stage("local Kubernetes removed", || Ok((local.down()?, String::new())));
}

/// The images that the charts install.
const SERVER_IMAGE: &str = concat!("conuredb/conuredb:v", env!("CARGO_PKG_VERSION"));
const OPERATOR_IMAGE: &str = concat!("conuredb/conuredb-operator:v", env!("CARGO_PKG_VERSION"));

/// What `cargo xtask e2e` was told.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Test on this Kubernetes; steps that need the nodes' machine are left out. Without it: on a local instance.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The server's image, where that Kubernetes can pull it.
    #[arg(long, value_name = "REPOSITORY:TAG", requires = "kubeconfig", default_value = SERVER_IMAGE)]
    server_image: String,
    /// The operator's image. Steps that stop the operator at a chosen point need its feature `failpoints`.
    #[arg(long, value_name = "REPOSITORY:TAG", requires = "kubeconfig", default_value = OPERATOR_IMAGE)]
    operator_image: String,
    /// The local instance; started if it is not up, and left up.
    #[arg(long, default_value = "dev", conflicts_with = "kubeconfig")]
    instance: Instance,
    /// Only the steps whose names contain one of these.
    filter: Vec<String>,
}

/// `cargo xtask e2e`.
#[expect(clippy::print_stdout, reason = "the verdict is this program's answer")]
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let tally = match &options.kubeconfig {
        Some(kubeconfig) => {
            let kubeconfig = kubeconfig.canonicalize().with_context(|| kubeconfig.display().to_string())?;
            let settings = settings(kubeconfig, &options.server_image, &options.operator_image);
            let step = Step::begin(NAME);
            let tally = tests(settings, &options.filter, &step)?;
            step.done();
            tally
        }
        None => {
            let (local, images) = instance(options.instance)?;
            let step = Step::begin(NAME);
            let tally = run_on(&local, &images, &options.filter, &step).inspect_err(|_| dump(&local))?;
            step.done();
            tally
        }
    };
    ensure!(tally.passed > 0, "no test ran");
    println!("{tally}");
    Ok(ExitCode::SUCCESS)
}

/// An instance that is up and has the images.
fn instance(instance: Instance) -> Result<(Local, Images)> {
    let images = build_images()?;
    let local = cluster::prepare(instance)?;
    if !local.answers() {
        local.up()?;
    }
    import(&local, &images)?;
    Ok((local, images))
}

/// The same, and what a program that works on it is told.
pub(crate) fn prepared(which: Instance) -> Result<(Local, Vec<(&'static str, OsString)>)> {
    let (local, images) = instance(which)?;
    let settings = local_settings(&local, &images);
    Ok((local, settings))
}

/// The images with the very binaries that the tests were built with.
fn build_images() -> Result<Images> {
    progress::step("compiling what goes into the images", |step| {
        cargo::run(cargo("build").arg("--all-targets"), "build", step)
    })?;
    Images::ensure(&cargo::binaries())
}

fn import(local: &Local, images: &Images) -> Result<()> {
    progress::step("importing the images into the nodes", |_| local.import(&images.archives()))
}

fn run_on(local: &Local, images: &Images, filter: &[String], step: &Step) -> Result<Tally> {
    tests(local_settings(local, images), filter, step)
}

fn local_settings(local: &Local, images: &Images) -> Vec<(&'static str, OsString)> {
    let kubeconfig = local.paths().kubeconfig();
    let mut settings = settings(kubeconfig, &images.server.reference(), &images.operator.reference());
    settings.push(("CONURE_E2E_INSTANCE", local.instance().name().into()));
    settings.push(("CONURE_E2E_TOOLS", local.tools().into()));
    settings.push(("CONURE_E2E_PLUGIN", cargo::binaries().join("kubectl-conure").into()));
    settings
}

fn settings(kubeconfig: PathBuf, server: &str, operator: &str) -> Vec<(&'static str, OsString)> {
    vec![
        ("KUBECONFIG", kubeconfig.into()),
        ("CONURE_E2E_SERVER_IMAGE", server.into()),
        ("CONURE_E2E_OPERATOR_IMAGE", operator.into()),
        ("CONURE_E2E_OUTPUT", cargo::logs().into()),
    ]
}

fn tests(settings: Vec<(&'static str, OsString)>, filter: &[String], step: &Step) -> Result<Tally> {
    let mut command = cargo("test");
    command.args(["--test", "e2e", "--"]).args(filter).envs(settings);
    cargo::test(&mut command, "e2e", step)
}

/// Keeps what tells why a run failed, before the Kubernetes goes: every object, event and log.
pub(crate) fn dump(local: &Local) {
    let folder = cargo::logs().join("e2e-cluster");
    let kept = progress::step(format!("keeping the cluster's state in {}", folder.display()), |_| {
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder)?;
        keep(&local.kubectl(), &folder)?;
        for entry in fs::read_dir(local.paths().root().join("log"))? {
            let entry = entry?;
            fs::copy(entry.path(), folder.join(entry.file_name()))?;
        }
        Ok(())
    });
    // The failure itself is what counts.
    let _ = kept.inspect_err(|error| eprintln!("{error:#}"));
}

fn keep(kubectl: &Kubectl, folder: &Path) -> Result<()> {
    let clusters = kubectl.run(&["get", "conureclusters", "--all-namespaces", "-o", "yaml"]);
    fs::write(folder.join("conureclusters.yaml"), clusters.unwrap_or_else(|error| format!("# {error:#}\n")))?;
    let mut dump = kubectl.command();
    dump.args(["cluster-info", "dump", "--all-namespaces", "--output=yaml", "--output-directory"])
        .arg(folder);
    output(&mut dump, Duration::from_mins(2))?;
    Ok(())
}
