//! From what is wanted and what is there to at most one change.
//!
//! **Invariant:** nothing here holds a client, remembers anything or looks at a clock; the same arguments always
//! give the same step. Members are matched by name, never by position. Only the spec shrinks a cluster.

mod membership;
mod replace;
mod rollout;
mod world;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod sim;
#[cfg(test)]
mod tests;

use conure_crd::names::Component;

pub use replace::Cause;
pub use world::{Answer, Belongs, Config, Entry, Pod, Slot, Volume, Wish, World, majority};

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Ask the bootstrap member to start the cluster.
    Bootstrap,
    /// Ask the leader to add this member, or to go on with it.
    Join(Slot),
    /// Ask the leader to remove this member.
    Remove(Slot),
    /// Give the voters' StatefulSet this many replicas.
    ResizeVoters(u32),
    /// Give the arbiter's StatefulSet this many replicas.
    ResizeArbiter(u32),
    /// Delete the volume that this slot's member left behind.
    DeleteVolume(Slot),
    /// Put on record, at its claim, that this member is to start over.
    AcceptReplace(Slot),
    /// Delete this member's claim and pod, so that it starts over on a new volume.
    Replace(Slot, Cause),
    /// Restart this member's pod, so that the cluster goes on with it alone.
    Recover(Slot),
    /// Restart this member's pod, which a recovery left behind and which counts as ready as its template was made before.
    Fence(Slot),
    /// Hand leadership to this member.
    Transfer(Slot),
    /// Evict this member's pod, so that it comes back with the present template.
    Evict(Slot),
}

impl Action {
    /// Its kind, for events and metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Bootstrap => "Bootstrap",
            Self::Join(_) => "Join",
            Self::Remove(_) => "Remove",
            Self::ResizeVoters(_) | Self::ResizeArbiter(_) => "Scale",
            Self::DeleteVolume(_) => "DeleteVolume",
            Self::AcceptReplace(_) | Self::Replace(..) => "Replace",
            Self::Recover(_) => "Recover",
            Self::Fence(_) => "Fence",
            Self::Transfer(_) => "TransferLeadership",
            Self::Evict(_) => "Evict",
        }
    }

    /// The member that it is about; for a StatefulSet, the last that comes or goes.
    pub fn member(&self) -> Option<Slot> {
        match *self {
            Self::Bootstrap => Some(Slot::BOOTSTRAP),
            Self::Join(slot)
            | Self::Remove(slot)
            | Self::DeleteVolume(slot)
            | Self::AcceptReplace(slot)
            | Self::Replace(slot, _)
            | Self::Recover(slot)
            | Self::Fence(slot)
            | Self::Transfer(slot)
            | Self::Evict(slot) => Some(slot),
            Self::ResizeVoters(to) => Some(Slot::voter(to.saturating_sub(1))),
            Self::ResizeArbiter(_) => Some(Slot::ARBITER),
        }
    }

    /// The reason of conditions and events when it fails.
    pub fn failure(&self) -> &'static str {
        match self {
            Self::Bootstrap => "BootstrapFailed",
            Self::Join(_) => "JoinFailed",
            Self::Remove(_) => "RemoveFailed",
            Self::ResizeVoters(_) | Self::ResizeArbiter(_) => "ScaleFailed",
            Self::DeleteVolume(_) => "DeleteVolumeFailed",
            Self::AcceptReplace(_) | Self::Replace(..) => "ReplaceFailed",
            Self::Recover(_) => "RecoverFailed",
            Self::Fence(_) => "FenceFailed",
            Self::Transfer(_) => "TransferFailed",
            Self::Evict(_) => "EvictFailed",
        }
    }

    /// What is being done, in one line.
    pub fn sentence(&self, cluster: &str) -> String {
        match *self {
            Self::Bootstrap => format!("{} is asked to begin the cluster", Slot::BOOTSTRAP.name(cluster)),
            Self::Join(slot) => format!("{} joins", slot.name(cluster)),
            Self::Remove(slot) => format!("{} is removed from the members", slot.name(cluster)),
            Self::ResizeVoters(to) => {
                format!("StatefulSet {} gets {to} pods", Component::Voter.stateful_set(cluster))
            }
            Self::ResizeArbiter(to) => {
                format!("StatefulSet {} gets {to} pods", Component::Arbiter.stateful_set(cluster))
            }
            Self::DeleteVolume(slot) => {
                format!("the volume of {}, which is no longer a member, is deleted", slot.name(cluster))
            }
            Self::AcceptReplace(slot) | Self::Replace(slot, _) => {
                format!("{} starts over on a new volume", slot.name(cluster))
            }
            Self::Recover(slot) => format!("the cluster goes on with {} alone", slot.name(cluster)),
            Self::Fence(slot) => {
                format!(
                    "{} restarts, so that it is no longer ready, as it was left behind",
                    slot.name(cluster)
                )
            }
            Self::Transfer(slot) => format!("leadership goes to {}", slot.name(cluster)),
            Self::Evict(slot) => format!("the pod {} is replaced", slot.name(cluster)),
        }
    }
}

/// What to do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// This change, and nothing else.
    Act(Action),
    /// The status says that this member's data is damaged, before the member starts over.
    Record(Slot),
    /// Nothing, because of this.
    Wait(Waiting),
    /// Nothing: everything wanted is there.
    Done,
}

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
    /// Somebody wants the pods back.
    Suspended,
    /// The bootstrap member's pod answers.
    BootstrapMember,
    /// Someone says what to do with volumes that no cluster of ours made.
    Volumes(Vec<String>),
    /// The volume on which bootstrapping was begun is gone, and whether it held data nobody knows.
    VolumeReplaced,
    /// A member's volume belongs to another cluster.
    Foreign(Slot, String),
    /// The cluster was born, and every member that answers is empty.
    DataGone,
    /// This member goes on alone.
    Recovery(Slot),
    /// This member, which a recovery left behind, may hold more than the cluster went on with.
    LeftBehind(Slot),
    /// A leader.
    Leader,
    /// The arbiter, which leads, hands over to a data member.
    DataLeader,
    /// These members answer, so that they can join.
    Joining(Vec<Slot>),
    /// Removing this member now would leave no live quorum, because these others are down.
    QuorumBeforeRemoval(Slot, Vec<String>),
    /// This member cannot be replaced before these others are up.
    OthersBeforeReplace(Slot, Cause, Vec<String>),
    /// This member's data was damaged again, less than a day after it had a new volume for that.
    DamagedAgain(Slot),
    /// These are to join and have damaged data, and nobody can say whose data that is.
    DamagedComers(Vec<Slot>),
    /// The volumes under the names of these members, which are to come, are gone.
    VolumesLeaving(Vec<Slot>),
    /// Someone says what to do with volumes of others under the names of these members, which are to come.
    StrangeVolumes(Vec<Slot>),
    /// The pods of these former members are gone, so that their volumes can go.
    PodsLeaving(Vec<Slot>),
    /// The StatefulSets' controller has seen their present template, so that outdated pods can be told.
    Revisions,
    /// Members are up and caught up before the next pod is replaced.
    Rollout(Vec<String>),
    /// These pods are ready.
    Ready(Vec<String>),
}

/// The next step.
pub fn plan(wish: Wish, world: &World) -> Step {
    if world.suspended {
        return Step::Wait(Waiting::Suspended);
    }
    if let Some(slot) = world.recovering {
        return recover(world, slot);
    }
    if let Some(slot) = rollout::hopeless(world) {
        return Step::Act(Action::Evict(slot));
    }
    if !world.born {
        return birth(world);
    }
    if let Some(slot) = replace::left_ready(world) {
        return Step::Act(Action::Fence(slot));
    }
    if let Some(step) = replace::accept(wish, world) {
        return step;
    }
    let Some(config) = &world.config else {
        return Step::Wait(without_leader(world));
    };
    membership::repair(wish, world, config)
        .or_else(|| replace::next(wish, world, config))
        .or_else(|| match membership::next(wish, world, config) {
            // Who is to join and has damaged data never answers.
            Some(Step::Wait(Waiting::Joining(coming))) => {
                Some(replace::held_from_joining(wish, world, config, coming))
            }
            next => next,
        })
        .or_else(|| membership::find_again(wish, world, config))
        .or_else(|| replace::held_up(wish, world, config))
        .or_else(|| replace::damaged(wish, world, config))
        .or_else(|| rollout::next(wish, world, config))
        .or_else(|| membership::leftovers(wish, world, config))
        .or_else(|| config.arbiter_leads().then_some(Step::Wait(Waiting::DataLeader)))
        .unwrap_or(Step::Done)
}

/// A cluster begins once, on an empty volume, with nothing else there.
fn birth(world: &World) -> Step {
    let answer = world.pods.get(&Slot::BOOTSTRAP).and_then(|pod| pod.answer.as_ref());
    match answer.map(|answer| &answer.belongs) {
        _ if !world.other_volumes.is_empty() => Step::Wait(Waiting::Volumes(world.other_volumes.clone())),
        _ if world.volume_replaced => Step::Wait(Waiting::VolumeReplaced),
        None | Some(Belongs::Here) => Step::Wait(Waiting::BootstrapMember),
        // Only a recovery leaves anybody behind, and only a cluster that was born is recovered.
        Some(Belongs::Behind { .. }) => Step::Wait(Waiting::LeftBehind(Slot::BOOTSTRAP)),
        Some(Belongs::Elsewhere(id)) => Step::Wait(Waiting::Foreign(Slot::BOOTSTRAP, id.clone())),
        Some(Belongs::Nowhere) => Step::Act(Action::Bootstrap),
    }
}

/// Its StatefulSet has the container that does it; the pod that is there does not, and comes back with it.
fn recover(world: &World, slot: Slot) -> Step {
    if !world.revisions_known {
        return Step::Wait(Waiting::Revisions);
    }
    match world.pods.get(&slot) {
        Some(pod) if pod.outdated && !pod.leaving => Step::Act(Action::Recover(slot)),
        _ => Step::Wait(Waiting::Recovery(slot)),
    }
}

fn without_leader(world: &World) -> Waiting {
    let mut answers = world.pods.values().filter_map(|pod| pod.answer.as_ref()).peekable();
    // Whoever does not answer may still hold the data.
    let all_answer = !world.pods.is_empty() && world.pods.values().all(|pod| pod.answer.is_some());
    if all_answer && answers.all(|answer| answer.belongs == Belongs::Nowhere) {
        return Waiting::DataGone;
    }
    Waiting::Leader
}
