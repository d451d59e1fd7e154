//! What members told this one that they hold, and whether one that comes back still holds it.
//!
//! A follower that acknowledged entries and lost them afterwards, because its directory was replaced by an older copy or its
//! disk lost what it had synced, must neither vote nor count. Only the member itself can judge that without a race:
//! whoever counted on it says on every new connection what was acknowledged, and the member compares that with its log as
//! it is now.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::raft::types::Vote;

/// How many members are remembered.
const KEPT_MAX: usize = 64;

/// A vote's rank: by term and node id, of which the term counts first, and whether a quorum granted it.
fn rank(vote: &Vote) -> (u64, u64, bool) {
    (vote.leader_id.term, vote.leader_id.node_id, vote.committed)
}

/// What a member acknowledged to a leader: the log up to `index` in the form that the leader of `vote` gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Acknowledged {
    pub(crate) vote: Vote,
    pub(crate) index: u64,
}

/// How far a member's log reaches, and its vote. The vote is read after the index: a later leader that takes entries back has
/// its vote recorded first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    pub(crate) index: Option<u64>,
    pub(crate) vote: Option<Vote>,
}

impl Acknowledged {
    /// Whether a member that stands at `position` lost some of this. A member with a later vote may have had entries
    /// replaced by a later leader, so nothing is known of it.
    pub(crate) fn is_lost_at(&self, position: &Position) -> bool {
        let Some(vote) = &position.vote else { return true };
        rank(vote) < rank(&self.vote)
            || (rank(vote) == rank(&self.vote) && position.index.is_none_or(|held| held < self.index))
    }
}

/// The last that each member acknowledged to this process, by node id; shared by its links.
#[derive(Debug, Clone, Default)]
pub(crate) struct Acknowledgements(Arc<Mutex<BTreeMap<u64, Acknowledged>>>);

impl Acknowledgements {
    /// The member `id` acknowledged the log up to `index` to this member, the leader of `vote`.
    pub(crate) fn note(&self, id: u64, vote: Vote, index: u64) {
        let new = Acknowledged { vote, index };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = all.entry(id).or_insert(new);
        if (rank(&newest.vote), newest.index) < (rank(&vote), index) {
            *newest = new;
        }
        if all.len() > KEPT_MAX {
            // Members that left are not asked again: the one heard of in the earliest term is the least needed.
            let oldest = all.iter().min_by_key(|(_, held)| rank(&held.vote)).map(|(id, _)| *id);
            oldest.and_then(|oldest| all.remove(&oldest));
        }
    }

    /// What the member `id` acknowledged last.
    pub(crate) fn of(&self, id: u64) -> Option<Acknowledged> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&id).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(term: u64, node: u64, index: u64) -> Position {
        Position { index: Some(index), vote: Some(Vote::new_committed(term, node)) }
    }

    #[test]
    fn a_log_is_missed_only_where_no_later_leader_can_have_shortened_it() {
        let held = Acknowledged { vote: Vote::new_committed(3, 7), index: 10 };
        for intact in [at(3, 7, 10), at(3, 7, 11), at(4, 1, 2), at(3, 8, 0)] {
            assert!(!held.is_lost_at(&intact), "{intact:?}");
        }
        let never = Position { index: None, vote: None };
        let emptied = Position { index: None, ..at(3, 7, 0) };
        let not_elected = Position { vote: Some(Vote::new(3, 7)), ..at(3, 7, 10) };
        for lost in [at(3, 7, 9), at(2, 9, 10), at(2, 9, 99), never, emptied, not_elected] {
            assert!(held.is_lost_at(&lost), "{lost:?}");
        }
    }

    #[test]
    fn the_newest_acknowledgement_counts_in_whatever_order_they_come() {
        let known = Acknowledgements::default();
        let (old, new) = (Vote::new_committed(3, 7), Vote::new_committed(4, 1));
        for (vote, index) in [(old, 9), (new, 4), (old, 10), (new, 3)] {
            known.note(2, vote, index);
        }
        assert_eq!(known.of(2), Some(Acknowledged { vote: new, index: 4 }));
        assert_eq!(known.of(3), None);
        for id in 0..200 {
            known.note(1_000 + id, Vote::new_committed(5, 1), 1);
        }
        assert!(known.of(2).is_none() && known.of(1_199).is_some());
    }
}
