//! The objects, brought to the API server by server-side apply.
//!
//! **Invariant:** an object that does not belong to the resource is never written ([`super::validate`] looked before);
//! an object that is as it should be is not written either.

use std::fmt::Debug;
use std::time::Instant;

use conure_crd::names;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Secret};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::build::{self, Blueprint, Objects};
use super::difference::differs;
use super::observe::Observed;
use crate::context::Context;
use crate::failpoint;

/// What the operator calls itself in `managedFields`.
pub const MANAGER: &str = "conure-operator";
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
    /// The API server refused it a while ago, and it is too early to ask again.
    #[error("the {kind} {name} cannot be written: {said}")]
    Refused {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
        /// What the API server said.
        said: String,
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

impl ApplyError {
    /// Whether the API server looked at the object and will not have it.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Write { source: kube::Error::Api(status), .. } => matches!(status.code, 403 | 422),
            Self::Refused { .. } => true,
            _ => false,
        }
    }
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
        bring(client, namespace, service, find(&observed.services, service)).await?;
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
        changed |= bring(client, namespace, set, find(observed.sets.values(), set)).await?;
    }
    Ok(changed)
}

/// Brings the operator's part of the claims: each is tried, and the first failure is told. Apart from the other objects,
/// as a storage that refuses to grow must not hold up what keeps the cluster alive. What was refused is tried again less
/// and less often.
pub async fn volumes(
    context: &Context,
    observed: &Observed,
    blueprint: &Blueprint<'_>,
    objects: &Objects,
) -> Result<(), ApplyError> {
    let cluster = (blueprint.namespace.to_owned(), blueprint.name.to_owned());
    let mut outcome = Ok(());
    let mut wanted = Vec::new();
    for claim in &objects.volumes {
        let live = find(observed.claims.values(), claim);
        let Some(change) = differs(claim, live)? else { continue };
        let (change, name) = (change.to_string(), claim.name_any());
        wanted.push(name.clone());
        let brought = match context.refusals.held(&cluster, &name, &change, Instant::now()) {
            Some(said) => {
                let kind = PersistentVolumeClaim::kind(&()).into_owned();
                Err(ApplyError::Refused { kind, name, said })
            }
            None => {
                let brought = bring(&context.client, blueprint.namespace, claim, live).await;
                if let Err(error @ ApplyError::Write { source, .. }) = &brought
                    && error.is_refusal()
                {
                    let said = source.to_string();
                    context.refusals.refused(&cluster, &name, &change, &said, Instant::now());
                }
                brought.map(|_| ())
            }
        };
        outcome = outcome.and(brought);
    }
    context.refusals.keep(&cluster, &wanted);
    outcome
}

/// What [`apply`] and [`volumes`] would write, make or remove now, each as its kind and name.
pub fn missing(observed: &Observed, objects: &Objects) -> Result<Vec<String>, ApplyError> {
    let mut missing = Vec::new();
    if observed.secret.is_none() {
        missing.push(format!("Secret {}", names::admin_secret(&observed.cluster.name_any())));
    }
    for service in &objects.services {
        missing.extend(differs(service, find(&observed.services, service))?.map(|_| title(service)));
    }
    match (&objects.disruption_budget, &observed.disruption_budget) {
        (Some(budget), live) => missing.extend(differs(budget, live.as_ref())?.map(|_| title(budget))),
        (None, Some(live)) => missing.push(title(live)),
        (None, None) => {}
    }
    for set in &objects.stateful_sets {
        missing.extend(differs(set, find(observed.sets.values(), set))?.map(|_| title(set)));
    }
    for claim in &objects.volumes {
        let live = find::<PersistentVolumeClaim>(observed.claims.values(), claim);
        missing.extend(differs(claim, live)?.map(|_| title(claim)));
    }
    Ok(missing)
}

fn find<'a, K: ResourceExt>(live: impl IntoIterator<Item = &'a K>, object: &K) -> Option<&'a K> {
    let name = object.name_any();
    live.into_iter().find(|live| live.name_any() == name)
}

fn title<K: Resource<DynamicType = ()>>(object: &K) -> String {
    format!("{} {}", K::kind(&()), object.name_any())
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
    let Some(desired) = differs(object, live)? else { return Ok(false) };
    let (kind, name) = (K::kind(&()).into_owned(), object.name_any());
    failpoint::pass("before_apply");
    let params = PatchParams::apply(MANAGER).force();
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    tracing::info!(kind, name, "applies");
    let written = api.patch(&name, &params, &Patch::Apply(&desired)).await;
    failpoint::pass("after_apply");
    written.map(|_| true).map_err(|source| ApplyError::Write { kind, name, source })
}

async fn create_secret(client: &Client, namespace: &str, secret: &Secret) -> Result<(), ApplyError> {
    failpoint::pass("before_create_secret");
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let name = secret.name_any();
    let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
    let created = api.create(&params, secret).await;
    failpoint::pass("after_create_secret");
    created.map(drop).map_err(|source| ApplyError::Write { kind: "Secret".to_owned(), name, source })
}

async fn remove_budget(
    client: &Client,
    namespace: &str,
    live: &PodDisruptionBudget,
) -> Result<(), ApplyError> {
    let api: Api<PodDisruptionBudget> = Api::namespaced(client.clone(), namespace);
    let name = live.name_any();
    failpoint::pass("before_delete_budget");
    let deleted = api.delete(&name, &DeleteParams::default()).await;
    failpoint::pass("after_delete_budget");
    match deleted {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(error)) if error.code == 404 => Ok(()),
        Err(source) => Err(ApplyError::Write { kind: "PodDisruptionBudget".to_owned(), name, source }),
    }
}

/// 256 random bits.
fn new_token() -> String {
    format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple())
}

#[cfg(test)]
mod tests {
    use super::super::build::Identity;
    use super::super::difference::stamped;
    use super::*;
    use conure_crd::ConureCluster;
    use conure_crd::names::Component;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

    /// A cluster of which everything was applied, as the API server would show it.
    fn applied(cluster: &ConureCluster) -> (Observed, Objects) {
        let blueprint = Blueprint {
            cluster,
            name: "conure",
            namespace: "db",
            owner: OwnerReference::default(),
            identity: Identity { cluster_id: "id-1".into(), bootstrap_volume: None, born: true },
            image: "a:1".into(),
            image_refused: None,
            sizes: [(Component::Bootstrap, 1), (Component::Voter, 2)].into(),
            incarnation: Some(1),
            strangers: false,
            claims: Default::default(),
            volumes: Vec::new(),
            recovering: None,
        };
        fn live<K: Serialize + DeserializeOwned>(object: &K) -> K {
            serde_json::from_value(stamped(serde_json::to_value(object).unwrap())).unwrap()
        }
        let objects = build::objects(&blueprint);
        let mut observed = Observed::new(cluster.clone());
        observed.secret = Some(build::admin_secret(&blueprint, new_token()));
        observed.services = objects.services.iter().map(live).collect();
        observed.disruption_budget = objects.disruption_budget.as_ref().map(live);
        for (component, set) in
            [Component::Bootstrap, Component::Voter].into_iter().zip(&objects.stateful_sets)
        {
            observed.sets.insert(component, live(set));
        }
        (observed, objects)
    }

    #[test]
    fn what_a_changed_spec_would_write_is_named_and_nothing_else() {
        let cluster = ConureCluster::new("conure", Default::default());
        let (mut observed, objects) = applied(&cluster);
        assert_eq!(missing(&observed, &objects).unwrap(), [""; 0]);

        let mut changed = cluster;
        changed.spec.node_selector.insert("disk".into(), "ssd".into());
        changed.spec.pdb.enabled = false;
        let (_, objects) = applied(&changed);
        let expected = ["PodDisruptionBudget conure", "StatefulSet conure-bootstrap", "StatefulSet conure"];
        assert_eq!(missing(&observed, &objects).unwrap(), expected);

        observed.secret = None;
        observed.services.pop();
        let (_, same) = applied(&observed.cluster);
        assert_eq!(missing(&observed, &same).unwrap(), ["Secret conure-admin", "Service conure-peers"]);
    }

    #[test]
    fn tokens_are_long_and_never_the_same() {
        let (a, b) = (new_token(), new_token());
        assert_eq!(a.len(), 64);
        assert_ne!(a, b);
    }
}
