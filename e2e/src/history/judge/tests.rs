//! Each planted violation is found, and histories that only look odd are left alone.

use super::*;

fn put(client: u32, key: &str, value: &str, revision: u64, times: (u64, u64)) -> Record {
    Record {
        client,
        op: Op::Put,
        key: key.into(),
        value: Some(value.into()),
        revision: Some(revision),
        deleted: None,
        call_ns: times.0,
        return_ns: times.1,
        outcome: Outcome::Ok,
        served_by: "conure-0".into(),
    }
}

fn get(client: u32, key: &str, found: Option<(&str, u64)>, times: (u64, u64)) -> Record {
    Record {
        op: Op::Get,
        value: found.map(|(value, _)| value.to_owned()),
        revision: found.map(|(_, revision)| revision),
        ..put(client, key, "", 0, times)
    }
}

fn ended(outcome: Outcome, record: Record) -> Record {
    Record { outcome, revision: None, ..record }
}

fn violations(records: &[Record]) -> Vec<Violation> {
    judge(records).violations
}

#[test]
fn an_honest_history_passes_and_is_counted() {
    let verdict = judge(&[
        get(9, "a", None, (0, 1)),
        put(1, "a", "1", 1, (2, 4)),
        get(9, "a", None, (3, 5)),
        put(2, "a", "2", 2, (6, 20)),
        get(9, "a", Some(("2", 2)), (7, 9)),
        get(8, "a", Some(("2", 2)), (10, 12)),
        ended(Outcome::Unknown, put(1, "a", "3", 0, (13, 30))),
        ended(Outcome::Fail, get(9, "a", None, (14, 15))),
        get(9, "a", Some(("2", 2)), (31, 33)),
        get(9, "a", Some(("3", 3)), (34, 36)),
    ]);
    assert_eq!(verdict.violations, []);
    assert_eq!((verdict.acknowledged, verdict.unknown, verdict.reads), (2, 1, 6));
}

#[test]
fn a_read_older_than_the_acknowledged_write_is_stale() {
    let found = violations(&[
        put(1, "a", "1", 1, (0, 1)),
        put(1, "a", "2", 2, (2, 3)),
        get(9, "a", Some(("1", 1)), (4, 5)),
        get(9, "a", Some(("2", 2)), (6, 7)),
    ]);
    assert!(matches!(&found[..], [Violation::StaleRead { read: 1, seen: 2, .. }]), "{found:?}");
}

#[test]
fn a_read_that_overlaps_the_write_may_see_either() {
    for seen in [Some(("1", 1)), Some(("2", 2))] {
        let found = violations(&[
            put(1, "a", "1", 1, (0, 1)),
            put(1, "a", "2", 2, (2, 6)),
            get(9, "a", seen, (4, 5)),
            get(9, "a", Some(("2", 2)), (7, 8)),
        ]);
        assert_eq!(found, []);
    }
}

#[test]
fn a_lost_acknowledged_write_is_found() {
    let found = violations(&[put(1, "a", "1", 1, (0, 1)), get(9, "a", None, (2, 3))]);
    assert!(matches!(&found[..], [Violation::StaleRead { read: 0, seen: 1, .. }]), "{found:?}");
}

#[test]
fn reads_of_two_clients_never_go_back() {
    let found = violations(&[
        put(1, "a", "1", 1, (0, 1)),
        ended(Outcome::Unknown, put(1, "a", "2", 0, (2, 9))),
        get(8, "a", Some(("2", 2)), (3, 4)),
        get(9, "a", Some(("1", 1)), (5, 6)),
    ]);
    assert!(matches!(&found[..], [Violation::StaleRead { client: 9, .. }]), "{found:?}");
}

#[test]
fn a_write_acknowledged_with_an_old_revision_is_found() {
    let found = violations(&[
        put(1, "a", "1", 5, (0, 1)),
        put(2, "a", "2", 4, (2, 3)),
        get(9, "a", Some(("1", 5)), (4, 5)),
    ]);
    assert!(matches!(&found[..], [Violation::BackwardsWrite { written: 4, seen: 5, .. }]), "{found:?}");
}

#[test]
fn a_value_that_nobody_wrote_is_found() {
    let found = violations(&[
        put(1, "a", "1", 1, (0, 1)),
        put(1, "b", "2", 2, (0, 1)),
        get(9, "a", Some(("2", 3)), (2, 3)),
        get(9, "b", Some(("2", 2)), (2, 3)),
    ]);
    assert!(matches!(&found[..], [Violation::FromNowhere { .. }]), "{found:?}");
}

#[test]
fn a_refused_write_that_shows_up_is_found() {
    let found =
        violations(&[ended(Outcome::Fail, put(1, "a", "1", 0, (0, 1))), get(9, "a", Some(("1", 1)), (2, 3))]);
    assert!(matches!(&found[..], [Violation::FailedWriteSeen { .. }]), "{found:?}");
}

#[test]
fn a_value_read_before_it_was_written_is_found() {
    let found = violations(&[
        get(9, "a", Some(("1", 1)), (0, 1)),
        put(1, "a", "1", 1, (2, 3)),
        get(9, "a", Some(("1", 1)), (4, 5)),
    ]);
    assert!(found.iter().any(|violation| matches!(violation, Violation::Early { .. })), "{found:?}");
}

#[test]
fn a_revision_used_twice_is_found_across_keys() {
    let found = violations(&[
        put(1, "a", "1", 1, (0, 1)),
        put(2, "b", "2", 1, (0, 1)),
        get(9, "a", Some(("1", 1)), (2, 3)),
        get(9, "b", Some(("2", 1)), (2, 3)),
    ]);
    assert!(
        !found.is_empty() && found.iter().all(|v| matches!(v, Violation::Ambiguous { revision: 1, .. })),
        "{found:?}"
    );
}

#[test]
fn a_change_with_two_revisions_is_found() {
    let found = violations(&[put(1, "a", "1", 1, (0, 1)), get(9, "a", Some(("1", 2)), (2, 3))]);
    assert!(matches!(&found[..], [Violation::Ambiguous { .. }]), "{found:?}");
}

#[test]
fn an_acknowledged_write_that_nobody_read_again_is_found() {
    let found = violations(&[put(1, "a", "1", 1, (0, 3)), get(9, "a", Some(("1", 1)), (2, 4))]);
    assert!(matches!(&found[..], [Violation::Unread { .. }]), "{found:?}");
}

#[test]
fn many_violations_are_counted_and_few_are_kept() {
    let records: Vec<_> = (0..100).map(|n| get(9, &format!("k{n}"), Some(("x", n + 1)), (0, 1))).collect();
    let verdict = judge(&records);
    assert_eq!((verdict.violation_count, verdict.violations.len()), (100, KEPT));
}
