//! The member's process: configuration, the HTTP API, and what the binaries `conure-db` and `repl` run.
//!
//! **Invariant:** Raft and storage are known here only through [`conure_member::Member`] and [`conure_member::offline`].

#![warn(clippy::print_stderr)]

pub mod commands;
pub mod config;
mod files;
pub mod http;
pub mod join;
pub mod process;
pub mod repl;
mod signals;
mod unreadable;
pub mod wait;
