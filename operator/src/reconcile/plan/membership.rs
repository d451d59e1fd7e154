//! Who is in the cluster: repair, grow, then shrink, one change at a time.

use conure_crd::names::Component;

use super::world::{Belongs, Config, Entry, Slot, Wish, World, majority};
use super::{Action, Step, Waiting};

/// The next change of the membership or of a StatefulSet's size, `None` when the spec's members are what there is.
pub(super) fn next(wish: Wish, world: &World, config: &Config) -> Option<Step> {
    make_room(wish, world, config)
        .or_else(|| join(wish, world, config))
        .or_else(|| give_back(wish, world, config))
        .or_else(|| discard(wish, world, config))
        .or_else(|| remove(wish, world, config))
}

/// A member whose volume was wiped, that moved, or that is still a learner.
pub(super) fn repair(wish: Wish, world: &World, config: &Config) -> Option<Step> {
    let broken = |entry: &&Entry| {
        let Some(slot) = entry.slot.filter(|slot| wish.wants(*slot) && world.joinable(*slot)) else {
            return false;
        };
        let Some(pod) = world.pods.get(&slot) else { return false };
        let wiped = pod.answer.as_ref().is_some_and(|answer| answer.belongs == Belongs::Nowhere);
        wiped || !entry.voter || !entry.address_current
    };
    // Voters first: they count in the quorum that everything else needs.
    let slot = config.members.iter().filter(broken).min_by_key(|entry| (!entry.voter, entry.slot))?.slot?;
    Some(Step::Act(Action::Join(slot)))
}

/// A member that is in the configuration and never hears from the leader: a join that was cut short after the member
/// changed its identity and before the cluster heard of it. To join again is harmless where it was something else.
pub(super) fn find_again(wish: Wish, world: &World, config: &Config) -> Option<Step> {
    let adrift = |slot: &Slot| {
        let Some(pod) = world.pods.get(slot).filter(|_| world.joinable(*slot)) else { return false };
        wish.wants(*slot) && !pod.ready && pod.answer.as_ref().is_some_and(|answer| answer.adrift)
    };
    let slot = config.members.iter().filter_map(|entry| entry.slot).filter(adrift).min()?;
    Some(Step::Act(Action::Join(slot)))
}

/// Pods for every member that is wanted or still in the configuration, once no volume under their names is on its way
/// out, as a pod would wait for it without a word of why, and none is somebody else's, as a pod would take it.
fn make_room(wish: Wish, world: &World, config: &Config) -> Option<Step> {
    let voters = voters_needed(wish, config);
    let arbiter = (arbiter_needed(wish, config) && world.arbiter_size == 0).then_some(Slot::ARBITER);
    let coming: Vec<Slot> = (world.voters_size..voters).map(Slot::voter).chain(arbiter).collect();
    let those = |wanted: &dyn Fn(&Slot) -> bool| -> Vec<Slot> {
        coming.iter().copied().filter(|slot| wanted(slot)).collect()
    };
    let leaving = those(&|slot| world.volume_leaves(*slot));
    if !leaving.is_empty() {
        return Some(Step::Wait(Waiting::VolumesLeaving(leaving)));
    }
    let strange = those(&|slot| world.strange_volumes.contains(slot));
    if !strange.is_empty() {
        return Some(Step::Wait(Waiting::StrangeVolumes(strange)));
    }
    if world.voters_size < voters {
        return Some(Step::Act(Action::ResizeVoters(voters)));
    }
    arbiter.map(|_| Step::Act(Action::ResizeArbiter(1)))
}

/// Whoever is wanted and not in the configuration, if it answers; then nothing goes until all of them came.
fn join(wish: Wish, world: &World, config: &Config) -> Option<Step> {
    let coming: Vec<Slot> = wish.slots().into_iter().filter(|slot| !config.votes(*slot)).collect();
    let ready = |slot: &&Slot| config.entry(**slot).is_none() && world.joinable(**slot);
    if let Some(slot) = coming.iter().find(ready) {
        return Some(Step::Act(Action::Join(*slot)));
    }
    if let Some((slot, id)) = coming.iter().find_map(|slot| Some((*slot, foreign(world, *slot)?))) {
        return Some(Step::Wait(Waiting::Foreign(slot, id)));
    }
    let holds_more = |slot: &Slot| {
        let answer = world.pods.get(slot).and_then(|pod| pod.answer.as_ref());
        answer.is_some_and(|answer| answer.belongs == Belongs::Behind { holds_more: true })
    };
    if let Some(slot) = coming.iter().find(|slot| holds_more(slot)) {
        return Some(Step::Wait(Waiting::LeftBehind(*slot)));
    }
    (!coming.is_empty()).then_some(Step::Wait(Waiting::Joining(coming)))
}

fn foreign(world: &World, slot: Slot) -> Option<String> {
    match &world.pods.get(&slot)?.answer.as_ref()?.belongs {
        Belongs::Elsewhere(id) => Some(id.clone()),
        _ => None,
    }
}

/// Pods that no member needs, one at a time from the top.
fn give_back(wish: Wish, world: &World, config: &Config) -> Option<Step> {
    if world.voters_size > voters_needed(wish, config) {
        return Some(Step::Act(Action::ResizeVoters(world.voters_size - 1)));
    }
    (!arbiter_needed(wish, config) && world.arbiter_size > 0).then_some(Step::Act(Action::ResizeArbiter(0)))
}

/// Volumes that the policy gives up, once neither spec, cluster nor pod needs them.
fn discard(wish: Wish, world: &World, config: &Config) -> Option<Step> {
    let given_up = given_up(wish, world, config).find(|slot| !world.pods.contains_key(slot))?;
    Some(Step::Act(Action::DeleteVolume(given_up)))
}

/// Pods that are still there on volumes that are given up.
pub(super) fn leftovers(wish: Wish, world: &World, config: &Config) -> Option<Step> {
    let ending: Vec<Slot> = given_up(wish, world, config).collect();
    (!ending.is_empty()).then_some(Step::Wait(Waiting::PodsLeaving(ending)))
}

fn given_up(wish: Wish, world: &World, config: &Config) -> impl Iterator<Item = Slot> {
    let of_a_pod = move |slot: Slot| match slot.component {
        Component::Bootstrap => true,
        Component::Voter => slot.ordinal < world.voters_size,
        Component::Arbiter => world.arbiter_size > 0,
    };
    let free = move |slot: &Slot| !wish.wants(*slot) && config.entry(*slot).is_none() && !of_a_pod(*slot);
    let marked = world.volumes.iter().filter(|(_, volume)| volume.discard && !volume.leaving);
    marked.map(|(slot, _)| *slot).filter(free)
}

/// Members that the spec no longer asks for: the broken first, as their votes help nobody, then the arbiter, then
/// data members from the top.
fn remove(wish: Wish, world: &World, config: &Config) -> Option<Step> {
    let surplus = |entry: &&Entry| entry.slot.is_some_and(|slot| !wish.wants(slot));
    let entry = config.members.iter().filter(surplus).max_by_key(|entry| {
        let data = entry.slot.is_some_and(Slot::holds_data);
        (!entry.voter, !world.lives(entry), !data, entry.slot)
    })?;
    let slot = entry.slot?;
    if entry.voter {
        let remaining = config.voters().filter(|other| other.name != entry.name);
        let (all, live) =
            remaining.fold((0, 0), |(all, live), other| (all + 1, live + usize::from(world.lives(other))));
        if live < majority(all) {
            let others = config.voters().filter(|other| other.name != entry.name && !world.lives(other));
            let down = others.map(|other| other.name.clone()).collect();
            return Some(Step::Wait(Waiting::QuorumBeforeRemoval(slot, down)));
        }
    }
    Some(Step::Act(Action::Remove(slot)))
}

/// How many pods the voters' StatefulSet must have: for the spec, and for members that are still to be removed.
fn voters_needed(wish: Wish, config: &Config) -> u32 {
    let highest = config
        .members
        .iter()
        .filter_map(|entry| entry.slot)
        .filter(|slot| *slot == Slot::voter(slot.ordinal))
        .map(|slot| slot.ordinal.saturating_add(1))
        .max();
    wish.voters().max(highest.unwrap_or(0))
}

fn arbiter_needed(wish: Wish, config: &Config) -> bool {
    wish.arbiter || config.entry(Slot::ARBITER).is_some()
}
