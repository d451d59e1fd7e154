//! What the log says, apart from where it is: the effect of each record. Pure.

use bytes::Bytes;

/// How far the log was purged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purged {
    /// The last index that is gone.
    pub index: u64,
    /// What the caller stored with it.
    pub marker: Bytes,
}

/// The log's state after some record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Logical {
    pub(crate) vote: Option<Bytes>,
    pub(crate) purged: Option<Purged>,
    /// First and last index of the entries held.
    pub(crate) entries: Option<(u64, u64)>,
}

impl Logical {
    /// The index that the next entry must have; `None` where any will do.
    pub(crate) fn next_index(&self) -> Option<u64> {
        match (self.entries, &self.purged) {
            (Some((_, last)), _) => last.checked_add(1),
            (None, Some(purged)) => purged.index.checked_add(1),
            (None, None) => None,
        }
    }

    /// Whether an entry at `index` follows the log; `Err` has the index that would.
    pub(crate) fn follows(&self, index: u64) -> Result<(), u64> {
        let any = self.entries.is_none() && self.purged.is_none();
        match self.next_index() {
            Some(next) if next == index => Ok(()),
            None if any => Ok(()),
            next => Err(next.unwrap_or(u64::MAX)),
        }
    }

    /// Adds the entry at `index`, which follows.
    pub(crate) fn append(&mut self, index: u64) {
        let first = self.entries.map_or(index, |(first, _)| first);
        self.entries = Some((first, index));
    }

    /// Drops the entries from `from` on.
    pub(crate) fn truncate(&mut self, from: u64) {
        if let Some((first, last)) = self.entries {
            self.entries = if from <= first { None } else { Some((first, last.min(from - 1))) };
        }
    }

    /// Drops the entries up to `index`. A purge behind an earlier one changes nothing.
    pub(crate) fn purge(&mut self, index: u64, marker: Bytes) {
        if self.purged.as_ref().is_some_and(|purged| purged.index >= index) {
            return;
        }
        self.purged = Some(Purged { index, marker });
        if let Some((first, last)) = self.entries {
            self.entries = if index >= last { None } else { Some((first.max(index + 1), last)) };
        }
    }

    /// The last index that is held or was purged.
    pub(crate) fn reaches(&self) -> Option<u64> {
        self.entries.map(|(_, last)| last).or(self.purged.as_ref().map(|purged| purged.index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emptied_log_goes_on_where_it_was_purged() {
        let mut log = Logical::default();
        assert_eq!(log.follows(5), Ok(()));
        for index in 5..=9 {
            log.append(index);
        }
        assert_eq!(log.follows(9), Err(10));
        log.purge(6, Bytes::new());
        assert_eq!(log.entries, Some((7, 9)));
        log.truncate(7);
        assert_eq!((log.entries, log.next_index(), log.reaches()), (None, Some(7), Some(6)));
        log.purge(20, Bytes::new());
        log.purge(10, Bytes::from_static(b"older"));
        assert_eq!(log.follows(21), Ok(()));
        log.append(21);
        log.truncate(1);
        assert_eq!(log.follows(22), Err(21));
    }

    #[test]
    fn nothing_follows_the_last_index_there_is() {
        let mut log = Logical::default();
        log.append(u64::MAX);
        assert_eq!(log.follows(0), Err(u64::MAX));
        log.purge(u64::MAX, Bytes::new());
        assert!(log.follows(0).is_err());
    }
}
