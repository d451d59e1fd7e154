//! The cluster's claims, and those of others that its pods would take.

use std::collections::{BTreeMap, BTreeSet};

use conure_crd::ConureCluster;
use conure_crd::names;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};

use super::super::build::BOOTSTRAPPED;
use super::super::plan::Wish;
use super::{ObserveError, Observed, selector};

/// Claims by name.
type Claims = BTreeMap<String, PersistentVolumeClaim>;

/// Every claim that a pod of the cluster has or would take.
pub(super) async fn list(
    client: &Client,
    namespace: &str,
    observed: &Observed,
) -> Result<Claims, ObserveError> {
    let name = observed.cluster.name_any();
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), namespace);
    // A StatefulSet takes whatever claim has the right name: while a pod may come, labels do not count.
    let complete =
        born(observed) && pods(&observed.cluster).iter().all(|pod| observed.pods.contains_key(pod));
    let params =
        if complete { ListParams::default().labels(&selector(&name)) } else { ListParams::default() };
    let list = claims.list(&params).await.map_err(|source| ObserveError { what: "volumes", source })?;
    let named = |claim: &PersistentVolumeClaim| {
        names::claimant(&claim.name_any()).is_some_and(|pod| names::parse_pod(&name, pod).is_some())
    };
    Ok(list.into_iter().filter(named).map(|claim| (claim.name_any(), claim)).collect())
}

/// The cluster's claims, and the names of those that are not and that a pod to come would take. Before the cluster's birth
/// all are alike; a pod that is there has the claim that it has.
pub(super) fn told_apart(claims: Claims, observed: &Observed) -> (Claims, BTreeSet<String>) {
    if !born(observed) {
        return (claims, BTreeSet::new());
    }
    let labels = names::selector_labels(&observed.cluster.name_any());
    let (ours, others): (Claims, Claims) = claims
        .into_iter()
        .partition(|(_, claim)| labels.iter().all(|(key, value)| claim.labels().get(key) == Some(value)));
    let taken = |claim: &String| names::claimant(claim).is_some_and(|pod| observed.pods.contains_key(pod));
    (ours, others.into_keys().filter(|claim| !taken(claim)).collect())
}

fn born(observed: &Observed) -> bool {
    observed.sets.values().any(|set| set.annotations().contains_key(BOOTSTRAPPED))
}

/// The names of the pods that the spec asks for.
fn pods(cluster: &ConureCluster) -> Vec<String> {
    if cluster.spec.suspend {
        return Vec::new();
    }
    let name = cluster.name_any();
    Wish::of(cluster).slots().into_iter().map(|slot| slot.name(&name)).collect()
}

#[cfg(test)]
mod tests {
    use conure_crd::ConureClusterSpec;
    use conure_crd::names::Component;
    use k8s_openapi::api::apps::v1::StatefulSet;
    use k8s_openapi::api::core::v1::Pod;

    use super::*;

    fn claim(labels: BTreeMap<String, String>) -> PersistentVolumeClaim {
        let mut claim = PersistentVolumeClaim::default();
        claim.metadata.labels = Some(labels);
        claim
    }

    #[test]
    fn a_claim_of_the_right_name_without_the_labels_is_somebody_elses_unless_a_pod_has_it() {
        let ours = names::selector_labels("conure");
        let claims: Claims = [
            ("data-conure-0", claim(ours.clone())),
            ("data-conure-1", claim(BTreeMap::new())),
            ("data-conure-2", claim(names::selector_labels("other"))),
        ]
        .map(|(name, claim)| (name.to_owned(), claim))
        .into();
        let mut observed = Observed::new(ConureCluster::new("conure", ConureClusterSpec::default()));
        let (all, none) = told_apart(claims.clone(), &observed);
        assert_eq!((all.len(), none.len()), (3, 0), "before birth whatever is there counts");

        let mut set = StatefulSet::default();
        set.metadata.annotations = Some([(BOOTSTRAPPED.to_owned(), "id".to_owned())].into());
        observed.sets.insert(Component::Bootstrap, set);
        let (kept, strange) = told_apart(claims.clone(), &observed);
        assert_eq!(kept.into_keys().collect::<Vec<_>>(), ["data-conure-0"]);
        assert_eq!(strange.into_iter().collect::<Vec<_>>(), ["data-conure-1", "data-conure-2"]);
        observed.pods.insert("conure-1".to_owned(), Pod::default());
        let (_, strange) = told_apart(claims, &observed);
        assert_eq!(strange.into_iter().collect::<Vec<_>>(), ["data-conure-2"]);
    }

    #[test]
    fn the_pods_asked_for_are_those_that_the_spec_says() {
        let mut cluster = ConureCluster::new("conure", ConureClusterSpec::default());
        cluster.spec.voters.replicas = 2;
        assert_eq!(pods(&cluster), ["conure-bootstrap-0", "conure-0", "conure-arbiter-0"]);
        cluster.spec.voters.replicas = 3;
        assert_eq!(pods(&cluster), ["conure-bootstrap-0", "conure-0", "conure-1"]);
        cluster.spec.suspend = true;
        assert!(pods(&cluster).is_empty());
    }
}
