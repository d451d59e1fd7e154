//! Acknowledged writes that are not there at the end.
//!
//! A key's last reads show the change with the highest revision that was acknowledged, or a later one. They may show an
//! older value, or none, only if a change of unknown outcome explains it: a delete, since those that are known have a
//! revision.

use std::collections::HashMap;

use conure_e2e::history::{Op, Outcome, Record};

/// Who reads last and sees less than was acknowledged, one sentence each.
pub(super) fn check(records: &[Record]) -> Vec<String> {
    let mut keys: HashMap<&str, Vec<&Record>> = HashMap::new();
    for record in records {
        keys.entry(&record.key).or_default().push(record);
    }
    let mut found: Vec<String> = keys.into_values().flat_map(|of_key| of_key_lost(&of_key)).collect();
    found.sort_unstable();
    found
}

fn of_key_lost(of_key: &[&Record]) -> Vec<String> {
    let changes = || of_key.iter().filter(|record| record.op != Op::Get);
    let known = |record: &&&Record| record.outcome == Outcome::Ok && record.deleted != Some(false);
    let Some(last) = changes().filter(known).max_by_key(|record| record.revision) else { return Vec::new() };
    let settled_ns = changes().map(|record| record.return_ns).max().unwrap_or_default();
    let maybe_deleted = changes().any(|record| record.op == Op::Delete && record.outcome == Outcome::Unknown);
    let mut lost = Vec::new();
    for read in
        of_key.iter().filter(|r| r.op == Op::Get && r.outcome == Outcome::Ok && r.call_ns > settled_ns)
    {
        let explained = match read.revision {
            Some(revision) => Some(revision) >= last.revision,
            None => last.op == Op::Delete || maybe_deleted,
        };
        if !explained {
            lost.push(format!(
                "lost: {} was acknowledged as {:?} at revision {:?}, and {} reads {:?} at {:?} in the end",
                read.key, last.value, last.revision, read.served_by, read.value, read.revision
            ));
        }
    }
    lost
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::revisions::tests::{delete, get, put, unknown};

    #[test]
    fn an_acknowledged_write_that_is_not_read_in_the_end_is_lost() {
        assert_eq!(check(&[put("k", 5, 0), get("k", Some(5), 10)]).len(), 0);
        assert_eq!(check(&[put("k", 5, 0), get("k", None, 10)]).len(), 1);
        assert_eq!(check(&[put("k", 4, 0), put("k", 5, 2), get("k", Some(4), 10)]).len(), 1);
    }

    #[test]
    fn what_a_delete_explains_is_not_lost() {
        assert_eq!(check(&[put("k", 5, 0), delete("k", 6, 2), get("k", None, 10)]).len(), 0);
        assert_eq!(check(&[put("k", 5, 0), unknown(delete("k", 6, 2)), get("k", None, 10)]).len(), 0);
        // A delete that was acknowledged is a change like any other.
        assert_eq!(check(&[put("k", 5, 0), delete("k", 6, 2), get("k", Some(5), 10)]).len(), 1);
    }
}
