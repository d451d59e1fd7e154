//! The objects, brought to the API server by server-side apply.
//!
//! **Invariant:** an object that does not belong to the resource is never written ([`super::validate`] looked before);
//! an object that is as it should be is not written either.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::build::{self, Blueprint, Objects};
use super::observe::Observed;
use crate::failpoint;

/// What the operator calls itself in `managedFields`.
pub const MANAGER: &str = "conure-operator";
/// On every object: what it was last made from.
const APPLIED: &str = "conuredb.dev/applied";

/// Why an object could not be brought.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The API server refused or did not answer.
    #[error("the {kind} {name} cannot be written: {source}")]
    Write {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
        /// What the API server said.
        source: kube::Error,
    },
    /// The object cannot be put into JSON.
    #[error("the {kind} {name} cannot be serialized: {source}")]
    Serialize {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
        /// What is wrong.
        source: serde_json::Error,
    },
}

/// Brings everything that differs. Answers whether that was a StatefulSet: then what was observed of its pods'
/// revisions is of the past.
pub async fn apply(
    client: &Client,
    observed: &Observed,
    blueprint: &Blueprint<'_>,
    objects: &Objects,
) -> Result<bool, ApplyError> {
    let namespace = blueprint.namespace;
    if observed.secret.is_none() {
        let secret = build::admin_secret(blueprint, new_token());
        create_secret(client, namespace, &secret).await?;
    }
    for service in &objects.services {
        let live = observed.services.iter().find(|live| live.name_any() == service.name_any());
        bring(client, namespace, service, live).await?;
    }
    match (&objects.disruption_budget, &observed.disruption_budget) {
        (Some(budget), live) => {
            bring(client, namespace, budget, live.as_ref()).await?;
        }
        (None, Some(live)) => remove_budget(client, namespace, live).await?,
        (None, None) => {}
    }
    let mut changed = false;
    for set in &objects.stateful_sets {
        let live = observed.sets.values().find(|live| live.name_any() == set.name_any());
        changed |= bring(client, namespace, set, live).await?;
    }
    Ok(changed)
}

/// Brings one StatefulSet, for an action.
pub async fn stateful_set(client: &Client, namespace: &str, set: &StatefulSet) -> Result<(), ApplyError> {
    bring(client, namespace, set, None).await.map(|_| ())
}

async fn bring<K>(client: &Client, namespace: &str, object: &K, live: Option<&K>) -> Result<bool, ApplyError>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Serialize
        + DeserializeOwned
        + Clone
        + Debug,
{
    let kind = K::kind(&()).into_owned();
    let name = object.name_any();
    let json = |object: &K| {
        serde_json::to_value(object).map_err(|source| ApplyError::Serialize {
            kind: kind.clone(),
            name: name.clone(),
            source,
        })
    };
    let desired = stamped(json(object)?);
    if let Some(live) = live
        && covers(&json(live)?, &desired)
    {
        return Ok(false);
    }
    failpoint::pass("before_apply");
    let params = PatchParams::apply(MANAGER).force();
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    tracing::info!(kind, name, "applies");
    let written = api.patch(&name, &params, &Patch::Apply(&desired)).await;
    written.map(|_| true).map_err(|source| ApplyError::Write { kind, name, source })
}

async fn create_secret(client: &Client, namespace: &str, secret: &Secret) -> Result<(), ApplyError> {
    failpoint::pass("before_create_secret");
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let name = secret.name_any();
    let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
    match api.create(&params, secret).await {
        Ok(_) => Ok(()),
        Err(source) => Err(ApplyError::Write { kind: "Secret".to_owned(), name, source }),
    }
}

async fn remove_budget(
    client: &Client,
    namespace: &str,
    live: &PodDisruptionBudget,
) -> Result<(), ApplyError> {
    let api: Api<PodDisruptionBudget> = Api::namespaced(client.clone(), namespace);
    let name = live.name_any();
    match api.delete(&name, &DeleteParams::default()).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(error)) if error.code == 404 => Ok(()),
        Err(source) => Err(ApplyError::Write { kind: "PodDisruptionBudget".to_owned(), name, source }),
    }
}

/// 256 random bits.
fn new_token() -> String {
    format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple())
}

/// The object with a hash of itself, so that a field which is no longer wanted is noticed too.
fn stamped(mut desired: Value) -> Value {
    let hash = Sha256::digest(desired.to_string().as_bytes());
    let hash: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    if let Some(metadata) = desired.get_mut("metadata").and_then(Value::as_object_mut) {
        let annotations = metadata.entry("annotations").or_insert_with(|| Value::Object(Default::default()));
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.insert(APPLIED.to_owned(), Value::String(hash));
        }
    }
    desired
}

/// Whether everything in `desired` is in `live` as well; what the API server filled in beside it does not matter.
fn covers(live: &Value, desired: &Value) -> bool {
    match (live, desired) {
        (Value::Object(live), Value::Object(desired)) => {
            desired.iter().all(|(key, value)| match live.get(key) {
                Some(found) => covers(found, value),
                None => value.is_null(),
            })
        }
        (Value::Array(live), Value::Array(desired)) => {
            live.len() == desired.len()
                && live.iter().zip(desired).all(|(live, desired)| covers(live, desired))
        }
        _ => live == desired,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn defaults_filled_in_by_the_api_server_are_no_difference() {
        let desired = json!({"spec": {"ports": [{"port": 1}], "type": "ClusterIP"}});
        let live = json!({"spec": {"ports": [{"port": 1, "protocol": "TCP"}], "type": "ClusterIP", "x": 1}});
        assert!(covers(&live, &desired));
    }

    #[test]
    fn drift_is_a_difference() {
        let desired = json!({"spec": {"ports": [{"port": 1}]}});
        for live in [
            json!({"spec": {"ports": [{"port": 2}]}}),
            json!({"spec": {"ports": [{"port": 1}, {"port": 2}]}}),
            json!({"spec": {}}),
        ] {
            assert!(!covers(&live, &desired), "{live}");
        }
    }

    #[test]
    fn a_field_that_is_no_longer_wanted_is_a_difference() {
        let before = stamped(json!({"metadata": {"name": "a"}, "spec": {"nodeSelector": {"disk": "ssd"}}}));
        let after = stamped(json!({"metadata": {"name": "a"}, "spec": {}}));
        assert!(!covers(&before, &after));
        assert!(covers(&before, &before));
    }

    #[test]
    fn tokens_are_long_and_never_the_same() {
        let (a, b) = (new_token(), new_token());
        assert_eq!(a.len(), 64);
        assert_ne!(a, b);
    }
}
