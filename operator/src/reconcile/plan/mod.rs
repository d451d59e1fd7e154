//! From what is wanted and what is there to at most one change.
//!
//! **Invariant:** nothing here holds a client, remembers anything or looks at a clock; the same arguments always
//! give the same step. Members are matched by name, never by position. Only the spec shrinks a cluster.

mod membership;
mod rollout;
mod world;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use conure_crd::names::Component;

pub use world::{Answer, Belongs, Config, Entry, Pod, Slot, Wish, World, majority};

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
            Self::Transfer(_) => "TransferLeadership",
            Self::Evict(_) => "Evict",
        }
    }

    /// The member that it is about; for a StatefulSet, the last that comes or goes.
    pub fn member(&self) -> Option<Slot> {
        match *self {
            Self::Bootstrap => Some(Slot::BOOTSTRAP),
            Self::Join(slot) | Self::Remove(slot) | Self::Transfer(slot) | Self::Evict(slot) => Some(slot),
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
    /// Nothing, because of this.
    Wait(Waiting),
    /// Nothing: everything wanted is there.
    Done,
}

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
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
    /// A leader.
    Leader,
    /// The arbiter, which leads, hands over to a data member.
    DataLeader,
    /// These members answer, so that they can join.
    Joining(Vec<Slot>),
    /// Removing this member now would leave no live quorum.
    QuorumBeforeRemoval(Slot),
    /// The StatefulSets' controller has seen their present template, so that outdated pods can be told.
    Revisions,
    /// Members are up and caught up before the next pod is replaced.
    Rollout(Vec<String>),
    /// These pods are ready.
    Ready(Vec<String>),
}

/// The next step.
pub fn plan(wish: Wish, world: &World) -> Step {
    if let Some(slot) = rollout::hopeless(world) {
        return Step::Act(Action::Evict(slot));
    }
    if !world.born {
        return birth(world);
    }
    let Some(config) = &world.config else {
        return Step::Wait(without_leader(world));
    };
    membership::next(wish, world, config)
        .or_else(|| membership::find_again(wish, world, config))
        .or_else(|| rollout::next(wish, world, config))
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
        Some(Belongs::Elsewhere(id)) => Step::Wait(Waiting::Foreign(Slot::BOOTSTRAP, id.clone())),
        Some(Belongs::Nowhere) => Step::Act(Action::Bootstrap),
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
