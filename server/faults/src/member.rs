//! One member: a `conure-db` process in its network namespace, on its volume.

use std::fs::{File, OpenOptions};
use std::io::PipeWriter;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use conure_e2e::cluster::network::within;
use rustix::process::{Pid, Signal, kill_process};

use crate::disk::Volume;
use crate::network::{address, namespace};

const RAFT_PORT: u16 = 7001;
const HTTP_PORT: u16 = 8081;

/// How much higher the ports of a copy are than those of a member.
const COPY_SHIFT: u16 = 500;

/// Among so many lines at the end of a log is why its member ended: others may come behind it.
const LAST_LINES: usize = 20;

/// How long a member may take to end by itself.
const END_LIMIT: Duration = Duration::from_secs(40);

/// Where a member is found.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) raft: String,
    pub(crate) url: String,
    http_port: u16,
}

impl Place {
    pub(crate) fn of(member: usize) -> Self {
        Self::shifted(member, 0)
    }

    /// In the member's namespace, at ports so much higher.
    pub(crate) fn shifted(member: usize, shift: u16) -> Self {
        let (ip, http_port) = (address(member), HTTP_PORT + shift);
        Self {
            name: format!("m{}", member + 1),
            raft: format!("{ip}:{}", RAFT_PORT + shift),
            url: format!("http://{ip}:{http_port}"),
            http_port,
        }
    }
}

/// What every member is started with.
#[derive(Debug, Clone)]
pub(crate) struct Start {
    pub(crate) program: PathBuf,
    /// Settings, as `CONURE_*` variables.
    pub(crate) environment: Vec<(String, String)>,
    /// It votes and holds no data.
    pub(crate) arbiter: bool,
    /// The library that makes clocks jump, where it is to be had.
    pub(crate) faketime: Option<PathBuf>,
}

/// How one process of a member is started.
#[derive(Debug, Default)]
pub(crate) struct Way {
    /// It shall start the cluster.
    pub(crate) bootstrap: bool,
    /// Its standard error, of which there is much then; its log without one.
    pub(crate) standard_error: Option<PipeWriter>,
    /// So many file descriptors and no more.
    pub(crate) descriptors: Option<u32>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Member {
    number: usize,
    pub(crate) place: Place,
    pub(crate) volume: Volume,
    start: Start,
    log: PathBuf,
    clock: PathBuf,
    child: Option<Child>,
}

impl Member {
    pub(crate) fn new(number: usize, start: Start, folder: &Path, sync: Duration) -> Result<Self> {
        let place = Place::of(number);
        let volume = Volume::create(&folder.join(format!("{}.volume", place.name)), sync)?;
        let (log, clock) =
            (folder.join(format!("{}.log", place.name)), folder.join(format!("{}.clock", place.name)));
        let member = Self { number, place, volume, start, log, clock, child: None };
        member.set_clock(0)?;
        Ok(member)
    }

    /// From its next start on it is at other ports; it does not run.
    pub(crate) fn move_by(&mut self, shift: u16) {
        self.place = Place::shifted(self.number, shift);
    }

    /// Another member of the same name with a copy of its volume, at other ports of the same address: who does not hear the
    /// one does not hear the other. The process of this one has ended.
    pub(crate) fn copy(&self, folder: &Path) -> Result<Self> {
        let file = |kind: &str| folder.join(format!("{}-copy.{kind}", self.place.name));
        let volume = self.volume.copy(&file("volume"))?;
        let place = Place::shifted(self.number, COPY_SHIFT);
        let (start, clock) = (self.start.clone(), self.clock.clone());
        Ok(Self { number: self.number, place, volume, start, log: file("log"), clock, child: None })
    }

    /// Starts the process; `bootstrap` where it shall start the cluster.
    pub(crate) fn start(&mut self, bootstrap: bool) -> Result<()> {
        self.start_in(Way { bootstrap, ..Way::default() })
    }

    /// Starts the process in some other way.
    pub(crate) fn start_in(&mut self, way: Way) -> Result<()> {
        ensure!(self.child.is_none(), "{} runs already", self.place.name);
        let log = OpenOptions::new().create(true).append(true).open(&self.log);
        let log: File = log.with_context(|| self.log.display().to_string())?;
        let mut command = within(&namespace(self.number));
        if let Some(count) = way.descriptors {
            command.args(["prlimit", &format!("--nofile={count}:{count}"), "--"]);
        }
        command.arg(&self.start.program);
        command.args(["--node-id", &self.place.name, "--raft-addr", &self.place.raft]);
        command.args([
            "--http-addr",
            &format!(":{}", self.place.http_port),
            &format!("--bootstrap={}", way.bootstrap),
        ]);
        command.arg("--data-dir").arg(self.volume.path());
        // Half of them send clients on, half of them ask for the client.
        command
            .args(["--leader-routing", if self.number.is_multiple_of(2) { "redirect" } else { "forward" }]);
        if self.start.arbiter {
            command.args(["--role", "arbiter"]);
        }
        command.envs(self.start.environment.iter().cloned());
        if let Some(library) = &self.start.faketime {
            // As with a real machine, only the time of day jumps.
            command.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", &self.clock);
            command.env("FAKETIME_NO_CACHE", "1").env("DONT_FAKE_MONOTONIC", "1");
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?);
        match way.standard_error {
            Some(pipe) => command.args(["--log-level", "debug"]).stderr(pipe),
            None => command.stderr(log),
        };
        self.child = Some(command.spawn().with_context(|| format!("cannot start {}", self.place.name))?);
        Ok(())
    }

    /// Nothing is left of its volume.
    pub(crate) fn remove_volume(&mut self) -> Result<()> {
        self.kill()?;
        self.volume.remove()
    }

    fn signal(&self, signal: Signal) {
        let pid =
            self.child.as_ref().and_then(|child| i32::try_from(child.id()).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may just have ended: nothing to do then.
            let _ = kill_process(pid, signal);
        }
    }

    /// Its place in the cluster.
    pub(crate) fn number(&self) -> usize {
        self.number
    }

    pub(crate) fn runs(&self) -> bool {
        self.child.is_some()
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Asks it to stop.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// How it ended, if it did; it can be started again then.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        let Some(child) = &mut self.child else { return Ok(None) };
        let status = child.try_wait()?;
        if status.is_some() {
            self.child = None;
        }
        Ok(status)
    }

    /// Waits until it ended by itself.
    pub(crate) async fn wait(&mut self) -> Result<ExitStatus> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if began.elapsed() > END_LIMIT {
                bail!("{} did not end within {} s", self.place.name, END_LIMIT.as_secs());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Its clock is so many seconds ahead from now on.
    pub(crate) fn set_clock(&self, ahead_s: i64) -> Result<()> {
        // Renamed into place: a half-written file would be another time.
        let fresh = self.clock.with_extension("clock.new");
        std::fs::write(&fresh, format!("{ahead_s:+}\n"))?;
        Ok(std::fs::rename(&fresh, &self.clock)?)
    }

    /// Whether one of its last lines says why it ended.
    pub(crate) fn said_why(&self) -> bool {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        text.lines().rev().take(LAST_LINES).any(|line| line.starts_with("conure-db: "))
    }

    /// What its log says of panics.
    pub(crate) fn panics(&self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        text.lines().filter(|line| line.contains("panicked at")).map(str::to_owned).collect()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // The volume goes next; nothing can be done about a process that does not end.
        let _ = self.kill();
    }
}
