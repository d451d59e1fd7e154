//! A quorum that is lost for good.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use conure_member::offline::{RecoverOptions, Recovered, Recovery, recover};
use conure_member::{Consistency, Member, Refusal};

use crate::harness::*;

fn options(confirm: &str) -> RecoverOptions {
    RecoverOptions { confirm: Some(confirm.to_owned()), member: None, copy: true }
}

fn done(place: &Place, confirm: &str) -> Recovered {
    match recover(place.dir.path(), &options(confirm), |_| {}).unwrap() {
        Recovery::Done(recovered) => recovered,
        other => panic!("{other:?}"),
    }
}

/// Writes that nobody can confirm are given up on soon, but taken for a while.
fn impatient(place: Place) -> Place {
    place.tuned(|tuning| {
        tuning.write_timeout = Duration::from_millis(500);
        tuning.election_timeout_max = Duration::from_secs(4);
    })
}

/// Keys with their values and revisions, some of them written again.
async fn fill(member: &Member, revisions: &mut BTreeSet<u64>) -> BTreeMap<String, (String, u64)> {
    let mut written = BTreeMap::new();
    for number in 0..60 {
        let (key, value) = (format!("key{}", number % 40), format!("value{number}"));
        let revision = put(&[member], &key, &value).await;
        assert!(revisions.insert(revision), "revision {revision} was given away twice");
        written.insert(key, (value, revision));
    }
    written
}

async fn holds(member: &Member, written: &BTreeMap<String, (String, u64)>) {
    for (key, (value, revision)) in written {
        let found = member.get(key.as_bytes(), Consistency::Linearizable).await.unwrap().found.unwrap();
        assert_eq!((found.value, found.revision), (bytes(value.clone()), *revision), "{key}");
    }
}

/// The same after a recovery: what its log alone held has a revision that no member ever gave away.
async fn holds_with_new_revisions(
    member: &Member,
    written: &mut BTreeMap<String, (String, u64)>,
    revisions: &mut BTreeSet<u64>,
) {
    for (key, (value, revision)) in written {
        let found = member.get(key.as_bytes(), Consistency::Linearizable).await.unwrap().found.unwrap();
        assert_eq!(found.value, bytes(value.clone()), "{key}");
        assert!(found.revision > 1 << 32 && revisions.insert(found.revision), "{key}: {}", found.revision);
        *revision = found.revision;
    }
}

fn health(member: &Member) -> String {
    member.status().health
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_quorum_is_recovered_from_and_whom_it_left_behind_is_refused() {
    let (places, mut members) = three_of(impatient).await;
    let mut revisions = BTreeSet::new();
    let mut written = fill(&members[0], &mut revisions).await;
    let old = members[0].status();
    members.pop().unwrap().halt().await;
    members.pop().unwrap().halt().await;
    // The survivor logs it, and nobody else ever will.
    match members[0].put(bytes("tail"), bytes("of the log")).await {
        Err(Refusal::UnknownOutcome(_)) => {}
        other => panic!("without a quorum: {other:?}"),
    }
    members.pop().unwrap().halt().await;

    let recovered = done(&places[0], &old.cluster_id);
    assert_eq!((recovered.cluster_id.as_str(), recovered.incarnation), (old.cluster_id.as_str(), 2));
    assert_eq!(recovered.left_behind, ["node2", "node3"]);
    assert!(recovered.replayed > 0 && recovered.index > old.applied_index, "{recovered:?}");
    assert_eq!(recovered.term, old.term);

    let survivor = places[0].start().await;
    leads(&survivor).await;
    assert_eq!(get(&survivor, "tail").await.as_deref(), Some("of the log"));
    holds_with_new_revisions(&survivor, &mut written, &mut revisions).await;
    let tail = survivor.get(b"tail", Consistency::Linearizable).await.unwrap().found.unwrap();
    assert!(tail.revision > 1 << 32, "the lost members may have given revision {} away", tail.revision);
    assert!(revisions.insert(tail.revision));
    let status = survivor.status();
    assert_eq!((&status.cluster_id, status.incarnation), (&old.cluster_id, 2));
    assert!(status.revision > old.revision + (1 << 32), "{} may have been used", status.revision);

    // Both that were lost are back: together they were a quorum.
    let lost = [places[1].start().await, places[2].start().await];
    for member in &lost {
        eventually("it hears that it was left behind", async || {
            health(member).contains("left behind when that was recovered")
        })
        .await;
        let refused = member.put(bytes("key1"), bytes("from the past")).await;
        assert!(matches!(refused, Err(Refusal::NotInCluster(_))), "{refused:?}");
        let refused = member.get(b"key1", Consistency::Stale).await;
        assert!(matches!(refused, Err(Refusal::NotInCluster(_))), "{refused:?}");
    }
    assert!(survivor.stats()["port"]["refused"].as_u64() > Some(0));
    assert_eq!(survivor.raft_config().members.len(), 1);
    assert_eq!(survivor.status().term, status.term);
    // Also after they started again: they do not even ask.
    let mut back = Vec::new();
    for (member, place) in lost.into_iter().zip(&places[1..]) {
        member.shutdown().await;
        let member = place.start().await;
        assert!(health(&member).contains("left behind"), "{}", health(&member));
        back.push(member);
    }

    written.append(&mut fill(&survivor, &mut revisions).await);
    let names = |member: &Member| member.stats()["raft_node_id"].as_str().unwrap().to_owned();
    let before: Vec<String> = back.iter().map(names).collect();
    join(&survivor, &places[1]).await;
    join(&survivor, &places[2]).await;
    for (member, before) in back.iter().zip(before) {
        assert_ne!(names(member), before, "it came back as the member that it was");
        holds(member, &written).await;
    }
    let members = vec![survivor, back.remove(0), back.remove(0)];
    same_state(&members).await;
    stop_all(members).await;
}

/// They are a majority of the old cluster, and nobody told them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_quorum_lets_go_when_it_hears_of_the_recovery() {
    let (places, members) = three().await;
    let mut revisions = BTreeSet::new();
    fill(&members[0], &mut revisions).await;
    let cluster_id = members[0].status().cluster_id;
    stop_all(members).await;
    done(&places[0], &cluster_id);

    let old = [places[1].start().await, places[2].start().await];
    let revision = put(&[&old[0], &old[1]], "key1", "of the old cluster").await;
    assert!(revisions.insert(revision));
    let survivor = places[0].start().await;
    for member in &old {
        eventually("it lets go", async || health(member).contains("left behind")).await;
    }
    fill(&survivor, &mut revisions).await;
    // Or one that was not there when the others heard of it is joined: then that is how it hears.
    join(&survivor, &places[1]).await;
    assert_eq!(survivor.raft_config().members.len(), 2);
    let [second, third] = old;
    stop_all(vec![survivor, second, third]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_never_heard_of_the_recovery_can_be_joined() {
    let (places, members) = three().await;
    let written = fill(&members[0], &mut BTreeSet::new()).await;
    let cluster_id = members[0].status().cluster_id;
    stop_all(members).await;
    done(&places[0], &cluster_id);
    let survivor = places[0].start().await;
    leads(&survivor).await;
    // It has yet to campaign, and its data is of the past.
    let second = places[1].start().await;
    join(&survivor, &places[1]).await;
    holds(&second, &written).await;
    stop_all(vec![survivor, second]).await;
}

/// Both keep the cluster's id and reach the same incarnation; each gives out the same revisions for changes of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn survivors_that_were_recovered_apart_refuse_each_other_and_keep_their_data() {
    let (places, members) = three().await;
    fill(&members[0], &mut BTreeSet::new()).await;
    let cluster_id = members[0].status().cluster_id;
    stop_all(members).await;
    for place in &places[..2] {
        assert_eq!(done(place, &cluster_id).incarnation, 2);
    }
    let (left, right) = (places[0].start().await, places[1].start().await);
    for (member, value) in [(&left, "left"), (&right, "right")] {
        leads(member).await;
        put(&[member], "key1", value).await;
    }
    let (Err(Refusal::Conflict { kind, detail }), Err(Refusal::Conflict { .. })) =
        (left.join(&places[1].join_request()).await, right.join(&places[0].join_request()).await)
    else {
        panic!("one took the other's data for its own")
    };
    assert_eq!(kind, "foreign-cluster");
    assert!(detail.contains("recovered or restored apart") && detail.contains("is kept"), "{detail}");

    // The line of one that goes on past the other's incarnation is not the other's.
    left.shutdown().await;
    assert_eq!(done(&places[0], &format!("{cluster_id}:2")).incarnation, 3);
    let left = places[0].start().await;
    leads(&left).await;
    assert!(matches!(left.join(&places[1].join_request()).await, Err(Refusal::Conflict { .. })));
    for (member, value) in [(&left, "left"), (&right, "right")] {
        assert_eq!(get(member, "key1").await.as_deref(), Some(value));
    }
    // The third belongs to neither and to both: whoever joins it first has it.
    let third = places[2].start().await;
    join(&right, &places[2]).await;
    assert_eq!(get(&third, "key1").await.as_deref(), Some("right"));
    assert!(matches!(left.join(&places[2].join_request()).await, Err(Refusal::Conflict { .. })));
    stop_all(vec![left, right, third]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recovery_that_was_broken_off_is_repeated_and_nobody_starts_meanwhile() {
    let (places, members) = three().await;
    let mut revisions = BTreeSet::new();
    let mut written = fill(&members[0], &mut revisions).await;
    let cluster_id = members[0].status().cluster_id;
    // As a crash leaves it: what was applied since the last checkpoint is in the log alone.
    for member in members {
        member.halt().await;
    }
    let dir = places[0].dir.path();
    let (identity, log) = (dir.join("identity"), dir.join("log"));
    let before = tempfile::tempdir().unwrap();
    copy_dir(dir, before.path());
    let first = done(&places[0], &cluster_id);
    assert!(first.replayed >= 60, "{first:?}");
    let after = fs::read(&identity).unwrap();
    assert_eq!(fs::read_dir(&log).unwrap().count(), 0);

    // What it wrote last is not there: the identity, or the identity and the log's removal.
    for with_log in [false, true] {
        fs::copy(before.path().join("identity"), &identity).unwrap();
        if with_log {
            copy_dir(&before.path().join("log"), &log);
        }
        let refused = Member::start(places[0].config.clone()).await.unwrap_err().to_string();
        assert!(refused.contains("broken off") && refused.contains(&format!("{cluster_id}:1")), "{refused}");
        let again = done(&places[0], &cluster_id);
        assert_eq!((again.incarnation, again.revision), (first.incarnation, first.revision));
        assert_ne!(fs::read(&identity).unwrap(), after);
    }
    let survivor = places[0].start().await;
    leads(&survivor).await;
    holds_with_new_revisions(&survivor, &mut written, &mut revisions).await;
    survivor.shutdown().await;

    // The copy is the member as it was.
    let kept = dir.join("before-recovery-1");
    for name in ["identity", "tree.db"] {
        assert_eq!(fs::read(kept.join(name)).unwrap(), fs::read(before.path().join(name)).unwrap(), "{name}");
    }
    let mut old = Place::new("node1");
    old.config.data_dir = kept;
    let old = old.start().await;
    eventually("it has its log", async || old.stats()["log"]["last_index"].as_u64() > Some(60)).await;
    old.halt().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recovery_fires_once_and_only_for_the_incarnation_that_it_names() {
    let place = Place::new("node1").bootstrap();
    let member = place.start().await;
    leads(&member).await;
    put(&[&member], "a", "1").await;
    let id = member.status().cluster_id;
    let dir = place.dir.path();
    let in_use = recover(dir, &options(&id), |_| {}).unwrap_err().to_string();
    assert!(in_use.contains("in use by another process"), "{in_use}");
    member.shutdown().await;

    let untouched = fs::read(dir.join("identity")).unwrap();
    for wrong in
        ["", "another", &format!("{id}:2"), &format!("{id}:"), &format!("{id}:1x"), &format!("{id}1")]
    {
        let refused = recover(dir, &options(wrong), |_| {}).unwrap_err().to_string();
        assert!(refused.contains(&format!("--confirm {id}:1")) && !refused.contains('\n'), "{refused}");
        assert!(refused.contains("of term"), "it does not say how far the log goes: {refused}");
    }
    let others = RecoverOptions { member: Some("node2".into()), ..options(&id) };
    assert!(matches!(recover(dir, &others, |_| {}).unwrap(), Recovery::NotDue(_)));
    assert_eq!(fs::read(dir.join("identity")).unwrap(), untouched);

    done(&place, &format!("{id}:1"));
    // Whoever asks again, before and after the member started.
    for started in [false, true] {
        if started {
            let member = place.start().await;
            leads(&member).await;
            member.shutdown().await;
        }
        for past in [id.clone(), format!("{id}:1")] {
            let Recovery::NotDue(why) = recover(dir, &options(&past), |_| {}).unwrap() else { panic!() };
            assert!(why.contains(&format!("--confirm {id}:2")), "{why}");
        }
    }
    assert_eq!(done(&place, &format!("{id}:2")).incarnation, 3);
    let member = place.start().await;
    leads(&member).await;
    assert_eq!(get(&member, "a").await.as_deref(), Some("1"));
    assert!(put(&[&member], "b", "2").await > 2 << 32);
    member.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_cluster_can_go_on_with_is_not_recovered() {
    let place = Place::new("node1").bootstrap();
    let member = place.start().await;
    leads(&member).await;
    let arbiter = Place::new("node2").arbiter();
    let second = arbiter.start().await;
    join(&member, &arbiter).await;
    let id = member.status().cluster_id;
    second.shutdown().await;
    member.halt().await;
    let refused = recover(arbiter.dir.path(), &options(&id), |_| {}).unwrap_err().to_string();
    assert!(refused.contains("arbiter"), "{refused}");

    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(recover(empty.path(), &options(&id), |_| {}).unwrap(), Recovery::NotDue(_)));
    assert_eq!(fs::read_dir(empty.path()).unwrap().count(), 0);

    // A log that lost what was synced may have lost what was acknowledged.
    let dir = place.dir.path();
    let segment = dir.join("log/00000001.log");
    let good = fs::read(&segment).unwrap();
    let mut bad = good.clone();
    bad[4096 + 70] ^= 1;
    fs::write(&segment, bad).unwrap();
    let refused = recover(dir, &options(&id), |_| {}).unwrap_err().to_string();
    assert!(refused.contains("--ignore-log"), "{refused}");
    fs::write(&segment, good).unwrap();
    done(&place, &id);
}
