//! One StatefulSet a component: pods that come at once and go only when told to.

use std::collections::BTreeMap;

use conure_crd::names::{self, Component};
use k8s_openapi::api::apps::v1::{
    StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec, StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, PodTemplateSpec, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use super::{BOOTSTRAP_VOLUME, BOOTSTRAPPED, Blueprint, CLUSTER_ID, Claim, RESTARTED_AT, ROLE, image, pod};

/// The StatefulSet of a component with that many replicas.
pub(super) fn of(blueprint: &Blueprint<'_>, component: Component, replicas: u32) -> StatefulSet {
    let selector = names::component_labels(blueprint.name, component);
    let mut metadata = blueprint.metadata(component.stateful_set(blueprint.name));
    metadata.annotations = Some(annotations(blueprint, component));
    metadata.labels.get_or_insert_default().extend(selector.clone());

    let spec = &blueprint.cluster.spec;
    // The operator's own win: pods are found by them.
    let mut labels = spec.pod_labels.clone();
    labels.extend(names::object_labels(blueprint.name, image::version(&blueprint.image).as_deref()));
    labels.extend(selector.clone());
    let role = if component.holds_data() { "data" } else { "arbiter" };
    labels.insert(ROLE.to_owned(), role.to_owned());

    StatefulSet {
        metadata,
        spec: Some(StatefulSetSpec {
            replicas: Some(i32::try_from(replicas).unwrap_or(i32::MAX)),
            service_name: Some(names::peers_service(blueprint.name)),
            // Members find each other in any order, and a broken one must not hold up its repair.
            pod_management_policy: Some("Parallel".to_owned()),
            // The operator decides which pod is replaced when: the leader last.
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("OnDelete".to_owned()),
                ..StatefulSetUpdateStrategy::default()
            }),
            persistent_volume_claim_retention_policy: Some(StatefulSetPersistentVolumeClaimRetentionPolicy {
                when_deleted: Some("Retain".to_owned()),
                when_scaled: Some("Retain".to_owned()),
            }),
            revision_history_limit: Some(5),
            selector: LabelSelector { match_labels: Some(selector), ..LabelSelector::default() },
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(labels),
                    annotations: annotations_of_pods(blueprint),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod::spec(blueprint, component)),
            },
            volume_claim_templates: Some(vec![claim(blueprint.claim(component))]),
            ..StatefulSetSpec::default()
        }),
        ..StatefulSet::default()
    }
}

/// The spec's, and when a restart was asked for: a pod that was made before that is of another template.
fn annotations_of_pods(blueprint: &Blueprint<'_>) -> Option<BTreeMap<String, String>> {
    let mut annotations = blueprint.cluster.spec.pod_annotations.clone();
    let asked = blueprint.cluster.metadata.annotations.as_ref().and_then(|all| all.get(RESTARTED_AT));
    annotations.extend(asked.map(|at| (RESTARTED_AT.to_owned(), at.clone())));
    (!annotations.is_empty()).then_some(annotations)
}

fn annotations(blueprint: &Blueprint<'_>, component: Component) -> BTreeMap<String, String> {
    let identity = &blueprint.identity;
    let mut annotations = BTreeMap::from([(CLUSTER_ID.to_owned(), identity.cluster_id.clone())]);
    if component == Component::Bootstrap {
        if let Some(uid) = &identity.bootstrap_volume {
            annotations.insert(BOOTSTRAP_VOLUME.to_owned(), uid.clone());
        }
        if identity.born {
            annotations.insert(BOOTSTRAPPED.to_owned(), identity.cluster_id.clone());
        }
    }
    annotations
}

fn claim(claim: Claim) -> PersistentVolumeClaim {
    PersistentVolumeClaim {
        metadata: ObjectMeta { name: Some(names::VOLUME.to_owned()), ..ObjectMeta::default() },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            resources: Some(VolumeResourceRequirements {
                requests: Some(BTreeMap::from([("storage".to_owned(), claim.size)])),
                ..VolumeResourceRequirements::default()
            }),
            storage_class_name: claim.class,
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    }
}

impl Blueprint<'_> {
    /// The claim that a component's pods have, or get.
    fn claim(&self, component: Component) -> Claim {
        if let Some(kept) = self.claims.get(&component) {
            return kept.clone();
        }
        let spec = &self.cluster.spec;
        // The bootstrap member and the voters are alike, whichever of their StatefulSets is made later.
        let sibling = match component {
            Component::Voter => self.claims.get(&Component::Bootstrap),
            Component::Bootstrap => self.claims.get(&Component::Voter),
            Component::Arbiter => None,
        };
        let data = &spec.voters.pvc;
        let arbiter = &spec.arbiter.pvc;
        match component {
            Component::Arbiter => {
                Claim { size: arbiter.size.clone(), class: arbiter.storage_class_name.clone() }
            }
            _ => Claim {
                size: data.size.clone(),
                class: sibling.map_or_else(|| data.storage_class_name.clone(), |claim| claim.class.clone()),
            },
        }
    }
}
