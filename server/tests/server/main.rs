//! The real binaries, driven over real sockets and disks.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may fail as loudly as tests")]

mod admin;
mod api;
mod backup;
mod cluster;
mod common;
mod damage;
mod descriptors;
mod dump;
mod examples;
mod input;
mod inspect;
mod join;
mod logs;
mod overload;
mod permissions;
mod process;
mod quick_start;
mod recover;
mod repl;
mod streams;
#[path = "../../../program/tests/streams_of_a_process.rs"]
mod streams_of_a_process;
mod tools;
mod wait;
