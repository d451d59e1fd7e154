//! What the operator says about a claim that a StatefulSet made: its size, and whether it goes with the resource.

use std::collections::BTreeMap;

use conure_crd::RetentionPolicy;
use conure_crd::names::Component;
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::Blueprint;
use crate::reconcile::{quantity, view};

/// A claim that is there.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveClaim {
    /// Its name.
    pub name: String,
    /// Its uid, so that nothing is said of another one of that name.
    pub uid: Option<String>,
    /// Whose members' it is.
    pub component: Component,
    /// The size that it asks for.
    pub size: Quantity,
    /// Whether a member is on it; a volume that was only kept does not grow.
    pub in_use: bool,
    /// Whether the operator said something of it before, which it would have to take back.
    pub spoken_of: bool,
}

/// The fields of the claim that are the operator's, `None` where there is nothing to say.
pub(super) fn of(blueprint: &Blueprint<'_>, live: &LiveClaim) -> Option<PersistentVolumeClaim> {
    let spec = &blueprint.cluster.spec;
    let wanted = if live.component.holds_data() { &spec.voters.pvc.size } else { &spec.arbiter.pvc.size };
    let grows = live.in_use && quantity::larger(&wanted.0, &live.size.0);
    let goes = view::retention(blueprint.cluster, live.component).when_deleted == RetentionPolicy::Delete;
    if !grows && !goes && !live.spoken_of {
        return None;
    }
    // No volume can shrink: one that somebody made larger stays so.
    let size = if grows { wanted } else { &live.size };
    Some(PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(live.name.clone()),
            namespace: Some(blueprint.namespace.to_owned()),
            uid: live.uid.clone(),
            // Kubernetes deletes it with the resource, also where the operator went first.
            owner_references: goes
                .then(|| vec![OwnerReference { controller: None, ..blueprint.owner.clone() }]),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            resources: Some(VolumeResourceRequirements {
                requests: Some(BTreeMap::from([("storage".to_owned(), size.clone())])),
                ..VolumeResourceRequirements::default()
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    })
}
