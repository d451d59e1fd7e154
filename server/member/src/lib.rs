//! One member of a ConureDB cluster, without its HTTP API.
//!
//! **Invariant:** nothing here knows HTTP; the facade [`Member`] is the only way in, and [`offline`] the only way to a data
//! directory that no member runs on.

mod backup_format;
mod facade;
mod failure;
mod identity;
mod member;
pub mod offline;
mod planted;
mod raft;
mod transport;

pub use facade::*;
pub use member::{Backup, Member, StartError};
