//! Pods that run another template than the present one: one at a time, the leader last.

use super::world::{Config, Entry, Pod, Slot, Wish, World, majority};
use super::{Action, Step, Waiting};

/// How many entries behind the leader's commit a member may be to count as caught up. Writes go on meanwhile, so
/// none would ever be at zero.
const LAG_MAX: u64 = 1_000;

/// A pod that is outdated and silent, and cannot come up as it is or is no member's. Nothing is lost with it, and nothing
/// comes back before it goes, so it goes first, leader or not.
pub(super) fn hopeless(world: &World) -> Option<Slot> {
    if !world.revisions_known {
        return None;
    }
    let no_member = |slot: &Slot| match &world.config {
        Some(config) => config.entry(*slot).is_none(),
        None => !world.born,
    };
    let hopeless = |(slot, pod): &(&Slot, &Pod)| {
        pod.outdated && !pod.leaving && pod.answer.is_none() && (pod.stuck || no_member(slot))
    };
    world.pods.iter().find(hopeless).map(|(slot, _)| *slot)
}

/// The next pod to replace, or what it waits for; `None` when all are as they should be.
pub(super) fn next(wish: Wish, world: &World, config: &Config) -> Option<Step> {
    let unready: Vec<&Entry> = config
        .members
        .iter()
        .filter(|entry| entry.slot.is_some_and(|slot| !serves(world, config, slot)))
        .collect();
    let names = || unready.iter().map(|entry| entry.name.clone()).collect();
    let outdated = |slot: &Slot| world.pods.get(slot).is_some_and(|pod| pod.outdated && !pod.leaving);
    let mut waiting: Vec<Slot> = wish.slots().into_iter().filter(outdated).collect();
    if !world.revisions_known {
        return Some(Step::Wait(Waiting::Revisions));
    }
    if waiting.is_empty() {
        return (!unready.is_empty()).then(|| Step::Wait(Waiting::Ready(names())));
    }
    // One alone that is not ready: the earlier template that it runs may be why, and it is the one to replace. One that
    // only lags behind catches up first.
    let ready = |slot: &Slot| world.pods.get(slot).is_some_and(|pod| pod.ready);
    waiting.retain(|slot| unready.iter().all(|entry| entry.slot == Some(*slot) && !ready(slot)));
    if waiting.is_empty() {
        return Some(Step::Wait(Waiting::Rollout(names())));
    }
    // Arbiter, then voters from the top, then the bootstrap member; the leader after all of them.
    waiting.sort_by_key(|slot| (leads(config, *slot), std::cmp::Reverse(*slot)));
    let slot = *waiting.first()?;
    let voters = config.voters().count();
    let others = config.voters().filter(|entry| entry.slot != Some(slot) && world.lives(entry)).count();
    // One or two voters have no member to spare: their pods are replaced all the same, as nothing else would.
    if voters > 2 && others < majority(voters) {
        let strangers = config.members.iter().filter(|entry| entry.slot.is_none());
        return Some(Step::Wait(Waiting::Rollout(strangers.map(|entry| entry.name.clone()).collect())));
    }
    if leads(config, slot)
        && let Some(heir) = heir(world, config, slot)
    {
        return Some(Step::Act(Action::Transfer(heir)));
    }
    Some(Step::Act(Action::Evict(slot)))
}

fn leads(config: &Config, slot: Slot) -> bool {
    config.entry(slot).is_some_and(|entry| entry.name == config.leader)
}

/// Whether a member is up, ready and caught up.
pub(super) fn serves(world: &World, config: &Config, slot: Slot) -> bool {
    let Some(pod) = world.pods.get(&slot) else { return false };
    pod.ready && !pod.leaving && (slot == Slot::ARBITER && pod.lives() || caught_up(world, config, slot))
}

/// Whether a member is up and has applied what was committed.
pub(super) fn caught_up(world: &World, config: &Config, slot: Slot) -> bool {
    let Some(pod) = world.pods.get(&slot).filter(|pod| pod.lives()) else { return false };
    pod.answer.as_ref().is_some_and(|answer| answer.applied.saturating_add(LAG_MAX) >= config.commit)
}

/// Who leads while the leader's pod is replaced: the data voter that applied most, of those whose data is whole.
pub(super) fn heir(world: &World, config: &Config, leader: Slot) -> Option<Slot> {
    config
        .voters()
        .filter_map(|entry| entry.slot)
        .filter(|slot| *slot != leader && slot.holds_data())
        .max_by_key(|slot| {
            let pod = world.pods.get(slot);
            let applied = pod.and_then(|pod| pod.answer.as_ref()).map(|answer| answer.applied);
            (pod.is_some_and(|pod| !pod.damaged), applied, std::cmp::Reverse(*slot))
        })
}
