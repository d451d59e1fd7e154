//! The member process.

#![warn(clippy::print_stderr)]

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

/// Requests are allocated on one thread and freed on another all the time: this one takes a third off the processor time of a
/// put that the C library's takes (docs/benchmarks.md).
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    conure_server::process::main(std::env::args_os())
}
