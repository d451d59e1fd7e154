//! A pod goes by the Eviction API, where a disruption budget may hold it back.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::Eviction;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta, Preconditions};
use kube::api::PostParams;
use kube::core::Status;
use kube::{Api, ResourceExt};

use super::{ActError, Outcome};
use crate::context::Context;
use crate::failpoint;
use crate::reconcile::build::Blueprint;
use crate::reconcile::observe::Observed;
use crate::reconcile::plan::Slot;

pub(super) async fn evict(
    context: &Context,
    observed: &Observed,
    blueprint: &Blueprint<'_>,
    slot: Slot,
) -> Result<Outcome, ActError> {
    let pod = slot.name(blueprint.name);
    let evicted = ask(context, observed, blueprint, &pod).await?;
    Ok(evicted.unwrap_or_else(|| {
        let note = format!("{pod} is replaced, to run the present template");
        Outcome::Done { reason: "PodReplaced", note }
    }))
}

/// Evicts the very pod that was seen; an outcome where a disruption budget holds it back.
pub(super) async fn ask(
    context: &Context,
    observed: &Observed,
    blueprint: &Blueprint<'_>,
    pod: &str,
) -> Result<Option<Outcome>, ActError> {
    failpoint::pass("before_evict");
    let evicted = post(context, observed, blueprint, pod, false).await?;
    failpoint::pass("after_evict");
    Ok(evicted)
}

/// Whether it would be held back.
pub(super) async fn would_be_held_back(
    context: &Context,
    observed: &Observed,
    blueprint: &Blueprint<'_>,
    pod: &str,
) -> Result<Option<Outcome>, ActError> {
    post(context, observed, blueprint, pod, true).await
}

async fn post(
    context: &Context,
    observed: &Observed,
    blueprint: &Blueprint<'_>,
    pod: &str,
    dry_run: bool,
) -> Result<Option<Outcome>, ActError> {
    let gone = || ActError::Gone(pod.to_owned());
    let uid = observed.pods.get(pod).ok_or_else(gone)?.uid();
    // `Api::evict` sends its options under a name that the API server does not know, and they would count for nothing.
    let eviction = Eviction {
        metadata: ObjectMeta { name: Some(pod.to_owned()), ..ObjectMeta::default() },
        delete_options: Some(DeleteOptions {
            preconditions: Some(Preconditions { uid, resource_version: None }),
            ..DeleteOptions::default()
        }),
    };
    let options = PostParams { dry_run, ..PostParams::default() };
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), blueprint.namespace);
    match pods.create_subresource::<_, Status>("eviction", pod, &options, &eviction).await {
        Ok(_) => Ok(None),
        Err(kube::Error::Api(status)) if status.code == 429 => {
            let why = format!("the disruption budget holds {pod} back: {}", status.message);
            Ok(Some(Outcome::Later(why)))
        }
        Err(kube::Error::Api(status)) if status.code == 404 => Err(gone()),
        Err(source) => Err(ActError::Evict { pod: pod.to_owned(), source }),
    }
}
