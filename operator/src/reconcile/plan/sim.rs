//! A world in which every step has its effect.

use std::collections::BTreeMap;

use super::*;

/// Steps that any way from anywhere must fit in.
const STEPS_MAX: usize = 200;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The pod is there and does not answer.
    Silent,
    /// The volume is empty.
    Wiped,
    /// The pod cannot be scheduled.
    Missing,
    /// The pod is on a node that is gone.
    Lost,
    /// Somebody deleted the claim under a member that works.
    Unclaimed,
    /// Somebody asks for the member's replacement.
    Asked,
    /// The member's data is damaged, and it does not come up.
    Damaged,
    /// Part of the member's data is damaged, and it runs.
    Cracked,
}

#[derive(Debug, Clone)]
pub(super) struct Sim {
    pub(super) world: World,
    pub(super) faults: BTreeMap<Slot, Fault>,
    /// Whether the policy gives up the volumes of members that go.
    pub(super) discards: bool,
}

fn healthy() -> Pod {
    Pod {
        answer: Some(Answer { belongs: Belongs::Here, applied: 100, adrift: false }),
        ready: true,
        ..Pod::default()
    }
}

fn fresh() -> Pod {
    Pod { answer: Some(Answer { belongs: Belongs::Nowhere, applied: 0, adrift: false }), ..Pod::default() }
}

fn entry(slot: Slot) -> Entry {
    Entry { name: slot.name("c"), slot: Some(slot), voter: true, address_current: true }
}

impl Sim {
    pub(super) fn unborn() -> Self {
        let mut world = World { revisions_known: true, ..World::default() };
        world.pods.insert(Slot::BOOTSTRAP, fresh());
        world.volumes.insert(Slot::BOOTSTRAP, Volume::default());
        Self { world, faults: BTreeMap::new(), discards: false }
    }

    /// The world in which `wish` is reached.
    pub(super) fn settled(wish: Wish) -> Self {
        let members: Vec<Entry> = wish.slots().into_iter().map(entry).collect();
        let world = World {
            born: true,
            voters_size: wish.voters(),
            arbiter_size: u32::from(wish.arbiter),
            revisions_known: true,
            pods: wish.slots().into_iter().map(|slot| (slot, healthy())).collect(),
            volumes: wish.slots().into_iter().map(|slot| (slot, Volume::default())).collect(),
            config: Some(Config { leader: Slot::BOOTSTRAP.name("c"), commit: 100, members }),
            ..World::default()
        };
        Self { world, faults: BTreeMap::new(), discards: false }
    }

    pub(super) fn config(&mut self) -> &mut Config {
        self.world.config.as_mut().expect("only called once born")
    }

    pub(super) fn voters(&self) -> usize {
        self.world.config.as_ref().map_or(0, |config| config.voters().count())
    }

    pub(super) fn live(&self) -> usize {
        let Some(config) = &self.world.config else { return 0 };
        config.voters().filter(|entry| self.world.lives(entry)).count()
    }

    pub(super) fn break_down(&mut self, slot: Slot, fault: Fault) {
        let Some(pod) = self.world.pods.get_mut(&slot) else { return };
        match fault {
            Fault::Lost => {
                pod.answer = None;
                (pod.ready, pod.leaving, pod.lost) = (false, true, true);
            }
            Fault::Unclaimed => self.world.volumes.entry(slot).or_default().leaving = true,
            Fault::Asked => self.world.replace_asked = Some(slot),
            Fault::Cracked => pod.damaged = true,
            Fault::Damaged => {
                pod.answer = None;
                (pod.ready, pod.stuck, pod.damaged) = (false, true, true);
            }
            Fault::Silent => {
                pod.answer = None;
                pod.ready = false;
            }
            Fault::Wiped => *pod = Pod { outdated: pod.outdated, ..fresh() },
            Fault::Missing => {
                self.world.pods.remove(&slot);
            }
        }
        // A request is no fault that passes: it is given up when nothing else is left to happen.
        if !matches!(fault, Fault::Unclaimed | Fault::Asked | Fault::Damaged | Fault::Cracked) {
            self.faults.insert(slot, fault);
        }
        self.elect();
    }

    /// Time passes: volumes that were leaving are gone, or else a fault is over.
    fn heal(&mut self) -> bool {
        let before = self.world.volumes.len();
        // A claim goes when no pod uses it.
        let used: Vec<Slot> = self.world.pods.keys().copied().collect();
        self.world.volumes.retain(|slot, volume| !volume.leaving || used.contains(slot));
        if self.world.volumes.len() < before {
            return true;
        }
        let Some((slot, fault)) = self.faults.pop_first() else { return self.give_up() };
        let gone = match slot.component {
            conure_crd::names::Component::Voter => slot.ordinal >= self.world.voters_size,
            conure_crd::names::Component::Arbiter => self.world.arbiter_size == 0,
            conure_crd::names::Component::Bootstrap => false,
        };
        match fault {
            Fault::Silent | Fault::Missing | Fault::Lost if !gone => {
                self.world.pods.insert(slot, healthy());
            }
            _ => {}
        }
        self.elect();
        true
    }

    /// Somebody gives up what was asked for and cannot be, and mends what was damaged: no cluster can spare its only member.
    fn give_up(&mut self) -> bool {
        if let Some(pod) = self.world.pods.values_mut().find(|pod| pod.damaged) {
            *pod = Pod { outdated: pod.outdated, ..healthy() };
            self.elect();
            return true;
        }
        let given_up = |volume: &Volume| volume.leaving || volume.replace;
        let any = self.world.replace_asked.take().is_some() || self.world.volumes.values().any(given_up);
        self.world.volumes.values_mut().for_each(|volume| (volume.leaving, volume.replace) = (false, false));
        any
    }

    /// A live voter leads if the leader is gone, the arbiter before all others.
    pub(super) fn elect(&mut self) {
        let Some(config) = &self.world.config else { return };
        let leads = |e: &&Entry| self.world.lives(e);
        let alive = config.voters().filter(leads).any(|e| e.name == config.leader);
        let next = config.voters().filter(leads).max_by_key(|e| e.slot == Some(Slot::ARBITER));
        let next = next.map(|e| e.name.clone());
        if !alive && let Some(name) = next {
            self.config().leader = name;
        }
    }

    /// The arbiter hands over as soon as a data voter lives.
    pub(super) fn hand_over(&mut self) -> bool {
        let Some(config) = &self.world.config else { return false };
        let data = |e: &&Entry| self.world.lives(e) && e.slot.is_some_and(Slot::holds_data);
        let Some(heir) = config.voters().find(data).map(|e| e.name.clone()) else { return false };
        self.config().leader = heir;
        true
    }

    fn resize_voters(&mut self, to: u32) {
        for ordinal in to..self.world.voters_size {
            self.give_back(Slot::voter(ordinal));
        }
        for ordinal in self.world.voters_size..to {
            self.come(Slot::voter(ordinal));
        }
        self.world.voters_size = to;
    }

    /// A pod comes, on the volume that is there or on a new one. A member that was removed knows that, and is empty.
    fn come(&mut self, slot: Slot) {
        assert!(!self.world.volume_leaves(slot), "the pod of {slot} would wait for an old volume to go");
        assert!(
            !self.world.strange_volumes.contains(&slot),
            "the pod of {slot} would take somebody's volume"
        );
        self.world.volumes.entry(slot).or_default();
        self.world.pods.insert(slot, fresh());
    }

    fn give_back(&mut self, slot: Slot) {
        self.world.pods.remove(&slot);
        if let Some(volume) = self.world.volumes.get_mut(&slot) {
            volume.discard = self.discards;
        }
    }

    pub(super) fn act(&mut self, wish: Wish, action: &Action) {
        match *action {
            Action::Bootstrap => {
                assert!(!self.world.born, "a cluster is born once");
                self.world.born = true;
                self.world.pods.insert(Slot::BOOTSTRAP, healthy());
                self.world.config = Some(Config {
                    leader: Slot::BOOTSTRAP.name("c"),
                    commit: 100,
                    members: vec![entry(Slot::BOOTSTRAP)],
                });
            }
            Action::Join(slot) => {
                assert!(wish.wants(slot), "{slot} joins unasked");
                assert!(self.world.joinable(slot), "{slot} cannot be reached");
                let Pod { outdated, ready, ref answer, .. } = self.world.pods[&slot];
                let left = matches!(answer.as_ref().map(|a| &a.belongs), Some(Belongs::Behind { .. }));
                assert!(!(left && ready), "{slot} was left behind and clients come to it");
                self.world.pods.insert(slot, Pod { outdated, ..healthy() });
                self.faults.remove(&slot);
                self.config().members.retain(|e| e.slot != Some(slot));
                self.config().members.push(entry(slot));
                self.elect();
            }
            Action::Remove(slot) => {
                assert!(!wish.wants(slot), "{slot} is wanted and would be removed");
                self.config().members.retain(|e| e.slot != Some(slot));
                assert!(self.live() >= majority(self.voters()), "removing {slot} loses the quorum");
                self.elect();
            }
            Action::ResizeVoters(to) => {
                let highest = (to..7).map(Slot::voter).find(|slot| self.config().entry(*slot).is_some());
                assert_eq!(highest, None, "a pod goes before its member was removed");
                assert!(to >= wish.voters(), "the set becomes smaller than the spec says");
                assert!(to + 1 >= self.world.voters_size, "more than one pod goes at a time");
                self.resize_voters(to);
            }
            Action::ResizeArbiter(to) => {
                assert!(to == 1 || self.config().entry(Slot::ARBITER).is_none());
                if to == 1 {
                    self.come(Slot::ARBITER);
                } else {
                    self.give_back(Slot::ARBITER);
                }
                self.world.arbiter_size = to;
            }
            Action::AcceptReplace(slot) => {
                assert_eq!(self.world.replace_asked.take(), Some(slot));
                self.world.volumes.get_mut(&slot).expect("it is there").replace = true;
            }
            Action::Replace(slot, cause) => {
                assert!(wish.wants(slot), "{slot} is no member to replace");
                let volume = self.world.volumes[&slot];
                let pod = &self.world.pods[&slot];
                let gave_up = volume.leaving || volume.replace || pod.lost;
                assert!(gave_up || cause == Cause::Damaged && pod.damaged, "nobody gave up {slot}");
                if cause == Cause::Damaged {
                    assert!(volume.recorded && !volume.renewed, "{slot} may start over for ever");
                    assert!(self.config().entry(slot).is_some(), "nobody knows whose data {slot} has");
                    self.assert_nothing_else_goes_on(wish, slot);
                }
                self.world.pods.get_mut(&slot).expect("it is there").answer = None;
                assert!(self.live() >= majority(self.voters()), "replacing {slot} loses the quorum");
                let holds = |e: &&Entry| e.slot.is_some_and(Slot::holds_data) && self.world.lives(e);
                let left = self.world.config.iter().flat_map(|config| config.voters()).filter(holds).count();
                assert!(!slot.holds_data() || left > 0, "the last data member goes");
                assert_ne!(self.config().leader, slot.name("c"), "the leader goes before it handed over");
                let renewed = volume.renewed || volume.recorded;
                self.world.volumes.insert(slot, Volume { renewed, ..Volume::default() });
                self.world.pods.insert(slot, fresh());
                self.faults.remove(&slot);
            }
            Action::DeleteVolume(slot) => {
                assert!(!wish.wants(slot), "the volume of {slot} is wanted and would be deleted");
                assert!(self.config().entry(slot).is_none(), "{slot} is a member and would lose its volume");
                assert!(!self.world.pods.contains_key(&slot), "the pod of {slot} is still there");
                let volume = self.world.volumes.get_mut(&slot).expect("it is there");
                assert!(volume.discard && !volume.leaving, "nobody gave up the volume of {slot}");
                volume.leaving = true;
            }
            Action::Recover(slot) => {
                assert_eq!(self.world.recovering.take(), Some(slot));
                assert_eq!(self.world.config, None, "a cluster with a leader is left behind");
                for pod in self.world.pods.values_mut().filter(|pod| pod.lives()) {
                    let answer = pod.answer.as_mut().expect("it lives");
                    answer.belongs = Belongs::Behind { holds_more: false };
                    // A quorum of them may go on without knowing.
                    (pod.ready, pod.outdated) = (true, true);
                }
                self.world.pods.insert(slot, healthy());
                self.world.config =
                    Some(Config { leader: slot.name("c"), commit: 100, members: vec![entry(slot)] });
            }
            Action::Fence(slot) => {
                let pod = self.world.pods.get_mut(&slot).expect("it is there");
                let left = matches!(pod.answer.as_ref().map(|a| &a.belongs), Some(Belongs::Behind { .. }));
                assert!(left && pod.ready, "{slot} is no member that was left behind");
                (pod.ready, pod.outdated) = (false, false);
            }
            Action::Transfer(slot) => {
                assert!(slot.holds_data() && self.config().votes(slot) && self.world.pods[&slot].lives());
                self.config().leader = slot.name("c");
            }
            Action::Evict(slot) => {
                let pod = &self.world.pods[&slot];
                assert!(pod.outdated, "{slot} has the present template and would be evicted");
                let config = self.world.config.as_ref().filter(|config| config.entry(slot).is_some());
                if let Some(config) = config
                    && !pod.stuck
                {
                    let down = config.voters().any(|e| e.slot != Some(slot) && !self.world.lives(e));
                    assert!(!down, "a pod is evicted while another is down");
                    let leads = config.leader == slot.name("c");
                    let data = config.voters().filter(|e| e.slot.is_some_and(Slot::holds_data));
                    assert!(!leads || data.count() == 1, "the leader is evicted before it handed over");
                }
                self.world.pods.insert(slot, healthy());
                self.faults.remove(&slot);
            }
        }
    }

    /// The status names the member's volume.
    pub(super) fn record(&mut self, slot: Slot) {
        let volume = self.world.volumes.get_mut(&slot).expect("it is there");
        assert!(!volume.recorded, "{slot} is on record");
        volume.recorded = true;
    }

    /// Every other member votes and serves, but for those that are damaged too.
    fn assert_nothing_else_goes_on(&self, wish: Wish, slot: Slot) {
        let well = |other: &Slot| {
            let votes = self.world.config.as_ref().is_some_and(|config| config.votes(*other));
            let pod = self.world.pods.get(other);
            let serves = pod.is_some_and(|pod| pod.lives() && pod.ready && !pod.leaving);
            let damaged = pod.is_some_and(|pod| pod.damaged);
            *other == slot || damaged || votes && serves
        };
        let sick = wish.slots().into_iter().find(|other| !well(other));
        assert_eq!(sick, None, "{slot} is given up while another member is not well");
    }

    /// Runs to the end; what waits is healed, fault by fault. `each` sees the world after every step.
    pub(super) fn run(&mut self, wish: Wish, mut each: impl FnMut(&Self)) {
        for _ in 0..STEPS_MAX {
            match plan(wish, &self.world) {
                Step::Act(action) => self.act(wish, &action),
                Step::Record(slot) => self.record(slot),
                Step::Wait(Waiting::DataLeader) if self.hand_over() => {}
                Step::Wait(_) if self.heal() => {}
                Step::Wait(reason) => panic!("waits for nothing: {reason:?} in {self:?}"),
                Step::Done => {
                    let mut members: Vec<_> = self.config().voters().filter_map(|e| e.slot).collect();
                    members.sort();
                    let mut wanted = wish.slots();
                    wanted.sort();
                    assert_eq!(members, wanted);
                    assert!(!self.config().arbiter_leads(), "done, and nobody serves");
                    assert_eq!(self.world.voters_size, wish.voters());
                    assert_eq!(self.world.arbiter_size, u32::from(wish.arbiter));
                    assert!(self.world.pods.values().all(|pod| !pod.outdated && pod.lives()));
                    let kept = |(slot, volume): (&Slot, &Volume)| {
                        wish.wants(*slot) || !volume.discard || volume.leaving
                    };
                    assert!(self.world.volumes.iter().all(kept), "a volume that was given up is kept");
                    return;
                }
            }
            each(self);
        }
        panic!("no end after {STEPS_MAX} steps: {self:?}");
    }
}
