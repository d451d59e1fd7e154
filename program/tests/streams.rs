//! Programs whose standard streams are closed, full, or not read. This file starts itself again as those programs.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may fail as loudly as tests")]

mod streams_of_a_process;

use std::process::{Command, ExitCode, Stdio};

use conure_program::{answer, confined, end_on_panic, flush, named, say};
use streams_of_a_process::{Wrong, with};

/// Names the part that the process plays.
const PART: &str = "CONURE_PROGRAM_TEST_PART";
const LINES: usize = 5_000;

/// Runs `main_of` where this process was started for it.
fn plays(part: &str) -> bool {
    std::env::var(PART).is_ok_and(|asked| asked == part)
}

/// This file again, for one part.
fn part(part: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "the_parts", "--nocapture", "--test-threads=1"])
        .env(PART, part)
        .env_remove("RUST_BACKTRACE")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

/// The exit code of a part of which a stream is wrong.
fn code(name: &str, stream: u8, wrong: Wrong) -> Option<i32> {
    let (mut command, _other_end) = with(&part(name), stream, wrong);
    command.status().unwrap().code()
}

fn end(code: ExitCode) -> ! {
    flush();
    std::process::exit(i32::from(code != ExitCode::SUCCESS) * 7);
}

fn run_in_a_task(work: impl Future<Output = ()>) {
    let mut work = Box::pin(work);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work.as_mut().poll(&mut context)));
    drop(caught);
}

#[test]
fn the_parts() {
    if std::env::var_os(PART).is_none() {
        return;
    }
    end_on_panic("part", 1);
    if plays("talks") {
        for line in 0..LINES {
            say!("line {line} {}", "x".repeat(1_000));
        }
        end(ExitCode::SUCCESS);
    }
    if plays("answers") {
        let answered = answer(b"an answer\n").is_ok();
        end(if answered { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    if plays("panics") {
        run_in_a_task(named("keeper", async { panic!("a broken\ninvariant") }));
        end(ExitCode::SUCCESS);
    }
    if plays("panics on a thread") {
        let thread = std::thread::Builder::new().name("writer".into());
        drop(thread.spawn(|| panic!("no more")).unwrap().join());
        end(ExitCode::SUCCESS);
    }
    if plays("panics confined") {
        run_in_a_task(confined("request", async { panic!("bad input") }));
        end(ExitCode::SUCCESS);
    }
    end(ExitCode::FAILURE);
}

#[test]
fn lines_that_cannot_be_written_are_lost_and_nothing_else() {
    for wrong in Wrong::ALL {
        assert_eq!(code("talks", 2, wrong), Some(0), "{wrong:?}");
    }
}

#[test]
fn a_reader_that_is_there_gets_every_line_in_order() {
    let output = part("talks").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stderr).unwrap();
    let numbers: Vec<usize> =
        text.lines().filter_map(|line| line.strip_prefix("line ")?.split(' ').next()?.parse().ok()).collect();
    assert!(numbers.is_sorted() && numbers.first() == Some(&0), "{numbers:?}");
    // More may be said at once than the bound allows; what waits within it must come.
    assert!(numbers.len() > 1_000, "{}", numbers.len());
}

#[test]
fn an_answer_to_a_closed_stream_is_a_failure() {
    assert_eq!(part("answers").status().unwrap().code(), Some(0));
    assert_eq!(code("answers", 1, Wrong::Closed), Some(7));
    for wrong in Wrong::ALL {
        assert_eq!(code("answers", 2, wrong), Some(0), "{wrong:?}");
    }
}

#[test]
fn a_panic_ends_the_process_with_one_line_that_names_the_task() {
    for (name, wanted) in [
        ("panics", "part: the task \"keeper\" panicked at "),
        ("panics on a thread", "part: the thread \"writer\" panicked at "),
    ] {
        let output = part(name).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.starts_with(wanted) && text.ends_with("; the process ends\n"), "{text}");
    }
}

#[test]
fn a_panic_ends_the_process_also_where_it_cannot_be_said() {
    for name in ["panics", "panics on a thread"] {
        for wrong in Wrong::ALL {
            assert_eq!(code(name, 2, wrong), Some(1), "{wrong:?}");
        }
    }
}

#[test]
fn a_panic_of_a_confined_task_ends_nothing_else() {
    let output = part("panics confined").output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.starts_with("part: the task \"request\" panicked at "), "{text}");
}
