//! `cargo xtask demo`: the whole way on a machine where nothing was before, from an empty Kubernetes to a value read back
//! from a cluster that was scaled up and down. Everything shown is what the programs printed.

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use conure_e2e::cluster::{Instance, Local};
use conure_e2e::process::output;
use conure_e2e::progress::{spent, step};

use crate::cargo::{self, root};
use crate::cluster;
use crate::images::Images;

const NAMESPACE: &str = "conuredb-system";

/// How long the cluster may take to be what its spec says.
const READY_LIMIT: Duration = Duration::from_mins(5);

/// Longer than any single command that waits.
const COMMAND_LIMIT: Duration = Duration::from_mins(6);

/// Shows the whole way and leaves the cluster up.
pub(crate) fn up(binaries: Option<PathBuf>) -> Result<ExitCode> {
    let start = std::time::Instant::now();
    let local = cluster::prepare(Instance::DEMO)?;
    let binaries = match binaries {
        Some(folder) => folder,
        None => compile()?,
    };
    let images = Images::ensure(&binaries)?;
    local.up()?;
    step("importing the images into the nodes", |_| local.import(&images.archives()))?;
    let demo = Demo { local: &local };
    demo.show(&images)
        .with_context(|| demo.diagnosis())
        .inspect_err(|_| say(&format!("\nIt is still up, to look at:\n\n{}", demo.next())))?;
    say(&format!("\nDone in {}. It stays up; type next:\n\n{}", spent(start.elapsed()), demo.next()));
    Ok(ExitCode::SUCCESS)
}

/// The same on an instance that is up, for the tests.
pub(crate) fn show(local: &Local, images: &Images) -> Result<()> {
    let demo = Demo { local };
    demo.show(images).with_context(|| demo.diagnosis())
}

fn compile() -> Result<PathBuf> {
    step("compiling the server and the operator", |step| {
        let mut build = cargo::plain("build");
        build.args(["--locked", "-p", "conure-server", "-p", "conure-operator", "--bins"]);
        cargo::run(&mut build, "demo-build", step)
    })?;
    Ok(cargo::binaries())
}

/// Removes everything that [`up`] made on this machine, save the caches.
pub(crate) fn down() -> Result<ExitCode> {
    cluster::down(Instance::DEMO)
}

struct Demo<'a> {
    local: &'a Local,
}

impl Demo<'_> {
    fn show(&self, images: &Images) -> Result<()> {
        self.install(images)?;
        self.run("kubectl", &["apply", "-f", "manifests/example-cluster.yaml"])?;
        self.ready(3)?;
        self.run("kubectl", &curl(&["-X", "PUT", "http://conure:8081/kv?key=hello", "-d", "world"]))?;
        self.read("hello", "world")?;
        for replicas in [5, 3] {
            self.run("kubectl", &["scale", "conure/conure", &format!("--replicas={replicas}")])?;
            self.ready(replicas)?;
            self.read("hello", "world")?;
        }
        self.run("kubectl", &["get", "conure", "-o", "wide"])?;
        self.run("kubectl", &["get", "pods", "-o", "wide"])?;
        self.run("kubectl", &["events", "--for", "conure/conure"])?;
        Ok(())
    }

    fn install(&self, images: &Images) -> Result<()> {
        let values = [("image", &images.operator), ("serverImage", &images.server)]
            .map(|(key, image)| format!("{key}.repository={},{key}.tag={}", image.repository, image.tag));
        let install = [
            "install",
            "conuredb-operator",
            "charts/conuredb-operator",
            "--wait",
            "--timeout=2m",
            "--namespace",
            NAMESPACE,
        ];
        let rest = ["--create-namespace", "--set", values[0].as_str(), "--set", values[1].as_str()];
        self.run("helm", &[install.as_slice(), rest.as_slice()].concat())?;
        Ok(())
    }

    fn ready(&self, replicas: u32) -> Result<()> {
        let kubectl = self.local.kubectl();
        step(format!("waiting until the cluster is Ready with {replicas} data members"), |step| {
            step.at("status.readyReplicas");
            let count = format!("jsonpath={{.status.readyReplicas}}={replicas}");
            kubectl.wait("conure/conure", &count, READY_LIMIT)?;
            step.at("the condition Ready");
            kubectl.wait("conure/conure", "condition=Ready", READY_LIMIT)
        })
    }

    /// What someone would look at first.
    fn diagnosis(&self) -> String {
        let kubectl = self.local.kubectl();
        let asked: [&[&str]; 3] = [
            &[
                "get",
                "conure",
                "conure",
                "-o",
                "jsonpath={range .status.conditions[*]}{.type}={.status} {.reason}: {.message}{\"\\n\"}{end}",
            ],
            &["get", "pods", "-A", "-o", "wide"],
            &["get", "events", "-A", "--sort-by=.lastTimestamp"],
        ];
        let answers =
            asked.map(|arguments| kubectl.run(arguments).unwrap_or_else(|error| format!("{error:#}")));
        format!("it did not get there; conditions, pods and events:\n{}", answers.join("\n"))
    }

    fn read(&self, key: &str, expected: &str) -> Result<()> {
        let value = self.run("kubectl", &curl(&[&format!("http://conure:8081/kv?key={key}")]))?;
        ensure!(value.trim_end() == expected, "read {value:?}, not {expected:?}");
        Ok(())
    }

    /// Shows a command as one would type it, runs it, and shows what it printed.
    fn run<A: AsRef<str>>(&self, program: &str, arguments: &[A]) -> Result<String> {
        let words: Vec<&str> = arguments.iter().map(AsRef::as_ref).collect();
        say(&format!(
            "\n$ {program} {}",
            words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
        ));
        let mut command = Command::new(self.local.tools().join(program));
        command.args(&words).current_dir(root()).env("KUBECONFIG", self.local.paths().kubeconfig());
        let printed = output(&mut command, COMMAND_LIMIT)?;
        say(printed.trim_end());
        Ok(printed)
    }

    fn next(&self) -> String {
        format!(
            "  export KUBECONFIG={}
  export PATH={}:$PATH
  kubectl get conure
  kubectl port-forward service/conure 8081:8081 &
  curl -X PUT 'localhost:8081/kv?key=greeting' -d 'good morning'
  curl 'localhost:8081/kv?key=greeting'

To stop it and remove everything: cargo xtask demo --down",
            self.local.paths().kubeconfig().display(),
            self.local.tools().display()
        )
    }
}

/// curl in a pod, through the Service.
fn curl(arguments: &[&str]) -> Vec<String> {
    let exec = ["exec", "conure-bootstrap-0", "--", "curl", "-sS", "--fail-with-body"];
    exec.iter().chain(arguments).map(|word| (*word).to_owned()).collect()
}

/// A word as a shell needs it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[expect(clippy::print_stdout, reason = "what the programs printed is what is shown")]
fn say(text: &str) {
    println!("{text}");
}
