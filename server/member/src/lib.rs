//! One member of a ConureDB cluster, without its HTTP API.
//!
//! **Invariant:** nothing here knows HTTP; the facade [`Member`] is the only way in, and [`offline`] the only way to a data
//! directory that no member runs on.

#![warn(clippy::print_stderr)]

mod access;
mod backup_format;
mod facade;
mod failure;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(test)]
mod golden;
mod identity;
mod member;
pub mod offline;
mod planted;
mod platform;
mod raft;
#[cfg(feature = "simulation")]
pub mod simulation;
mod transport;

pub use conure_io::end_on_unreadable_map;
pub use facade::*;
pub use failure::Fault;
pub use member::{Backup, Member, STOP_MAX, StartError};
