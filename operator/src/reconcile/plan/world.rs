//! What the plan looks at: plain facts, as observed just now.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use conure_crd::ConureCluster;
use conure_crd::names::{self, Component};

/// The place of one member: its component and ordinal, which make its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot {
    /// Which StatefulSet its pod belongs to.
    pub component: Component,
    /// The pod's ordinal in it.
    pub ordinal: u32,
}

impl Slot {
    /// The member that the cluster began with.
    pub const BOOTSTRAP: Self = Self { component: Component::Bootstrap, ordinal: 0 };
    /// The member without data.
    pub const ARBITER: Self = Self { component: Component::Arbiter, ordinal: 0 };

    /// The data member with that ordinal in the voters' StatefulSet.
    pub const fn voter(ordinal: u32) -> Self {
        Self { component: Component::Voter, ordinal }
    }

    /// The slot of a pod or member name, `None` for names that are none of the cluster's.
    pub fn parse(cluster: &str, name: &str) -> Option<Self> {
        let (component, ordinal) = names::parse_pod(cluster, name)?;
        (component == Component::Voter || ordinal == 0).then_some(Self { component, ordinal })
    }

    /// The name of the pod, which is the member's name too.
    pub fn name(self, cluster: &str) -> String {
        self.component.pod(cluster, self.ordinal)
    }

    /// Whether the member holds data.
    pub fn holds_data(self) -> bool {
        self.component.holds_data()
    }
}

/// The members that the spec asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    /// How many data members, the bootstrap member included.
    pub data: u32,
    /// Whether an arbiter as well.
    pub arbiter: bool,
}

impl Wish {
    /// Those of a cluster's spec.
    pub fn of(cluster: &ConureCluster) -> Self {
        let data = cluster.spec.voters.replicas.max(1);
        Self { data: data.unsigned_abs(), arbiter: cluster.spec.arbiter.mode.wants_arbiter(data) }
    }

    /// How many pods the voters' StatefulSet has for it.
    pub fn voters(self) -> u32 {
        self.data.saturating_sub(1)
    }

    /// Whether the slot is one of those asked for.
    pub fn wants(self, slot: Slot) -> bool {
        match slot.component {
            Component::Bootstrap => slot.ordinal == 0,
            Component::Voter => slot.ordinal < self.voters(),
            Component::Arbiter => slot.ordinal == 0 && self.arbiter,
        }
    }

    /// All slots asked for, data members first, in the order in which they join.
    pub fn slots(self) -> Vec<Slot> {
        let mut slots = vec![Slot::BOOTSTRAP];
        slots.extend((0..self.voters()).map(Slot::voter));
        if self.arbiter {
            slots.push(Slot::ARBITER);
        }
        slots
    }
}

/// Which cluster a member says that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Belongs {
    /// To none: its data directory is empty.
    Nowhere,
    /// To this one.
    Here,
    /// To an older incarnation of this one, which a recovery left behind.
    Behind {
        /// Whether its log may hold more than that of the member that the cluster went on with.
        holds_more: bool,
    },
    /// To another one, with this id.
    Elsewhere(String),
}

impl Belongs {
    /// Whether a member that belongs there may become one of this cluster: it has nothing to lose by it.
    fn may_join(&self) -> bool {
        matches!(self, Self::Nowhere | Self::Here | Self::Behind { holds_more: false })
    }
}

/// What a member answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its cluster.
    pub belongs: Belongs,
    /// The last log index that it applied.
    pub applied: u64,
    /// Whether it has been up for a while and knows no leader.
    pub adrift: bool,
}

/// A pod of the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pod {
    /// What its member answered; `None` where it did not.
    pub answer: Option<Answer>,
    /// Whether Kubernetes counts it as ready.
    pub ready: bool,
    /// Whether it is being deleted.
    pub leaving: bool,
    /// Whether it runs another template than its StatefulSet's present one.
    pub outdated: bool,
    /// Whether it cannot come up as it is: an image that cannot be pulled, a container that keeps crashing.
    pub stuck: bool,
    /// Whether its member said that its data is damaged, and members are replaced for that.
    pub damaged: bool,
    /// Whether it is on a node that is gone, or cannot reach its volume, for longer than the spec waits.
    pub lost: bool,
}

impl Pod {
    /// Whether its member works in this cluster now.
    pub fn lives(&self) -> bool {
        self.answer.as_ref().is_some_and(|answer| answer.belongs == Belongs::Here)
    }
}

/// A claim of the cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Volume {
    /// Whether it is being deleted.
    pub leaving: bool,
    /// Whether it goes once nobody needs it: so said the policy when the cluster shrank, and so it says now.
    pub discard: bool,
    /// Whether its member was asked to start over on a new one.
    pub replace: bool,
    /// Whether it is on record that its member's data on it is damaged.
    pub recorded: bool,
    /// Whether its member's data on the one before was damaged, less than a day ago.
    pub renewed: bool,
}

/// One member in the committed configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The member's name.
    pub name: String,
    /// Its place, `None` for one that this operator did not make.
    pub slot: Option<Slot>,
    /// Whether it counts in a quorum.
    pub voter: bool,
    /// Whether the address in the configuration is the one that its pod has.
    pub address_current: bool,
}

/// The committed configuration, as the leader knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The leader's name.
    pub leader: String,
    /// The highest index that the leader knows to be committed.
    pub commit: u64,
    /// All members.
    pub members: Vec<Entry>,
}

impl Config {
    /// The entry of a slot.
    pub fn entry(&self, slot: Slot) -> Option<&Entry> {
        self.members.iter().find(|entry| entry.slot == Some(slot))
    }

    /// Whether the slot's member votes.
    pub fn votes(&self, slot: Slot) -> bool {
        self.entry(slot).is_some_and(|entry| entry.voter)
    }

    /// Whether the arbiter leads, which serves nobody.
    pub fn arbiter_leads(&self) -> bool {
        self.entry(Slot::ARBITER).is_some_and(|entry| entry.name == self.leader)
    }

    /// All voters.
    pub fn voters(&self) -> impl Iterator<Item = &Entry> {
        self.members.iter().filter(|entry| entry.voter)
    }
}

/// Everything that the plan may look at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct World {
    /// Whether the cluster was ever bootstrapped.
    pub born: bool,
    /// Volumes beside the bootstrap member's own.
    pub other_volumes: Vec<String>,
    /// Whether bootstrapping was begun on a volume that is no longer the bootstrap member's.
    pub volume_replaced: bool,
    /// Replicas of the voters' StatefulSet.
    pub voters_size: u32,
    /// Replicas of the arbiter's StatefulSet.
    pub arbiter_size: u32,
    /// Whether every StatefulSet's controller has seen its present template, so that `outdated` can be trusted.
    pub revisions_known: bool,
    /// The pods that there are.
    pub pods: BTreeMap<Slot, Pod>,
    /// Whether there are to be no pods for now.
    pub suspended: bool,
    /// The member that is to go on alone, as its quorum is lost.
    pub recovering: Option<Slot>,
    /// The member that somebody asks to replace.
    pub replace_asked: Option<Slot>,
    /// The claims that there are.
    pub volumes: BTreeMap<Slot, Volume>,
    /// Slots without a pod under whose names there are claims of somebody else.
    pub strange_volumes: BTreeSet<Slot>,
    /// The committed configuration; `None` where no leader answers.
    pub config: Option<Config>,
}

impl World {
    /// Whether the entry's member works in this cluster now. Strangers are never counted on.
    pub fn lives(&self, entry: &Entry) -> bool {
        entry.slot.and_then(|slot| self.pods.get(&slot)).is_some_and(Pod::lives)
    }

    /// Whether the slot's volume is being deleted.
    pub fn volume_leaves(&self, slot: Slot) -> bool {
        self.volumes.get(&slot).is_some_and(|volume| volume.leaving)
    }

    /// Whether the slot's member can be joined: it answers, belongs nowhere else, and is here to stay.
    pub fn joinable(&self, slot: Slot) -> bool {
        let Some(pod) = self.pods.get(&slot).filter(|pod| !pod.leaving) else { return false };
        !self.volume_leaves(slot) && pod.answer.as_ref().is_some_and(|answer| answer.belongs.may_join())
    }
}

/// The smallest number of `voters` that is a majority.
pub fn majority(voters: usize) -> usize {
    voters / 2 + 1
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.component.label(), self.ordinal)
    }
}
