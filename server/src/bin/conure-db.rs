//! The member process.

use std::process::ExitCode;

fn main() -> ExitCode {
    conure_server::process::main(std::env::args_os())
}
