//! Lines for standard error: log lines, hints, reasons. A line that cannot be written is lost, and nothing else is.
//!
//! A thread of its own writes them, so that a stream that nobody reads holds up nobody but that thread. What waits for it is
//! bounded; lines past the bound are lost and counted.

use std::collections::VecDeque;
use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;

/// How many bytes may wait to be written.
const WAITING_BYTES_MAX: usize = 1 << 20;
/// How long [`flush`] waits for the lines to be written.
const FLUSH_MAX: Duration = Duration::from_secs(1);
/// How long a stream that somebody made non-blocking may take nothing of a line before the rest of it is lost.
const BUSY_MAX: Duration = Duration::from_secs(1);
/// Between two tries to write to such a stream.
const BUSY_PAUSE: Duration = Duration::from_millis(5);

struct Waiting {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Whether the thread has taken a line that it has not written yet.
    writing: bool,
    has_thread: bool,
    lost: u64,
    report: Option<fn(u64)>,
}

static WAITING: Mutex<Waiting> = Mutex::new(Waiting {
    lines: VecDeque::new(),
    bytes: 0,
    writing: false,
    has_thread: false,
    lost: 0,
    report: None,
});
/// Woken when there are lines.
static WORK: Condvar = Condvar::new();
/// Woken when there are none left.
static IDLE: Condvar = Condvar::new();

fn lock() -> MutexGuard<'static, Waiting> {
    WAITING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes one line to standard error, after all that was said before it. Never fails and never waits.
pub fn say_line(line: &str) {
    enqueue(format!("{line}\n").into_bytes());
}

/// Calls `report` with the number of lines that were lost, once standard error takes lines again.
pub fn report_losses(report: fn(u64)) {
    lock().report = Some(report);
}

/// A writer that takes one event of a log with each `write`. Never fails and never waits.
#[derive(Debug, Default)]
pub struct LogLine(());

/// Makes a [`LogLine`].
#[must_use]
pub fn log_line() -> LogLine {
    LogLine(())
}

impl io::Write for LogLine {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        enqueue(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Waits until every line so far is written or lost, for a second at most. Call it before the process ends.
pub fn flush() {
    let waiting = lock();
    let unwritten = |waiting: &mut Waiting| waiting.writing || !waiting.lines.is_empty();
    // Whether it was in time makes no difference: the process ends either way.
    drop(IDLE.wait_timeout_while(waiting, FLUSH_MAX, unwritten));
}

fn enqueue(line: Vec<u8>) {
    let mut waiting = lock();
    if !waiting.has_thread {
        let thread = thread::Builder::new().name("lines".to_owned()).spawn(write_lines);
        if thread.is_err() {
            drop(waiting);
            write(&line);
            return;
        }
        waiting.has_thread = true;
    }
    // A line that is longer than the bound is taken where nothing waits.
    if !waiting.lines.is_empty() && waiting.bytes + line.len() > WAITING_BYTES_MAX {
        waiting.lost += 1;
        return;
    }
    waiting.bytes += line.len();
    waiting.lines.push_back(line);
    drop(waiting);
    WORK.notify_one();
}

fn write_lines() {
    loop {
        write(&next());
        report_lost();
    }
}

/// The next line; waits for one.
fn next() -> Vec<u8> {
    let mut waiting = lock();
    loop {
        if let Some(line) = waiting.lines.pop_front() {
            waiting.bytes -= line.len();
            waiting.writing = true;
            return line;
        }
        waiting.writing = false;
        IDLE.notify_all();
        waiting = WORK.wait(waiting).unwrap_or_else(PoisonError::into_inner);
    }
}

/// Says how many lines were lost, once all that waited is written.
fn report_lost() {
    let mut waiting = lock();
    if waiting.lost > 0
        && waiting.lines.is_empty()
        && let Some(report) = waiting.report
    {
        let lost = std::mem::take(&mut waiting.lost);
        drop(waiting);
        report(lost);
    }
}

/// Writes to standard error, around the lock of the standard library's handle, which a stream that nobody reads would hold.
fn write(mut rest: &[u8]) {
    let mut since = Instant::now();
    while !rest.is_empty() {
        match rustix::io::write(rustix::stdio::stderr(), rest) {
            Ok(0) => return,
            Ok(written) => {
                rest = rest.get(written..).unwrap_or_default();
                since = Instant::now();
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) if since.elapsed() < BUSY_MAX => thread::sleep(BUSY_PAUSE),
            Err(_) => return,
        }
    }
}
