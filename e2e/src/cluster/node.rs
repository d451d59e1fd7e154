//! A node: containerd, kubelet and kube-proxy, in a network and a mount namespace of their own. With the mount
//! namespace everything that a pod mounts is gone when the node's last process is, and what containerd and the kubelet
//! keep at fixed places (logs, sockets, caches) stays inside the node.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::daemon::{Launcher, Place};
use super::instance::{Instance, node_name};
use super::paths::Paths;
use super::state::{Process, Record};
use crate::process::{output, tail_of};
use crate::wait::until;

const LIMIT: Duration = Duration::from_secs(30);

/// Places that containerd, the CNI plugins and the kubelet have built in; each node gets its own.
const FIXED_PLACES: [(&str, &str); 4] = [
    ("/run/containerd", "run"),
    ("/var/lib/cni", "cni-cache"),
    ("/var/lib/kubelet", "kubelet-fixed"),
    ("/var/log", "log"),
];

/// The kinds of daemon on a node; together with the node's number they are the names in the record.
pub fn daemon_name(kind: &str, node: u8) -> String {
    format!("{kind}{node}")
}

/// Starts a node's mount namespace and containerd; answers when containerd does.
pub fn start_containerd(instance: Instance, node: u8, launcher: &mut Launcher<'_>) -> Result<()> {
    let home = launcher.paths.node(node);
    let paths = launcher.paths.clone();
    fs::create_dir_all(home.join("cni"))?;
    write(&home.join("containerd.toml"), &containerd_configuration(&home))?;
    write(&home.join("cni/10-pods.conflist"), &cni_configuration(instance, node, &home)?)?;
    write(&home.join("kubelet.yaml"), &kubelet_configuration(instance, node, &paths))?;

    let ready = home.join("mounted");
    let mut script = String::from("set -e\n");
    for (place, folder) in FIXED_PLACES {
        fs::create_dir_all(place).with_context(|| place.to_owned())?;
        fs::create_dir_all(home.join(folder))?;
        script.push_str(&format!("mount --bind \"$0/{folder}\" {place}\n"));
    }
    script.push_str("echo > \"$0/mounted\"\nexec sleep infinity\n");
    let name = daemon_name("mounts", node);
    let holder = launcher.start(
        &name,
        &Place::default(),
        "unshare",
        ["--mount", "--propagation", "slave", "sh", "-c", &script, &home.display().to_string()],
    )?;
    until(&format!("node{node} has its mounts"), LIMIT, || {
        ensure!(holder.lives(), "it ended: {}", tail_of(&paths.log(&name), 5));
        Ok(ready.exists().then_some(()))
    })?;

    let place = place(instance, node, launcher.record)?;
    let name = daemon_name("containerd", node);
    let arguments = [Path::new("-c"), &home.join("containerd.toml")].map(Path::to_path_buf);
    let containerd = launcher.start(&name, &place, "containerd", arguments)?;
    until(&format!("containerd of node{node} answers"), LIMIT, || {
        ensure!(containerd.lives(), "it ended: {}", tail_of(&paths.log(&name), 5));
        output(ctr(&paths, node).arg("version"), LIMIT).map(Some)
    })?;
    Ok(())
}

/// Starts what makes a machine with containerd a node of Kubernetes.
pub fn start_kubelet(instance: Instance, node: u8, launcher: &mut Launcher<'_>) -> Result<Process> {
    let place = place(instance, node, launcher.record)?;
    let home = launcher.paths.node(node);
    let name = node_name(node);
    let arguments = [
        format!("--config={}", home.join("kubelet.yaml").display()),
        format!("--kubeconfig={}", launcher.paths.kubeconfig_of(&name).display()),
        format!("--hostname-override={name}"),
        format!("--root-dir={}", home.join("kubelet").display()),
        format!("--cert-dir={}", home.join("kubelet-pki").display()),
        format!("--node-ip={}", instance.node_ip(node)),
        format!("--node-labels=topology.kubernetes.io/zone=zone{node}"),
    ];
    launcher.start(&daemon_name("kubelet", node), &place, launcher.tool("kubelet"), arguments)
}

/// Starts a node's way to Services.
pub fn start_proxy(instance: Instance, node: u8, launcher: &mut Launcher<'_>) -> Result<Process> {
    let place = place(instance, node, launcher.record)?;
    let arguments = [
        format!("--kubeconfig={}", launcher.paths.kubeconfig_of("proxy").display()),
        format!("--hostname-override={}", node_name(node)),
        format!("--cluster-cidr={}", instance.pods()),
        // The machine's connection tracking limits are not a network namespace's to change.
        "--conntrack-max-per-core=0".into(),
        "--conntrack-tcp-timeout-established=0s".into(),
        "--conntrack-tcp-timeout-close-wait=0s".into(),
    ];
    launcher.start(&daemon_name("proxy", node), &place, launcher.tool("kube-proxy"), arguments)
}

/// The namespaces of a node that is up.
pub fn place(instance: Instance, node: u8, record: &Record) -> Result<Place> {
    let holder = record.daemons.get(&daemon_name("mounts", node));
    let holder = holder.filter(|process| process.lives()).with_context(|| format!("node{node} is not up"))?;
    Ok(Place { netns: Some(instance.node_netns(node)), mounts_of: Some(holder.pid) })
}

/// `ctr` for one node's containerd.
pub fn ctr(paths: &Paths, node: u8) -> Command {
    let mut command = Command::new("ctr");
    command.arg("-a").arg(paths.containerd(node)).args(["-n", "k8s.io"]);
    command
}

/// Imports an image archive into one node.
pub fn import(paths: &Paths, node: u8, archive: &Path) -> Result<()> {
    output(ctr(paths, node).args(["images", "import"]).arg(archive), Duration::from_mins(2))
        .with_context(|| format!("importing {} into node{node}", archive.display()))?;
    Ok(())
}

/// Gives an image that was imported into one node another name as well.
pub fn tag(paths: &Paths, node: u8, image: &str, name: &str) -> Result<()> {
    output(ctr(paths, node).args(["images", "tag", "--force", image, name]), Duration::from_secs(20))
        .with_context(|| format!("naming {image} {name} on node{node}"))?;
    Ok(())
}

fn containerd_configuration(home: &Path) -> String {
    let home = home.display();
    // restrict_oom_score_adj: the machine may not let us raise priorities. A debug log would fill disks.
    format!(
        r#"version = 2
root = "{home}/containerd"
state = "{home}/containerd-state"
[grpc]
  address = "{home}/containerd.sock"
[ttrpc]
  address = "{home}/containerd.sock.ttrpc"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{sandbox}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{home}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
"#,
        sandbox = super::images::busybox::NAME,
    )
}

fn cni_configuration(instance: Instance, node: u8, home: &Path) -> Result<String> {
    let data: PathBuf = home.join("ipam");
    let config = serde_json::json!({
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [
            {
                "type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
                "ipam": {
                    "type": "host-local", "dataDir": data,
                    "ranges": [[{"subnet": instance.node_pods(node)}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    });
    Ok(serde_json::to_string_pretty(&config)?)
}

fn kubelet_configuration(instance: Instance, node: u8, paths: &Paths) -> String {
    // cgroupRoot: a kubelet ends every pod that it finds below and does not know, so each node has its own. OOM scores
    // may not be the machine's to give, hence KubeletInUserNamespace. imageGC at 100: images are imported, they cannot be pulled again.
    let config = serde_json::json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": paths.pki("ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": format!("unix://{}", paths.containerd(node).display()),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}/{}", instance.cgroup(), node_name(node)),
        "cgroupsPerQOS": true,
        "enforceNodeAllocatable": [],
        "failSwapOn": false,
        "failCgroupV1": false,
        "featureGates": {"KubeletInUserNamespace": true},
        "clusterDNS": [instance.control_plane_ip()],
        "clusterDomain": "cluster.local",
        "evictionHard": {"nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "nodeStatusUpdateFrequency": "4s",
    });
    format!("{config:#}\n")
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| path.display().to_string())
}
