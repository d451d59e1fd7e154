//! Raft on this disk: the log store over conure-wal, the state machine over conure-btree.
//!
//! **Invariant:** nothing here dials or listens.

pub(crate) mod forks;
pub(crate) mod intake;
pub(crate) mod log_store;
pub(crate) mod plausible;
pub(crate) mod records;
pub(crate) mod runtime;
pub(crate) mod shelf;
pub(crate) mod state;
pub(crate) mod state_machine;
pub(crate) mod store;
#[cfg(test)]
mod suite;
pub(crate) mod types;
