//! One member of a ConureDB cluster, without its HTTP API.
//!
//! **Invariant:** nothing here knows HTTP; the facade [`Member`] is the only way in.

mod facade;
mod failure;
mod identity;
mod raft;
mod transport;
mod member;

pub use facade::*;
pub use member::{Backup, Member, StartError};
