//! Revisions: each stands for one change of the whole store, and they follow real time.

use std::collections::HashMap;

use conure_e2e::history::{Op, Outcome, Record};

/// How many violations are told one by one.
const TOLD: usize = 20;

/// What contradicts that, one sentence each.
pub(super) fn check(records: &[Record]) -> Vec<String> {
    let mut found = reused(records);
    found.extend(backwards(records));
    found.truncate(TOLD);
    found
}

/// The change that an answer tells of: its revision, key and value.
fn change(record: &Record) -> Option<(u64, &str, Option<&str>)> {
    let told = match record.op {
        Op::Put => true,
        Op::Delete => record.deleted == Some(true),
        Op::Get => record.value.is_some(),
    };
    (told && record.outcome == Outcome::Ok)
        .then(|| Some((record.revision?, record.key.as_str(), record.value.as_deref())))
        .flatten()
}

fn reused(records: &[Record]) -> Vec<String> {
    let mut changes: HashMap<u64, (&str, Option<&str>)> = HashMap::new();
    let mut found = Vec::new();
    for (revision, key, value) in records.iter().filter_map(change) {
        let known = *changes.entry(revision).or_insert((key, value));
        if known != (key, value) {
            found.push(format!("revision {revision} is {known:?} and {:?}", (key, value)));
        }
    }
    found
}

/// A change that began after another one was known has a later revision, whatever their keys are.
fn backwards(records: &[Record]) -> Vec<String> {
    let told: Vec<(&Record, u64)> =
        records.iter().filter_map(|record| Some((record, change(record)?.0))).collect();
    let mut begun = told.clone();
    begun.sort_unstable_by_key(|(record, _)| record.call_ns);
    let mut ended = told;
    ended.sort_unstable_by_key(|(record, _)| record.return_ns);
    let mut ended = ended.into_iter().peekable();
    let (mut seen, mut found) = (0, Vec::new());
    for (record, revision) in begun {
        while let Some((_, known)) = ended.next_if(|(before, _)| before.return_ns < record.call_ns) {
            seen = seen.max(known);
        }
        if record.op != Op::Get && revision <= seen {
            found.push(format!(
                "backwards: {} of {} by {} is revision {revision}, but {seen} was known before it began",
                if record.op == Op::Put { "the put" } else { "the delete" },
                record.key,
                record.served_by
            ));
        }
    }
    found
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::judge) fn put(key: &str, revision: u64, call_ns: u64) -> Record {
        Record {
            client: 1,
            op: Op::Put,
            key: key.into(),
            value: Some(format!("v{revision}")),
            revision: Some(revision),
            deleted: None,
            call_ns,
            return_ns: call_ns + 1,
            outcome: Outcome::Ok,
            served_by: "m1".into(),
        }
    }

    pub(in crate::judge) fn delete(key: &str, revision: u64, call_ns: u64) -> Record {
        Record { op: Op::Delete, value: None, deleted: Some(true), ..put(key, revision, call_ns) }
    }

    pub(in crate::judge) fn get(key: &str, revision: Option<u64>, call_ns: u64) -> Record {
        let value = revision.map(|revision| format!("v{revision}"));
        Record { op: Op::Get, value, revision, ..put(key, 0, call_ns) }
    }

    pub(in crate::judge) fn unknown(record: Record) -> Record {
        Record { outcome: Outcome::Unknown, revision: None, deleted: None, ..record }
    }

    #[test]
    fn a_revision_is_one_change() {
        assert_eq!(check(&[put("a", 1, 0), get("a", Some(1), 5), put("b", 2, 6)]).len(), 0);
        assert_eq!(check(&[put("a", 7, 0), put("b", 7, 0)]).len(), 1);
        assert_eq!(
            check(&[put("a", 7, 0), Record { value: Some("other".into()), ..get("a", Some(7), 5) }]).len(),
            1
        );
    }

    #[test]
    fn revisions_never_go_back_on_any_key() {
        assert_eq!(check(&[put("a", 5, 0), put("b", 4, 10)]).len(), 1);
        assert_eq!(check(&[put("a", 5, 0), delete("b", 4, 10)]).len(), 1);
        // At the same time they may have any order.
        assert_eq!(check(&[put("a", 5, 0), put("b", 4, 1)]).len(), 0);
    }
}
