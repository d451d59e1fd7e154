//! From a spec to the objects that shall exist: a file for each kind.
//!
//! **Invariant:** nothing here holds a client; the same blueprint always gives the same objects. What must not change
//! while a cluster lives (claims, selectors) is taken from the blueprint, which took it from the live objects.

mod disruption_budget;
pub mod image;
mod pod;
mod secret;
mod service;
mod stateful_set;
mod volume;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use conure_crd::names::{self, Component};
use conure_crd::{ConureCluster, RecoveryStatus};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

pub use pod::SERVER;
pub use secret::{TOKEN_KEY, admin_secret};
pub use volume::LiveClaim;

/// On every StatefulSet: the cluster that its pods belong to.
pub const CLUSTER_ID: &str = "conuredb.dev/cluster-id";
/// On the bootstrap StatefulSet: the uid of the claim on which bootstrapping was begun.
pub const BOOTSTRAP_VOLUME: &str = "conuredb.dev/bootstrap-volume";
/// On the bootstrap StatefulSet: the cluster that was bootstrapped, written once and never taken back.
pub const BOOTSTRAPPED: &str = "conuredb.dev/bootstrapped";
/// On the resource, and from there on every pod: when a restart of all members was asked for.
pub const RESTARTED_AT: &str = "conuredb.dev/restarted-at";
/// On the resource: the name of a member that is to start over on a new volume.
pub const REPLACE_MEMBER: &str = "conuredb.dev/replace-member";
/// On a claim: its member was asked to start over on a new one.
pub const REPLACE: &str = "conuredb.dev/replace";
/// On a claim: what the retention policy said when its member went.
pub const WHEN_SCALED: &str = "conuredb.dev/when-scaled";
/// On every pod: `data` or `arbiter`. A Service's selector knows no "one of", and clients want data members.
pub const ROLE: &str = "conuredb.dev/role";

/// What is known of the cluster's birth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The cluster's id.
    pub cluster_id: String,
    /// The uid of the claim on which bootstrapping was begun.
    pub bootstrap_volume: Option<String>,
    /// Whether the cluster was ever bootstrapped.
    pub born: bool,
}

/// The size and class of a StatefulSet's claims.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// How large.
    pub size: Quantity,
    /// The class, `None` for the default one.
    pub class: Option<String>,
}

/// Everything that the objects are made from.
#[derive(Debug, Clone)]
pub struct Blueprint<'a> {
    /// The resource.
    pub cluster: &'a ConureCluster,
    /// Its name.
    pub name: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// The reference from its objects to it.
    pub owner: OwnerReference,
    /// Its birth.
    pub identity: Identity,
    /// The server's image.
    pub image: String,
    /// Why it is not the one that the spec asks for.
    pub image_refused: Option<String>,
    /// The cluster's incarnation, `None` while none is known.
    pub incarnation: Option<i64>,
    /// Replicas of each StatefulSet that shall exist.
    pub sizes: BTreeMap<Component, u32>,
    /// The member with which the cluster is to go on alone.
    pub recovering: Option<RecoveryStatus>,
    /// Whether members vote that this operator did not make.
    pub strangers: bool,
    /// The claims of StatefulSets that exist, which cannot change.
    pub claims: BTreeMap<Component, Claim>,
    /// The claims that the StatefulSets made.
    pub volumes: Vec<LiveClaim>,
}

/// The objects of a cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Objects {
    /// For clients, and for members to find each other.
    pub services: Vec<Service>,
    /// Over all members, where wanted.
    pub disruption_budget: Option<PodDisruptionBudget>,
    /// One for each component that shall exist.
    pub stateful_sets: Vec<StatefulSet>,
    /// The operator's part of claims that are there.
    pub volumes: Vec<PersistentVolumeClaim>,
}

/// The objects that the blueprint asks for; the Secret is apart, as its token is made once.
pub fn objects(blueprint: &Blueprint<'_>) -> Objects {
    Objects {
        services: vec![service::clients(blueprint), service::peers(blueprint)],
        disruption_budget: disruption_budget::over_all(blueprint),
        stateful_sets: blueprint
            .sizes
            .iter()
            .map(|(component, replicas)| stateful_set::of(blueprint, *component, *replicas))
            .collect(),
        volumes: blueprint.volumes.iter().filter_map(|live| volume::of(blueprint, live)).collect(),
    }
}

impl Blueprint<'_> {
    fn metadata(&self, name: String) -> ObjectMeta {
        ObjectMeta {
            name: Some(name),
            namespace: Some(self.namespace.to_owned()),
            labels: Some(names::object_labels(self.name, image::version(&self.image).as_deref())),
            owner_references: Some(vec![self.owner.clone()]),
            ..ObjectMeta::default()
        }
    }
}
