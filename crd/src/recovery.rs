//! How a cluster that lost its quorum for good goes on with one of its members.

#![expect(
    unreachable_pub,
    reason = "KubeSchema repeats each struct inside a function, its visibility included"
)]

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// A request to go on with one member. It does nothing unless it names the cluster and its incarnation as the status has
/// them, so that one that stays in Git cannot fire twice.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Recovery {
    /// The data member whose data the cluster goes on with: the one with the most of those that can be reached.
    #[schemars(length(min = 1, max = 63))]
    pub member_name: String,

    /// The cluster, as `status.clusterID` names it.
    #[serde(rename = "clusterID")]
    #[schemars(length(min = 1, max = 128))]
    pub cluster_id: String,

    /// The incarnation that lost its quorum, as `status.incarnation` has it.
    #[x_kube(validation = crate::rules::incarnation_is_one())]
    pub incarnation: i64,
}

/// The recovery that was begun last.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecoveryStatus {
    /// The member whose data the cluster goes on with, written before anything is done.
    pub member_name: String,

    /// The incarnation that lost its quorum.
    pub incarnation: i64,

    /// The term of the last entry in that member's log.
    pub last_log_term: i64,

    /// The index of the last entry in that member's log.
    pub last_log_index: i64,

    /// The other members that could be reached then and held no more: they come back as new members by themselves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held_no_more: Vec<String>,
}
