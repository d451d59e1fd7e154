//! The Raft log and votes on disk.
