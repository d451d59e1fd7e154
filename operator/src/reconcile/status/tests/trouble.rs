//! Members and resources that something is wrong with.

use super::*;

#[test]
fn who_was_left_behind_by_a_recovery_does_not_count_as_ready() {
    let mut observed = observed(3);
    for (name, incarnation) in [(NAMES[0], 2), (NAMES[1], 2), (NAMES[2], 1)] {
        observed.answers.get_mut(name).unwrap().status.incarnation = incarnation;
    }
    let status = judged(&observed, None, 1);
    assert_eq!((status.replicas, status.ready_replicas, status.incarnation), (3, 2, Some(2)));
    assert_eq!(status.members_ready.as_deref(), Some("2/3"));
    let left = status.members.iter().find(|member| member.name == NAMES[2]).unwrap();
    let health = left.health.as_deref();
    assert_eq!((left.ready, health), (false, Some("it was left behind at incarnation 1 by a recovery")));
}

/// The server of a pod ended because its data is damaged.
fn damage(pod: &mut Pod) {
    let last = json!({"terminated": {"exitCode": 3, "message": "conure-db: data damaged: page 7 is wrong"}});
    let container = json!({"name": "conure-db", "image": "i", "imageID": "", "ready": false, "restartCount": 1,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": last});
    pod.status = Some(serde_json::from_value(json!({"containerStatuses": [container]})).unwrap());
}

#[test]
fn damaged_data_is_replaced_told_about_or_left_to_somebody_as_the_spec_says() {
    let mut seen = observed(3);
    seen.answers.remove(NAMES[2]);
    damage(seen.pods.get_mut(NAMES[2]).unwrap());
    let claim =
        |uid: &str| serde_json::from_value(json!({"metadata": {"name": "data-conure-1", "uid": uid}}));
    seen.claims.insert("data-conure-1".into(), claim("first").unwrap());
    seen.troubles = seen.pods.values().filter_map(crate::reconcile::observe::pod_trouble).collect();
    let status = judged(&seen, None, 1);
    let degraded = condition(&status, DEGRADED);
    assert_eq!((degraded.status.as_str(), degraded.reason.as_str()), ("True", "DataDamaged"));
    assert!(degraded.message.contains("page 7 is wrong"), "{}", degraded.message);
    assert_eq!(condition(&status, PROGRESSING).reason, "MemberReplacing");
    assert!(condition(&status, PROGRESSING).message.contains("on record"), "not before it is known");
    let noted = |status: &ConureClusterStatus| {
        let damage = status.members.iter().find(|member| member.name == NAMES[2])?.damage.clone()?;
        Some((damage.claim_uid, damage.found.0.as_second()))
    };
    assert_eq!(noted(&status), Some(("first".into(), 1)));

    // It is read again, and done. What is damaged on the same day is left to somebody, and stays on record.
    let mut known = seen.clone();
    known.cluster.status = Some(status);
    let status = judged(&known, None, 2);
    assert_eq!(condition(&status, PROGRESSING).message, "conure-1 starts over on a new volume");
    known.claims.insert("data-conure-1".into(), claim("second").unwrap());
    known.cluster.status = Some(status);
    let status = judged(&known, None, 3);
    let going = condition(&status, PROGRESSING);
    assert_eq!(going.reason, "DamagedAgain");
    assert!(going.message.contains("kubectl annotate conure conure conuredb.dev/replace-member=conure-1"));
    assert_eq!(noted(&status), Some(("first".into(), 1)));
    known.cluster.status = Some(status);
    assert_eq!(noted(&judged(&known, None, 90_000)), Some(("second".into(), 90_000)));
    known.cluster.spec.paused = true;
    assert_eq!(noted(&judged(&known, None, 90_000)), Some(("first".into(), 1)), "nothing is begun");

    // Another one is down: it is kept, and an event says for whom it waits.
    let mut kept = seen.clone();
    kept.answers.remove(NAMES[1]);
    let status = judged(&kept, None, 1);
    assert_eq!(condition(&status, QUORUM_LOST).status, "True", "a leader without its quorum");
    let going = condition(&status, PROGRESSING);
    assert_eq!(going.reason, "DamagedMemberKept");
    assert!(going.message.contains("waits for conure-0"), "{}", going.message);
    assert!(
        notes("conure", &[], &status).iter().any(|note| note.warning && note.reason == "DamagedMemberKept")
    );

    seen.cluster.spec.repair.automatic = false;
    let status = judged(&seen, None, 1);
    assert_eq!(condition(&status, PROGRESSING).reason, "MembersNotReady");
    assert_eq!(condition(&status, DEGRADED).reason, "DataDamaged");
}

#[test]
fn fields_that_an_older_definition_does_not_have_are_named() {
    let message = "failed to create typed patch object (db/conure; conuredb.dev/v1alpha1, Kind=ConureCluster): errors:\n  \
        .status.membersReady: field not declared in schema\n  .status.recovery.heldNoMore: field not declared in schema\n  \
        .status.members[name=\"conure-0\"].nodeId: field not declared in schema";
    let found = undeclared(message);
    assert_eq!(found, ["members", "membersReady", "recovery"].map(str::to_owned).into());
    let one = "failed to create typed patch object: .status.image: field not declared in schema";
    assert_eq!(undeclared(one), ["image".to_owned()].into());
    for other in
        ["", "the server is busy", ".spec.voters: field not declared in schema", ".status.image: too long"]
    {
        assert!(undeclared(other).is_empty(), "{other}");
    }
    assert!(
        outdated(&found)
            .contains("does not keep status.members, status.membersReady, status.recovery; bring it")
    );
}

#[test]
fn a_resource_that_cannot_be_read_says_so_and_keeps_what_else_was_said() {
    let mut before = judged(&observed(3), None, 1).conditions;
    let recovered =
        Condition { type_: "Recovered".into(), ..condition(&judged(&observed(3), None, 1), READY).clone() };
    before.push(recovered.clone());
    let after = unreadable(&before, "ResourceUnreadable", "why", Some(8), at(9));
    let said: Vec<String> = after.iter().map(|c| format!("{}={} {}", c.type_, c.status, c.reason)).collect();
    let expected =
        ["Ready=False", "Available=Unknown", "Progressing=False", "Degraded=True", "QuorumLost=Unknown"];
    assert_eq!(said[..5], expected.map(|it| format!("{it} ResourceUnreadable")));
    assert_eq!(after[5], recovered);
    let mut five = ConureClusterStatus::default();
    five.conditions.extend_from_slice(&after[..5]);
    explained(five);
    // Nothing changes while nothing does.
    assert_eq!(unreadable(&after, "ResourceUnreadable", "why", Some(8), at(99)), after);
}

#[test]
fn a_first_member_that_runs_and_never_answers_is_reported_after_a_while() {
    let mut seen = observed(1);
    seen.answers.clear();
    let pod = seen.pods.get_mut(NAMES[0]).unwrap();
    pod.metadata.creation_timestamp = Some(at(100));
    pod.status.as_mut().unwrap().phase = Some("Running".into());
    let unborn = |now| {
        let identity = Identity { cluster_id: ID.into(), bootstrap_volume: None, born: false };
        let wish = Wish::of(&seen.cluster);
        let world = view::world(&seen, &identity, &view::sizes(&seen, &identity, wish), at(now).0);
        let step = plan(wish, &world);
        let (identity, world, step) = (&identity, &world, &step);
        let objects = Objects::AsAsked;
        let planned = Planned { identity, image: "i:1", objects, world, step, held_up: None, unmet: None };
        status(&seen, &Pass::Planned(planned), at(now))
    };
    assert_eq!(condition(&unborn(159), DEGRADED).status, "False");
    let later = unborn(160);
    let degraded = condition(&later, DEGRADED);
    assert_eq!((degraded.status.as_str(), degraded.reason.as_str()), ("True", "MembersSilent"));
    assert!(degraded.message.contains("i:1 is an image of the server"), "{}", degraded.message);
}
