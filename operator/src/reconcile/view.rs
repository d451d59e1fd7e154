//! From what was observed to what `build` and `plan` look at. Pure, as they are.

use std::collections::BTreeMap;

use conure_client::api::{RaftConfig, Suffrage};
use conure_crd::names::{self, Component, RAFT_PORT};
use conure_crd::{ConureCluster, MemberSuffrage};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::build::{BOOTSTRAP_VOLUME, BOOTSTRAPPED, Claim, Identity};
use super::observe::{MemberAnswer, Observed, is_stuck};
use super::plan::{Answer, Belongs, Config, Entry, Pod, Slot, Wish, World};

/// The label with which a StatefulSet marks the template that a pod was made from.
const REVISION: &str = "controller-revision-hash";

/// A member that knows no leader for that long will not find one by itself.
const ADRIFT_SECONDS: i64 = 15;

/// The members that the spec asks for.
pub fn wish(cluster: &ConureCluster) -> Wish {
    let data = cluster.spec.voters.replicas.max(1);
    Wish { data: data.unsigned_abs(), arbiter: cluster.spec.arbiter.mode.wants_arbiter(data) }
}

/// What is known of the cluster's birth, `None` before it has an id.
pub fn identity(observed: &Observed) -> Option<Identity> {
    let cluster_id = observed.cluster_id()?;
    let bootstrap = observed.sets.get(&Component::Bootstrap);
    let annotation = |key| bootstrap.and_then(|set| set.annotations().get(key).cloned());
    let incarnation = observed.cluster.status.as_ref().and_then(|status| status.incarnation);
    let born = annotation(BOOTSTRAPPED).is_some()
        || incarnation.is_some_and(|incarnation| incarnation > 0)
        || observed.answers.values().any(|answer| answer.status.cluster_id == cluster_id);
    Some(Identity { cluster_id, bootstrap_volume: annotation(BOOTSTRAP_VOLUME), born })
}

/// The answer of the leader: of those who say that they lead this cluster, the one with the highest term.
pub fn leader<'a>(observed: &'a Observed, cluster_id: &str) -> Option<(&'a str, &'a MemberAnswer)> {
    observed
        .answers
        .iter()
        .filter(|(_, answer)| answer.status.is_leader && answer.status.cluster_id == cluster_id)
        .max_by_key(|(_, answer)| answer.status.term)
        .map(|(name, answer)| (name.as_str(), answer))
}

/// The configuration that the member with the highest commit index knows, for when nobody leads.
pub fn last_config<'a>(observed: &'a Observed, cluster_id: &str) -> Option<&'a RaftConfig> {
    let known = observed.answers.values().filter(|answer| answer.status.cluster_id == cluster_id);
    known.max_by_key(|answer| (answer.status.term, answer.status.commit_index))?.config.as_ref()
}

/// Replicas of each StatefulSet as `apply` shall leave them: as they are, and never fewer than members need. Only an
/// action of the plan makes them fewer.
pub fn sizes(observed: &Observed, identity: &Identity, wish: Wish) -> BTreeMap<Component, u32> {
    let mut sizes = BTreeMap::from([(Component::Bootstrap, 1)]);
    // No other volume may exist when the first member is bootstrapped.
    if !identity.born {
        return sizes;
    }
    let live = |component| observed.sets.get(&component).map(replicas);
    let led = leader(observed, &identity.cluster_id).is_some();
    let voters = match live(Component::Voter) {
        // The plan knows better while there is a leader.
        Some(replicas) if led => replicas,
        there => there.unwrap_or(0).max(known_voters(observed, &identity.cluster_id)).max(wish.voters()),
    };
    sizes.insert(Component::Voter, voters);
    match live(Component::Arbiter) {
        Some(replicas) => sizes.insert(Component::Arbiter, replicas.min(1)),
        None => wish.arbiter.then(|| sizes.insert(Component::Arbiter, 1)).flatten(),
    };
    sizes
}

/// How many pods the voters' StatefulSet needs for the members that were last known.
fn known_voters(observed: &Observed, cluster_id: &str) -> u32 {
    let cluster = observed.cluster.name_any();
    let members = observed.cluster.status.iter().flat_map(|status| &status.members);
    let remembered = members.filter(|member| member.suffrage.is_some()).map(|member| &member.name);
    let configured =
        last_config(observed, cluster_id).into_iter().flat_map(|config| &config.members).map(|m| &m.id);
    remembered
        .chain(configured)
        .filter_map(|name| Slot::parse(&cluster, name))
        .filter(|slot| slot.component == Component::Voter)
        .map(|slot| slot.ordinal.saturating_add(1))
        .max()
        .unwrap_or(0)
}

/// The claims of the StatefulSets that exist.
pub fn claims(observed: &Observed) -> BTreeMap<Component, Claim> {
    let claim = |set: &StatefulSet| {
        let spec = set.spec.as_ref()?.volume_claim_templates.as_ref()?.first()?.spec.as_ref()?;
        let size = spec.resources.as_ref()?.requests.as_ref()?.get("storage")?.clone();
        Some(Claim { size, class: spec.storage_class_name.clone() })
    };
    observed.sets.iter().filter_map(|(component, set)| Some((*component, claim(set)?))).collect()
}

/// The image that the members have, so that it stays when the spec names none.
pub fn running_image(observed: &Observed) -> Option<String> {
    let image =
        |set: &StatefulSet| set.spec.as_ref()?.template.spec.as_ref()?.containers.first()?.image.clone();
    let status = observed.cluster.status.as_ref().and_then(|status| status.image.clone());
    observed.sets.values().find_map(image).or(status)
}

/// What the plan looks at.
pub fn world(
    observed: &Observed,
    identity: &Identity,
    sizes: &BTreeMap<Component, u32>,
    now: Timestamp,
) -> World {
    let cluster = observed.cluster.name_any();
    let own = names::volume_claim(&Slot::BOOTSTRAP.name(&cluster));
    let other_volumes = observed.claims.keys().filter(|claim| **claim != own).cloned().collect();
    let present = observed.claims.get(&own).and_then(ResourceExt::uid);
    let size = |component| sizes.get(&component).copied().unwrap_or(0);
    World {
        born: identity.born,
        other_volumes,
        volume_replaced: identity.bootstrap_volume.is_some()
            && present.is_some()
            && identity.bootstrap_volume != present,
        voters_size: size(Component::Voter),
        arbiter_size: size(Component::Arbiter),
        revisions_known: observed.sets.values().all(revision_known),
        pods: observed
            .pods
            .iter()
            .filter_map(|(name, pod)| {
                let slot = Slot::parse(&cluster, name)?;
                Some((slot, self::pod(observed, identity, slot, name, pod, now)))
            })
            .collect(),
        config: config(observed, identity),
    }
}

fn pod(
    observed: &Observed,
    identity: &Identity,
    slot: Slot,
    name: &str,
    pod: &k8s_openapi::api::core::v1::Pod,
    now: Timestamp,
) -> Pod {
    let revision =
        observed.sets.get(&slot.component).and_then(|set| set.status.as_ref()?.update_revision.as_ref());
    let claim = observed.claims.get(&names::volume_claim(name));
    Pod {
        answer: observed.answers.get(name).map(|answer| Answer {
            belongs: match answer.status.cluster_id.as_str() {
                "" => Belongs::Nowhere,
                id if id == identity.cluster_id => Belongs::Here,
                id => Belongs::Elsewhere(id.to_owned()),
            },
            applied: answer.status.applied_index,
            adrift: answer.status.leader.is_empty() && up_for_seconds(pod, now) >= ADRIFT_SECONDS,
        }),
        ready: is_ready(pod),
        leaving: pod.metadata.deletion_timestamp.is_some(),
        volume_leaving: claim.is_some_and(|claim| claim.metadata.deletion_timestamp.is_some()),
        outdated: revision.is_some_and(|revision| pod.labels().get(REVISION) != Some(revision)),
        stuck: is_stuck(pod),
    }
}

/// How long the pod's first container has been running.
fn up_for_seconds(pod: &k8s_openapi::api::core::v1::Pod, now: Timestamp) -> i64 {
    let containers = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    let running = containers.and_then(|all| all.first()?.state.as_ref()?.running.as_ref());
    let since = running.and_then(|running| running.started_at.as_ref());
    since.map_or(0, |since| now.as_second() - since.0.as_second())
}

/// Whether Kubernetes counts the pod as ready.
pub fn is_ready(pod: &k8s_openapi::api::core::v1::Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|c| c.type_ == "Ready" && c.status == "True"))
}

fn config(observed: &Observed, identity: &Identity) -> Option<Config> {
    let cluster = observed.cluster.name_any();
    let namespace = observed.cluster.namespace().unwrap_or_default();
    let (name, answer) = leader(observed, &identity.cluster_id)?;
    let members = answer.config.as_ref()?.members.iter().map(|member| {
        let expected = raft_address(&cluster, &namespace, &member.id);
        Entry {
            name: member.id.clone(),
            slot: Slot::parse(&cluster, &member.id),
            voter: member.suffrage == Suffrage::Voter,
            address_current: member.raft_addr == expected,
        }
    });
    Some(Config { leader: name.to_owned(), commit: answer.status.commit_index, members: members.collect() })
}

/// Where members dial a member.
pub fn raft_address(cluster: &str, namespace: &str, member: &str) -> String {
    format!("{}:{RAFT_PORT}", names::member_host(cluster, namespace, member))
}

/// The suffrage as the status shows it.
pub fn suffrage(suffrage: Suffrage) -> MemberSuffrage {
    match suffrage {
        Suffrage::Voter => MemberSuffrage::Voter,
        Suffrage::Learner => MemberSuffrage::Learner,
    }
}

fn replicas(set: &StatefulSet) -> u32 {
    let replicas = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    u32::try_from(replicas).unwrap_or(0)
}

fn revision_known(set: &StatefulSet) -> bool {
    let status = set.status.as_ref();
    status.is_some_and(|status| {
        status.update_revision.is_some() && status.observed_generation >= set.metadata.generation
    })
}

#[cfg(test)]
mod tests;
