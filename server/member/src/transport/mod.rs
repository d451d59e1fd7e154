//! The Raft port: frames, the handshake, and both ends of a connection.
//!
//! **Invariant:** whoever is not the target refuses; bytes from the network never cause a panic or an
//! allocation beyond a frame's bound.

pub(crate) mod acknowledged;
pub(crate) mod addresses;
pub(crate) mod connection;
pub(crate) mod dials;
pub(crate) mod frame;
pub(crate) mod incoming;
pub(crate) mod message;
pub(crate) mod met;
pub(crate) mod network;
pub(crate) mod outgoing;
mod pipeline;
pub(crate) mod server;
pub(crate) mod transfers;

#[cfg(test)]
mod tests;
