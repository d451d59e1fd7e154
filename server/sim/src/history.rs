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

impl Claim {
    fn revision(&self) -> u64 {
        match self {
            Self::Put { revision, .. }
            | Self::Deleted { revision, .. }
            | Self::Absent { revision, .. }
            | Self::Got { revision, .. } => *revision,
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// The newest revision that anybody outside has heard of.
    known: u64,
    /// Answers that are not judged yet, with the revision that they may not be older than.
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

    /// Judges the answers by the log that is now agreed on. A member that applied, answered and left within one step was not
    /// looked at in between: what it answered is judged once another one has applied as much.
    pub(crate) fn judge(&mut self, ledger: &Ledger) -> Result<(), String> {
        let (now, later) = std::mem::take(&mut self.fresh)
            .into_iter()
            .partition(|(_, claim)| claim.revision() <= ledger.revision());
        self.fresh = later;
        for (floor, claim) in now {
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

    /// What nobody came to apply, when all is over.
    pub(crate) fn unjudged(&self) -> Option<&Claim> {
        self.fresh.first().map(|(_, claim)| claim)
    }
}
