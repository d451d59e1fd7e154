//! Whole members on a simulated network, clock and disk, in one process and on one thread.
//!
//! A seed decides everything: how many members there are, what clients and the operator ask, which messages are late or
//! lost, who crashes and what its disk keeps. So a seed replays exactly. `watch` says what must hold at every step.
//!
//! **Invariant:** nothing here takes the time, a random number or a thread from the machine that it runs on; only
//! `driver`, which starts a process a seed, does.

mod api;
mod client;
mod copies;
mod driver;
mod entropy;
mod faults;
mod history;
mod host;
mod ledger;
mod operator;
mod plan;
mod run;
mod watch;
mod world;

use std::process::ExitCode;

fn main() -> ExitCode {
    driver::main()
}
