//! What the schema cannot refuse: names that do not work, volumes of a past cluster, objects of others.
//!
//! **Invariant:** a cluster that is refused here gets nothing made and nothing changed.

use conure_crd::names::{MAX_NAME, RESERVED_SUFFIXES};
use kube::ResourceExt;

use super::observe::Observed;
use super::view;

/// Why nothing is done for a resource. The texts say the mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The name makes no valid names for the objects.
    #[error("the name {0:?} {1}; create the ConureCluster under another name")]
    Name(String, String),
    /// Volumes under the names of this cluster's members were there before it.
    #[error(
        "the volumes {} were there before this ConureCluster and may hold another cluster's data; to go on with it, set \
         spec.bootstrap.existingVolumes.clusterID to that cluster's id; delete them (kubectl delete pvc {}) if nobody needs \
         that data; or create the ConureCluster under another name",
        .0.join(", "), .0.join(" ")
    )]
    VolumesExist(Vec<String>),
    /// There is nothing to go on with.
    #[error(
        "spec.bootstrap.existingVolumes asks to go on with cluster {0}, and no volume of this name is there; take it out to \
         begin an empty cluster"
    )]
    NoVolumes(String),
    /// Objects under the names of this cluster's objects belong to something else.
    #[error("{} belong to something else and are not taken over; delete or rename them", .0.join(", "))]
    ObjectsNotOurs(Vec<String>),
    /// Something that this version cannot give, and that nobody should believe to have.
    #[error(
        "spec.tls asks for encrypted traffic, which this version of the operator does not give: install the operator that belongs \
         to the definition of ConureCluster, or take out spec.tls"
    )]
    TlsAskedFor,
    /// Objects of a ConureCluster of the same name that was deleted are still there.
    #[error("{} of a deleted ConureCluster of this name are still going away", .0.join(", "))]
    OldObjectsLeaving(Vec<String>),
}

impl Refusal {
    /// The word that conditions and events carry.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Name(..) => "InvalidName",
            Self::VolumesExist(_) => "VolumesExist",
            Self::NoVolumes(_) => "NoVolumes",
            Self::ObjectsNotOurs(_) => "ObjectsNotOurs",
            Self::TlsAskedFor => "TLSNotSupported",
            Self::OldObjectsLeaving(_) => "OldObjectsLeaving",
        }
    }
}

/// Whether the operator may work on what it sees.
pub fn validate(observed: &Observed) -> Result<(), Refusal> {
    name(&observed.cluster.name_any())?;
    if observed.cluster_id().is_none() {
        // One that runs already goes on, and says so.
        if observed.cluster.spec.tls.is_some() {
            return Err(Refusal::TlsAskedFor);
        }
        match (view::taken_over(&observed.cluster), observed.claims.is_empty()) {
            (None, false) => return Err(Refusal::VolumesExist(observed.claims.keys().cloned().collect())),
            (Some(id), true) => return Err(Refusal::NoVolumes(id.to_owned())),
            _ => {}
        }
    }
    strangers(observed)
}

fn name(name: &str) -> Result<(), Refusal> {
    let refuse = |why: String| Err(Refusal::Name(name.to_owned(), why));
    if name.len() > MAX_NAME {
        return refuse(format!("is {} characters long, and {MAX_NAME} is the most", name.len()));
    }
    if let Some(suffix) = RESERVED_SUFFIXES.iter().find(|suffix| name.ends_with(**suffix)) {
        return refuse(format!("ends in {suffix:?}, as the names of other clusters' objects do"));
    }
    let label = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) || name.ends_with('-') || !name.chars().all(label)
    {
        return refuse("is no DNS-1035 label (a-z, 0-9 and '-', a letter first, no '-' last)".to_owned());
    }
    Ok(())
}

fn strangers(observed: &Observed) -> Result<(), Refusal> {
    let mut strange = Vec::new();
    let mut all_old = true;
    let mut look = |kind: &str, object: &dyn Owned| {
        if !object.ours(observed) {
            all_old &= object.of_namesake(observed);
            strange.push(format!("{kind} {}", object.called()));
        }
    };
    observed.sets.values().for_each(|set| look("StatefulSet", set));
    observed.services.iter().for_each(|service| look("Service", service));
    observed.disruption_budget.iter().for_each(|budget| look("PodDisruptionBudget", budget));
    observed.secret.iter().for_each(|secret| look("Secret", secret));
    match (strange.is_empty(), all_old) {
        (true, _) => Ok(()),
        (false, true) => Err(Refusal::OldObjectsLeaving(strange)),
        (false, false) => Err(Refusal::ObjectsNotOurs(strange)),
    }
}

/// What [`strangers`] asks of every kind.
trait Owned {
    fn ours(&self, observed: &Observed) -> bool;
    fn of_namesake(&self, observed: &Observed) -> bool;
    fn called(&self) -> String;
}

impl<K: ResourceExt> Owned for K {
    fn ours(&self, observed: &Observed) -> bool {
        observed.owns(self)
    }

    fn of_namesake(&self, observed: &Observed) -> bool {
        let name = observed.cluster.name_any();
        self.owner_references().iter().any(|owner| owner.kind == "ConureCluster" && owner.name == name)
    }

    fn called(&self) -> String {
        self.name_any()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use conure_crd::ConureCluster;
    use conure_crd::names::Component;
    use k8s_openapi::api::apps::v1::StatefulSet;
    use k8s_openapi::api::core::v1::PersistentVolumeClaim;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

    fn observed(name: &str) -> Observed {
        let mut cluster = ConureCluster::new(name, Default::default());
        cluster.metadata.uid = Some("uid-1".into());
        Observed::new(cluster)
    }

    fn set_owned_by(uid: &str) -> StatefulSet {
        let mut set = StatefulSet::default();
        set.metadata.name = Some("conure".into());
        set.metadata.owner_references = Some(vec![OwnerReference {
            kind: "ConureCluster".into(),
            name: "conure".into(),
            uid: uid.into(),
            controller: Some(true),
            ..OwnerReference::default()
        }]);
        set
    }

    #[test]
    fn names_that_make_no_names_are_refused_with_the_mend() {
        assert_eq!(validate(&observed("conure")), Ok(()));
        for bad in ["a".repeat(43).as_str(), "a-bootstrap", "a-arbiter", "a-peers", "9lives", "a.b", "a-"] {
            let refusal = validate(&observed(bad)).expect_err(bad);
            assert!(refusal.to_string().contains("another name"), "{refusal}");
        }
    }

    #[test]
    fn volumes_from_before_are_refused_and_volumes_of_this_cluster_are_not() {
        let mut observed = observed("conure");
        observed.claims.insert("data-conure-0".into(), PersistentVolumeClaim::default());
        let refusal = validate(&observed).expect_err("there is a volume");
        assert!(refusal.to_string().contains("kubectl delete pvc data-conure-0"), "{refusal}");
        observed.cluster.status =
            Some(conure_crd::ConureClusterStatus { cluster_id: Some("id".into()), ..Default::default() });
        assert_eq!(validate(&observed), Ok(()));
    }

    #[test]
    fn volumes_from_before_are_taken_over_when_asked_and_only_where_there_are_any() {
        let mut observed = observed("conure");
        let existing = conure_crd::ExistingVolumes { cluster_id: "id-7".into() };
        observed.cluster.spec.bootstrap = Some(conure_crd::Bootstrap { existing_volumes: Some(existing) });
        assert_eq!(validate(&observed), Err(Refusal::NoVolumes("id-7".into())));
        observed.claims.insert("data-conure-0".into(), PersistentVolumeClaim::default());
        assert_eq!(validate(&observed), Ok(()));
    }

    #[test]
    fn no_cluster_is_begun_that_would_be_less_guarded_than_asked_for() {
        let mut asked = observed("conure");
        asked.cluster.spec.tls = Some(conure_crd::Tls {});
        assert_eq!(validate(&asked), Err(Refusal::TlsAskedFor));
        asked.cluster.status =
            Some(conure_crd::ConureClusterStatus { cluster_id: Some("id".into()), ..Default::default() });
        assert_eq!(validate(&asked), Ok(()), "it runs as it ran before");
    }

    #[test]
    fn a_wiped_status_is_no_reason_to_refuse_while_a_stateful_set_knows_the_id() {
        let mut observed = observed("conure");
        observed.claims.insert("data-conure-0".into(), PersistentVolumeClaim::default());
        let mut set = set_owned_by("uid-1");
        set.annotations_mut().insert(super::super::build::CLUSTER_ID.into(), "id".into());
        observed.sets.insert(Component::Voter, set);
        assert_eq!(validate(&observed), Ok(()));
    }

    #[test]
    fn objects_of_others_are_named_and_those_of_a_deleted_namesake_are_waited_for() {
        let mut observed = observed("conure");
        observed.sets.insert(Component::Voter, set_owned_by("uid-1"));
        assert_eq!(validate(&observed), Ok(()));
        observed.sets.insert(Component::Voter, set_owned_by("uid-0"));
        assert_eq!(validate(&observed).expect_err("old").reason(), "OldObjectsLeaving");
        let mut other = StatefulSet::default();
        other.metadata.name = Some("conure".into());
        observed.sets.insert(Component::Voter, other);
        let refusal = validate(&observed).expect_err("a stranger's");
        assert_eq!(refusal, Refusal::ObjectsNotOurs(vec!["StatefulSet conure".into()]));
    }
}
