//! A panic ends the process.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{self, PanicHookInfo};
use std::thread;

use crate::tasks::{self, Task, words};
use crate::{flush, say};

/// From now on a panic ends the process with `code` and one line that names the task, whichever thread it is on, unless
/// the task is [confined](crate::confined). Nothing of the process unwinds then: it ends as if it had been killed.
pub fn end_on_panic(program: &'static str, code: i32) {
    panic::set_hook(Box::new(move |info| {
        let task = tasks::current();
        let confined = task.is_some_and(|task| task.confined);
        let trace = Backtrace::capture();
        if trace.status() == BacktraceStatus::Captured {
            say!("{trace}");
        }
        say!("{program}: {}", line(info, task));
        if !confined {
            flush();
            std::process::exit(code);
        }
    }));
}

fn line(info: &PanicHookInfo<'_>, task: Option<Task>) -> String {
    let current = thread::current();
    let who = match (task, current.name()) {
        (Some(task), _) => format!("the task {:?}", task.name),
        (None, Some(thread)) => format!("the thread {thread:?}"),
        (None, None) => "a thread".to_owned(),
    };
    let place = info.location().map(|place| format!(" at {place}")).unwrap_or_default();
    let end = if task.is_some_and(|task| task.confined) { "it is given up" } else { "the process ends" };
    format!("{who} panicked{place}: {}; {end}", words(info.payload()))
}
