//! Members in one process, on real sockets and real directories.

mod harness;
mod replication;
