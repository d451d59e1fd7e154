//! Single cases, each named after what holds.

use super::*;

mod damage;

fn pod(belongs: Belongs) -> Pod {
    Pod { ready: true, answer: Some(Answer { belongs, applied: 100, adrift: false }), ..Pod::default() }
}

fn settled(wish: Wish) -> World {
    let members = wish
        .slots()
        .into_iter()
        .map(|slot| Entry { name: slot.name("c"), slot: Some(slot), voter: true, address_current: true })
        .collect();
    World {
        born: true,
        voters_size: wish.voters(),
        arbiter_size: u32::from(wish.arbiter),
        revisions_known: true,
        pods: wish.slots().into_iter().map(|slot| (slot, pod(Belongs::Here))).collect(),
        config: Some(Config { leader: "c-bootstrap-0".into(), commit: 100, members }),
        ..World::default()
    }
}

const THREE: Wish = Wish { data: 3, arbiter: false };
const FIVE: Wish = Wish { data: 5, arbiter: false };

fn config(world: &mut World) -> &mut Config {
    world.config.as_mut().expect("settled worlds have one")
}

#[test]
fn a_settled_cluster_is_left_alone() {
    assert_eq!(plan(THREE, &settled(THREE)), Step::Done);
}

#[test]
fn nothing_is_done_and_nothing_is_complete_until_the_present_template_was_seen() {
    let mut world = settled(THREE);
    world.revisions_known = false;
    world.pods.values_mut().for_each(|pod| pod.outdated = true);
    assert_eq!(plan(THREE, &world), Step::Wait(Waiting::Revisions));
}

#[test]
fn bootstrap_waits_where_another_volume_exists() {
    let mut world = World { revisions_known: true, ..World::default() };
    world.pods.insert(Slot::BOOTSTRAP, pod(Belongs::Nowhere));
    assert_eq!(plan(THREE, &world), Step::Act(Action::Bootstrap));
    world.other_volumes = vec!["data-c-0".into()];
    assert_eq!(plan(THREE, &world), Step::Wait(Waiting::Volumes(vec!["data-c-0".into()])));
}

#[test]
fn a_wiped_bootstrap_member_is_joined_and_never_bootstrapped_again() {
    let mut world = settled(THREE);
    world.pods.insert(Slot::BOOTSTRAP, pod(Belongs::Nowhere));
    config(&mut world).leader = "c-0".into();
    assert_eq!(plan(THREE, &world), Step::Act(Action::Join(Slot::BOOTSTRAP)));
}

#[test]
fn a_wiped_single_member_is_not_started_again_silently() {
    let mut world = settled(Wish { data: 1, arbiter: false });
    world.pods.insert(Slot::BOOTSTRAP, pod(Belongs::Nowhere));
    world.config = None;
    assert_eq!(plan(Wish { data: 1, arbiter: false }, &world), Step::Wait(Waiting::DataGone));
}

#[test]
fn a_missing_pod_shrinks_nothing() {
    let mut world = settled(FIVE);
    world.pods.remove(&Slot::voter(3));
    world.pods.remove(&Slot::voter(1));
    assert_eq!(plan(FIVE, &world), Step::Wait(Waiting::Ready(vec!["c-1".into(), "c-3".into()])));
}

#[test]
fn a_broken_surplus_member_goes_first_and_its_pod_only_when_those_above_went() {
    let mut world = settled(FIVE);
    world.pods.get_mut(&Slot::voter(2)).expect("it is there").answer = None;
    assert_eq!(plan(THREE, &world), Step::Act(Action::Remove(Slot::voter(2))));
    config(&mut world).members.retain(|entry| entry.slot != Some(Slot::voter(2)));
    assert_eq!(plan(THREE, &world), Step::Act(Action::Remove(Slot::voter(3))));
    config(&mut world).members.retain(|entry| entry.slot != Some(Slot::voter(3)));
    assert_eq!(plan(THREE, &world), Step::Act(Action::ResizeVoters(3)));
}

#[test]
fn a_removal_that_would_lose_the_quorum_waits() {
    let mut world = settled(FIVE);
    world.pods.get_mut(&Slot::voter(0)).expect("it is there").answer = None;
    world.pods.get_mut(&Slot::voter(1)).expect("it is there").answer = None;
    assert_eq!(
        plan(THREE, &world),
        Step::Wait(Waiting::QuorumBeforeRemoval(Slot::voter(3), vec!["c-0".into(), "c-1".into()]))
    );
}

#[test]
fn the_arbiter_goes_only_after_the_data_member_came() {
    let mut world = settled(Wish { data: 4, arbiter: true });
    assert_eq!(plan(FIVE, &world), Step::Act(Action::ResizeVoters(4)));
    world.voters_size = 4;
    assert_eq!(plan(FIVE, &world), Step::Wait(Waiting::Joining(vec![Slot::voter(3)])));
    world.pods.insert(Slot::voter(3), pod(Belongs::Nowhere));
    assert_eq!(plan(FIVE, &world), Step::Act(Action::Join(Slot::voter(3))));
}

#[test]
fn strangers_in_the_configuration_are_left_alone_and_never_counted_on() {
    let mut world = settled(THREE);
    let stranger = Entry { name: "laptop".into(), slot: None, voter: true, address_current: true };
    config(&mut world).members.push(stranger);
    assert_eq!(plan(THREE, &world), Step::Done);
    world.pods.values_mut().for_each(|pod| pod.outdated = true);
    assert_eq!(plan(THREE, &world), Step::Wait(Waiting::Rollout(vec!["laptop".into()])));
}

#[test]
fn a_member_of_another_cluster_is_reported_and_not_joined() {
    let mut world = settled(THREE);
    world.voters_size = 4;
    world.pods.insert(Slot::voter(2), pod(Belongs::Elsewhere("other".into())));
    let wish = Wish { data: 4, arbiter: false };
    world.voters_size = 3;
    assert_eq!(plan(wish, &world), Step::Wait(Waiting::Foreign(Slot::voter(2), "other".into())));
}

#[test]
fn a_volume_on_its_way_out_is_not_joined_and_its_pod_makes_way() {
    let mut world = settled(THREE);
    let wish = Wish { data: 4, arbiter: false };
    world.voters_size = 3;
    world.pods.insert(Slot::voter(2), pod(Belongs::Nowhere));
    world.volumes.insert(Slot::voter(2), Volume { leaving: true, ..Volume::default() });
    assert_eq!(plan(wish, &world), Step::Act(Action::Replace(Slot::voter(2), Cause::VolumeLeaving)));
}

#[test]
fn growing_again_waits_for_an_old_volume_to_be_gone() {
    let mut world = settled(THREE);
    world.volumes.insert(Slot::voter(3), Volume { leaving: true, ..Volume::default() });
    assert_eq!(plan(FIVE, &world), Step::Wait(Waiting::VolumesLeaving(vec![Slot::voter(3)])));
    world.volumes.remove(&Slot::voter(3));
    assert_eq!(plan(FIVE, &world), Step::Act(Action::ResizeVoters(4)));
}

#[test]
fn growing_waits_while_a_volume_of_somebody_else_has_the_name_of_one_to_come() {
    let mut world = settled(THREE);
    world.strange_volumes.insert(Slot::voter(3));
    assert_eq!(plan(THREE, &world), Step::Done, "nobody would take it");
    assert_eq!(plan(FIVE, &world), Step::Wait(Waiting::StrangeVolumes(vec![Slot::voter(3)])));
    let with_arbiter = Wish { data: 3, arbiter: true };
    world.strange_volumes = [Slot::ARBITER].into();
    assert_eq!(plan(with_arbiter, &world), Step::Wait(Waiting::StrangeVolumes(vec![Slot::ARBITER])));
    assert_eq!(plan(FIVE, &world), Step::Act(Action::ResizeVoters(4)));
}

#[test]
fn a_volume_is_deleted_only_where_it_was_given_up_and_its_pod_is_gone() {
    let mut world = settled(THREE);
    world.volumes.insert(Slot::voter(2), Volume::default());
    assert_eq!(plan(THREE, &world), Step::Done, "the policy was Retain when the member went");
    world.volumes.insert(Slot::voter(2), Volume { discard: true, ..Volume::default() });
    world.pods.insert(Slot::voter(2), Pod { leaving: true, ..pod(Belongs::Nowhere) });
    assert_eq!(plan(THREE, &world), Step::Wait(Waiting::PodsLeaving(vec![Slot::voter(2)])));
    world.pods.remove(&Slot::voter(2));
    assert_eq!(plan(THREE, &world), Step::Act(Action::DeleteVolume(Slot::voter(2))));
    // A change of mind: it is wanted again, and its member rejoins on it.
    assert_eq!(plan(FIVE, &world), Step::Act(Action::ResizeVoters(4)));
}

#[test]
fn rollout_takes_followers_first_and_hands_over_before_the_leader() {
    let mut world = settled(THREE);
    for pod in world.pods.values_mut() {
        pod.outdated = true;
    }
    assert_eq!(plan(THREE, &world), Step::Act(Action::Evict(Slot::voter(1))));
    world.pods.get_mut(&Slot::voter(1)).expect("it is there").outdated = false;
    assert_eq!(plan(THREE, &world), Step::Act(Action::Evict(Slot::voter(0))));
    world.pods.get_mut(&Slot::voter(0)).expect("it is there").outdated = false;
    assert_eq!(plan(THREE, &world), Step::Act(Action::Transfer(Slot::voter(0))));
    config(&mut world).leader = "c-0".into();
    assert_eq!(plan(THREE, &world), Step::Act(Action::Evict(Slot::BOOTSTRAP)));
}

#[test]
fn a_lagging_member_holds_the_rollout() {
    let mut world = settled(THREE);
    world.pods.values_mut().for_each(|pod| pod.outdated = true);
    config(&mut world).commit = 100_000;
    for (slot, pod) in &mut world.pods {
        let applied = if *slot == Slot::voter(0) { 5 } else { 100_000 };
        pod.answer = Some(Answer { belongs: Belongs::Here, applied, adrift: false });
    }
    assert_eq!(plan(THREE, &world), Step::Wait(Waiting::Rollout(vec!["c-0".into()])));
}

#[test]
fn a_bad_template_stops_at_the_first_pod_and_is_undone_there() {
    let unready = Pod { ready: false, ..pod(Belongs::Here) };
    // It cannot come up, is silent, or answers and is never ready.
    for broken in [Pod { stuck: true, ..Pod::default() }, Pod::default(), unready] {
        let mut world = settled(THREE);
        world.pods.values_mut().for_each(|pod| pod.outdated = true);
        world.pods.insert(Slot::voter(1), broken.clone());
        assert_eq!(plan(THREE, &world), Step::Wait(Waiting::Rollout(vec!["c-1".into()])));
        // The spec goes back: the others run the present template again, and the broken one does not.
        world.pods.values_mut().for_each(|pod| pod.outdated = false);
        world.pods.insert(Slot::voter(1), Pod { outdated: true, ..broken.clone() });
        assert_eq!(plan(THREE, &world), Step::Act(Action::Evict(Slot::voter(1))));
        // Not while another one is missed.
        world.pods.insert(Slot::voter(0), Pod::default());
        let step = plan(THREE, &world);
        assert_eq!(matches!(step, Step::Act(Action::Evict(_))), broken.stuck, "{step:?}");
    }
}

#[test]
fn a_silent_pod_of_an_earlier_template_that_is_no_member_yet_is_replaced() {
    let mut world = settled(THREE);
    world.voters_size = FIVE.voters();
    world.pods.insert(Slot::voter(2), Pod::default());
    assert!(matches!(plan(FIVE, &world), Step::Wait(_)));
    world.pods.insert(Slot::voter(2), Pod { outdated: true, ..Pod::default() });
    assert_eq!(plan(FIVE, &world), Step::Act(Action::Evict(Slot::voter(2))));
    let mut unborn = World { revisions_known: true, ..World::default() };
    unborn.pods.insert(Slot::BOOTSTRAP, Pod { outdated: true, ..Pod::default() });
    assert_eq!(plan(THREE, &unborn), Step::Act(Action::Evict(Slot::BOOTSTRAP)));
}

#[test]
fn a_member_that_hears_from_no_leader_is_joined_again() {
    let mut world = settled(THREE);
    let answer = Answer { belongs: Belongs::Here, applied: 0, adrift: true };
    world.pods.insert(Slot::voter(0), Pod { answer: Some(answer), ..Pod::default() });
    assert_eq!(plan(THREE, &world), Step::Act(Action::Join(Slot::voter(0))));
}

#[test]
fn a_member_is_replaced_once_however_often_the_operator_dies() {
    let mut world = settled(THREE);
    world.volumes = THREE.slots().into_iter().map(|slot| (slot, Volume::default())).collect();
    let slot = Slot::voter(0);
    world.replace_asked = Some(slot);
    assert_eq!(plan(THREE, &world), Step::Act(Action::AcceptReplace(slot)));
    // Marked, and the request not yet taken back: that comes first.
    world.volumes.get_mut(&slot).expect("it is there").replace = true;
    assert_eq!(plan(THREE, &world), Step::Act(Action::AcceptReplace(slot)));
    world.replace_asked = None;
    assert_eq!(plan(THREE, &world), Step::Act(Action::Replace(slot, Cause::Asked)));
    // The claim is going, and the pod was not told.
    world.volumes.insert(slot, Volume { leaving: true, replace: true, ..Volume::default() });
    assert_eq!(plan(THREE, &world), Step::Act(Action::Replace(slot, Cause::VolumeLeaving)));
    world.pods.get_mut(&slot).expect("it is there").leaving = true;
    assert!(matches!(plan(THREE, &world), Step::Wait(Waiting::Ready(_))));
    world.volumes.insert(slot, Volume::default());
    world.pods.insert(slot, pod(Belongs::Nowhere));
    assert_eq!(plan(THREE, &world), Step::Act(Action::Join(slot)));
}

#[test]
fn the_only_member_and_one_of_two_are_never_replaced() {
    for (wish, others) in [
        (Wish { data: 1, arbiter: false }, vec!["more members".to_owned()]),
        (Wish { data: 2, arbiter: false }, vec!["more members".to_owned()]),
    ] {
        let mut world = settled(wish);
        world.volumes.insert(Slot::BOOTSTRAP, Volume { replace: true, ..Volume::default() });
        assert_eq!(
            plan(wish, &world),
            Step::Wait(Waiting::OthersBeforeReplace(Slot::BOOTSTRAP, Cause::Asked, others))
        );
    }
}

#[test]
fn a_member_that_works_is_replaced_only_while_all_others_do_and_a_lost_one_with_a_quorum() {
    let mut world = settled(FIVE);
    world.pods.get_mut(&Slot::voter(0)).expect("it is there").answer = None;
    world.volumes.insert(Slot::voter(1), Volume { replace: true, ..Volume::default() });
    let waits = Step::Wait(Waiting::OthersBeforeReplace(Slot::voter(1), Cause::Asked, vec!["c-0".into()]));
    assert_eq!(plan(FIVE, &world), waits);
    let gone = Pod { leaving: true, lost: true, ..Pod::default() };
    world.pods.insert(Slot::voter(2), gone);
    assert_eq!(plan(FIVE, &world), Step::Act(Action::Replace(Slot::voter(2), Cause::Lost)));
}

#[test]
fn the_leader_hands_over_before_it_is_replaced() {
    let mut world = settled(THREE);
    world.volumes.insert(Slot::BOOTSTRAP, Volume { replace: true, ..Volume::default() });
    assert_eq!(plan(THREE, &world), Step::Act(Action::Transfer(Slot::voter(0))));
}

#[test]
fn nothing_is_done_while_the_arbiter_leads_and_serves_nobody() {
    let wish = Wish { data: 2, arbiter: true };
    let mut world = settled(wish);
    assert_eq!(plan(wish, &world), Step::Done);
    config(&mut world).leader = Slot::ARBITER.name("c");
    assert_eq!(plan(wish, &world), Step::Wait(Waiting::DataLeader));
}

#[test]
fn the_member_that_goes_on_is_restarted_once_and_nothing_else_is_done() {
    let mut world = settled(FIVE);
    world.config = None;
    let slot = Slot::voter(0);
    world.recovering = Some(slot);
    world.revisions_known = false;
    assert_eq!(plan(FIVE, &world), Step::Wait(Waiting::Revisions));
    world.revisions_known = true;
    world.pods.values_mut().for_each(|pod| (pod.outdated, pod.stuck, pod.answer) = (true, true, None));
    assert_eq!(plan(FIVE, &world), Step::Act(Action::Recover(slot)));
    world.pods.get_mut(&slot).expect("it is there").outdated = false;
    assert_eq!(plan(FIVE, &world), Step::Wait(Waiting::Recovery(slot)));
}

#[test]
fn who_was_left_behind_joins_again_unless_it_may_hold_more() {
    let mut world = settled(THREE);
    config(&mut world).members.retain(|entry| entry.slot == Some(Slot::BOOTSTRAP));
    world.pods.insert(Slot::voter(0), pod(Belongs::Behind { holds_more: true }));
    world.pods.insert(Slot::voter(1), pod(Belongs::Behind { holds_more: false }));
    assert_eq!(plan(THREE, &world), Step::Act(Action::Join(Slot::voter(1))));
    config(&mut world).members.push(Entry {
        name: "c-1".into(),
        slot: Some(Slot::voter(1)),
        voter: true,
        address_current: true,
    });
    world.pods.insert(Slot::voter(1), pod(Belongs::Here));
    assert_eq!(plan(THREE, &world), Step::Wait(Waiting::LeftBehind(Slot::voter(0))));
    // Somebody says that nobody needs it.
    world.volumes.insert(Slot::voter(0), Volume { replace: true, ..Volume::default() });
    assert_eq!(plan(THREE, &world), Step::Act(Action::Replace(Slot::voter(0), Cause::Asked)));
}

#[test]
fn nothing_is_done_to_a_suspended_cluster() {
    let mut world = settled(FIVE);
    world.suspended = true;
    world.pods.values_mut().for_each(|pod| (pod.outdated, pod.stuck, pod.answer) = (true, true, None));
    world.replace_asked = Some(Slot::voter(0));
    assert_eq!(plan(THREE, &world), Step::Wait(Waiting::Suspended));
}

#[test]
fn whoever_was_left_behind_and_counts_as_ready_restarts_before_anything_else() {
    let mut world = settled(FIVE);
    let left = |holds_more| Pod { outdated: true, ..pod(Belongs::Behind { holds_more }) };
    world.pods.insert(Slot::voter(2), left(true));
    world.pods.insert(Slot::voter(3), left(false));
    assert_eq!(plan(FIVE, &world), Step::Act(Action::Fence(Slot::voter(2))));
    world.pods.insert(Slot::voter(2), Pod { leaving: true, ..left(true) });
    assert_eq!(plan(FIVE, &world), Step::Act(Action::Fence(Slot::voter(3))));
    let leaderless = World { config: None, ..world.clone() };
    assert_eq!(plan(FIVE, &leaderless), Step::Act(Action::Fence(Slot::voter(3))));
    // With the present template nothing makes it ready, and whoever is not ready harms nobody.
    for harmless in [pod(Belongs::Behind { holds_more: true }), Pod { ready: false, ..left(true) }] {
        let mut world = settled(FIVE);
        world.pods.insert(Slot::voter(3), harmless);
        assert!(!matches!(plan(FIVE, &world), Step::Act(Action::Fence(_))));
    }
    world.revisions_known = false;
    assert!(!matches!(plan(FIVE, &world), Step::Act(Action::Fence(_))), "it may have the present template");
}
