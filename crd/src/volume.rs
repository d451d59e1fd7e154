//! The members' volumes, and what becomes of them.

#![expect(
    unreachable_pub,
    reason = "KubeSchema repeats each struct inside a function, its visibility included"
)]

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::defaults;

/// The volume of a data member.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = crate::rules::volume_size_is_enough(),
    validation = crate::rules::storage_class_stays()
)]
pub struct Volume {
    /// How large the volume is.
    #[serde(default = "crate::defaults::data_volume_size")]
    #[schemars(schema_with = "crate::schema::volume_size")]
    pub size: Quantity,

    /// The storage class; unset takes the cluster's default class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub storage_class_name: Option<String>,

    /// What becomes of volumes that nobody uses any more.
    #[serde(default)]
    pub retention: Retention,
}

/// The arbiter's volume, which holds only the Raft log.
#[derive(KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = crate::rules::volume_size_is_enough(),
    validation = crate::rules::storage_class_stays()
)]
pub struct ArbiterVolume {
    /// How large the volume is.
    #[serde(default = "crate::defaults::arbiter_volume_size")]
    #[schemars(schema_with = "crate::schema::volume_size")]
    pub size: Quantity,

    /// The storage class; unset takes the cluster's default class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub storage_class_name: Option<String>,

    /// What becomes of volumes that nobody uses any more.
    #[serde(default)]
    pub retention: Retention,
}

/// What becomes of volumes that nobody uses any more.
#[derive(KubeSchema, Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Retention {
    /// The volume of a member that the spec no longer asks for, by what this says when the cluster shrinks.
    #[serde(default)]
    pub when_scaled: RetentionPolicy,

    /// The volumes of a ConureCluster that is deleted.
    #[serde(default)]
    pub when_deleted: RetentionPolicy,
}

/// Whether a volume is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RetentionPolicy {
    /// Until somebody deletes it.
    #[default]
    Retain,
    /// No: it is deleted with its data.
    Delete,
}

impl RetentionPolicy {
    /// The name that the schema knows it by.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retain => "Retain",
            Self::Delete => "Delete",
        }
    }
}

impl Default for Volume {
    fn default() -> Self {
        Self { size: defaults::data_volume_size(), storage_class_name: None, retention: Retention::default() }
    }
}

impl Default for ArbiterVolume {
    fn default() -> Self {
        Self {
            size: defaults::arbiter_volume_size(),
            storage_class_name: None,
            retention: Retention::default(),
        }
    }
}
