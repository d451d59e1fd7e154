//! What is done to claims: marked when their member goes, deleted when nobody needs them.

use conure_crd::names;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, ResourceExt};
use serde_json::json;

use super::{ActError, Outcome};
use crate::context::Context;
use crate::failpoint;
use crate::reconcile::apply::MANAGER;
use crate::reconcile::build::{Blueprint, WHEN_SCALED};
use crate::reconcile::observe::Observed;
use crate::reconcile::plan::Slot;
use crate::reconcile::view;

/// The claim of a pod, as it was seen.
pub(super) fn claim_of<'a>(observed: &'a Observed, pod: &str) -> Result<&'a PersistentVolumeClaim, ActError> {
    let claim = names::volume_claim(pod);
    observed.claims.get(&claim).ok_or(ActError::Gone(claim))
}

/// Writes on a member's claim what the policy says now, before its pod goes: a later change of the policy must not
/// decide over volumes that were kept.
pub(super) async fn mark_scaled(
    context: &Context,
    observed: &Observed,
    blueprint: &Blueprint<'_>,
    slot: Slot,
) -> Result<(), ActError> {
    let policy = view::retention(blueprint.cluster, slot.component).when_scaled.as_str();
    let Ok(live) = claim_of(observed, &slot.name(blueprint.name)) else { return Ok(()) };
    if live.annotations().get(WHEN_SCALED).is_some_and(|there| there == policy) {
        return Ok(());
    }
    annotate(context, blueprint, live, WHEN_SCALED, Some(policy)).await
}

/// Sets or removes an annotation of this very claim.
pub(super) async fn annotate(
    context: &Context,
    blueprint: &Blueprint<'_>,
    live: &PersistentVolumeClaim,
    key: &str,
    value: Option<&str>,
) -> Result<(), ActError> {
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(context.client.clone(), blueprint.namespace);
    let patch = json!({"metadata": {"uid": live.uid(), "annotations": {key: value}}});
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let claim = live.name_any();
    failpoint::pass("before_annotate_claim");
    let annotated = claims.patch(&claim, &params, &Patch::Merge(&patch)).await;
    failpoint::pass("after_annotate_claim");
    match annotated {
        Ok(_) => Ok(()),
        Err(source) => Err(ActError::Volume { claim, source }),
    }
}

/// Deletes the claim that was seen, and no other one that took its name since.
pub(super) async fn delete(
    context: &Context,
    observed: &Observed,
    blueprint: &Blueprint<'_>,
    slot: Slot,
) -> Result<Outcome, ActError> {
    let pod = slot.name(blueprint.name);
    let live = claim_of(observed, &pod)?;
    delete_claim(context, blueprint, live).await?;
    let claim = live.name_any();
    let note =
        format!("{claim} is deleted, as {pod} is no longer a member and retention.whenScaled is Delete");
    Ok(Outcome::Done { reason: "VolumeDeleted", note })
}

pub(super) async fn delete_claim(
    context: &Context,
    blueprint: &Blueprint<'_>,
    live: &PersistentVolumeClaim,
) -> Result<(), ActError> {
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(context.client.clone(), blueprint.namespace);
    let claim = live.name_any();
    // The resource version too: what was decided was decided over these annotations.
    let seen = Preconditions { uid: live.uid(), resource_version: live.resource_version() };
    let params = DeleteParams { preconditions: Some(seen), ..DeleteParams::default() };
    failpoint::pass("before_delete_claim");
    let deleted = claims.delete(&claim, &params).await;
    failpoint::pass("after_delete_claim");
    match deleted {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(source) => Err(ActError::Volume { claim, source }),
    }
}
