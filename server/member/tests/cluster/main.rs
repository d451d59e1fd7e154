//! Members in one process, on real sockets and real directories.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

mod addresses;
mod arbiter;
mod copies;
mod data_dir;
mod harness;
mod membership;
mod port;
mod recovery;
mod replication;
mod snapshots;
mod wire;
