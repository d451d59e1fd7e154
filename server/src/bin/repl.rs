//! The interactive client.

use std::process::ExitCode;

fn main() -> ExitCode {
    conure_server::repl::main()
}
