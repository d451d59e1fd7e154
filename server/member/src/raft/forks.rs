//! Which line of recoveries and restores a cluster's data comes from.
//!
//! Two survivors of one cluster that are recovered apart from each other keep its id and reach the same incarnation. Each
//! recovery therefore draws a random number, its fork. Members of different forks give out the same revisions for
//! different changes, so neither may ever replace the data of the other.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::identity::new_node_id;

/// How many recoveries back are remembered.
const KEPT_MAX: usize = 32;

/// The fork of each incarnation that began with a recovery or a restore, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Forks(BTreeMap<u64, u64>);

impl Forks {
    /// The same line, continued by a new fork that begins `incarnation`.
    pub(crate) fn begin(mut self, incarnation: u64) -> Self {
        self.0.insert(incarnation, new_node_id());
        while self.0.len() > KEPT_MAX {
            self.0.pop_first();
        }
        self
    }

    #[cfg(test)]
    pub(crate) fn of(forks: impl IntoIterator<Item = (u64, u64)>) -> Self {
        Self(forks.into_iter().collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first incarnation from which on the two lines are different ones. An incarnation whose fork only one side knows
    /// is no difference: members of earlier versions recorded none.
    pub(crate) fn parting_from(&self, other: &Self) -> Option<u64> {
        self.0
            .iter()
            .find(|(incarnation, fork)| other.0.get(incarnation).is_some_and(|theirs| theirs != *fork))
            .map(|(incarnation, _)| *incarnation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_with_different_forks_of_one_incarnation_part() {
        let origin = Forks::default();
        let (left, right) = (origin.clone().begin(2), origin.clone().begin(2));
        assert_eq!(left.parting_from(&right), Some(2));
        assert_eq!(left.parting_from(&left), None);
        assert_eq!(left.parting_from(&origin), None);
        assert_eq!(origin.parting_from(&left), None);
        // A later incarnation of one line neither continues nor hides the other line.
        let later = left.clone().begin(3);
        assert_eq!(later.parting_from(&left), None);
        assert_eq!(later.parting_from(&right), Some(2));
    }

    #[test]
    fn the_newest_forks_are_kept() {
        let many = (1..=100).fold(Forks::default(), Forks::begin);
        assert_eq!(many.0.len(), KEPT_MAX);
        assert!(many.0.contains_key(&100));
    }
}
