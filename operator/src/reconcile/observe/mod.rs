//! What there is: the cluster's objects, read from the API server now, and what its members answer.
//!
//! **Invariant:** nothing here changes anything, and nothing is remembered from one reconcile to the next.

mod claims;
mod damage;
mod members;
mod trouble;

use std::collections::{BTreeMap, BTreeSet};

use conure_crd::ConureCluster;
use conure_crd::names::{self, Component};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Secret, Service};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};

use super::build::TOKEN_KEY;
pub use damage::damage;
pub use members::{MemberAnswer, address, ask_all};
pub use trouble::{
    Trouble, UNSCHEDULABLE, ask_to_replace, claim_trouble, is_stuck, pod_trouble, replace_trouble,
    secret_trouble,
};

/// A pod that ran before says why it stopped in a handful of events; more would be noise.
const EVENTS_MAX: u32 = 50;

/// Why nothing can be seen.
#[derive(Debug, thiserror::Error)]
#[error("the {what} of the cluster cannot be read: {source}")]
pub struct ObserveError {
    what: &'static str,
    source: kube::Error,
}

/// Everything that was seen.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The resource as the API server has it now.
    pub cluster: ConureCluster,
    /// StatefulSets of that name, whoever made them.
    pub sets: BTreeMap<Component, StatefulSet>,
    /// Services of that name, whoever made them.
    pub services: Vec<Service>,
    /// The disruption budget of that name, whoever made it.
    pub disruption_budget: Option<PodDisruptionBudget>,
    /// The Secret of that name, whoever made it.
    pub secret: Option<Secret>,
    /// The pods, by name.
    pub pods: BTreeMap<String, Pod>,
    /// The claims, by name: before birth every claim that the cluster's pods would take, then those with its labels.
    pub claims: BTreeMap<String, PersistentVolumeClaim>,
    /// Claims without the cluster's labels that a pod to come would take, by name.
    pub strange_claims: BTreeSet<String>,
    /// What the members answered, by name.
    pub answers: BTreeMap<String, MemberAnswer>,
    /// What is wrong with the Secret, pods and claims.
    pub troubles: Vec<Trouble>,
}

impl Observed {
    /// Nothing but the resource.
    pub fn new(cluster: ConureCluster) -> Self {
        Self {
            cluster,
            sets: BTreeMap::new(),
            services: Vec::new(),
            disruption_budget: None,
            secret: None,
            pods: BTreeMap::new(),
            claims: BTreeMap::new(),
            strange_claims: BTreeSet::new(),
            answers: BTreeMap::new(),
            troubles: Vec::new(),
        }
    }

    /// The administration token, as the members read it: without what is blank around it.
    pub fn token(&self) -> Option<String> {
        let bytes = &self.secret.as_ref()?.data.as_ref()?.get(TOKEN_KEY)?.0;
        let token = std::str::from_utf8(bytes).ok()?.trim();
        let fits = !token.is_empty() && token.chars().all(|c| c.is_ascii_graphic());
        fits.then(|| token.to_owned())
    }

    /// The id that the status has, or else the one on the StatefulSets, which outlives a status that was wiped.
    pub fn cluster_id(&self) -> Option<String> {
        let written = self.cluster.status.as_ref().and_then(|status| status.cluster_id.clone());
        written.filter(|id| !id.is_empty()).or_else(|| {
            let owned = |set: &&StatefulSet| self.owns(*set);
            let id = |set: &StatefulSet| set.annotations().get(super::build::CLUSTER_ID).cloned();
            self.sets.values().filter(owned).find_map(id)
        })
    }

    /// Name and address of every pod that runs.
    pub fn addresses(&self) -> Vec<(String, String)> {
        members::addresses(self.pods.values())
    }

    /// Whether the object was made for this very resource.
    pub fn owns(&self, object: &impl ResourceExt) -> bool {
        let uid = self.cluster.uid();
        object
            .owner_references()
            .iter()
            .any(|owner| owner.controller == Some(true) && Some(&owner.uid) == uid.as_ref())
    }
}

/// Looks at the cluster. `None`: the resource is gone.
pub async fn observe(client: &Client, namespace: &str, name: &str) -> Result<Option<Observed>, ObserveError> {
    let fail = |what| move |source| ObserveError { what, source };
    let clusters: Api<ConureCluster> = Api::namespaced(client.clone(), namespace);
    let Some(cluster) = clusters.get_opt(name).await.map_err(fail("resource"))? else { return Ok(None) };

    let sets: Api<StatefulSet> = Api::namespaced(client.clone(), namespace);
    let services: Api<Service> = Api::namespaced(client.clone(), namespace);
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(client.clone(), namespace);
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let (service, peers, budget, secret) = (
        names::service(name),
        names::peers_service(name),
        names::disruption_budget(name),
        names::admin_secret(name),
    );
    let set_names = Component::ALL.map(|component| component.stateful_set(name));
    let mine = ListParams::default().labels(&selector(name));
    let (sets, services, disruption_budget, secret, pods) = tokio::try_join!(
        async {
            let found = futures::future::try_join_all(set_names.iter().map(|name| sets.get_opt(name))).await;
            found.map_err(fail("StatefulSets"))
        },
        async {
            let found = futures::future::try_join(services.get_opt(&service), services.get_opt(&peers)).await;
            found.map_err(fail("Services"))
        },
        async { budgets.get_opt(&budget).await.map_err(fail("PodDisruptionBudget")) },
        async { secrets.get_opt(&secret).await.map_err(fail("Secret")) },
        async { pods.list(&mine).await.map_err(fail("pods")) },
    )?;

    let mut observed = Observed {
        sets: Component::ALL.into_iter().zip(sets).filter_map(|(c, set)| Some((c, set?))).collect(),
        services: [services.0, services.1].into_iter().flatten().collect(),
        disruption_budget,
        secret,
        ..Observed::new(cluster)
    };
    let pods = pods.into_iter().filter(|pod| names::parse_pod(name, &pod.name_any()).is_some());
    observed.pods = pods.map(|pod| (pod.name_any(), pod)).collect();
    let (claims, answers) = tokio::try_join!(claims::list(client, namespace, &observed), async {
        Ok(ask_all(observed.addresses()).await)
    },)?;
    (observed.claims, observed.strange_claims) = claims::told_apart(claims, &observed);
    observed.answers = answers;
    observed.troubles = troubles(client, namespace, &observed).await?;
    Ok(Some(observed))
}

/// The labels of the cluster's pods and claims.
fn selector(name: &str) -> String {
    let labels = names::selector_labels(name);
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

/// What is wrong with the Secret and with pods; for claims that stay unbound, their events say it.
async fn troubles(
    client: &Client,
    namespace: &str,
    observed: &Observed,
) -> Result<Vec<Trouble>, ObserveError> {
    let pods = observed.pods.values().filter_map(pod_trouble);
    let mut troubles: Vec<Trouble> =
        secret_trouble(observed).into_iter().chain(replace_trouble(observed)).chain(pods).collect();
    let events: Api<Event> = Api::namespaced(client.clone(), namespace);
    for claim in observed.claims.values() {
        let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref());
        let Some(uid) = claim.uid().filter(|_| phase == Some("Pending")) else { continue };
        let params = ListParams::default().fields(&format!("regarding.uid={uid}")).limit(EVENTS_MAX);
        let events = events.list(&params).await.map_err(|source| ObserveError { what: "events", source })?;
        troubles.extend(claim_trouble(claim, &events.items));
    }
    troubles.sort();
    Ok(troubles)
}
