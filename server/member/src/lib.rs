//! One member of a ConureDB cluster, without its HTTP API.
//!
//! **Invariant:** nothing here knows HTTP; the facade [`Member`] is the only way in.

mod facade;
mod failure;
mod identity;
mod member;
mod raft;
mod transport;

pub use facade::*;
pub use member::{Backup, Member, StartError};
