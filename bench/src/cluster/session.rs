//! The whole comparison.

use std::fs;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};

use super::conure::Conure;
use super::etcd::Etcd;
use super::faults;
use super::http;
use super::limits;
use super::load::{Kind, Load, Until};
use super::member::{Running, free_address, until, using};
use super::options::{Options, Part};
use super::report;
use super::rows::{self, Collected, Row, Sample, Unit};
use super::system::{Cluster, System, Work};
use crate::{machine, page};

/// The length of a value.
const VALUE_LEN: usize = 256;

/// Clients of the loads that are made with one number of clients only.
const CLIENTS: usize = 64;

/// Everything that a run found.
#[derive(Debug)]
pub struct Found {
    /// The rows.
    pub rows: Vec<Row>,
    /// How it was measured, a line each.
    pub conditions: Vec<String>,
}

/// Compares the systems and shows the result.
///
/// # Errors
///
/// A member failed, or a request did.
pub fn run(options: &Options) -> Result<()> {
    let session = Session::new(options)?;
    let found = session.measure()?;
    if let Some(folder) = options.json.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(&options.json, serde_json::to_string_pretty(&rows::json(&found.rows))? + "\n")?;
    if let Some(path) = &options.page {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        fs::write(path, page::replaced(&text, page::CLUSTER, &report::markdown(&found))?)?;
    }
    let mut out = std::io::stdout().lock();
    if options.markdown {
        write!(out, "{}", report::markdown(&found))?;
    } else {
        write!(out, "{}", report::text(&found, out.is_terminal()))?;
    }
    eprintln!("{} holds the same for programs", options.json.display());
    Ok(())
}

struct Session<'a> {
    options: &'a Options,
    parts: Vec<Part>,
    systems: Vec<Box<dyn System>>,
    start: Instant,
}

impl<'a> Session<'a> {
    fn new(options: &'a Options) -> Result<Self> {
        let mut systems: Vec<Box<dyn System>> = Vec::new();
        for name in &options.systems {
            match name.as_str() {
                "conure" => systems.push(Box::new(Conure { program: options.conure_db.clone() })),
                "etcd" => systems.push(Box::new(Etcd {
                    program: options.etcd.clone().context("etcd needs its program (--etcd PROGRAM)")?,
                    tool: options.etcd_benchmark.clone().context("etcd needs its tool (--etcd-benchmark)")?,
                })),
                other => anyhow::bail!("no system is called {other:?}; there are conure and etcd"),
            }
        }
        ensure!(options.clients.iter().all(|clients| (1..=4000).contains(clients)), "1 to 4,000 clients");
        fs::create_dir_all(&options.dir).with_context(|| options.dir.display().to_string())?;
        Ok(Self { options, parts: Part::named(&options.rows)?, systems, start: Instant::now() })
    }

    fn wants(&self, part: Part) -> bool {
        self.parts.contains(&part)
    }

    fn measure(&self) -> Result<Found> {
        let date = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        let commit = machine::commit(&[":/server"]);
        let machine = machine::describe(&self.options.dir);
        let load_before = machine::load();
        let mut all = Collected::default();
        for round in 0..self.options.repeat {
            if self.wants(Part::Limits) {
                self.limits(&mut all)?;
            }
            for system in self.in_turn(round) {
                self.loads(system, round, &mut all)?;
            }
        }
        for system in self.in_turn(0) {
            self.large(system, &mut all)?;
        }
        for system in self.in_turn(1) {
            self.failover(system, &mut all)?;
        }
        for system in self.in_turn(0) {
            self.catch_up(system, &mut all)?;
        }
        let mut conditions = vec![format!("{date}, {commit}")];
        conditions.extend(machine);
        conditions.push(format!("load average {load_before} before and {} after", machine::load()));
        conditions.push(self.versions()?);
        let elapsed = humantime::format_duration(Duration::from_secs(self.start.elapsed().as_secs()));
        let (seconds, repeat) = (self.options.seconds, self.options.repeat);
        conditions.push(format!(
            "loads of {seconds} s, median of {repeat} in alternating order; {} kills; {elapsed} in all",
            self.options.kills
        ));
        Ok(Found { rows: all.rows(), conditions })
    }

    /// The systems in the order of a round: every other one backwards.
    fn in_turn(&self, round: u32) -> Vec<&dyn System> {
        let mut systems: Vec<_> = self.systems.iter().map(AsRef::as_ref).collect();
        if !round.is_multiple_of(2) {
            systems.reverse();
        }
        systems
    }

    fn versions(&self) -> Result<String> {
        let mut versions = Vec::new();
        for (name, program) in
            [("conure-db", Some(&self.options.conure_db)), ("etcd", self.options.etcd.as_ref())]
        {
            let Some(program) =
                program.filter(|_| self.systems.iter().any(|s| name.starts_with(s.name().name())))
            else {
                continue;
            };
            let output = Command::new(program).arg("--version").output()?;
            let text = String::from_utf8_lossy(&output.stdout);
            versions.push(text.lines().next().unwrap_or(name).to_owned());
        }
        Ok(versions.join(", "))
    }

    fn limits(&self, all: &mut Collected) -> Result<()> {
        self.say("limits: the disk");
        let syncs = limits::syncs_per_second(&self.options.dir, Duration::from_secs(1))?;
        all.limit("fdatasync", 1, syncs);
        let address = free_address()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("nothing").arg(address.to_string());
        let _handler = Running::start(&mut command, &self.options.dir.join("nothing.log"))?;
        let request = http::request("GET", "/", b"");
        until(Duration::from_secs(10), Duration::from_millis(5), || {
            http::ask(address, &request, Duration::from_secs(1))
        })?;
        for clients in &self.options.clients {
            self.say(&format!("limits: {clients} clients of a handler that does nothing"));
            let load = Load {
                kind: Kind::Nothing,
                leader: address,
                members: vec![address],
                clients: *clients,
                value_len: 0,
                until: Until::Time(Duration::from_secs(self.options.seconds.min(3))),
            };
            all.limit("nothing", *clients, load.run()?.all().rate);
        }
        Ok(())
    }

    fn dir(&self, system: &dyn System) -> Result<PathBuf> {
        let dir = self.options.dir.join(system.name().name());
        match fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(dir),
        }
    }

    fn loads(&self, system: &dyn System, round: u32, all: &mut Collected) -> Result<()> {
        let parts = [
            (Part::Mix, Kind::Mix, &[CLIENTS][..]),
            (Part::Put, Kind::Put, &self.options.clients),
            (Part::Get, Kind::Get, &self.options.clients),
            (Part::Stale, Kind::StaleGet, &self.options.clients),
        ];
        if !parts.iter().any(|(part, _, _)| self.wants(*part)) {
            return Ok(());
        }
        let mut cluster = Cluster::start(system, &self.dir(system)?)?;
        for (part, kind, clients) in parts {
            for clients in clients.iter().filter(|_| self.wants(part)) {
                let name = system.name();
                self.say(&format!(
                    "{}, round {} of {}: {} with {clients} clients",
                    name.name(),
                    round + 1,
                    self.options.repeat,
                    part.name()
                ));
                let time = Duration::from_secs(self.options.seconds);
                let work = Work { kind, clients: *clients, value_len: VALUE_LEN, until: Until::Time(time) };
                measure(&mut cluster, part.name(), &work, all)?;
            }
        }
        Ok(())
    }

    fn large(&self, system: &dyn System, all: &mut Collected) -> Result<()> {
        if !self.wants(Part::PutLarge) && !self.wants(Part::Restart) {
            return Ok(());
        }
        let (name, keys) = (system.name(), self.options.keys);
        let mut cluster = Cluster::start(system, &self.dir(system)?)?;
        self.say(&format!("{}: {keys} keys are loaded", name.name()));
        let work = Work { kind: Kind::Put, clients: 256, value_len: VALUE_LEN, until: Until::Requests(keys) };
        cluster.bear(&work)?;
        let time = Until::Time(Duration::from_secs(self.options.seconds));
        for _ in 0..self.options.repeat {
            if self.wants(Part::PutLarge) {
                self.say(&format!("{}: puts with {CLIENTS} clients, {keys} keys", name.name()));
                let work = Work { clients: CLIENTS, until: time, ..work };
                measure(&mut cluster, Part::PutLarge.name(), &work, all)?;
            }
        }
        for _ in 0..self.options.repeat {
            if self.wants(Part::Restart) {
                self.say(&format!("{}: a member with {keys} keys is killed and starts again", name.name()));
                let took = faults::restart(&mut cluster)?;
                all.value(Part::Restart.name(), Unit::Seconds, name, took.as_secs_f64());
            }
        }
        Ok(())
    }

    fn failover(&self, system: &dyn System, all: &mut Collected) -> Result<()> {
        if !self.wants(Part::Failover) {
            return Ok(());
        }
        let name = system.name();
        let mut cluster = Cluster::start(system, &self.dir(system)?)?;
        for kill in 0..self.options.kills {
            let pause = faults::pause(&mut cluster)?;
            self.say(&format!(
                "{}: leader killed, {} of {}: {:.2} s",
                name.name(),
                kill + 1,
                self.options.kills,
                pause.as_secs_f64()
            ));
            all.value(Part::Failover.name(), Unit::Seconds, name, pause.as_secs_f64());
        }
        Ok(())
    }

    fn catch_up(&self, system: &dyn System, all: &mut Collected) -> Result<()> {
        if !self.wants(Part::CatchUp) {
            return Ok(());
        }
        let name = system.name();
        let mut cluster = Cluster::start(system, &self.dir(system)?)?;
        self.say(&format!("{}: a member catches up with {} MiB", name.name(), self.options.catch_up_mib));
        let caught = faults::catch_up(&mut cluster, self.options.catch_up_mib << 20)?;
        all.value(Part::CatchUp.name(), Unit::Seconds, name, caught.took.as_secs_f64());
        all.value("catch-up-writers-before", Unit::Millis, name, caught.before.p99_ms);
        all.value("catch-up-writers", Unit::Millis, name, caught.writes.p99_ms);
        Ok(())
    }

    fn say(&self, what: &str) {
        let elapsed = self.start.elapsed().as_secs();
        eprintln!("[{:3} min {:02} s] {what}", elapsed / 60, elapsed % 60);
    }
}

/// Bears one load and notes what it came to and cost.
fn measure(cluster: &mut Cluster<'_>, workload: &str, work: &Work, all: &mut Collected) -> Result<()> {
    let (name, ids) = (cluster.system.name(), cluster.ids());
    let (borne, used) = using(&ids, || cluster.bear(work))?;
    let sample = |outcome| Sample { outcome, used, requests: borne.requests };
    if work.kind == Kind::Mix {
        all.load(&format!("{workload}-gets"), work.clients, name, sample(borne.gets));
        all.load(&format!("{workload}-puts"), work.clients, name, sample(borne.puts));
    } else {
        let outcome = if borne.gets.requests > 0 { borne.gets } else { borne.puts };
        all.load(workload, work.clients, name, sample(outcome));
    }
    Ok(())
}
