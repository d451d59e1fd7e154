//! What is watched, and what a change of it sets going.

use std::sync::Arc;
use std::time::{Duration, Instant};

use conure_crd::ConureCluster;
use futures::StreamExt;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::DeserializeGuard;
use kube::runtime::controller::{Action, Config as ControllerConfig};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{Controller, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::config::Config;
use crate::context::Context;
use crate::reconcile::{ReconcileError, reconcile};

/// Changes that come together are looked at together.
const DEBOUNCE: Duration = Duration::from_millis(50);
/// A spec that cannot be read is looked at again when it changes, and after this long.
const UNREADABLE: Duration = Duration::from_secs(60);

type Guarded = DeserializeGuard<ConureCluster>;

/// Works until `stop`; what is being done then is finished.
pub async fn run(context: Arc<Context>, config: &Config, stop: CancellationToken) {
    let client = context.client.clone();
    let namespace = config.watched();
    let mine = watcher::Config::default().labels("app.kubernetes.io/name=conuredb");
    let all = watcher::Config::default();
    Controller::new(api::<Guarded>(&client, namespace), all)
        .with_config(ControllerConfig::default().concurrency(config.concurrency).debounce(DEBOUNCE))
        .owns(api::<StatefulSet>(&client, namespace), mine.clone())
        .owns(api::<Service>(&client, namespace), mine.clone())
        .owns(api::<PodDisruptionBudget>(&client, namespace), mine.clone())
        .watches(api::<Pod>(&client, namespace), mine.clone(), |pod| cluster_of(&pod))
        .watches(api::<PersistentVolumeClaim>(&client, namespace), mine, |claim| cluster_of(&claim))
        .graceful_shutdown_on(async move { stop.cancelled().await })
        .run(one, again_after, context)
        .for_each(async |result| {
            if let Err(error) = result {
                // The object was deleted since it was queued, or a watch broke and is being opened again.
                tracing::debug!(%error, "the controller goes on");
            }
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

/// The cluster that a pod or claim belongs to: both carry the StatefulSet's selector.
fn cluster_of(object: &impl ResourceExt) -> Option<ObjectRef<Guarded>> {
    let cluster = object.labels().get("app.kubernetes.io/instance")?;
    Some(ObjectRef::new(cluster).within(&object.namespace()?))
}

async fn one(guarded: Arc<Guarded>, context: Arc<Context>) -> Result<Action, ReconcileError> {
    let namespace = guarded.namespace().unwrap_or_default();
    let name = guarded.name_any();
    if let Err(error) = &guarded.0 {
        tracing::error!(namespace, cluster = name, %error, "this resource cannot be read and is left alone; correct its spec");
        return Ok(Action::requeue(UNREADABLE));
    }
    let span = tracing::info_span!("reconcile", namespace, cluster = name);
    let begun = Instant::now();
    let result = reconcile(&context, &namespace, &name).instrument(span).await;
    context.metrics.reconciled(begun.elapsed(), result.is_ok());
    Ok(match result? {
        Some(wait) => Action::requeue(wait),
        None => Action::await_change(),
    })
}

fn again_after(guarded: Arc<Guarded>, error: &ReconcileError, context: Arc<Context>) -> Action {
    let namespace = guarded.namespace().unwrap_or_default();
    let name = guarded.name_any();
    let (lasting, wait) = context.failed(&namespace, &name);
    tracing::warn!(namespace, cluster = name, %error, ?lasting, "a pass failed");
    Action::requeue(wait)
}
