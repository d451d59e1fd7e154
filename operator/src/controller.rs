//! What is watched, and what a change of it sets going.

use std::sync::Arc;
use std::time::{Duration, Instant};

use conure_crd::ConureCluster;
use conure_crd::names::CLUSTER_LABEL;
use futures::StreamExt;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::DeserializeGuard;
use kube::runtime::controller::{Action, Config as ControllerConfig, Error as ControllerError};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{Controller, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::config::Config;
use crate::context::Context;
use crate::reconcile::{ReconcileError, reconcile};
use crate::unreadable;

/// Changes that come together are looked at together.
const DEBOUNCE: Duration = Duration::from_millis(50);
/// A spec that cannot be read is looked at again when it changes, and after this long.
const UNREADABLE: Duration = Duration::from_secs(60);

/// An API server or a member that hangs must not hold up its cluster for ever: the next pass carries on.
const PASS_MAX: Duration = Duration::from_mins(2);
/// The members of a cluster at rest are asked this often.
const AT_REST: Duration = Duration::from_secs(10);

type Guarded = DeserializeGuard<ConureCluster>;

/// Works until `stop`; what is being done then is finished.
pub async fn run(context: Arc<Context>, config: &Config, stop: CancellationToken) {
    let client = context.client.clone();
    let namespace = config.watched();
    let mine = watcher::Config::default().labels("app.kubernetes.io/name=conuredb");
    let all = watcher::Config::default();
    Controller::new(api::<Guarded>(&client, namespace), all)
        .with_config(ControllerConfig::default().concurrency(config.concurrency).debounce(DEBOUNCE))
        .watches(api::<StatefulSet>(&client, namespace), mine.clone(), touching(&context))
        .watches(api::<Service>(&client, namespace), mine.clone(), touching(&context))
        .watches(api::<PodDisruptionBudget>(&client, namespace), mine.clone(), touching(&context))
        .watches(api::<Pod>(&client, namespace), mine.clone(), touching(&context))
        .watches(api::<PersistentVolumeClaim>(&client, namespace), mine, touching(&context))
        .graceful_shutdown_on(async move { stop.cancelled().await })
        .run(one, again_after, Arc::clone(&context))
        .for_each(async |result| match result {
            Ok(_) => {}
            // Whatever is deleted is queued once more, and then there is nothing to make a pass over.
            Err(ControllerError::ObjectNotFound(gone)) => {
                context.forget(gone.namespace.as_deref().unwrap_or_default(), &gone.name);
            }
            // Opened again after a while, and after a longer one each time. Without the definition there is nothing to watch.
            Err(ControllerError::QueueError(error)) => tracing::warn!(%error, "a watch broke"),
            // A pass failed, which was told where it happened.
            Err(error) => tracing::debug!(%error, "the controller goes on"),
        })
        .await;
}

fn api<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// Ends the rest of the cluster that a changed object belongs to, and sets it going.
fn touching<K: ResourceExt>(context: &Arc<Context>) -> impl Fn(K) -> Option<ObjectRef<Guarded>> + use<K> {
    let context = Arc::clone(context);
    move |object| {
        let cluster = cluster_of(&object)?;
        context.rests.touch(cluster.namespace.as_deref().unwrap_or_default(), &cluster.name);
        Some(cluster)
    }
}

/// The cluster that an object belongs to: every one carries the labels, pods and claims by their StatefulSet's selector.
fn cluster_of(object: &impl ResourceExt) -> Option<ObjectRef<Guarded>> {
    let cluster = object.labels().get(CLUSTER_LABEL)?;
    Some(ObjectRef::new(cluster).within(&object.namespace()?))
}

async fn one(guarded: Arc<Guarded>, context: Arc<Context>) -> Result<Action, ReconcileError> {
    let namespace = guarded.namespace().unwrap_or_default();
    let name = guarded.name_any();
    if let Err(error) = &guarded.0 {
        tracing::error!(namespace, cluster = name, %error, "this resource cannot be read and is left alone; correct its spec");
        unreadable::report(&context, &namespace, &name, &error.error).await;
        return Ok(Action::requeue(UNREADABLE));
    }
    let version = guarded.resource_version();
    if context.rests.still(&context.client, &namespace, &name, version.as_deref()).await {
        return Ok(Action::requeue(AT_REST));
    }
    let span = tracing::info_span!("reconcile", namespace, cluster = name, trace_id = %uuid::Uuid::new_v4().simple());
    let begun = Instant::now();
    let pass = async {
        let pass = reconcile(&context, &namespace, &name);
        let result = tokio::time::timeout(PASS_MAX, pass).await;
        result.unwrap_or(Err(ReconcileError::Late(PASS_MAX))).inspect_err(|error| {
            tracing::warn!(%error, "the pass failed");
        })
    };
    let result = pass.instrument(span).await;
    context.metrics.reconciled(begun.elapsed(), result.is_ok());
    Ok(match result? {
        Some(wait) => Action::requeue(wait),
        None => Action::await_change(),
    })
}

fn again_after(guarded: Arc<Guarded>, _: &ReconcileError, context: Arc<Context>) -> Action {
    let namespace = guarded.namespace().unwrap_or_default();
    let (_lasting, wait) = context.failed(&namespace, &guarded.name_any());
    Action::requeue(wait)
}
