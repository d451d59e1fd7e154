//! What a member has of its machine: disks, sockets, threads for work that blocks.
//!
//! **Invariant:** the rest of the crate opens no directory or socket and starts no thread in any other way (save for
//! [`offline`](crate::offline), which no running member enters), so that a simulation can stand in for all of it.

#[cfg(not(feature = "simulation"))]
mod names;
#[cfg(not(feature = "simulation"))]
mod real;
#[cfg(feature = "simulation")]
mod simulated;
#[cfg(not(feature = "simulation"))]
mod worker;

#[cfg(not(feature = "simulation"))]
pub(crate) use real::*;
#[cfg(feature = "simulation")]
pub use simulated::*;
