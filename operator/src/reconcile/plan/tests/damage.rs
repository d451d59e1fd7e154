//! Members with damaged data.

use super::*;

/// The pod of a member that ended because its data is damaged.
fn damaged() -> Pod {
    Pod { damaged: true, stuck: true, ..Pod::default() }
}

/// The world in which `wish` is reached, with every member's volume, and on record that its data is damaged.
fn recorded(wish: Wish) -> World {
    let volume = Volume { recorded: true, ..Volume::default() };
    let volumes = wish.slots().into_iter().map(|slot| (slot, volume)).collect();
    World { volumes, ..settled(wish) }
}

#[test]
fn a_damaged_member_starts_over_where_all_others_are_well_and_is_kept_where_one_is_not() {
    let mut world = recorded(FIVE);
    world.pods.insert(Slot::voter(1), damaged());
    let replaced = Step::Act(Action::Replace(Slot::voter(1), Cause::Damaged));
    assert_eq!(plan(FIVE, &world), replaced);
    let kept = Step::Wait(Waiting::OthersBeforeReplace(Slot::voter(1), Cause::Damaged, vec!["c-3".into()]));
    for change in [
        (|pod| pod.answer = None) as fn(&mut Pod),
        |pod| pod.ready = false,
        |pod| pod.leaving = true,
        |pod| pod.answer.as_mut().expect("it answers").belongs = Belongs::Behind { holds_more: true },
    ] {
        let mut world = world.clone();
        change(world.pods.get_mut(&Slot::voter(3)).expect("it is there"));
        assert_eq!(plan(FIVE, &world), kept);
    }
    let mut behind = world.clone();
    config(&mut behind).commit = 100_000;
    for (slot, pod) in &mut behind.pods {
        if let Some(answer) = &mut pod.answer {
            answer.applied = if *slot == Slot::voter(3) { 5 } else { 100_000 };
        }
    }
    assert_eq!(plan(FIVE, &behind), kept, "a member that lags");
    let mut waits = world.clone();
    config(&mut waits).members.push(Entry {
        name: "stranger".into(),
        slot: None,
        voter: true,
        address_current: false,
    });
    let kept =
        Step::Wait(Waiting::OthersBeforeReplace(Slot::voter(1), Cause::Damaged, vec!["stranger".into()]));
    assert_eq!(plan(FIVE, &waits), kept, "a member that this operator did not make");
}

#[test]
fn a_damaged_member_that_the_others_cannot_spare_is_kept() {
    for (wish, damaged_too, waits_for) in
        [(Wish { data: 1, arbiter: true }, Slot::BOOTSTRAP, "more members"), (THREE, Slot::voter(0), "c-1")]
    {
        let mut world = recorded(wish);
        let last = *wish.slots().last().expect("there is one");
        world.pods.insert(damaged_too, Pod { damaged: true, ..pod(Belongs::Here) });
        if wish.data > 1 {
            world.pods.insert(last, Pod { damaged: true, ..pod(Belongs::Here) });
        }
        let others = vec![waits_for.to_owned()];
        let kept = Waiting::OthersBeforeReplace(damaged_too, Cause::Damaged, others);
        assert_eq!(plan(wish, &world), Step::Wait(kept));
    }
}

#[test]
fn damaged_members_wait_for_each_other_and_for_every_step_that_is_due() {
    let mut world = recorded(FIVE);
    world.pods.insert(Slot::voter(0), damaged());
    world.pods.insert(Slot::voter(2), damaged());
    assert_eq!(plan(FIVE, &world), Step::Act(Action::Replace(Slot::voter(0), Cause::Damaged)));
    // It comes back empty, and joins before the next one goes.
    world.pods.insert(Slot::voter(0), pod(Belongs::Nowhere));
    assert_eq!(plan(FIVE, &world), Step::Act(Action::Join(Slot::voter(0))));
    config(&mut world).members.iter_mut().find(|e| e.name == "c-0").expect("it is there").voter = false;
    world.pods.insert(Slot::voter(0), Pod::default());
    let kept = Waiting::OthersBeforeReplace(Slot::voter(2), Cause::Damaged, vec!["c-0".into()]);
    assert_eq!(plan(FIVE, &world), Step::Wait(Waiting::Joining(vec![Slot::voter(0)])));
    config(&mut world).members.iter_mut().find(|e| e.name == "c-0").expect("it is there").voter = true;
    assert_eq!(plan(FIVE, &world), Step::Wait(kept));

    let mut growing = recorded(THREE);
    growing.pods.insert(Slot::voter(1), damaged());
    assert_eq!(plan(FIVE, &growing), Step::Act(Action::ResizeVoters(4)));
    growing.voters_size = 4;
    growing.pods.insert(Slot::voter(2), Pod::default());
    growing.pods.insert(Slot::voter(3), Pod::default());
    let coming = vec![Slot::voter(2), Slot::voter(3)];
    assert_eq!(plan(FIVE, &growing), Step::Wait(Waiting::Joining(coming)));

    let mut rolling = recorded(THREE);
    rolling.pods.insert(Slot::voter(1), damaged());
    rolling.pods.get_mut(&Slot::voter(0)).expect("it is there").outdated = true;
    let first = Step::Act(Action::Replace(Slot::voter(1), Cause::Damaged));
    assert_eq!(plan(THREE, &rolling), first, "a rollout waits for it, so it goes before");
}

#[test]
fn one_that_is_to_join_and_has_damaged_data_is_kept_unless_it_is_in_the_configuration() {
    let wish = Wish { data: 4, arbiter: false };
    let mut world = recorded(THREE);
    world.voters_size = 3;
    world.pods.insert(Slot::voter(2), damaged());
    world.volumes.insert(Slot::voter(2), Volume { recorded: true, ..Volume::default() });
    assert_eq!(plan(wish, &world), Step::Wait(Waiting::DamagedComers(vec![Slot::voter(2)])));
    config(&mut world).members.push(Entry {
        name: "c-2".into(),
        slot: Some(Slot::voter(2)),
        voter: false,
        address_current: true,
    });
    assert_eq!(plan(wish, &world), Step::Act(Action::Replace(Slot::voter(2), Cause::Damaged)));
}

#[test]
fn damage_goes_on_record_before_its_member_starts_over_and_that_happens_once_a_day() {
    let mut world = recorded(THREE);
    world.pods.insert(Slot::voter(1), damaged());
    world.volumes.insert(Slot::voter(1), Volume::default());
    assert_eq!(plan(THREE, &world), Step::Record(Slot::voter(1)));
    world.volumes.insert(Slot::voter(1), Volume { renewed: true, ..Volume::default() });
    assert_eq!(plan(THREE, &world), Step::Wait(Waiting::DamagedAgain(Slot::voter(1))));
    // Somebody asks for it all the same.
    world.volumes.insert(Slot::voter(1), Volume { renewed: true, replace: true, ..Volume::default() });
    assert_eq!(plan(THREE, &world), Step::Act(Action::Replace(Slot::voter(1), Cause::Asked)));
}

#[test]
fn a_damaged_leader_that_runs_hands_over_before_it_starts_over() {
    let mut world = recorded(THREE);
    world.pods.get_mut(&Slot::BOOTSTRAP).expect("it is there").damaged = true;
    assert_eq!(plan(THREE, &world), Step::Act(Action::Transfer(Slot::voter(0))));
    config(&mut world).leader = "c-0".into();
    assert_eq!(plan(THREE, &world), Step::Act(Action::Replace(Slot::BOOTSTRAP, Cause::Damaged)));
}
