//! What a user asks for.

#![expect(
    unreachable_pub,
    reason = "KubeSchema repeats each struct inside a function, its visibility included"
)]
#![allow(clippy::duplicated_attributes, reason = "each column has a type and may have a priority")]

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, EnvVar, LocalObjectReference, PodSecurityContext, ResourceRequirements, Toleration,
    TopologySpreadConstraint,
};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bootstrap::Bootstrap;
use crate::defaults;
use crate::recovery::Recovery;
use crate::repair::Repair;
use crate::status::ConureClusterStatus;
use crate::tls::Tls;
use crate::volume::{ArbiterVolume, Volume};

/// A replicated key-value store: its members, their volumes and their image.
#[derive(CustomResource, KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "conuredb.dev",
    version = "v1alpha1",
    kind = "ConureCluster",
    shortname = "conure",
    category = "all",
    namespaced,
    status = "ConureClusterStatus",
    derive = "PartialEq",
    validation = crate::rules::name_length(),
    validation = crate::rules::name_is_dns_label(),
    validation = crate::rules::name_suffix_is_free(),
    validation = crate::rules::data_volume_does_not_shrink(),
    validation = crate::rules::arbiter_volume_does_not_shrink(),
    doc = "A ConureDB cluster: a replicated key-value store.",
    scale(
        spec_replicas_path = ".spec.voters.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status",
        description = "whether the current generation is fully reached"
    ),
    printcolumn(
        name = "Members",
        type_ = "string",
        json_path = ".status.membersReady",
        description = "ready members of all members, the arbiter included"
    ),
    printcolumn(
        name = "Leader",
        type_ = "string",
        json_path = ".status.leader",
        description = "the leading member"
    ),
    printcolumn(
        name = "Version",
        type_ = "string",
        json_path = ".status.version",
        description = "the server version that every member runs"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Available",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Available')].status",
        description = "whether a quorum serves writes",
        priority = 1
    ),
    printcolumn(
        name = "Voters",
        type_ = "integer",
        json_path = ".spec.voters.replicas",
        description = "data members asked for",
        priority = 1
    ),
    printcolumn(
        name = "Arbiter",
        type_ = "string",
        json_path = ".spec.arbiter.mode",
        description = "when there is an arbiter",
        priority = 1
    ),
    printcolumn(
        name = "Cluster-ID",
        type_ = "string",
        json_path = ".status.clusterID",
        description = "the identity that every member carries",
        priority = 1
    ),
    printcolumn(
        name = "Image",
        type_ = "string",
        json_path = ".status.image",
        description = "the image that the members run or roll to",
        priority = 1
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].reason",
        description = "why the cluster is or is not ready",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
pub struct ConureClusterSpec {
    /// The server's image.
    #[serde(default)]
    pub image: Image,

    /// The data members.
    #[serde(default)]
    pub voters: Voters,

    /// The member that votes and holds no data, so that an even number of data members survives a loss.
    #[serde(default)]
    pub arbiter: Arbiter,

    /// The security context of every pod.
    #[serde(default = "crate::defaults::security")]
    #[schemars(schema_with = "crate::schema::security")]
    #[x_kube(validation = crate::rules::user_is_not_root_if_asked())]
    pub security: PodSecurityContext,

    /// The PodDisruptionBudget over all members.
    #[serde(default)]
    pub pdb: DisruptionBudget,

    /// Labels that a node must have to run a member.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,

    /// Taints that members tolerate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::tolerations")]
    pub tolerations: Vec<Toleration>,

    /// Scheduling rules of every pod; unset prefers one member a node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::schema::affinity")]
    pub affinity: Option<Affinity>,

    /// How members spread over zones or other topologies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::topology_spread_constraints")]
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,

    /// Secrets of this namespace with which the image is pulled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub image_pull_secrets: Vec<LocalObjectReference>,

    /// The priority class of every pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub priority_class_name: Option<String>,

    /// The service account of every pod, whose token is never mounted: members do not speak to Kubernetes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub service_account_name: Option<String>,

    /// Annotations added to every pod.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pod_annotations: BTreeMap<String, String>,

    /// Labels added to every pod.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::schema::pod_labels")]
    pub pod_labels: BTreeMap<String, String>,

    /// Environment variables added to every server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::schema::environment")]
    pub extra_env: Vec<EnvVar>,

    /// What a new cluster begins with; read only until `status.clusterID` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bootstrap: Option<Bootstrap>,

    /// What the operator does by itself about members that will not come back.
    #[serde(default)]
    pub repair: Repair,

    /// A request to go on with one member after the quorum was lost for good. Inert unless it names the cluster and its
    /// incarnation as the status has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<Recovery>,

    /// While true, the operator changes nothing and still refreshes the status.
    #[serde(default)]
    pub paused: bool,

    /// While true, there are no pods; volumes and the number of members are kept.
    #[serde(default)]
    pub suspend: bool,

    /// Settings of the server.
    #[serde(default)]
    pub server_config: ServerConfig,

    /// Kept for a later version. Setting it is refused: traffic is not encrypted, and nobody shall believe that it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = crate::rules::tls_is_not_there_yet())]
    pub tls: Option<Tls>,
}

/// The server's image.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// The image's name without tag or digest.
    #[serde(default = "crate::defaults::image_repository")]
    #[schemars(length(max = 255))]
    #[x_kube(validation = crate::rules::repository_is_bare())]
    pub repository: String,

    /// The tag; unset, with no digest either, takes the operator's default when the cluster is created and stays there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    #[x_kube(validation = crate::rules::tag_is_one())]
    pub tag: Option<String>,

    /// The digest, which wins over the tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    #[x_kube(validation = crate::rules::digest_is_one())]
    pub digest: Option<String>,

    /// When nodes pull the image.
    #[serde(default)]
    pub pull_policy: PullPolicy,
}

/// When nodes pull an image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PullPolicy {
    /// At every start of a container.
    Always,
    /// When the node has not got it.
    #[default]
    IfNotPresent,
    /// Not at all: the node must have it.
    Never,
}

/// The data members.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Voters {
    /// How many data members there are in all, the bootstrap member included.
    #[serde(default = "crate::defaults::voters")]
    #[x_kube(validation = crate::rules::replicas_in_range())]
    pub replicas: i32,

    /// The volume of each data member.
    #[serde(default)]
    pub pvc: Volume,

    /// CPU and memory of each data member.
    #[serde(default)]
    #[schemars(schema_with = "crate::schema::resources")]
    pub resources: ResourceRequirements,
}

/// The member that votes and holds no data.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Arbiter {
    /// When there is an arbiter.
    #[serde(default)]
    pub mode: ArbiterMode,

    /// The arbiter's volume.
    #[serde(default)]
    pub pvc: ArbiterVolume,

    /// CPU and memory of the arbiter.
    #[serde(default)]
    #[schemars(schema_with = "crate::schema::resources")]
    pub resources: ResourceRequirements,
}

/// When there is an arbiter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ArbiterMode {
    /// While the number of data members is even.
    #[default]
    Auto,
    /// Whatever the number of data members is.
    Always,
    /// Not at all.
    Never,
}

impl ArbiterMode {
    /// Whether a cluster of `voters` data members has an arbiter under this mode.
    pub fn wants_arbiter(self, voters: i32) -> bool {
        match self {
            Self::Auto => voters % 2 == 0,
            Self::Always => true,
            Self::Never => false,
        }
    }
}

/// The PodDisruptionBudget over all members.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DisruptionBudget {
    /// Whether there is one.
    #[serde(default = "crate::defaults::enabled")]
    pub enabled: bool,
}

/// Settings of the server that a cluster's owner may choose; the operator sets the others.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerConfig {
    /// How long a linearizable read may wait, like `3s` or `1500ms`, up to `10m`; data members only.
    #[serde(default = "crate::defaults::barrier_timeout")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = crate::rules::barrier_timeout_is_in_range())]
    pub barrier_timeout: String,

    /// Further host names by which clients may call a member, like an Ingress's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 253)))]
    #[x_kube(validation = crate::rules::hosts_are_names())]
    pub http_allowed_hosts: Vec<String>,

    /// The least severe level that is logged.
    #[serde(default)]
    pub log_level: LogLevel,

    /// How log lines are written.
    #[serde(default)]
    pub log_format: LogFormat,
}

/// The least severe level that is logged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Failures only.
    Error,
    /// And what may become one.
    Warn,
    /// And what changed.
    #[default]
    Info,
    /// And why.
    Debug,
    /// And every step.
    Trace,
}

impl LogLevel {
    /// The name that the server knows the level by.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    #[default]
    Json,
}

impl LogFormat {
    /// The name that the server knows the format by.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

impl Default for ConureClusterSpec {
    fn default() -> Self {
        Self {
            image: Image::default(),
            voters: Voters::default(),
            arbiter: Arbiter::default(),
            security: defaults::security(),
            pdb: DisruptionBudget::default(),
            node_selector: BTreeMap::new(),
            tolerations: Vec::new(),
            affinity: None,
            topology_spread_constraints: Vec::new(),
            image_pull_secrets: Vec::new(),
            priority_class_name: None,
            service_account_name: None,
            pod_annotations: BTreeMap::new(),
            pod_labels: BTreeMap::new(),
            extra_env: Vec::new(),
            bootstrap: None,
            repair: Repair::default(),
            recovery: None,
            paused: false,
            suspend: false,
            server_config: ServerConfig::default(),
            tls: None,
        }
    }
}

impl Default for Image {
    fn default() -> Self {
        Self {
            repository: defaults::image_repository(),
            tag: None,
            digest: None,
            pull_policy: PullPolicy::default(),
        }
    }
}

impl Image {
    /// The reference that a container is given, or `None` where neither tag nor digest is set.
    pub fn reference(&self) -> Option<String> {
        let Self { repository, tag, digest, .. } = self;
        match (tag, digest) {
            (Some(tag), Some(digest)) => Some(format!("{repository}:{tag}@{digest}")),
            (None, Some(digest)) => Some(format!("{repository}@{digest}")),
            (Some(tag), None) => Some(format!("{repository}:{tag}")),
            (None, None) => None,
        }
    }
}

impl Default for Voters {
    fn default() -> Self {
        Self {
            replicas: defaults::voters(),
            pvc: Volume::default(),
            resources: ResourceRequirements::default(),
        }
    }
}

impl Default for DisruptionBudget {
    fn default() -> Self {
        Self { enabled: defaults::enabled() }
    }
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            barrier_timeout: defaults::barrier_timeout(),
            http_allowed_hosts: Vec::new(),
            log_level: LogLevel::default(),
            log_format: LogFormat::default(),
        }
    }
}
