//! Running the process of one engine: its reports read as they come, its memory looked at meanwhile.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::engines::Name;
use crate::event::{Event, Measure};
use crate::machine::status_bytes;
use crate::plan::{Plan, Workload};

/// How often the memory of a process is looked at.
const SAMPLE: Duration = Duration::from_millis(20);

/// How long a process may go without a report: far longer than the longest workload.
const SILENCE_MAX: Duration = Duration::from_hours(1);

/// Where the programs of the engines are.
#[derive(Debug, Clone)]
pub struct Programs {
    /// This one, which has the engines in Rust.
    pub own: PathBuf,
    /// The one in Go.
    pub bbolt: Option<PathBuf>,
}

impl Programs {
    /// The command that runs an engine's workloads in a folder.
    ///
    /// # Errors
    ///
    /// The engine needs a program that was not given.
    pub fn command(
        &self,
        engine: Name,
        dir: &std::path::Path,
        plan: &Plan,
        workloads: &[Workload],
    ) -> Result<Command> {
        let mut command = if engine == Name::Bbolt {
            let program = self.bbolt.as_ref().context("bbolt needs its program (--bbolt PATH)")?;
            let mut command = Command::new(program);
            command.arg("worker");
            command
        } else {
            let mut command = Command::new(&self.own);
            command.args(["worker", "--engine", engine.name()]);
            command
        };
        let names: Vec<_> = workloads.iter().map(|workload| workload.name()).collect();
        command.arg("--dir").arg(dir).args(plan.arguments()).arg(format!("--workloads={}", names.join(",")));
        Ok(command)
    }
}

/// What a workload of a finished process was.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// Its name.
    pub workload: String,
    /// What was measured.
    pub measures: Vec<Measure>,
    /// How many durable commits it made.
    pub commits: u64,
    /// A sum over what was read.
    pub check: u64,
}

/// What a process left.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Its workloads in their order.
    pub ended: Vec<Ended>,
    /// The version of the engine.
    pub version: String,
    /// How many entries the database holds.
    pub entries: u64,
    /// The digest of all entries.
    pub digest: u64,
    /// The most memory at once, mapped files included, in bytes.
    pub peak_bytes: u64,
    /// The most memory at once that is no file's, in bytes, as far as the samples saw it.
    pub peak_own_bytes: u64,
}

/// Runs a process to its end. `begun` is told of each workload as it begins.
///
/// # Errors
///
/// It did not start, was silent for too long, failed, or reported something else than it should.
pub fn run(mut command: Command, begun: &mut dyn FnMut(&str)) -> Result<Outcome> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let name = format!("{:?}", command.get_program());
    let mut child = Running(command.spawn().with_context(|| format!("cannot start {name}"))?);
    let (send, lines) = channel();
    let output = child.0.stdout.take().context("the process has no output")?;
    let reader = thread::spawn(move || {
        // The receiver goes away only when nobody wants to know any more.
        BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| send.send(line))
    });
    let status_file = format!("/proc/{}/status", child.0.id());
    let (mut peak_own_bytes, mut heard) = (0, Instant::now());
    let mut events = Vec::new();
    loop {
        match lines.recv_timeout(SAMPLE) {
            Ok(line) => {
                heard = Instant::now();
                let event =
                    serde_json::from_str(&line).with_context(|| format!("{name} reported {line:?}"))?;
                if let Event::Begin { workload } = &event {
                    begun(workload);
                }
                events.push(event);
            }
            Err(RecvTimeoutError::Timeout) => ensure!(heard.elapsed() < SILENCE_MAX, "{name} is stuck"),
            Err(RecvTimeoutError::Disconnected) => break,
        }
        // It may have ended just now, and has no memory then.
        let status = fs::read_to_string(&status_file).unwrap_or_default();
        peak_own_bytes = peak_own_bytes.max(status_bytes(&status, "RssAnon").unwrap_or_default());
    }
    let status = child.0.wait()?;
    let _ = reader.join();
    ensure!(status.success(), "{name} failed ({status})");
    outcome(events, peak_own_bytes).with_context(|| name)
}

/// A process that ends with this program's interest in it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // One that was waited for is not killed: the library knows.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn outcome(events: Vec<Event>, peak_own_bytes: u64) -> Result<Outcome> {
    let mut ended = Vec::new();
    for event in events {
        match event {
            Event::Begin { .. } => {}
            Event::End { workload, measures, commits, check } => {
                ended.push(Ended { workload, measures, commits, check });
            }
            Event::Done { version, entries, digest, peak_bytes } => {
                return Ok(Outcome { ended, version, entries, digest, peak_bytes, peak_own_bytes });
            }
        }
    }
    bail!("it ended without saying that it was done")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn reports_are_collected() {
        let script = r#"echo '{"event":"begin","workload":"open"}'
            echo '{"event":"end","workload":"open","measures":[],"commits":2,"check":3}'
            echo '{"event":"done","version":"1","entries":4,"digest":5,"peak_bytes":6}'"#;
        let mut begun = Vec::new();
        let outcome = run(shell(script), &mut |name| begun.push(name.to_owned())).unwrap();
        assert_eq!(begun, ["open"]);
        assert_eq!((outcome.entries, outcome.digest, outcome.peak_bytes), (4, 5, 6));
        assert_eq!((outcome.ended[0].commits, outcome.ended[0].check), (2, 3));
    }

    #[test]
    fn a_process_that_fails_or_says_too_little_is_an_error() {
        let error = |script| format!("{:#}", run(shell(script), &mut |_| {}).unwrap_err());
        assert!(error("exit 3").contains("exit status: 3"));
        assert!(error("true").contains("without saying that it was done"));
        assert!(error("echo hello; sleep 60").contains("hello"));
    }
}
