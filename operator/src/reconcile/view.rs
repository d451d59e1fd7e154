//! From what was observed to what `build` and `plan` look at. Pure, as they are.

use std::collections::BTreeMap;

use conure_client::api::{RaftConfig, Suffrage};
use conure_crd::names::{self, Component, RAFT_PORT};
use conure_crd::{ConureCluster, MemberSuffrage, Retention, RetentionPolicy};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::build::{
    BOOTSTRAP_VOLUME, BOOTSTRAPPED, Claim, Identity, LiveClaim, REPLACE, REPLACE_MEMBER, WHEN_SCALED,
};
use super::difference::APPLIED;
use super::observe::{MemberAnswer, Observed, damage, is_stuck};
use super::plan::{Answer, Belongs, Config, Entry, Pod, Slot, Volume, Wish, World};
use super::recovery::{self, Stand};

/// The label with which a StatefulSet marks the template that a pod was made from.
const REVISION: &str = "controller-revision-hash";

/// So long after its data was found damaged a member does not start over by itself again: what damages it has to be mended.
const RENEWED_SECONDS: i64 = 86_400;
/// An older record is renewed before its member starts over, so that the day begins then.
const RECORDED_SECONDS: i64 = 3_600;

/// A member that knows no leader for that long will not find one by itself.
const ADRIFT_SECONDS: i64 = 15;

/// What somebody should know who asked for an arbiter that makes nothing safer; it is made all the same.
pub fn idle_arbiter(cluster: &ConureCluster) -> Option<String> {
    let Wish { data, arbiter: true } = Wish::of(cluster) else { return None };
    if data == 1 {
        let why = "an arbiter beside one data member adds no safety: without that member there is no data; set arbiter.mode to \
                   Auto and voters.replicas to 2 or 3";
        return Some(why.to_owned());
    }
    (data % 2 == 1).then(|| {
        format!(
            "an arbiter beside {data} data members adds no safety: {} of them may be lost with it and without it; set \
             arbiter.mode to Auto",
            (data - 1) / 2
        )
    })
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

/// The cluster whose volumes are to be gone on with. Looked at only before the cluster has an id.
pub fn taken_over(cluster: &ConureCluster) -> Option<&str> {
    Some(cluster.spec.bootstrap.as_ref()?.existing_volumes.as_ref()?.cluster_id.as_str())
}

/// The answer of the leader: of those who say that they lead this cluster, the one with the highest term.
pub fn leader<'a>(observed: &'a Observed, cluster_id: &str) -> Option<(&'a str, &'a MemberAnswer)> {
    observed
        .answers
        .iter()
        .filter(|(_, answer)| answer.status.is_leader && answer.status.cluster_id == cluster_id)
        .max_by_key(|(_, answer)| (answer.status.incarnation, answer.status.term))
        .map(|(name, answer)| (name.as_str(), answer))
}

/// The configuration that the member with the highest commit index knows, for when nobody leads.
pub fn last_config<'a>(observed: &'a Observed, cluster_id: &str) -> Option<&'a RaftConfig> {
    let known = observed.answers.values().filter(|answer| answer.status.cluster_id == cluster_id);
    let newest = known.max_by_key(|answer| {
        (answer.status.incarnation, answer.config.is_some(), answer.status.term, answer.status.commit_index)
    });
    newest?.config.as_ref()
}

/// The highest incarnation of the cluster that anybody speaks of.
pub fn incarnation(observed: &Observed, cluster_id: &str) -> Option<i64> {
    let known = observed.answers.values().filter(|answer| answer.status.cluster_id == cluster_id);
    let answered = known.filter_map(|answer| i64::try_from(answer.status.incarnation).ok());
    let written = observed.cluster.status.as_ref().and_then(|status| status.incarnation);
    answered.chain(written).max()
}

/// Whether a member that this operator did not make votes. Nobody here sees whether it is up.
pub fn strangers(observed: &Observed, cluster_id: &str) -> bool {
    let cluster = observed.cluster.name_any();
    last_voters(observed, cluster_id).iter().any(|name| Slot::parse(&cluster, name).is_none())
}

/// Whether the pod is ready, and its member, as far as it answers, is of this cluster as it is now.
pub fn counts_as_ready(observed: &Observed, cluster_id: &str, name: &str) -> bool {
    let present = incarnation(observed, cluster_id).unwrap_or(0);
    let here = |answer: &MemberAnswer| {
        answer.status.cluster_id == cluster_id
            && i64::try_from(answer.status.incarnation).is_ok_and(|own| own >= present)
    };
    observed.pods.get(name).is_some_and(is_ready) && observed.answers.get(name).is_none_or(here)
}

/// The voters of the configuration that was last seen.
pub fn last_voters(observed: &Observed, cluster_id: &str) -> Vec<String> {
    if let Some(config) = last_config(observed, cluster_id) {
        let voters = config.members.iter().filter(|member| member.suffrage == Suffrage::Voter);
        return voters.map(|member| member.id.clone()).collect();
    }
    let members = observed.cluster.status.iter().flat_map(|status| &status.members);
    members.filter(|m| m.suffrage == Some(MemberSuffrage::Voter)).map(|m| m.name.clone()).collect()
}

/// Replicas of each StatefulSet as `apply` shall leave them: as they are, and never fewer than members need. Only an
/// action of the plan makes them fewer.
pub fn sizes(observed: &Observed, identity: &Identity, wish: Wish) -> BTreeMap<Component, u32> {
    if observed.cluster.spec.suspend {
        let made = observed.sets.keys().map(|component| (*component, 0));
        return made.chain([(Component::Bootstrap, 0)]).collect();
    }
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
        there => {
            there.unwrap_or(0).max(known(observed, &identity.cluster_id, Component::Voter)).max(wish.voters())
        }
    };
    sizes.insert(Component::Voter, voters);
    match live(Component::Arbiter) {
        Some(replicas) if led => sizes.insert(Component::Arbiter, replicas.min(1)),
        there => {
            let needed = wish.arbiter || known(observed, &identity.cluster_id, Component::Arbiter) > 0;
            (needed || there.is_some())
                .then(|| {
                    sizes.insert(Component::Arbiter, u32::from(needed || there.is_some_and(|pods| pods > 0)))
                })
                .flatten()
        }
    };
    sizes
}

/// How many pods a StatefulSet needs for the members that were last known; where none are, as after a status was lost or volumes
/// were taken over, for those that have volumes.
fn known(observed: &Observed, cluster_id: &str, component: Component) -> u32 {
    let cluster = observed.cluster.name_any();
    let members = observed.cluster.status.iter().flat_map(|status| &status.members);
    let remembered = members.filter(|member| member.suffrage.is_some()).map(|member| &member.name);
    let configured =
        last_config(observed, cluster_id).into_iter().flat_map(|config| &config.members).map(|m| &m.id);
    let mut members: Vec<Slot> =
        remembered.chain(configured).filter_map(|name| Slot::parse(&cluster, name)).collect();
    if members.is_empty() {
        let claimants = observed.claims.keys().filter_map(|claim| names::claimant(claim));
        members = claimants.filter_map(|name| Slot::parse(&cluster, name)).collect();
    }
    members
        .into_iter()
        .filter(|slot| slot.component == component)
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

/// The claims that the StatefulSets made; those on their way out are left alone.
pub fn live_claims(observed: &Observed, sizes: &BTreeMap<Component, u32>) -> Vec<LiveClaim> {
    let cluster = observed.cluster.name_any();
    let live = |(name, claim): (&String, &PersistentVolumeClaim)| {
        let slot = Slot::parse(&cluster, names::claimant(name)?)?;
        let size = claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?.get("storage")?.clone();
        Some(LiveClaim {
            name: name.clone(),
            uid: claim.uid(),
            component: slot.component,
            size,
            in_use: sizes.get(&slot.component).is_some_and(|pods| slot.ordinal < *pods),
            spoken_of: claim.annotations().contains_key(APPLIED),
        })
    };
    let staying = observed.claims.iter().filter(|(_, claim)| claim.metadata.deletion_timestamp.is_none());
    staying.filter_map(live).collect()
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
        suspended: observed.cluster.spec.suspend,
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
        recovering: match recovery::stand(observed, identity) {
            Stand::UnderWay(record) => Slot::parse(&cluster, &record.member_name),
            _ => None,
        },
        replace_asked: replace_asked(observed).and_then(|name| Slot::parse(&cluster, name)),
        volumes: volumes(observed, now),
        strange_volumes: observed
            .strange_claims
            .iter()
            .filter_map(|claim| Slot::parse(&cluster, names::claimant(claim)?))
            .collect(),
        config: config(observed, identity),
    }
}

/// A member of an older incarnation was left behind by a recovery.
fn here(observed: &Observed, identity: &Identity, answer: &MemberAnswer) -> Belongs {
    let present = incarnation(observed, &identity.cluster_id).unwrap_or(0);
    if i64::try_from(answer.status.incarnation).is_ok_and(|own| own >= present) {
        return Belongs::Here;
    }
    let record = observed.cluster.status.as_ref().and_then(|status| status.recovery.as_ref());
    // Whom nobody could compare with the survivor may hold more.
    let holds_more = record.is_none_or(|record| !record.held_no_more.contains(&answer.status.node_id));
    Belongs::Behind { holds_more }
}

/// The member that the resource's annotation asks to replace, by the name that it gives.
pub fn replace_asked(observed: &Observed) -> Option<&str> {
    let asked = observed.cluster.metadata.annotations.as_ref()?.get(REPLACE_MEMBER)?.trim();
    Some(asked)
}

/// For how long nobody has ended a pod that was to end, or no node has had its volume; 0 where neither is so.
fn lost_for_seconds(pod: &k8s_openapi::api::core::v1::Pod, now: Timestamp) -> i64 {
    // A deletion timestamp is when the grace ends; a kubelet that lives ends the pod by then.
    let ending = pod.metadata.deletion_timestamp.as_ref().map(|time| time.0);
    let since = ending.or_else(|| parted_from_volume(pod));
    since.map_or(0, |since| now.as_second() - since.as_second())
}

/// Since when no node can take the pod because none that is there has its volume.
fn parted_from_volume(pod: &k8s_openapi::api::core::v1::Pod) -> Option<Timestamp> {
    // The scheduler's words: before Kubernetes 1.34, and since.
    const SAYS: [&str; 2] = ["volume node affinity conflict", "match PersistentVolume's node affinity"];
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let parted = conditions.iter().find(|condition| {
        let message = condition.message.as_deref().unwrap_or_default();
        condition.type_ == "PodScheduled"
            && condition.status == "False"
            && SAYS.iter().any(|words| message.contains(words))
    })?;
    Some(parted.last_transition_time.as_ref()?.0)
}

fn volumes(observed: &Observed, now: Timestamp) -> BTreeMap<Slot, Volume> {
    let cluster = &observed.cluster;
    let volume = |(name, claim): (&String, &PersistentVolumeClaim)| {
        let claimant = names::claimant(name)?;
        let slot = Slot::parse(&cluster.name_any(), claimant)?;
        let mut members = cluster.status.iter().flat_map(|status| &status.members);
        let damage = members.find(|member| member.name == claimant).and_then(|member| member.damage.as_ref());
        let is_this = damage.is_some_and(|damage| Some(&damage.claim_uid) == claim.metadata.uid.as_ref());
        let age = damage.map_or(i64::MAX, |damage| now.as_second() - damage.found.0.as_second());
        let policy = retention(cluster, slot.component).when_scaled.as_str();
        let then = claim.annotations().get(WHEN_SCALED);
        let volume = Volume {
            leaving: claim.metadata.deletion_timestamp.is_some(),
            replace: claim.annotations().contains_key(REPLACE),
            recorded: is_this && age < RECORDED_SECONDS,
            renewed: !is_this && age < RENEWED_SECONDS,
            discard: policy == RetentionPolicy::Delete.as_str() && then.is_some_and(|then| then == policy),
        };
        Some((slot, volume))
    };
    observed.claims.iter().filter_map(volume).collect()
}

/// What the spec says of a component's volumes that nobody uses any more.
pub fn retention(cluster: &ConureCluster, component: Component) -> Retention {
    let spec = &cluster.spec;
    if component.holds_data() { spec.voters.pvc.retention } else { spec.arbiter.pvc.retention }
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
    Pod {
        answer: observed.answers.get(name).map(|answer| Answer {
            belongs: match answer.status.cluster_id.as_str() {
                "" => Belongs::Nowhere,
                id if id == identity.cluster_id => here(observed, identity, answer),
                id => Belongs::Elsewhere(id.to_owned()),
            },
            applied: answer.status.applied_index,
            adrift: answer.status.leader.is_empty() && up_for_seconds(pod, now) >= ADRIFT_SECONDS,
        }),
        ready: is_ready(pod),
        leaving: pod.metadata.deletion_timestamp.is_some(),
        outdated: revision.is_some_and(|revision| pod.labels().get(REVISION) != Some(revision)),
        stuck: is_stuck(pod),
        damaged: observed.cluster.spec.repair.automatic && damage(pod).is_some(),
        lost: observed.cluster.spec.repair.automatic
            && !observed.answers.contains_key(name)
            && lost_for_seconds(pod, now) >= observed.cluster.spec.repair.replace_after_seconds(),
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
