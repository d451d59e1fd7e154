//! A process of a cluster: started, looked at, killed.

use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::machine::status_bytes;

/// How often memory is looked at.
const SAMPLE: Duration = Duration::from_millis(50);

/// How much of a failed member's log an error shows.
const TAIL_BYTES: u64 = 2000;

/// A running process; dropping it kills it.
#[derive(Debug)]
pub struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts a program; what it writes is appended to `log`.
    ///
    /// # Errors
    ///
    /// It cannot be started.
    pub fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let file = fs::OpenOptions::new().create(true).append(true).open(log)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().with_context(|| format!("cannot start {:?}", command.get_program()))?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL.
    ///
    /// # Errors
    ///
    /// It cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Fails where it has ended, with the end of its log.
    ///
    /// # Errors
    ///
    /// It has ended.
    pub fn check(&mut self) -> Result<()> {
        let Some(status) = self.child.try_wait()? else { return Ok(()) };
        let mut log = fs::File::open(&self.log)?;
        let len = log.metadata()?.len();
        log.seek(SeekFrom::Start(len.saturating_sub(TAIL_BYTES)))?;
        let mut tail = Vec::new();
        log.read_to_end(&mut tail)?;
        bail!("a member ended ({status}):\n{}", String::from_utf8_lossy(&tail))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended cannot be killed, and need not be.
        let _ = self.kill();
    }
}

/// An address that nobody listens at now.
///
/// # Errors
///
/// There is none.
pub fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Waits until `ready` answers something.
///
/// # Errors
///
/// It did not within `patience`; the error is the last one of `ready`.
pub fn until<T>(patience: Duration, pause: Duration, mut ready: impl FnMut() -> Result<T>) -> Result<T> {
    let begun = Instant::now();
    loop {
        match ready() {
            Ok(found) => return Ok(found),
            Err(error) if begun.elapsed() > patience => {
                return Err(error.context(format!("waited for {} s", patience.as_secs())));
            }
            Err(_) => std::thread::sleep(pause),
        }
    }
}

/// What processes used.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Used {
    /// Processor time of all of them, in seconds.
    pub cpu_s: f64,
    /// The most memory that one of them had, mapped files included, in bytes.
    pub peak_bytes: u64,
    /// The same without files.
    pub peak_own_bytes: u64,
}

/// Does `work` and says what the processes used meanwhile.
///
/// # Errors
///
/// `work` failed, or a process has ended.
pub fn using<T>(ids: &[u32], work: impl FnOnce() -> Result<T>) -> Result<(T, Used)> {
    let cpu_before = ids.iter().map(|id| cpu_s(*id)).sum::<Result<f64>>()?;
    let stop = AtomicBool::new(false);
    let (done, peaks) = std::thread::scope(|scope| {
        let sampler = scope.spawn(|| {
            let mut peaks = (0, 0);
            while !stop.load(Ordering::Relaxed) {
                for id in ids {
                    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
                    let of = |name| status_bytes(&status, name).unwrap_or_default();
                    peaks = (of("VmRSS").max(peaks.0), of("RssAnon").max(peaks.1));
                }
                std::thread::sleep(SAMPLE);
            }
            peaks
        });
        let done = work();
        stop.store(true, Ordering::Relaxed);
        (done, sampler.join().unwrap_or_default())
    });
    let done = done?;
    let cpu_after = ids.iter().map(|id| cpu_s(*id)).sum::<Result<f64>>()?;
    Ok((done, Used { cpu_s: cpu_after - cpu_before, peak_bytes: peaks.0, peak_own_bytes: peaks.1 }))
}

/// The processor time of a process, in seconds.
fn cpu_s(id: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).context("a member has ended")?;
    // The name stands in parentheses and may hold anything.
    let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
    let mut fields = after.split_whitespace().skip(11);
    let mut ticks = || fields.next().and_then(|field| field.parse::<u32>().ok()).context("no processor time");
    #[expect(clippy::cast_precision_loss, reason = "100")]
    let per_second = rustix::param::clock_ticks_per_second() as f64;
    Ok((f64::from(ticks()?) + f64::from(ticks()?)) / per_second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_used_is_seen() {
        let own = std::process::id();
        let ((), used) = using(&[own], || {
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_millis(200) {
                std::hint::black_box(begun);
            }
            Ok(())
        })
        .unwrap();
        assert!(used.cpu_s >= 0.05, "{used:?}");
        assert!(used.peak_bytes >= used.peak_own_bytes && used.peak_own_bytes > 0, "{used:?}");
    }

    #[test]
    fn a_member_that_ended_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let mut running =
            Running::start(Command::new("sh").args(["-c", "echo no luck; exit 3"]), &log).unwrap();
        let error = until(Duration::from_secs(10), Duration::from_millis(5), || {
            running.check().err().context("it still runs")
        });
        assert!(format!("{:#}", error.unwrap()).contains("no luck"));
    }
}
