//! Every reason that conditions and events are given is one that is kept for them.

use std::collections::BTreeSet;

use conure_crd::Reason;

use super::super::super::plan::{Cause, Slot, Waiting};
use super::*;

/// The same, once every reason is one that its condition may have.
pub(super) fn explained(status: ConureClusterStatus) -> ConureClusterStatus {
    for condition in &status.conditions {
        let (kind, word) = (condition.type_.as_str(), condition.reason.as_str());
        let reason = Reason::named(word).unwrap_or_else(|| panic!("{word} of {kind} is no reason"));
        assert!(reason.explains(kind), "{kind} is {} because of {word}", condition.status);
    }
    status
}

/// Everything that a plan can wait for or do.
fn every_step() -> Vec<Step> {
    let (slot, name, others) = (Slot::voter(0), "conure-0".to_owned(), vec!["conure-1".to_owned()]);
    let waits = [
        Waiting::Suspended,
        Waiting::BootstrapMember,
        Waiting::Volumes(vec!["data-conure-0".to_owned()]),
        Waiting::VolumeReplaced,
        Waiting::Foreign(slot, name),
        Waiting::DataGone,
        Waiting::Recovery(slot),
        Waiting::LeftBehind(slot),
        Waiting::Leader,
        Waiting::DataLeader,
        Waiting::Joining(vec![slot]),
        Waiting::QuorumBeforeRemoval(slot, others.clone()),
        Waiting::OthersBeforeReplace(slot, Cause::Asked, others.clone()),
        Waiting::OthersBeforeReplace(slot, Cause::Damaged, others.clone()),
        Waiting::DamagedAgain(slot),
        Waiting::DamagedComers(vec![slot]),
        Waiting::VolumesLeaving(vec![slot]),
        Waiting::StrangeVolumes(vec![slot]),
        Waiting::PodsLeaving(vec![slot]),
        Waiting::Revisions,
        Waiting::Rollout(others.clone()),
        Waiting::Ready(others),
    ];
    let acts = [
        Action::Bootstrap,
        Action::Join(slot),
        Action::Remove(slot),
        Action::ResizeVoters(1),
        Action::ResizeArbiter(1),
        Action::DeleteVolume(slot),
        Action::AcceptReplace(slot),
        Action::Replace(slot, Cause::Asked),
        Action::Recover(slot),
        Action::Fence(slot),
        Action::Transfer(slot),
        Action::Evict(slot),
    ];
    waits
        .map(Step::Wait)
        .into_iter()
        .chain(acts.map(Step::Act))
        .chain([Step::Record(slot), Step::Done])
        .collect()
}

#[test]
fn whatever_is_waited_for_or_fails_has_a_reason_that_its_conditions_may_have() {
    let observed = observed(3);
    let identity = Identity { cluster_id: ID.into(), bootstrap_volume: None, born: true };
    let sizes = view::sizes(&observed, &identity, Wish::of(&observed.cluster));
    let world = &view::world(&observed, &identity, &sizes, at(1).0);
    let mut seen = BTreeSet::new();
    for step in &every_step() {
        for wrong in [false, true] {
            let held_up = match step {
                Step::Act(action) => {
                    Some(HeldUp { reason: action.failure(), message: "it says no".into(), wrong })
                }
                Step::Record(_) | Step::Wait(_) | Step::Done => None,
            };
            let objects = Objects::AsAsked;
            let planned =
                Planned { identity: &identity, image: "i:1", objects, world, step, held_up, unmet: None };
            let status = explained(status(&observed, &Pass::Planned(planned), at(1)));
            seen.extend(status.conditions.into_iter().map(|condition| condition.reason));
        }
    }
    assert!(seen.len() > 30, "only {seen:?}");
}

/// What `act` says of what it did stands in its sources, as words.
#[test]
fn what_is_done_is_told_with_reasons_that_events_may_have() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/reconcile/act");
    let mut seen = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        for line in text.lines().filter(|line| line.contains("reason")) {
            let words = line.split('"').skip(1).step_by(2);
            for word in words.filter(|word| word.chars().all(char::is_alphanumeric)) {
                seen += 1;
                assert!(Reason::named(word).is_some_and(Reason::is_told), "{word} is no event's reason");
            }
        }
    }
    assert!(seen > 10, "only {seen} reasons were found");
}
