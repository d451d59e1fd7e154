//! The log as it should be: a plain model, one record at a time.

use std::collections::BTreeMap;

use bytes::Bytes;
use conure_wal::{Entry, Wal};

/// One record.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Append(Entry),
    Vote(Bytes),
    Truncate(u64),
    Purge(u64, Bytes),
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Model {
    pub(crate) vote: Option<Bytes>,
    pub(crate) purged: Option<(u64, Bytes)>,
    pub(crate) entries: BTreeMap<u64, Bytes>,
}

impl Model {
    pub(crate) fn next_index(&self) -> u64 {
        let purged = self.purged.as_ref().map(|(index, _)| *index);
        self.entries.last_key_value().map(|(index, _)| *index).or(purged).map_or(0, |index| index + 1)
    }

    pub(crate) fn apply(&mut self, step: &Step) {
        match step {
            Step::Append(entry) => {
                self.entries.insert(entry.index, entry.payload.clone());
            }
            Step::Vote(vote) => self.vote = Some(vote.clone()),
            Step::Truncate(from) => drop(self.entries.split_off(from)),
            Step::Purge(upto, marker) => {
                if self.purged.as_ref().is_none_or(|(index, _)| index < upto) {
                    self.purged = Some((*upto, marker.clone()));
                    self.entries = self.entries.split_off(&(upto + 1));
                }
            }
        }
    }

    /// What an open log holds.
    pub(crate) fn of(wal: &Wal) -> Self {
        let entries = super::all(wal).into_iter().map(|entry| (entry.index, entry.payload)).collect();
        let purged = wal.purged().map(|purged| (purged.index, purged.marker));
        let model = Self { vote: wal.vote(), purged, entries };
        assert_eq!(wal.first_index(), model.entries.first_key_value().map(|(index, _)| *index));
        assert_eq!(wal.last_index(), model.entries.last_key_value().map(|(index, _)| *index));
        model
    }
}

/// Submits the steps: neighbouring appends as one submission.
pub(crate) fn submit(wal: &Wal, steps: &[Step], done: impl FnOnce(bool) + Send + 'static) {
    let done = move |result: Result<(), conure_wal::Error>| done(result.is_ok());
    match steps {
        [Step::Vote(vote)] => wal.save_vote(vote.clone(), done),
        [Step::Truncate(from)] => wal.truncate(*from, done),
        [Step::Purge(upto, marker)] => wal.purge(*upto, marker.clone(), done),
        appends => {
            let entries = appends.iter().map(|step| match step {
                Step::Append(entry) => entry.clone(),
                other => unreachable!("{other:?} stands alone"),
            });
            wal.append(entries.collect(), done);
        }
    }
}
