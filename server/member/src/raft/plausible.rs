//! Whether what another member sends can be true at all. Raft takes it on trust and ends, panics or falls out of step where
//! it is not: so it is refused here, and the connection's other end hears why.

use openraft::raft::AppendEntriesRequest;

use super::state::Applied;
use super::types::{LogId, SnapshotMeta, TypeConfig, Vote};

/// Who leads, as a vote or an entry says it: by term and node id, of which the term counts first.
type LeaderId = (u64, u64);

fn leader_of(vote: &Vote) -> LeaderId {
    (vote.leader_id.term, vote.leader_id.node_id)
}

fn writer_of(log_id: &LogId) -> LeaderId {
    (log_id.leader_id.term, log_id.leader_id.node_id)
}

/// Whether `vote` is that of an elected leader other than the member `own`.
fn leads(own: u64, vote: &Vote) -> Result<(), String> {
    if !vote.committed {
        return Err(format!("it comes from one that was not elected ({vote})"));
    }
    if vote.leader_id.node_id == own {
        return Err(format!("it claims to come from this member itself ({vote})"));
    }
    Ok(())
}

fn written_by_then(vote: &Vote, log_id: &LogId) -> Result<(), String> {
    if writer_of(log_id) > leader_of(vote) {
        return Err(format!("it names entry {log_id}, which is of a later leader than its sender ({vote})"));
    }
    Ok(())
}

/// Whether the member `own` may hand these entries to Raft.
pub(crate) fn append(own: u64, append: &AppendEntriesRequest<TypeConfig>) -> Result<(), String> {
    leads(own, &append.vote)?;
    let mut last = append.prev_log_id;
    if let Some(last) = &last {
        written_by_then(&append.vote, last)?;
    }
    for entry in &append.entries {
        let (next, written) =
            last.map_or((0, (0, 0)), |last| (last.index().saturating_add(1), writer_of(&last)));
        if entry.log_id.index() != next || writer_of(&entry.log_id) < written {
            return Err(format!("its entry {} does not follow {last:?}", entry.log_id));
        }
        last = Some(entry.log_id);
    }
    // They are in order, so none is of a later leader than the last one.
    last.map_or(Ok(()), |last| written_by_then(&append.vote, &last))
}

/// Where a leader's entries take back `agreed`, the last one that this member knows to be agreed on: what to say of it. Raft takes
/// every entry up to there for the same, whoever wrote it, and would go on after it with what belongs to another cluster.
pub(crate) fn takes_back(
    agreed: Option<&LogId>,
    append: &AppendEntriesRequest<TypeConfig>,
) -> Option<String> {
    let agreed = agreed?;
    let ids = append.prev_log_id.iter().chain(append.entries.iter().map(|entry| &entry.log_id));
    let other =
        ids.into_iter().find(|id| id.index() == agreed.index() && writer_of(id) != writer_of(agreed))?;
    Some(format!(
        "a leader has another entry {} (of term {}) than the one that was agreed on here (of term {}): the two hold the data of \
         different clusters, or one of them lost some; the data is kept: see whose is right, then empty the other's data \
         directory and join it again",
        agreed.index(),
        other.leader_id.term,
        agreed.leader_id.term
    ))
}

/// Whether the member `own`, which has applied `applied`, may take a snapshot that is announced so.
pub(crate) fn announced(
    own: u64,
    vote: &Vote,
    meta: &SnapshotMeta,
    applied: Option<&LogId>,
) -> Result<(), String> {
    leads(own, vote)?;
    let Some(last) = &meta.last_log_id else { return Err("it ends before the first entry".to_owned()) };
    written_by_then(vote, last)?;
    if meta.last_membership.log_id().as_ref().is_some_and(|changed| changed.index() > last.index()) {
        return Err(format!("its membership is of a later entry than its end, {last}"));
    }
    match applied {
        Some(applied) if writer_of(last) > writer_of(applied) && last.index() <= applied.index() => {
            Err(format!("it ends with entry {last}, but entry {applied} was agreed on"))
        }
        _ => Ok(()),
    }
}

/// Whether a snapshot that ends so has anything that a member lacks.
pub(crate) fn is_news(meta: &SnapshotMeta, applied: Option<&LogId>) -> bool {
    let end = |log_id: &LogId| (writer_of(log_id), log_id.index());
    meta.last_log_id.as_ref().map(end) > applied.map(end)
}

/// Whether the state that came is that of the cluster, and what was announced.
pub(crate) fn state(
    cluster_id: &str,
    incarnation: u64,
    meta: &SnapshotMeta,
    state: &Applied,
    compare_members: bool,
) -> Result<(), String> {
    if state.cluster_id != cluster_id || state.incarnation != incarnation {
        return Err(format!(
            "the snapshot is of cluster {:?}, incarnation {}",
            state.cluster_id, state.incarnation
        ));
    }
    if state.log_id != meta.last_log_id {
        return Err(format!("it ends with entry {:?}, not with {:?}", state.log_id, meta.last_log_id));
    }
    if compare_members && state.membership != meta.last_membership {
        return Err("its membership is another than was announced".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use openraft::{EntryPayload, Membership};

    use super::*;
    use crate::raft::types::{Entry, Peer, StoredMembership, log_id};

    const OWN: u64 = 1;

    fn request(vote: Vote, prev: Option<LogId>, entries: &[LogId]) -> AppendEntriesRequest<TypeConfig> {
        let entry = |log_id: &LogId| Entry { log_id: *log_id, payload: EntryPayload::Blank };
        AppendEntriesRequest {
            vote,
            prev_log_id: prev,
            entries: entries.iter().map(entry).collect(),
            leader_commit: None,
        }
    }

    #[test]
    fn a_leader_that_has_another_entry_where_one_was_agreed_on_takes_it_back() {
        let vote = Vote::new_committed(2, 2);
        let agreed = Some(log_id(1, 1, 10));
        let taken = |prev, entries: &[LogId]| takes_back(agreed.as_ref(), &request(vote, prev, entries));
        let same = [log_id(1, 1, 9), log_id(1, 1, 10), log_id(2, 2, 11)];
        assert_eq!(taken(Some(log_id(1, 1, 8)), &same), None);
        assert_eq!(taken(Some(log_id(1, 1, 10)), &[]), None);
        // What is before or after it says nothing of it.
        assert_eq!(taken(Some(log_id(2, 2, 3)), &[log_id(2, 2, 4)]), None);
        assert_eq!(taken(Some(log_id(2, 2, 12)), &[]), None);
        let other = [log_id(1, 1, 9), log_id(2, 2, 10)];
        for what in [taken(Some(log_id(2, 2, 10)), &[]), taken(Some(log_id(1, 1, 8)), &other)] {
            assert!(what.is_some_and(|what| what.contains("entry 10 (of term 2)")));
        }
        assert_eq!(takes_back(None, &request(vote, Some(log_id(2, 2, 10)), &[])), None);
    }

    #[test]
    fn entries_that_do_not_follow_are_told_from_those_that_do() {
        let vote = Vote::new_committed(3, 2);
        let prev = Some(log_id(2, 2, 7));
        let good = [
            request(vote, None, &[]),
            request(vote, prev, &[]),
            request(vote, None, &[log_id(0, 0, 0), log_id(1, 2, 1)]),
            request(vote, prev, &[log_id(2, 2, 8), log_id(3, 2, 9), log_id(3, 2, 10)]),
        ];
        for request in good {
            assert_eq!(append(OWN, &request), Ok(()), "{request:?}");
        }
        let bad = [
            // From no leader, and from this member.
            request(Vote::new(3, 2), prev, &[]),
            request(Vote::new_committed(3, OWN), prev, &[]),
            // A gap, a repetition, a beginning that is none.
            request(vote, prev, &[log_id(3, 2, 9)]),
            request(vote, prev, &[log_id(3, 2, 7)]),
            request(vote, None, &[log_id(3, 2, 1)]),
            request(vote, prev, &[log_id(3, 2, 8), log_id(3, 2, 10)]),
            request(vote, Some(log_id(2, 2, u64::MAX)), &[log_id(2, 2, 0)]),
            // Back in time, and from the future.
            request(vote, prev, &[log_id(1, 9, 8)]),
            request(vote, prev, &[log_id(3, 2, 8), log_id(2, 2, 9)]),
            request(vote, prev, &[log_id(4, 2, 8)]),
            request(vote, Some(log_id(3, 3, 7)), &[]),
        ];
        for request in bad {
            assert!(append(OWN, &request).is_err(), "{request:?}");
        }
    }

    fn membership(index: u64) -> StoredMembership {
        let nodes = BTreeMap::from([(2, Peer::default())]);
        StoredMembership::new(
            Some(log_id(1, 2, index)),
            Membership::new(vec![BTreeSet::from([2])], nodes).unwrap(),
        )
    }

    #[test]
    fn snapshots_that_contradict_themselves_or_what_was_applied_are_told() {
        let vote = Vote::new_committed(3, 2);
        let meta = |last, members| SnapshotMeta { last_log_id: last, last_membership: membership(members) };
        let applied = log_id(2, 2, 7);
        let sane = meta(Some(log_id(3, 2, 9)), 5);
        assert_eq!(announced(OWN, &vote, &sane, Some(&applied)), Ok(()));
        assert_eq!(announced(OWN, &vote, &sane, None), Ok(()));
        assert!(is_news(&sane, Some(&applied)) && is_news(&sane, None));
        // An older one is no contradiction, and no news.
        for old in [log_id(2, 2, 7), log_id(2, 2, 6), log_id(1, 2, 5)] {
            let old = meta(Some(old), 5);
            assert_eq!(announced(OWN, &vote, &old, Some(&applied)), Ok(()));
            assert!(!is_news(&old, Some(&applied)));
        }
        for (vote, meta) in [
            (Vote::new(3, 2), sane.clone()),
            (Vote::new_committed(3, OWN), sane.clone()),
            (Vote::new_committed(2, 2), sane.clone()),
            (vote, meta(None, 5)),
            (vote, meta(Some(log_id(3, 3, 9)), 5)),
            (vote, meta(Some(log_id(3, 2, 9)), 10)),
            (vote, meta(Some(log_id(3, 2, 7)), 5)),
            (vote, meta(Some(log_id(3, 2, 6)), 5)),
        ] {
            assert!(announced(OWN, &vote, &meta, Some(&applied)).is_err(), "{vote:?} {meta:?}");
        }

        let came = Applied {
            cluster_id: "c".into(),
            incarnation: 2,
            log_id: sane.last_log_id,
            membership: membership(5),
            ..Applied::default()
        };
        let judge = |came: &Applied| state("c", 2, &sane, came, true);
        assert_eq!(judge(&came), Ok(()));
        for bad in [
            Applied { cluster_id: "d".into(), ..came.clone() },
            Applied { incarnation: 1, ..came.clone() },
            Applied { log_id: Some(log_id(3, 2, 8)), ..came.clone() },
            Applied { log_id: None, ..came.clone() },
            Applied { membership: membership(4), ..came.clone() },
        ] {
            assert!(judge(&bad).is_err(), "{bad:?}");
        }
    }
}
