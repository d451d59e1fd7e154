//! A member that starts over on a new volume: its claim and its pod go, and what comes back joins as a new member.

use super::world::{Belongs, Config, Entry, Pod, Slot, Wish, World, majority};
use super::{Action, Step, Waiting, rollout};

/// Whom it waits for where all others are up, and are too few.
const MORE_MEMBERS: &str = "more members";

/// Why a member is to start over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Somebody asked for it.
    Asked,
    /// Somebody deleted its claim, which cannot be taken back.
    VolumeLeaving,
    /// Its node is gone for longer than the spec waits, and its volume cannot follow.
    Lost,
    /// Its data was found damaged.
    Damaged,
}

/// A member that a recovery left behind and that clients still come to: its pod asks for no incarnation or an older one.
pub(super) fn left_ready(world: &World) -> Option<Slot> {
    let behind = |pod: &Pod| {
        let belongs = pod.answer.as_ref().map(|answer| &answer.belongs);
        matches!(belongs, Some(Belongs::Behind { .. })) && pod.ready && pod.outdated && !pod.leaving
    };
    if !world.revisions_known {
        return None;
    }
    world.pods.iter().find(|(_, pod)| behind(pod)).map(|(slot, _)| *slot)
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
    replace(world, config, slot, cause)
}

/// Whoever leads hands over first.
fn replace(world: &World, config: &Config, slot: Slot, cause: Cause) -> Option<Step> {
    if config.entry(slot).is_some_and(|entry| entry.name == config.leader) {
        return rollout::heir(world, config, slot).map(|heir| Step::Act(Action::Transfer(heir)));
    }
    Some(Step::Act(Action::Replace(slot, cause)))
}

fn is_damaged(world: &World, slot: Slot) -> bool {
    world.pods.get(&slot).is_some_and(|pod| pod.damaged && !pod.leaving)
}

/// Who is to join and does not answer: damaged data may be why. That of a member in the configuration is the cluster's. Any
/// other volume may be one that a recovery left behind, or another cluster's, and is kept.
pub(super) fn held_from_joining(wish: Wish, world: &World, config: &Config, coming: Vec<Slot>) -> Step {
    if let Some(step @ (Step::Act(_) | Step::Record(_))) = damaged(wish, world, config) {
        return step;
    }
    let unknown = |slot: &Slot| config.entry(*slot).is_none() && is_damaged(world, *slot);
    let kept: Vec<Slot> = coming.iter().copied().filter(unknown).collect();
    Step::Wait(if kept.is_empty() { Waiting::Joining(coming) } else { Waiting::DamagedComers(kept) })
}

/// A member whose data was found damaged. Nobody asked for it, so nothing else may be under way: every other member is
/// there, ready and caught up (those that are damaged too aside, which wait for their turn), and they are a quorum
/// without it. Part of what it holds may be all that is left of something as long as they are not.
pub(super) fn damaged(wish: Wish, world: &World, config: &Config) -> Option<Step> {
    let hurt = |slot: &Slot| config.entry(*slot).is_some() && is_damaged(world, *slot);
    let works = |slot: &Slot| world.pods.get(slot).is_some_and(Pod::lives);
    let slot = wish.slots().into_iter().filter(hurt).min_by_key(|slot| (works(slot), *slot))?;
    let (well, sick): (Vec<&Entry>, Vec<&Entry>) = config
        .members
        .iter()
        .filter(|entry| entry.slot != Some(slot))
        .partition(|entry| is_well(world, config, entry));
    let absent = wish.slots().into_iter().any(|other| other != slot && config.entry(other).is_none());
    let quorum = well.len() >= majority(config.voters().count());
    let data = well.iter().any(|entry| entry.slot.is_some_and(Slot::holds_data));
    let in_turn = |entry: &&Entry| entry.slot.is_some_and(|other| is_damaged(world, other));
    if absent || !quorum || !data || !sick.iter().all(in_turn) {
        let mut others: Vec<String> = sick.into_iter().map(|entry| entry.name.clone()).collect();
        if others.is_empty() {
            others.push(MORE_MEMBERS.to_owned());
        }
        return Some(Step::Wait(Waiting::OthersBeforeReplace(slot, Cause::Damaged, others)));
    }
    let volume = world.volumes.get(&slot)?;
    // What damages one volume after the other has to be mended first.
    if volume.renewed {
        return Some(Step::Wait(Waiting::DamagedAgain(slot)));
    }
    // On record before anything is done: else a member could start over for ever.
    if !volume.recorded {
        return Some(Step::Record(slot));
    }
    replace(world, config, slot, Cause::Damaged)
}

/// Whether a member votes and is all that it should be. A damaged one may run, and is not.
fn is_well(world: &World, config: &Config, entry: &Entry) -> bool {
    let serves =
        |slot| rollout::serves(world, config, slot) && world.pods.get(&slot).is_some_and(|pod| !pod.damaged);
    entry.voter && entry.address_current && entry.slot.is_some_and(serves)
}

/// Members that cannot be replaced now, and whom that waits for.
pub(super) fn held_up(wish: Wish, world: &World, config: &Config) -> Option<Step> {
    let (slot, cause) = due(wish, world).next()?;
    let missed = missed(world, config, slot);
    (!missed.is_empty()).then_some(Step::Wait(Waiting::OthersBeforeReplace(slot, cause, missed)))
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
        (false, true) => vec![MORE_MEMBERS.to_owned()],
    }
}
