//! What all programs do alike: standard streams, logs, and how a panic ends them.
//!
//! `lines` is everything that goes to standard error, `answer` is what a user asked for on standard output, `tasks` names
//! the tasks of a program, and `panics` ends it when one of them panics.
//!
//! **Invariant:** nothing in here panics or waits without a bound because a stream is closed, full or not read.

#![warn(clippy::print_stderr)]

mod answer;
mod lines;
mod panics;
mod tasks;

pub use answer::{answer, stdout, usage};
pub use lines::{LogLine, flush, log_line, report_losses, say_line};
pub use panics::end_on_panic;
pub use tasks::{Ended, Named, confined, named, run_named, watched};

/// Writes one line to standard error, as [`say_line`] does. Takes what `format!` takes.
#[macro_export]
macro_rules! say {
    ($($argument:tt)*) => { $crate::say_line(&format!($($argument)*)) };
}
