//! What clients were told, and whether it is what the members agreed on.
//!
//! Whoever reads sees at least every change that was acknowledged, and everything that was seen, before it asked; what
//! it sees is what the log says of some moment since.

use crate::ledger::Ledger;

/// What an answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Claim {
    Put {
        key: String,
        value: String,
        revision: u64,
    },
    Deleted {
        key: String,
        revision: u64,
    },
    /// Nothing was there to be deleted.
    Absent {
        key: String,
        revision: u64,
    },
    Got {
        key: String,
        found: Option<(u64, String)>,
        revision: u64,
        stale: bool,
    },
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// The newest revision that anybody outside has heard of.
    known: u64,
    /// Answers of this step.
    fresh: Vec<(u64, Claim)>,
    pub(crate) asked: u64,
    pub(crate) acknowledged: u64,
    pub(crate) reads: u64,
    pub(crate) unknown: u64,
}

impl History {
    /// Somebody is about to ask: the revision that the answer may not be older than.
    pub(crate) fn begin(&mut self) -> u64 {
        self.asked += 1;
        self.known
    }

    /// The answer to a question that was begun at `floor`.
    pub(crate) fn end(&mut self, floor: u64, claim: Claim) {
        match &claim {
            Claim::Put { revision, .. }
            | Claim::Deleted { revision, .. }
            | Claim::Absent { revision, .. } => {
                self.acknowledged += 1;
                self.known = self.known.max(*revision);
            }
            Claim::Got { revision, stale: false, .. } => {
                self.reads += 1;
                self.known = self.known.max(*revision);
            }
            Claim::Got { .. } => self.reads += 1,
        }
        self.fresh.push((floor, claim));
    }

    /// Judges the answers of this step by the log that is now agreed on.
    pub(crate) fn judge(&mut self, ledger: &Ledger) -> Result<(), String> {
        for (floor, claim) in std::mem::take(&mut self.fresh) {
            let right = match &claim {
                Claim::Put { key, value, revision } => {
                    *revision > floor && ledger.made(*revision, key, Some(value))
                }
                Claim::Deleted { key, revision } => *revision > floor && ledger.made(*revision, key, None),
                Claim::Absent { key, revision } => {
                    *revision >= floor && ledger.could_see(key, None, *revision)
                }
                Claim::Got { key, found, revision, stale } => {
                    (*stale || *revision >= floor) && ledger.could_see(key, found.as_ref(), *revision)
                }
            };
            if !right {
                return Err(format!(
                    "after revision {floor} was known, {claim:?}, which the log does not say"
                ));
            }
        }
        Ok(())
    }
}
