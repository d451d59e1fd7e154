//! The member process with a bug that `PLANTED_BUG` names, for the tests that see it caught.

#![warn(clippy::print_stderr)]

use std::process::ExitCode;

fn main() -> ExitCode {
    conure_server::process::main(std::env::args_os())
}
