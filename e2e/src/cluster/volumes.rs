//! Volumes made on demand, a folder each on the pod's node: the local-path-provisioner of kind and k3s. (The
//! controller manager's own makes folders that only root can write.)

use std::fs;

use anyhow::{Context, Result};

use super::daemon::{Launcher, Place};
use super::images::busybox::NAME as BUSYBOX;
use super::instance::Instance;
use super::kubectl::Kubectl;

const NAMESPACE: &str = "local-path-storage";
const SETTINGS: &str = "local-path-config";

/// Starts the provisioner and makes its storage class the default one.
pub fn start(instance: Instance, launcher: &mut Launcher<'_>, kubectl: &Kubectl) -> Result<()> {
    let paths = launcher.paths.clone();
    let volumes = paths.volumes();
    fs::create_dir_all(&volumes)?;
    kubectl.apply(&objects().to_string())?;
    let config = paths.config("local-path.json");
    let map = serde_json::json!({
        "nodePathMap": [{"node": "DEFAULT_PATH_FOR_NON_LISTED_NODES", "paths": [volumes]}],
    });
    fs::write(&config, map.to_string()).with_context(|| config.display().to_string())?;
    let helper = paths.config("local-path-helper.json");
    fs::write(&helper, helper_pod().to_string()).with_context(|| helper.display().to_string())?;
    launcher.start(
        "local-path",
        &Place::netns(instance.control_plane_netns()),
        "env",
        [
            format!("NAMESPACE={NAMESPACE}"),
            launcher.tool("local-path-provisioner").to_string_lossy().into_owned(),
            "start".into(),
            format!("--kubeconfig={}", paths.kubeconfig().display()),
            format!("--config={}", config.display()),
            format!("--helper-pod-file={}", helper.display()),
            format!("--helper-image={BUSYBOX}"),
            format!("--namespace={NAMESPACE}"),
            format!("--configmap-name={SETTINGS}"),
        ],
    )?;
    Ok(())
}

fn objects() -> serde_json::Value {
    serde_json::json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": SETTINGS, "namespace": NAMESPACE},
            "data": {
                "setup": "#!/bin/sh\nmkdir -m 0777 -p \"$VOL_DIR\"\n",
                "teardown": "#!/bin/sh\nrm -rf \"$VOL_DIR\"\n",
            },
        },
        {
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": "local-path-provisioner-service-account", "namespace": NAMESPACE},
        },
        {
            "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
            "metadata": {
                "name": "local-path",
                "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
            },
            "provisioner": "rancher.io/local-path",
            "volumeBindingMode": "WaitForFirstConsumer",
            "reclaimPolicy": "Delete",
        },
    ]})
}

fn helper_pod() -> serde_json::Value {
    serde_json::json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "helper-pod"},
        "spec": {
            "tolerations": [{"operator": "Exists"}],
            "containers": [{"name": "helper-pod", "image": BUSYBOX, "imagePullPolicy": "IfNotPresent"}],
        },
    })
}
