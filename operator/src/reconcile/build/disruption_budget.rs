//! How many members others may take away at a time.

use conure_crd::names;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::Blueprint;

/// One member at a time, the arbiter included, and none while another is not ready: a quorum of three or more
/// survives, and a drain and a rollout cannot take two. Whoever is on the way to vote is not ready, and so is whoever was
/// removed and still has a pod: while a step is under way none may go. One or two voters have no member to spare; a
/// budget of none would only make their nodes impossible to drain. Voters that have no pod here are not counted by it,
/// and nobody knows whether they are up: beside them none may go.
pub(super) fn over_all(blueprint: &Blueprint<'_>) -> Option<PodDisruptionBudget> {
    blueprint.cluster.spec.pdb.enabled.then(|| PodDisruptionBudget {
        metadata: blueprint.metadata(names::disruption_budget(blueprint.name)),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(i32::from(!blueprint.strangers))),
            selector: Some(LabelSelector {
                match_labels: Some(names::selector_labels(blueprint.name)),
                ..LabelSelector::default()
            }),
            // A pod that does not become ready must never be what keeps its node from being drained.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    })
}
