//! A member starts over on a new volume.

use conure_crd::ConureCluster;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, ResourceExt};
use serde_json::json;

use super::{ActError, Outcome, evict, volume};
use crate::context::Context;
use crate::failpoint;
use crate::reconcile::apply::MANAGER;
use crate::reconcile::build::{Blueprint, REPLACE, REPLACE_MEMBER};
use crate::reconcile::observe::Observed;
use crate::reconcile::plan::{Cause, Slot};
use crate::reconcile::view;

/// The claim carries the request from now on, and goes with it: so it is done once, however often the operator dies.
pub(super) async fn accept(
    context: &Context,
    observed: &Observed,
    blueprint: &Blueprint<'_>,
    slot: Slot,
) -> Result<Outcome, ActError> {
    let pod = slot.name(blueprint.name);
    let live = volume::claim_of(observed, &pod)?;
    volume::annotate(context, blueprint, live, REPLACE, Some("asked")).await?;
    let resources: Api<ConureCluster> = Api::namespaced(context.client.clone(), blueprint.namespace);
    // Over the very object that was read: somebody may have named another member since.
    let patch = json!({"metadata": {
        "resourceVersion": observed.cluster.resource_version(),
        "annotations": {REPLACE_MEMBER: null},
    }});
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    failpoint::pass("before_clear_replace_member");
    let cleared = resources.patch(blueprint.name, &params, &Patch::Merge(&patch)).await;
    failpoint::pass("after_clear_replace_member");
    cleared.map_err(|source| ActError::Annotation { annotation: REPLACE_MEMBER, source })?;
    Ok(Outcome::Done { reason: "ReplaceAccepted", note: format!("{pod} is to start over on a new volume") })
}

/// The pod that comes back has the container that makes its member go on alone. Not by eviction: nothing serves that a
/// disruption budget could guard.
pub(super) async fn recover(
    context: &Context,
    observed: &Observed,
    blueprint: &Blueprint<'_>,
    slot: Slot,
) -> Result<Outcome, ActError> {
    let pod = slot.name(blueprint.name);
    delete_pod(context, observed, blueprint, &pod, None).await?;
    let note = format!("{pod} restarts, and the cluster goes on with it alone; a copy of its data is kept");
    Ok(Outcome::Done { reason: "Recovering", note })
}

/// Not by eviction either: it is in nobody's quorum, and whoever asks it gets what is of the past.
pub(super) async fn fence(
    context: &Context,
    observed: &Observed,
    blueprint: &Blueprint<'_>,
    slot: Slot,
) -> Result<Outcome, ActError> {
    let pod = slot.name(blueprint.name);
    delete_pod(context, observed, blueprint, &pod, None).await?;
    let note = format!(
        "{pod} restarts, as it was left behind by the recovery and counted as ready; its volume is kept"
    );
    Ok(Outcome::Done { reason: "MemberFenced", note })
}

/// The claim first: a pod that came back before it would come back to the old one. A pod that serves goes by eviction, and
/// its claim not before that would be allowed: others may be taking another member away at this moment.
pub(super) async fn replace(
    context: &Context,
    observed: &Observed,
    blueprint: &Blueprint<'_>,
    slot: Slot,
    cause: Cause,
) -> Result<Outcome, ActError> {
    let pod = slot.name(blueprint.name);
    let serves = observed.pods.get(&pod).is_some_and(view::is_ready);
    if serves && let Some(later) = evict::would_be_held_back(context, observed, blueprint, &pod).await? {
        return Ok(later);
    }
    if let Ok(live) = volume::claim_of(observed, &pod)
        && live.metadata.deletion_timestamp.is_none()
    {
        volume::delete_claim(context, blueprint, live).await?;
    }
    if serves {
        if let Some(later) = evict::ask(context, observed, blueprint, &pod).await? {
            return Ok(later);
        }
    } else {
        // Nobody is there who could end a lost pod. Should its process still run, it is a member that the new one replaces.
        delete_pod(context, observed, blueprint, &pod, (cause == Cause::Lost).then_some(0)).await?;
    }
    let why = match cause {
        Cause::Asked => "as was asked",
        Cause::VolumeLeaving => "as its claim is being deleted",
        Cause::Damaged => "as its data was found damaged",
        Cause::Lost => "as its node or its volume is gone for longer than spec.repair.replaceAfter",
    };
    Ok(Outcome::Done { reason: "MemberReplaced", note: format!("{pod} starts over on a new volume, {why}") })
}

/// Deletes the very pod that was seen.
async fn delete_pod(
    context: &Context,
    observed: &Observed,
    blueprint: &Blueprint<'_>,
    pod: &str,
    grace_period_seconds: Option<u32>,
) -> Result<(), ActError> {
    let seen = observed.pods.get(pod).ok_or_else(|| ActError::Gone(pod.to_owned()))?;
    let preconditions = Some(Preconditions { uid: seen.uid(), resource_version: None });
    let params = DeleteParams { grace_period_seconds, preconditions, ..DeleteParams::default() };
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), blueprint.namespace);
    failpoint::pass("before_delete_pod");
    let deleted = pods.delete(pod, &params).await;
    failpoint::pass("after_delete_pod");
    match deleted {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(source) => Err(ActError::DeletePod { pod: pod.to_owned(), source }),
    }
}
