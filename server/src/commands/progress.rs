//! What a person at a terminal sees of something that takes long.

use std::io::{self, BufRead, IsTerminal as _, Read, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// How often a spinner turns.
const TICK: Duration = Duration::from_millis(120);

/// A spinner on standard error with what is done now; nothing where that is no terminal.
pub(super) fn spinner() -> ProgressBar {
    bar(ProgressBar::new_spinner(), "{spinner} {msg} ({elapsed})")
}

/// What a spinner says of a step that may know how far it is.
pub(super) fn percent(step: &str, percent: Option<u64>) -> String {
    percent.map_or_else(|| step.to_owned(), |percent| format!("{step}, {percent} %"))
}

/// A count of bytes on standard error, of `total` where that is known; nothing where that is no terminal.
pub(super) fn bytes(what: &'static str, total: Option<u64>) -> ProgressBar {
    let bar = match total {
        Some(total) => bar(
            ProgressBar::new(total),
            "{spinner} {msg} {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left",
        ),
        None => bar(
            ProgressBar::new_spinner(),
            "{spinner} {msg} {binary_bytes}, {binary_bytes_per_sec} ({elapsed})",
        ),
    };
    bar.with_message(what)
}

fn bar(bar: ProgressBar, template: &str) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(TICK);
    bar
}

/// Counts what passes through.
#[derive(Debug)]
pub(super) struct Counted<T> {
    inner: T,
    bar: ProgressBar,
}

impl<T> Counted<T> {
    pub(super) fn new(inner: T, bar: &ProgressBar) -> Self {
        Self { inner, bar: bar.clone() }
    }

    fn count(&self, bytes: usize) {
        self.bar.inc(bytes as u64);
    }
}

impl<T: Read> Read for Counted<T> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buf)?;
        self.count(read);
        Ok(read)
    }
}

impl<T: BufRead> BufRead for Counted<T> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.inner.consume(amount);
        self.count(amount);
    }
}

impl<T: Write> Write for Counted<T> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buf)?;
        self.count(written);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
