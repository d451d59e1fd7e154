//! A member that starts over on a new volume: its claim and its pod go, and what comes back joins as a new member.

use super::world::{Config, Entry, Slot, Wish, World, majority};
use super::{Action, Step, Waiting, rollout};

/// Why a member is to start over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Somebody asked for it.
    Asked,
    /// Somebody deleted its claim, which cannot be taken back.
    VolumeLeaving,
    /// Its node is gone for longer than the spec waits, and its volume cannot follow.
    Lost,
}

/// The request, which is put on record at the claim before anything is done.
pub(super) fn accept(wish: Wish, world: &World) -> Option<Step> {
    let slot = world.replace_asked?;
    let can = wish.wants(slot) && world.volumes.contains_key(&slot);
    can.then_some(Step::Act(Action::AcceptReplace(slot)))
}

/// The next member to replace, where the cluster can spare it.
pub(super) fn next(wish: Wish, world: &World, config: &Config) -> Option<Step> {
    let (slot, cause) = due(wish, world).find(|(slot, _)| missed(world, config, *slot).is_empty())?;
    if config.entry(slot).is_some_and(|entry| entry.name == config.leader) {
        return rollout::heir(world, config, slot).map(|heir| Step::Act(Action::Transfer(heir)));
    }
    Some(Step::Act(Action::Replace(slot, cause)))
}

/// Members that cannot be replaced now, and whom that waits for.
pub(super) fn held_up(wish: Wish, world: &World, config: &Config) -> Option<Step> {
    let (slot, _) = due(wish, world).next()?;
    let missed = missed(world, config, slot);
    (!missed.is_empty()).then_some(Step::Wait(Waiting::OthersBeforeReplace(slot, missed)))
}

/// The broken before those that still work. Who is not in the configuration is not needed either, and may start over.
fn due(wish: Wish, world: &World) -> impl Iterator<Item = (Slot, Cause)> {
    let mut due: Vec<(Slot, Cause)> =
        wish.slots().into_iter().filter_map(|slot| Some((slot, cause(world, slot)?))).collect();
    due.sort_by_key(|(slot, _)| (world.pods.get(slot).is_some_and(|pod| pod.lives()), *slot));
    due.into_iter()
}

fn cause(world: &World, slot: Slot) -> Option<Cause> {
    let pod = world.pods.get(&slot)?;
    let volume = world.volumes.get(&slot).copied().unwrap_or_default();
    if pod.lost {
        return Some(Cause::Lost);
    }
    // The rest comes by itself once the pod is on its way.
    if pod.leaving {
        return None;
    }
    match (volume.leaving, volume.replace) {
        (true, _) => Some(Cause::VolumeLeaving),
        (false, true) => Some(Cause::Asked),
        (false, false) => None,
    }
}

/// The others whom the cluster needs before it can spare this member: a quorum, and a data member that has everything;
/// where this one still works, all of them.
fn missed(world: &World, config: &Config, slot: Slot) -> Vec<String> {
    let others = || config.members.iter().filter(|entry| entry.slot != Some(slot));
    let down = |entry: &&Entry| !world.lives(entry);
    let missing: Vec<String> = others().filter(down).map(|entry| entry.name.clone()).collect();
    let works = world.pods.get(&slot).is_some_and(|pod| pod.lives());
    let live = others().filter(|entry| entry.voter && world.lives(entry)).count();
    let holds_all = |entry: &Entry| {
        entry.voter
            && entry.slot.is_some_and(|slot| slot.holds_data() && rollout::caught_up(world, config, slot))
    };
    let quorum = live >= majority(config.voters().count());
    let data = !slot.holds_data() || others().any(holds_all);
    match (quorum && data && (!works || missing.is_empty()), missing.is_empty()) {
        (true, _) => Vec::new(),
        (false, false) => missing,
        (false, true) => vec!["more members".to_owned()],
    }
}
