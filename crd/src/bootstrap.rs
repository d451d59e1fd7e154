//! What a new cluster begins with.

#![expect(
    unreachable_pub,
    reason = "KubeSchema repeats each struct inside a function, its visibility included"
)]

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// What a new cluster begins with; read only until `status.clusterID` is set.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bootstrap {
    /// The volumes of a ConureCluster of this name that was deleted; unset begins an empty cluster, and refuses to where
    /// there are such volumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub existing_volumes: Option<ExistingVolumes>,
}

/// Volumes of a cluster that goes on.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExistingVolumes {
    /// The cluster that they hold, as its `status.clusterID` named it and `conure-db inspect` shows it.
    #[serde(rename = "clusterID")]
    #[schemars(length(max = 128))]
    #[x_kube(validation = crate::rules::cluster_id_is_one())]
    pub cluster_id: String,
}
