//! The signals that stop a process in good order: SIGTERM, SIGINT, and SIGHUP, as a terminal that closes sends it.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM, SIGINT and SIGHUP.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Option<Signal>,
}

impl Signals {
    /// From now on they end nothing by themselves.
    pub(crate) fn new() -> io::Result<Self> {
        // Whoever starts a program with nohup wants it to outlive the terminal.
        let hangup = if ignores_hangup() { None } else { Some(signal(SignalKind::hangup())?) };
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup,
        })
    }

    /// The next one's name.
    pub(crate) async fn next(&mut self) -> &'static str {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = hangup => "SIGHUP",
        }
    }
}

/// Whether the process was started with SIGHUP ignored. Where there is no `/proc` that cannot be told, and it counts as not.
fn ignores_hangup() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| ignored(&status) & 1 == 1)
}

/// The set of ignored signals; the lowest bit is signal 1, SIGHUP.
fn ignored(status: &str) -> u64 {
    let set = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    set.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_set_of_ignored_signals_is_read() {
        assert_eq!(ignored("SigBlk:\t0000000000000001\nSigIgn:\t0000000000001000\n"), 0x1000);
        assert_eq!(ignored("SigIgn:\t0000000000000001\n") & 1, 1);
        for none in ["", "SigIgn:\n", "SigIgn: x\n"] {
            assert_eq!(ignored(none), 0, "{none:?}");
        }
    }
}
