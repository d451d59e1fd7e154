//! Whether a history is one that a single copy of the data could have given.
//!
//! Every change has a revision, and revisions are the order in which changes were made. So the history is right exactly
//! when real time never contradicts that order: whoever begins after something was acknowledged or read sees that or
//! something later, what was read was written, and nothing that was acknowledged is missing at the end.
//!
//! That takes a history without deletes: an absent key has no revision. Those with deletes are judged by porcupine
//! (`server/faults/judge`).

use std::collections::HashMap;

use super::{Op, Outcome, Record};

/// How many violations are kept in full; the rest is only counted.
const KEPT: usize = 20;

/// What is wrong with a history.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A read began after `seen` was acknowledged or read, and returned something older.
    #[error(
        "stale: client {client} read {key} at revision {read} from {served_by}, but revision {seen} was known before the read began"
    )]
    StaleRead {
        /// The reader.
        client: u32,
        /// The key.
        key: String,
        /// The revision returned; 0 for an absent key.
        read: u64,
        /// The revision that was known before.
        seen: u64,
        /// The member that answered.
        served_by: String,
    },
    /// A write began after `seen` was known, and got a revision that is not later.
    #[error(
        "backwards: client {client} wrote {key} as revision {written}, but revision {seen} was known before the write began"
    )]
    BackwardsWrite {
        /// The writer.
        client: u32,
        /// The key.
        key: String,
        /// The revision acknowledged.
        written: u64,
        /// The revision that was known before.
        seen: u64,
    },
    /// A read returned a value that nobody wrote to that key.
    #[error("from nowhere: client {client} read {value:?} from {key}, which nobody wrote there")]
    FromNowhere {
        /// The reader.
        client: u32,
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
    /// A read returned the value of a write that was certainly not done.
    #[error("refused but done: client {client} read {value:?} from {key}, whose write had failed")]
    FailedWriteSeen {
        /// The reader.
        client: u32,
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
    /// A read ended before the write of its value began.
    #[error("early: client {client} read {value:?} from {key} before its write began")]
    Early {
        /// The reader.
        client: u32,
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
    /// One revision stands for two changes, or one change has two revisions.
    #[error("ambiguous: revision {revision} of {key} is {one:?} and {other:?}")]
    Ambiguous {
        /// The revision.
        revision: u64,
        /// The key.
        key: String,
        /// One change.
        one: String,
        /// The other.
        other: String,
    },
    /// An acknowledged write's key was never read again, so that nobody knows whether it is there.
    #[error("unread: {key} was acknowledged at revision {revision} and never read after that")]
    Unread {
        /// The key.
        key: String,
        /// The revision acknowledged last.
        revision: u64,
    },
}

/// What the judge found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Writes acknowledged.
    pub acknowledged: u64,
    /// Writes whose outcome nobody knows.
    pub unknown: u64,
    /// Reads answered.
    pub reads: u64,
    /// The first violations.
    pub violations: Vec<Violation>,
    /// How many violations there are in all.
    pub violation_count: u64,
}

impl Verdict {
    fn add(&mut self, violation: Violation) {
        self.violation_count += 1;
        if self.violations.len() < KEPT {
            self.violations.push(violation);
        }
    }
}

/// Judges a whole history.
#[must_use]
pub fn judge(records: &[Record]) -> Verdict {
    let mut verdict = Verdict::default();
    for record in records {
        match (record.op, record.outcome) {
            (Op::Put, Outcome::Ok) => verdict.acknowledged += 1,
            (Op::Put, Outcome::Unknown) => verdict.unknown += 1,
            (Op::Get, Outcome::Ok) => verdict.reads += 1,
            _ => {}
        }
    }
    check_values(records, &mut verdict);
    let mut keys: HashMap<&str, Vec<&Record>> = HashMap::new();
    for record in records.iter().filter(|record| record.outcome == Outcome::Ok) {
        keys.entry(&record.key).or_default().push(record);
    }
    let mut keys: Vec<_> = keys.into_iter().collect();
    keys.sort_unstable_by_key(|(key, _)| *key);
    for (key, of_key) in keys {
        check_order(&of_key, &mut verdict);
        check_read_at_the_end(key, &of_key, &mut verdict);
    }
    verdict
}

/// Every value read was written, not too late, and each revision is one change.
fn check_values(records: &[Record], verdict: &mut Verdict) {
    let mut writes: HashMap<(&str, &str), &Record> = HashMap::new();
    for record in records.iter().filter(|record| record.op == Op::Put) {
        if let Some(value) = &record.value {
            writes.insert((&record.key, value), record);
        }
    }
    let mut changes: HashMap<u64, (&str, &str)> = HashMap::new();
    let mut revisions: HashMap<(&str, &str), u64> = HashMap::new();
    for record in records.iter().filter(|record| record.outcome == Outcome::Ok) {
        let Some(value) = &record.value else { continue };
        let (client, key, value) = (record.client, record.key.as_str(), value.as_str());
        if record.op == Op::Get {
            let owned = || (client, key.to_owned(), value.to_owned());
            match writes.get(&(key, value)) {
                None => {
                    let (client, key, value) = owned();
                    verdict.add(Violation::FromNowhere { client, key, value });
                }
                Some(write) if write.outcome == Outcome::Fail => {
                    let (client, key, value) = owned();
                    verdict.add(Violation::FailedWriteSeen { client, key, value });
                }
                Some(write) if write.call_ns > record.return_ns => {
                    let (client, key, value) = owned();
                    verdict.add(Violation::Early { client, key, value });
                }
                Some(_) => {}
            }
        }
        let revision = record.revision.unwrap_or(0);
        let change = *changes.entry(revision).or_insert((key, value));
        let known = *revisions.entry((key, value)).or_insert(revision);
        if change != (key, value) || known != revision {
            verdict.add(Violation::Ambiguous {
                revision,
                key: key.to_owned(),
                one: format!("{}={} at revision {known}", change.0, change.1),
                other: format!("{key}={value} at revision {revision}"),
            });
        }
    }
}

/// Real time never contradicts the order of revisions. `of_key` are the answered operations of one key.
fn check_order(of_key: &[&Record], verdict: &mut Verdict) {
    let mut begun: Vec<&Record> = of_key.to_vec();
    begun.sort_unstable_by_key(|record| record.call_ns);
    let mut ended: Vec<&Record> = of_key.to_vec();
    ended.sort_unstable_by_key(|record| record.return_ns);
    let mut ended = ended.into_iter().peekable();
    let mut seen = 0;
    for record in begun {
        while let Some(before) = ended.next_if(|other| other.return_ns < record.call_ns) {
            seen = seen.max(before.revision.unwrap_or(0));
        }
        let revision = record.revision.unwrap_or(0);
        match record.op {
            Op::Get if revision < seen => verdict.add(Violation::StaleRead {
                client: record.client,
                key: record.key.clone(),
                read: revision,
                seen,
                served_by: record.served_by.clone(),
            }),
            Op::Put if revision <= seen => verdict.add(Violation::BackwardsWrite {
                client: record.client,
                key: record.key.clone(),
                written: revision,
                seen,
            }),
            _ => {}
        }
    }
}

/// Somebody looked after the last acknowledgement. What they saw, [`check_order`] has judged.
fn check_read_at_the_end(key: &str, of_key: &[&Record], verdict: &mut Verdict) {
    let last = of_key.iter().filter(|record| record.op == Op::Put).max_by_key(|record| record.return_ns);
    let Some(last) = last else { return };
    if !of_key.iter().any(|record| record.op == Op::Get && record.call_ns > last.return_ns) {
        verdict.add(Violation::Unread { key: key.to_owned(), revision: last.revision.unwrap_or(0) });
    }
}

#[cfg(test)]
mod tests;
