//! The interactive client.

#![warn(clippy::print_stderr)]

use std::process::ExitCode;

fn main() -> ExitCode {
    conure_server::repl::main()
}
