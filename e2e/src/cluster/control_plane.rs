//! etcd, the API server, its controllers, the scheduler and DNS, in a network namespace of their own.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::daemon::{Launcher, Place};
use super::instance::Instance;
use super::kubectl::Kubectl;
use super::paths::Paths;
use super::state::Process;
use crate::process::tail_of;
use crate::wait::until;

const READY_LIMIT: Duration = Duration::from_secs(60);

/// What the API server writes down: who asked for what, for the service accounts of installed programs.
const AUDIT_POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - {level: None, userGroups: ['system:serviceaccounts:kube-system']}
  - {level: Metadata, userGroups: ['system:serviceaccounts']}
  - {level: None}
";

/// Starts the control plane and waits until the API server is ready.
pub fn start(instance: Instance, launcher: &mut Launcher<'_>, kubectl: &Kubectl) -> Result<()> {
    let place = Place::netns(instance.control_plane_netns());
    let paths = launcher.paths.clone();
    let etcd = launcher.start("etcd", &place, launcher.tool("etcd"), etcd_arguments(&paths))?;
    write(&paths.config("audit-policy.yaml"), AUDIT_POLICY)?;
    let api = start_api_server(instance, launcher)?;
    until("the API server answers /readyz", READY_LIMIT, || {
        alive("etcd", etcd, &paths)?;
        alive("apiserver", api, &paths)?;
        kubectl.run(&["get", "--raw", "/readyz"]).map(Some)
    })
    .with_context(|| format!("the last lines of its log:\n{}", tail_of(&paths.log("apiserver"), 5)))?;

    let manager = controller_manager_arguments(instance, &paths);
    launcher.start("controller-manager", &place, launcher.tool("kube-controller-manager"), manager)?;
    let scheduler = client_arguments(&paths, "scheduler");
    launcher.start("scheduler", &place, launcher.tool("kube-scheduler"), scheduler)?;
    let corefile = paths.config("Corefile");
    write(&corefile, &dns_configuration(instance, &paths))?;
    launcher.start("coredns", &place, launcher.tool("coredns"), ["-conf".as_ref(), corefile.as_os_str()])?;
    Ok(())
}

/// Starts the API server alone, over the etcd that runs.
pub fn start_api_server(instance: Instance, launcher: &mut Launcher<'_>) -> Result<Process> {
    let place = Place::netns(instance.control_plane_netns());
    let arguments = apiserver_arguments(instance, launcher.paths);
    launcher.start("apiserver", &place, launcher.tool("kube-apiserver"), arguments)
}

fn alive(name: &str, process: Process, paths: &Paths) -> Result<()> {
    if process.lives() {
        return Ok(());
    }
    bail!("{name} ended; the last lines of its log:\n{}", tail_of(&paths.log(name), 8))
}

pub(crate) fn etcd_arguments(paths: &Paths) -> Vec<String> {
    // Nothing here outlives the machine: its disk belongs to the databases under test.
    vec!["--unsafe-no-fsync".into(), "--log-level=warn".into(), flag("data-dir", &paths.root().join("etcd"))]
}

/// What every API server is told, with nodes or without.
pub(crate) fn apiserver_basics(ip: Ipv4Addr, services: &str, paths: &Paths) -> Vec<String> {
    vec![
        "--etcd-servers=http://127.0.0.1:2379".into(),
        "--secure-port=6443".into(),
        format!("--bind-address={ip}"),
        format!("--advertise-address={ip}"),
        format!("--service-cluster-ip-range={services}"),
        "--allow-privileged=true".into(),
        flag("client-ca-file", &paths.pki("ca.crt")),
        flag("tls-cert-file", &paths.pki("apiserver.crt")),
        flag("tls-private-key-file", &paths.pki("apiserver.key")),
        flag("service-account-key-file", &paths.pki("sa.pub")),
        flag("service-account-signing-key-file", &paths.pki("sa.key")),
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local".into(),
    ]
}

fn apiserver_arguments(instance: Instance, paths: &Paths) -> Vec<String> {
    let mut arguments = apiserver_basics(instance.control_plane_ip(), &instance.services(), paths);
    arguments.extend([
        "--authorization-mode=Node,RBAC".into(),
        "--enable-admission-plugins=NodeRestriction".into(),
        // Node names mean nothing to the machine's resolver.
        "--kubelet-preferred-address-types=InternalIP".into(),
        flag("kubelet-client-certificate", &paths.pki("admin.crt")),
        flag("kubelet-client-key", &paths.pki("admin.key")),
        flag("audit-policy-file", &paths.config("audit-policy.yaml")),
        flag("audit-log-path", &paths.audit_log()),
        "--audit-log-maxsize=1000".into(),
    ]);
    arguments
}

fn controller_manager_arguments(instance: Instance, paths: &Paths) -> Vec<String> {
    let mut arguments = client_arguments(paths, "controller-manager");
    arguments.extend([
        flag("service-account-private-key-file", &paths.pki("sa.key")),
        flag("root-ca-file", &paths.pki("ca.crt")),
        "--use-service-account-credentials".into(),
        format!("--cluster-cidr={}", instance.pods()),
        // A node that is cut off is noticed while a test looks on.
        "--node-monitor-grace-period=16s".into(),
    ]);
    arguments
}

pub(crate) fn client_arguments(paths: &Paths, component: &str) -> Vec<String> {
    let config = paths.kubeconfig_of(component);
    let mut arguments = vec!["--leader-elect=false".into()];
    for name in ["kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig"] {
        arguments.push(flag(name, &config));
    }
    arguments
}

fn dns_configuration(instance: Instance, paths: &Paths) -> String {
    format!(
        ".:53 {{
  bind {ip}
  errors
  kubernetes cluster.local in-addr.arpa {{
    kubeconfig \"{config}\" {context}
    pods insecure
    ttl 5
  }}
  cache 5
}}
",
        ip = instance.control_plane_ip(),
        config = paths.kubeconfig().display(),
        context = instance.bridge(),
    )
}

fn flag(name: &str, path: &Path) -> String {
    format!("--{name}={}", path.display())
}

fn write(path: &Path, text: &str) -> Result<()> {
    let folder = path.parent().context("a file in a folder")?;
    fs::create_dir_all(folder)?;
    fs::write(path, text).with_context(|| path.display().to_string())
}
