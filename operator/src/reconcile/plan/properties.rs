//! A world in which every step has its effect, run to its end from thousands of beginnings.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Steps that any way from anywhere must fit in.
const STEPS_MAX: usize = 200;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The pod is there and does not answer.
    Silent,
    /// The volume is empty.
    Wiped,
    /// The pod cannot be scheduled.
    Missing,
}

#[derive(Debug, Clone)]
struct Sim {
    world: World,
    faults: BTreeMap<Slot, Fault>,
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
    fn unborn() -> Self {
        let mut world = World { revisions_known: true, ..World::default() };
        world.pods.insert(Slot::BOOTSTRAP, fresh());
        Self { world, faults: BTreeMap::new() }
    }

    /// The world in which `wish` is reached.
    fn settled(wish: Wish) -> Self {
        let members: Vec<Entry> = wish.slots().into_iter().map(entry).collect();
        let world = World {
            born: true,
            voters_size: wish.voters(),
            arbiter_size: u32::from(wish.arbiter),
            revisions_known: true,
            pods: wish.slots().into_iter().map(|slot| (slot, healthy())).collect(),
            config: Some(Config { leader: Slot::BOOTSTRAP.name("c"), commit: 100, members }),
            ..World::default()
        };
        Self { world, faults: BTreeMap::new() }
    }

    fn config(&mut self) -> &mut Config {
        self.world.config.as_mut().expect("only called once born")
    }

    fn voters(&self) -> usize {
        self.world.config.as_ref().map_or(0, |config| config.voters().count())
    }

    fn live(&self) -> usize {
        let Some(config) = &self.world.config else { return 0 };
        config.voters().filter(|entry| self.world.lives(entry)).count()
    }

    fn break_down(&mut self, slot: Slot, fault: Fault) {
        let Some(pod) = self.world.pods.get_mut(&slot) else { return };
        match fault {
            Fault::Silent => {
                pod.answer = None;
                pod.ready = false;
            }
            Fault::Wiped => *pod = Pod { outdated: pod.outdated, ..fresh() },
            Fault::Missing => {
                self.world.pods.remove(&slot);
            }
        }
        self.faults.insert(slot, fault);
        self.elect();
    }

    fn heal(&mut self) -> bool {
        let Some((slot, fault)) = self.faults.pop_first() else { return false };
        let gone = match slot.component {
            conure_crd::names::Component::Voter => slot.ordinal >= self.world.voters_size,
            conure_crd::names::Component::Arbiter => self.world.arbiter_size == 0,
            conure_crd::names::Component::Bootstrap => false,
        };
        if fault != Fault::Wiped && !gone {
            self.world.pods.insert(slot, healthy());
        }
        self.elect();
        true
    }

    /// A live voter leads if the leader is gone, the arbiter before all others.
    fn elect(&mut self) {
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
    fn hand_over(&mut self) -> bool {
        let Some(config) = &self.world.config else { return false };
        let data = |e: &&Entry| self.world.lives(e) && e.slot.is_some_and(Slot::holds_data);
        let Some(heir) = config.voters().find(data).map(|e| e.name.clone()) else { return false };
        self.config().leader = heir;
        true
    }

    fn resize_voters(&mut self, to: u32) {
        for ordinal in to..self.world.voters_size {
            self.world.pods.remove(&Slot::voter(ordinal));
        }
        for ordinal in self.world.voters_size..to {
            self.world.pods.insert(Slot::voter(ordinal), fresh());
        }
        self.world.voters_size = to;
    }

    fn act(&mut self, wish: Wish, action: &Action) {
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
                assert!(self.world.pods[&slot].joinable(), "{slot} cannot be reached");
                let outdated = self.world.pods[&slot].outdated;
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
                self.world.pods.remove(&Slot::ARBITER);
                if to == 1 {
                    self.world.pods.insert(Slot::ARBITER, fresh());
                }
                self.world.arbiter_size = to;
            }
            Action::Transfer(slot) => {
                assert!(slot.holds_data() && self.config().votes(slot) && self.world.pods[&slot].lives());
                self.config().leader = slot.name("c");
            }
            Action::Evict(slot) => {
                let pod = &self.world.pods[&slot];
                assert!(pod.outdated, "{slot} has the present template and would be evicted");
                if !pod.stuck {
                    let voters = self.voters();
                    assert_eq!(self.live(), voters, "a pod is evicted while another is down");
                    let leads = self.config().leader == slot.name("c");
                    let data = self.config().voters().filter(|e| e.slot.is_some_and(Slot::holds_data));
                    assert!(!leads || data.count() == 1, "the leader is evicted before it handed over");
                }
                self.world.pods.insert(slot, healthy());
                self.faults.remove(&slot);
            }
        }
    }

    /// Runs to the end; what waits is healed, fault by fault. `each` sees the world after every step.
    fn run(&mut self, wish: Wish, mut each: impl FnMut(&Self)) {
        for _ in 0..STEPS_MAX {
            match plan(wish, &self.world) {
                Step::Act(action) => self.act(wish, &action),
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
                    return;
                }
            }
            each(self);
        }
        panic!("no end after {STEPS_MAX} steps: {self:?}");
    }
}

fn wishes() -> impl Strategy<Value = Wish> {
    (1_u32..=7, any::<bool>()).prop_map(|(data, arbiter)| Wish { data, arbiter })
}

fn slots() -> impl Strategy<Value = Slot> {
    prop_oneof![Just(Slot::BOOTSTRAP), Just(Slot::ARBITER), (0_u32..6).prop_map(Slot::voter)]
}

fn faults() -> impl Strategy<Value = Vec<(Slot, Fault)>> {
    let fault = prop_oneof![Just(Fault::Silent), Just(Fault::Wiped), Just(Fault::Missing)];
    proptest::collection::vec((slots(), fault), 0..4)
}

fn tolerated(voters: usize) -> usize {
    voters.saturating_sub(1) / 2
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn every_size_is_reached_from_birth(wish in wishes()) {
        Sim::unborn().run(wish, |_| {});
    }

    #[test]
    fn the_way_between_sizes_tolerates_what_the_worse_end_does(from in wishes(), to in wishes()) {
        let mut sim = Sim::settled(from);
        let ends = [from, to].map(|wish| tolerated(wish.slots().len()));
        let least = ends[0].min(ends[1]);
        sim.run(to, |sim| assert!(tolerated(sim.voters()) >= least, "{sim:?}"));
    }

    #[test]
    fn changes_of_mind_and_faults_end_where_the_last_spec_says(
        from in wishes(),
        detours in proptest::collection::vec((wishes(), 0_usize..12, faults(), slots()), 0..4),
        last in wishes(),
    ) {
        let mut sim = Sim::settled(from);
        for (wish, steps, faults, learner) in detours {
            for (slot, fault) in faults {
                let mut broken = sim.clone();
                broken.break_down(slot, fault);
                // A lost quorum is not for the plan to mend.
                if broken.live() >= majority(broken.voters()) {
                    sim = broken;
                }
            }
            // A join that was cut short leaves a learner.
            let promoted = sim.live() > majority(sim.voters());
            if promoted && let Some(entry) = sim.config().members.iter_mut().find(|e| e.slot == Some(learner)) {
                entry.voter = false;
                sim.elect();
            }
            for _ in 0..steps {
                if let Step::Act(action) = plan(wish, &sim.world) {
                    sim.act(wish, &action);
                }
            }
        }
        sim.run(last, |_| {});
    }

    #[test]
    fn a_new_template_reaches_every_pod_one_at_a_time(
        wish in wishes(),
        hurt in proptest::option::of((slots(), any::<bool>())),
    ) {
        let mut sim = Sim::settled(wish);
        for pod in sim.world.pods.values_mut() {
            pod.outdated = true;
        }
        if let Some((slot, stuck)) = hurt && wish.slots().len() > 2 {
            sim.break_down(slot, Fault::Silent);
            if let Some(pod) = sim.world.pods.get_mut(&slot) {
                pod.stuck = stuck;
            }
        }
        // Healing brings a pod back as it was created: with the present template.
        sim.run(wish, |_| {});
    }

    #[test]
    fn nothing_is_done_without_a_leader_but_to_replace_hopeless_pods(
        from in wishes(), to in wishes(), faults in faults(),
    ) {
        let mut sim = Sim::settled(from);
        for (slot, fault) in faults {
            sim.break_down(slot, fault);
        }
        sim.world.config = None;
        prop_assert!(matches!(plan(to, &sim.world), Step::Wait(_)));
    }
}
