//! What holds on every way from thousands of beginnings to their ends.

use conure_crd::ArbiterMode;
use proptest::prelude::*;

use super::sim::{Fault, Sim};
use super::*;

fn wishes() -> impl Strategy<Value = Wish> {
    (1_u32..=7, any::<bool>()).prop_map(|(data, arbiter)| Wish { data, arbiter })
}

fn slots() -> impl Strategy<Value = Slot> {
    prop_oneof![Just(Slot::BOOTSTRAP), Just(Slot::ARBITER), (0_u32..6).prop_map(Slot::voter)]
}

fn faults() -> impl Strategy<Value = Vec<(Slot, Fault)>> {
    let fault = proptest::sample::select(&FAULTS[..]);
    proptest::collection::vec((slots(), fault), 0..4)
}

const FAULTS: [Fault; 8] = [
    Fault::Silent,
    Fault::Wiped,
    Fault::Missing,
    Fault::Lost,
    Fault::Unclaimed,
    Fault::Asked,
    Fault::Damaged,
    Fault::Cracked,
];

/// How many more members a cluster of these voters can lose while it serves, less than none where it does not serve.
fn spare(voters: usize, live: usize) -> isize {
    live.cast_signed() - majority(voters).cast_signed()
}

/// Every size under every mode of the arbiter.
fn every_wish() -> Vec<Wish> {
    let modes = [ArbiterMode::Auto, ArbiterMode::Always, ArbiterMode::Never];
    let of = |data: u32| modes.map(|mode| Wish { data, arbiter: mode.wants_arbiter(data.cast_signed()) });
    (1..=7).flat_map(of).collect()
}

/// All pairs, each without a fault and with every single one that leaves a quorum. While the fault lasts, and after it,
/// never fewer further losses are survived than at the worse of both ends with that fault.
#[test]
fn the_way_between_any_two_sizes_tolerates_what_the_worse_end_does() {
    let mut ways = 0;
    for (from, to) in
        every_wish().into_iter().flat_map(|from| every_wish().into_iter().map(move |to| (from, to)))
    {
        let single = from.slots().into_iter().flat_map(|slot| FAULTS.map(|kind| Some((slot, kind))));
        for (fault, discards) in std::iter::once(None).chain(single).zip([false, true].into_iter().cycle()) {
            let mut sim = Sim { discards, ..Sim::settled(from) };
            if let Some((slot, kind)) = fault {
                sim.break_down(slot, kind);
            }
            let at = |wish: Wish| {
                let voters = wish.slots().len();
                spare(voters, voters - usize::from(fault.is_some_and(|(slot, _)| wish.wants(slot))))
            };
            let least = at(from).min(at(to));
            if spare(sim.voters(), sim.live()) < 0 {
                continue;
            }
            ways += 1;
            sim.run(to, |sim| {
                assert!(spare(sim.voters(), sim.live()) >= least, "{from:?} {to:?} {fault:?} {sim:?}")
            });
        }
    }
    assert!(ways > 5_000, "only {ways} ways were tried");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn every_size_is_reached_from_birth(wish in wishes()) {
        Sim::unborn().run(wish, |_| {});
    }

    #[test]
    fn changes_of_mind_and_faults_end_where_the_last_spec_says(
        from in wishes(),
        detours in proptest::collection::vec((wishes(), 0_usize..12, faults(), slots()), 0..4),
        last in wishes(),
        discards in any::<[bool; 4]>(),
        strange in proptest::collection::btree_set(slots(), 0..3),
    ) {
        let mut sim = Sim::settled(from);
        for ((wish, steps, faults, learner), discards) in detours.into_iter().zip(discards) {
            sim.discards = discards;
            // Where a member has a volume nobody else's can be.
            let free = |slot: &&Slot| !sim.world.volumes.contains_key(slot) && !sim.world.pods.contains_key(slot);
            sim.world.strange_volumes = strange.iter().filter(free).copied().collect();
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
                match plan(wish, &sim.world) {
                    Step::Act(action) => sim.act(wish, &action),
                    Step::Record(slot) => sim.record(slot),
                    Step::Wait(_) | Step::Done => {}
                }
            }
        }
        // Whoever made them takes them away.
        sim.world.strange_volumes.clear();
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
            // Nothing but the present template mends it.
            sim.faults.clear();
        }
        sim.run(wish, |_| {});
    }

    #[test]
    fn damaged_members_start_over_one_after_the_other_where_the_others_are_a_quorum(
        wish in wishes(),
        damaged in proptest::collection::btree_map(slots(), any::<bool>(), 1..4),
    ) {
        let mut sim = Sim::settled(wish);
        for (slot, runs) in &damaged {
            sim.break_down(*slot, if *runs { Fault::Cracked } else { Fault::Damaged });
        }
        let slots = wish.slots();
        let hurt = slots.iter().filter(|slot| damaged.contains_key(slot)).count();
        let data = slots.iter().any(|slot| slot.holds_data() && !damaged.contains_key(slot));
        let spared = slots.len() - hurt >= majority(slots.len()) && data;
        let down = slots.iter().filter(|slot| damaged.get(slot) == Some(&false)).count();
        if slots.len() - down < majority(slots.len()) {
            sim.world.config = None;
            prop_assert!(matches!(plan(wish, &sim.world), Step::Wait(_)));
            return Ok(());
        }
        let mut replaced = 0;
        for _ in 0..100 {
            match plan(wish, &sim.world) {
                Step::Act(action) => {
                    replaced += usize::from(matches!(action, Action::Replace(_, Cause::Damaged)));
                    sim.act(wish, &action);
                }
                Step::Record(slot) => sim.record(slot),
                Step::Wait(Waiting::DataLeader) if sim.hand_over() => {}
                step => {
                    prop_assert_eq!(step == Step::Done, spared || hurt == 0, "{:?}", step);
                    break;
                }
            }
        }
        prop_assert_eq!(replaced, if spared { hurt } else { 0 });
    }

    #[test]
    fn a_cluster_that_goes_on_with_one_member_becomes_whole(wish in wishes(), data in 0_usize..7) {
        let mut sim = Sim::settled(wish);
        let slots = wish.slots();
        let survivor = slots[data % usize::try_from(wish.data).expect("it is small")];
        // As many as cost the quorum come back empty.
        let lost = slots.iter().filter(|slot| **slot != survivor).take(slots.len().div_ceil(2));
        lost.for_each(|slot| sim.break_down(*slot, Fault::Wiped));
        sim.faults.clear();
        sim.world.config = None;
        sim.world.recovering = Some(survivor);
        sim.world.pods.get_mut(&survivor).expect("it is there").outdated = true;
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
        let step = plan(to, &sim.world);
        prop_assert!(matches!(step, Step::Wait(_) | Step::Act(Action::AcceptReplace(_))), "{step:?}");
    }
}
