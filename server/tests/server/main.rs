//! The real binaries, driven over real sockets and disks.

mod admin;
mod api;
mod cluster;
mod common;
mod input;
mod process;
mod quick_start;
mod repl;
mod wait;
