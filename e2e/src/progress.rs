//! Telling the one who waits what is going on: a spinner with the elapsed time on a terminal, plain lines elsewhere
//! (one when a step begins, one when it ends, one each half minute between).

use std::io::IsTerminal;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// How often a log without a terminal hears that a step still runs.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// One step of work; dropping it without [`Step::done`] says that it failed.
pub struct Step {
    what: String,
    start: Instant,
    shown: Shown,
    ended: bool,
}

enum Shown {
    Terminal(ProgressBar),
    Lines { detail: Arc<Mutex<String>>, beat: Option<Sender<()>> },
}

impl Step {
    /// Begins a step: `what` is a short phrase, such as "building etcd".
    pub fn begin(what: impl Into<String>) -> Self {
        let (what, start) = (what.into(), Instant::now());
        let shown = if std::io::stderr().is_terminal() { terminal(&what) } else { lines(&what, start) };
        Self { what, start, shown, ended: false }
    }

    /// What the step is at now.
    pub fn at(&self, detail: impl Into<String>) {
        let detail = detail.into();
        match &self.shown {
            Shown::Terminal(bar) => bar.set_message(format!("{}: {detail}", self.what)),
            Shown::Lines { detail: shared, .. } => {
                *shared.lock().unwrap_or_else(PoisonError::into_inner) = detail;
            }
        }
    }

    /// The step went well; answers how long it took.
    pub fn done(mut self) -> Duration {
        self.end("✓");
        self.start.elapsed()
    }

    fn end(&mut self, sign: &str) {
        self.ended = true;
        if let Shown::Lines { beat, .. } = &mut self.shown {
            beat.take();
        }
        let line = format!("{sign} {} ({})", self.what, spent(self.start.elapsed()));
        match &self.shown {
            Shown::Terminal(bar) => {
                bar.finish_and_clear();
                eprintln!("{line}");
            }
            Shown::Lines { .. } => eprintln!("{line}"),
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if !self.ended {
            self.end("✗");
        }
    }
}

/// Does one step of work, shown from its beginning to its end.
pub fn step<T>(what: impl Into<String>, work: impl FnOnce(&Step) -> anyhow::Result<T>) -> anyhow::Result<T> {
    let step = Step::begin(what);
    let value = work(&step)?;
    step.done();
    Ok(value)
}

fn terminal(what: &str) -> Shown {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}") {
        bar.set_style(style);
    }
    bar.set_message(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(120));
    Shown::Terminal(bar)
}

fn lines(what: &str, start: Instant) -> Shown {
    eprintln!("· {what}");
    let detail = Arc::new(Mutex::new(String::new()));
    let (beat, ended) = channel::<()>();
    let (what, shared) = (what.to_owned(), Arc::clone(&detail));
    std::thread::spawn(move || {
        while ended.recv_timeout(HEARTBEAT) == Err(RecvTimeoutError::Timeout) {
            let detail = shared.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let at = if detail.is_empty() { String::new() } else { format!(": {detail}") };
            eprintln!("  … {what}{at} ({})", spent(start.elapsed()));
        }
    });
    Shown::Lines { detail, beat: Some(beat) }
}

/// A duration for people: `0.4 s`, `12 s`, `3 min 05 s`.
pub fn spent(time: Duration) -> String {
    match time.as_secs() {
        0..=9 => format!("{:.1} s", time.as_secs_f64()),
        seconds @ 10..=119 => format!("{seconds} s"),
        seconds => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        let shown = [400, 12_300, 185_000].map(|ms| spent(Duration::from_millis(ms)));
        assert_eq!(shown, ["0.4 s", "12 s", "3 min 05 s"]);
    }
}
