//! The status beside its conditions.

use std::collections::BTreeMap;

use conure_client::api::{MemberInfo, Role};
use conure_crd::names;
use conure_crd::{ConureClusterStatus, Member, MemberDamage, MemberRole};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::super::observe::Observed;
use super::super::plan::{Slot, Step, Wish};
use super::super::{quantity, view};
use super::{Objects, Pass};

/// Everything but the conditions.
pub(super) fn summary(observed: &Observed, pass: &Pass<'_>, now: &Time) -> ConureClusterStatus {
    let before = observed.cluster.status.clone().unwrap_or_default();
    let cluster = observed.cluster.name_any();
    let generation = observed.cluster.metadata.generation;
    let mut status = ConureClusterStatus {
        observed_generation: generation,
        selector: Some(names::data_selector(&cluster)),
        ..before
    };
    let data = |name: &str| Slot::parse(&cluster, name).is_some_and(Slot::holds_data);
    let id = match pass {
        Pass::Planned(planned) => planned.identity.cluster_id.clone(),
        _ => observed.cluster_id().unwrap_or_default(),
    };
    let count = |ready: bool| {
        let counts = |name: &str| data(name) && (!ready || view::counts_as_ready(observed, &id, name));
        let pods = observed.pods.keys().filter(|name| counts(name));
        i32::try_from(pods.count()).unwrap_or(i32::MAX)
    };
    status.replicas = count(false);
    status.ready_replicas = count(true);
    match pass {
        Pass::Named(id) => status.cluster_id = Some(id.clone()),
        Pass::TakenOver(id) => {
            status.cluster_id = Some(id.clone());
            // It has had one at least, so nothing is bootstrapped; its members will say which.
            status.incarnation = Some(1);
        }
        Pass::Refused(_) | Pass::Chosen(_) => {}
        Pass::Planned(planned) => {
            let id = &planned.identity.cluster_id;
            status.cluster_id = Some(id.clone());
            status.image = match planned.objects {
                Objects::AsAsked => Some(planned.image.to_owned()),
                // What was not applied runs nowhere.
                Objects::Left(_) | Objects::Failed(_) => view::running_image(observed),
            };
            status.leader = view::leader(observed, id).map(|(name, _)| name.to_owned());
            let answers = observed.answers.values().filter(|answer| answer.status.cluster_id == *id);
            let versions = answers.map(|answer| answer.status.version.clone());
            // Members that were left behind must not turn it back.
            status.incarnation = view::incarnation(observed, id).filter(|incarnation| *incarnation > 0);
            if let Some(version) = versions.min_by_key(|version| version_order(version)) {
                status.version = Some(version);
            }
            status.data_volume_size = largest(observed, true).or(status.data_volume_size);
            status.arbiter_volume_size = largest(observed, false).or(status.arbiter_volume_size);
            status.members = members(observed, planned.identity.cluster_id.as_str(), &status.members);
            if let Step::Record(slot) = planned.step
                && !observed.cluster.spec.paused
            {
                record(observed, &mut status.members, &slot.name(&cluster), now);
            }
            let ready = status.members.iter().filter(|member| member.ready).count();
            status.members_ready = Some(format!("{ready}/{}", status.members.len()));
        }
    }
    status
}

/// The largest size that a claim of the data members, or of the arbiter, asks for.
fn largest(observed: &Observed, data: bool) -> Option<Quantity> {
    let cluster = observed.cluster.name_any();
    let size = |(name, claim): (&String, &PersistentVolumeClaim)| {
        let slot = Slot::parse(&cluster, names::claimant(name)?)?;
        let requests = claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?;
        (slot.holds_data() == data).then(|| requests.get("storage").cloned())?
    };
    let sizes = observed.claims.iter().filter_map(size);
    sizes.reduce(|one, other| if quantity::larger(&other.0, &one.0) { other } else { one })
}

/// Everyone in the configuration and everyone asked for. While no configuration is known, the one that was last seen.
fn members(observed: &Observed, id: &str, before: &[Member]) -> Vec<Member> {
    let cluster = observed.cluster.name_any();
    let present = view::incarnation(observed, id).unwrap_or(0);
    let mut members: BTreeMap<String, Member> = BTreeMap::new();
    let mut add = |name: String, role, suffrage| {
        let pod = observed.pods.get(&name);
        let answer = observed.answers.get(&name).map(|answer| &answer.status);
        let health = match (pod, answer) {
            (None, _) => "its pod is missing".to_owned(),
            (Some(_), None) => "it does not answer".to_owned(),
            (Some(_), Some(status)) if status.cluster_id.is_empty() => "its volume is empty".to_owned(),
            (Some(_), Some(status)) if status.cluster_id != id => {
                format!("its volume belongs to the cluster {}", status.cluster_id)
            }
            (Some(_), Some(status)) if i64::try_from(status.incarnation).is_ok_and(|own| own < present) => {
                format!("it was left behind at incarnation {} by a recovery", status.incarnation)
            }
            (Some(_), Some(status)) => status.health.clone(),
        };
        let member = Member {
            name: name.clone(),
            role,
            suffrage,
            node_id: observed.answers.get(&name).and_then(|answer| answer.raft_node_id.clone()),
            ready: view::counts_as_ready(observed, id, &name),
            version: answer.map(|status| status.version.clone()),
            health: Some(health),
            damage: before.iter().find(|before| before.name == name).and_then(|before| before.damage.clone()),
        };
        members.entry(name).or_insert(member);
    };
    let led = view::leader(observed, id).and_then(|(_, answer)| answer.config.as_ref());
    match led.or_else(|| view::last_config(observed, id)) {
        Some(config) => {
            let role = |member: &MemberInfo| match member.role {
                Role::Data => MemberRole::Data,
                Role::Arbiter => MemberRole::Arbiter,
            };
            for member in &config.members {
                add(member.id.clone(), role(member), Some(view::suffrage(member.suffrage)));
            }
        }
        None => before.iter().for_each(|member| add(member.name.clone(), member.role, member.suffrage)),
    }
    for slot in Wish::of(&observed.cluster).slots() {
        let role = if slot.holds_data() { MemberRole::Data } else { MemberRole::Arbiter };
        add(slot.name(&cluster), role, None);
    }
    members.into_values().collect()
}

/// Notes that the data on the member's present volume is damaged.
fn record(observed: &Observed, members: &mut [Member], name: &str, now: &Time) {
    let claim = observed.claims.get(&names::volume_claim(name)).and_then(ResourceExt::uid);
    let member = members.iter_mut().find(|member| member.name == name);
    if let (Some(member), Some(claim_uid)) = (member, claim) {
        member.damage = Some(MemberDamage { found: now.clone(), claim_uid });
    }
}

/// Numbers as numbers, so that 1.10 comes after 1.9.
fn version_order(version: &str) -> Vec<(u64, String)> {
    version.split(['.', '-', '+']).map(|part| (part.parse().unwrap_or(0), part.to_owned())).collect()
}
