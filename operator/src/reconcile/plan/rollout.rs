//! Pods that run another template than the present one: one at a time, the leader last.

use super::world::{Config, Pod, Slot, Wish, World, majority};
use super::{Action, Step, Waiting};

/// How many entries behind the leader's commit a member may be to count as caught up. Writes go on meanwhile, so
/// none would ever be at zero.
const LAG_MAX: u64 = 1_000;

/// A pod that is outdated and cannot come up as it is. Nothing is lost with it, and nothing comes back before it
/// goes, so it goes first, leader or not.
pub(super) fn hopeless(world: &World) -> Option<Slot> {
    if !world.revisions_known {
        return None;
    }
    let hopeless = |pod: &Pod| pod.outdated && pod.stuck && !pod.leaving && pod.answer.is_none();
    world.pods.iter().find(|(_, pod)| hopeless(pod)).map(|(slot, _)| *slot)
}

/// The next pod to replace, or what it waits for; `None` when all are as they should be.
pub(super) fn next(wish: Wish, world: &World, config: &Config) -> Option<Step> {
    let unready: Vec<String> = config
        .members
        .iter()
        .filter(|entry| entry.slot.is_some_and(|slot| !serves(world, config, slot)))
        .map(|entry| entry.name.clone())
        .collect();
    let outdated = |slot: &Slot| world.pods.get(slot).is_some_and(|pod| pod.outdated && !pod.leaving);
    let mut waiting: Vec<Slot> = wish.slots().into_iter().filter(outdated).collect();
    if !world.revisions_known {
        return Some(Step::Wait(Waiting::Revisions));
    }
    if waiting.is_empty() {
        return (!unready.is_empty()).then_some(Step::Wait(Waiting::Ready(unready)));
    }
    if !unready.is_empty() {
        return Some(Step::Wait(Waiting::Rollout(unready)));
    }
    // Arbiter, then voters from the top, then the bootstrap member; the leader after all of them.
    waiting.sort_by_key(|slot| (leads(config, *slot), std::cmp::Reverse(*slot)));
    let slot = *waiting.first()?;
    let (voters, live) = config
        .voters()
        .fold((0, 0), |(voters, live), entry| (voters + 1, live + usize::from(world.lives(entry))));
    // One or two voters have no member to spare: their pods are replaced all the same, as nothing else would.
    if voters > 2 && live.saturating_sub(1) < majority(voters) {
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
