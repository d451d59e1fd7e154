//! Running programs to their end, with a deadline, their output kept, and an error that shows the last lines.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal};

/// How many last lines of a failed program's output an error shows.
const TAIL_LINES: usize = 15;

/// Runs a program with its output appended to `log`; a failure shows the end of what it wrote.
pub fn run(command: &mut Command, log: &Path, limit: Duration) -> Result<()> {
    run_lines(command, log, limit, |_| {})
}

/// The same; each line of output is also given to `line` as it comes.
pub fn run_lines(
    command: &mut Command,
    log: &Path,
    limit: Duration,
    mut on_line: impl FnMut(&str),
) -> Result<()> {
    if let Some(folder) = log.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = OpenOptions::new().create(true).append(true).open(log)?;
    writeln!(file, "$ {}", line(command))?;
    let start = file.metadata()?.len();
    let (reader, writer) = std::io::pipe()?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let child = spawn(command)?;
    // Only the program may hold the writing end now, or the reading end would never see its end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let root = child.id();
    let (ended, watched) = channel::<()>();
    let watch = std::thread::spawn(move || {
        let late = watched.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
        if late {
            kill_tree(root);
        }
        late
    });
    let mut reader = BufReader::new(reader);
    let mut bytes = Vec::new();
    while reader.read_until(b'\n', &mut bytes)? > 0 {
        file.write_all(&bytes)?;
        on_line(String::from_utf8_lossy(&bytes).trim_end());
        bytes.clear();
    }
    let status = wait(child, command, limit)?;
    drop(ended);
    let late = watch.join().unwrap_or_default();
    if status.success() {
        return Ok(());
    }
    let text = fs::read(log).unwrap_or_default();
    let own = text.get(usize::try_from(start)?..).unwrap_or_default();
    let how =
        if late { format!("did not end within {} s", limit.as_secs()) } else { format!("failed ({status})") };
    bail!(
        "`{}` {how}; the end of {}:\n{}",
        line(command),
        log.display(),
        tail(&String::from_utf8_lossy(own), TAIL_LINES)
    )
}

/// Runs a program and answers what it wrote to its standard output.
pub fn output(command: &mut Command, limit: Duration) -> Result<String> {
    output_with(command, "", limit)
}

/// The same with a text on its standard input.
pub fn output_with(command: &mut Command, input: &str, limit: Duration) -> Result<String> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = spawn(command)?;
    let stdin = child.stdin.take();
    let input = input.to_owned();
    // A program that does not read its input closes the pipe early: that is no error of its own.
    let writer = std::thread::spawn(move || stdin.map(|mut pipe| pipe.write_all(input.as_bytes())));
    let out = collect(child.stdout.take());
    let err = collect(child.stderr.take());
    let status = wait(child, command, limit)?;
    let _ = writer.join();
    let (out, err) = (out.join().unwrap_or_default(), err.join().unwrap_or_default());
    if !status.success() {
        let shown = if err.trim().is_empty() { &out } else { &err };
        bail!("`{}` failed ({status}): {}", line(command), tail(shown, TAIL_LINES));
    }
    Ok(out)
}

fn collect(pipe: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What was read before an error is still worth showing.
            let _ = pipe.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn spawn(command: &mut Command) -> Result<Child> {
    command.spawn().with_context(|| format!("cannot start `{}`", name(command)))
}

fn wait(mut child: Child, command: &Command, limit: Duration) -> Result<ExitStatus> {
    let start = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if start.elapsed() >= limit {
            kill_tree(child.id());
            child.wait()?;
            bail!("`{}` did not end within {} s", line(command), limit.as_secs());
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// Ends a process and all that it started. They are in this program's own group, so that a Ctrl-C reaches them too.
fn kill_tree(root: u32) {
    let mut doomed = vec![root];
    let mut next = 0;
    while let Some(parent) = doomed.get(next).copied() {
        // Children of one that has ended already are init's; whoever stops its parent first keeps it from starting more.
        signal(parent, Signal::STOP);
        doomed.extend(children(parent));
        next += 1;
    }
    doomed.iter().for_each(|pid| signal(*pid, Signal::KILL));
}

fn children(parent: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| parent_of(*pid) == Some(parent)).collect()
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command's name, in parentheses, may hold spaces and parentheses itself; state and parent follow it.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may have ended just now: nothing to do then.
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// The last `count` lines of a text.
pub fn tail(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// The last lines of a log file, or a note that there is none.
pub fn tail_of(log: &Path, count: usize) -> String {
    let read = || -> std::io::Result<String> {
        let mut bytes = Vec::new();
        File::open(log)?.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().map_or_else(|error| format!("({}: {error})", log.display()), |text| tail(&text, count))
}

fn name(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

/// The command as one would type it, for logs and errors.
fn line(command: &Command) -> String {
    let mut words = vec![name(command)];
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_program_shows_what_it_wrote_last() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let mut command = Command::new("sh");
        command.args(["-c", "for i in $(seq 40); do echo line $i; done; exit 3"]);
        let error = run(&mut command, &log, Duration::from_secs(10)).unwrap_err().to_string();
        assert!(
            error.contains("exit status: 3") && error.contains("line 40") && error.contains("line 26"),
            "{error}"
        );
        assert!(!error.contains("line 25\n"), "{error}");
    }

    #[test]
    fn a_program_that_does_not_end_is_ended_with_its_children() {
        let start = Instant::now();
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 60 & sleep 60"]);
        let error = output(&mut command, Duration::from_millis(200)).unwrap_err().to_string();
        assert!(error.contains("did not end within"), "{error}");
        assert!(start.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn lines_are_seen_as_they_come_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let mut command = Command::new("sh");
        command.args(["-c", "echo one; echo two >&2"]);
        let mut seen = Vec::new();
        run_lines(&mut command, &log, Duration::from_secs(10), |line| seen.push(line.to_owned())).unwrap();
        assert_eq!(seen, ["one", "two"]);
        assert!(fs::read_to_string(&log).unwrap().ends_with("one\ntwo\n"));
    }

    #[test]
    fn a_silent_program_with_a_log_is_ended_too() {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 60 & sleep 60"]);
        let error = run(&mut command, &folder.path().join("log"), Duration::from_millis(200)).unwrap_err();
        assert!(error.to_string().contains("did not end within"), "{error}");
    }

    #[test]
    fn input_reaches_the_program() {
        let text = "x".repeat(300_000);
        let copied = output_with(&mut Command::new("cat"), &text, Duration::from_secs(10)).unwrap();
        assert_eq!(copied.len(), text.len());
    }
}
