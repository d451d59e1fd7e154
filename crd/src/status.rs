//! What the operator reports.

#![expect(
    unreachable_pub,
    reason = "KubeSchema repeats each struct inside a function, its visibility included"
)]

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::recovery::RecoveryStatus;

/// The types of the conditions, all of which a cluster has from its first reconcile on.
pub mod condition {
    /// The current generation is fully reached.
    pub const READY: &str = "Ready";
    /// A quorum serves writes.
    pub const AVAILABLE: &str = "Available";
    /// The operator is on the way to the current generation.
    pub const PROGRESSING: &str = "Progressing";
    /// Something is wrong that the message names.
    pub const DEGRADED: &str = "Degraded";
    /// No quorum of voters can be reached.
    pub const QUORUM_LOST: &str = "QuorumLost";

    /// What became of a recovery; only where one is asked for or was made.
    pub const RECOVERED: &str = "Recovered";

    /// Those that are always there, in the order in which they are shown.
    pub const ALL: [&str; 5] = [READY, AVAILABLE, PROGRESSING, DEGRADED, QUORUM_LOST];
}

/// What the operator last saw of a cluster.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConureClusterStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Ready, Available, Progressing, Degraded and QuorumLost, and Recovered where there is a recovery.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// The cluster's identity, written before the first member is bootstrapped with it.
    #[serde(default, rename = "clusterID", skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,

    /// How often the cluster was restored or recovered, starting at 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<i64>,

    /// The recovery that was begun last, written before anything is done with its member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<RecoveryStatus>,

    /// The image that the members run or roll to; a spec that was not applied does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,

    /// The lowest server version that a member runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,

    /// The name of the leading member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<String>,

    /// Ready members of all members, the arbiter included, like `3/3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members_ready: Option<String>,

    /// The largest size that a data member's volume was asked to have: a spec may go back to it where the storage refuses to
    /// grow further.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::volume_size")]
    pub data_volume_size: Option<Quantity>,

    /// The largest size that the arbiter's volume was asked to have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::volume_size")]
    pub arbiter_volume_size: Option<Quantity>,

    /// Every member, the arbiter included.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub members: Vec<Member>,

    /// Data pods that there are.
    #[serde(default)]
    pub replicas: i32,

    /// Data pods that are ready.
    #[serde(default)]
    pub ready_replicas: i32,

    /// The label selector of the data pods, for autoscalers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// The member's name, which is its pod's.
    pub name: String,

    /// What it holds.
    pub role: MemberRole,

    /// Whether it counts in a quorum; unset while it is not in the committed configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suffrage: Option<MemberSuffrage>,

    /// Its Raft node id, which a new data directory changes.
    #[serde(default, rename = "nodeID", skip_serializing_if = "Option::is_none")]
    pub node_id: Option<String>,

    /// Whether its pod is ready.
    #[serde(default)]
    pub ready: bool,

    /// The server version that it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,

    /// `ok`, or one line that says what is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<String>,

    /// The volume on which its data was last found damaged, written before the member starts over on another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damage: Option<MemberDamage>,
}

/// A volume with damaged data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemberDamage {
    /// When that went on record. Within a day of it the member does not start over by itself a second time.
    pub found: Time,

    /// The uid of the volume's claim.
    #[serde(rename = "claimUID")]
    pub claim_uid: String,
}

/// What a member holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MemberRole {
    /// The log and the data.
    Data,
    /// The log only.
    Arbiter,
}

/// Whether a member counts in a quorum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MemberSuffrage {
    /// It votes.
    Voter,
    /// It catches up.
    Learner,
}
