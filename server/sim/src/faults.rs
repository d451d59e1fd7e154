//! What goes wrong, and when.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use conure_io::{Random, SimDisk};
use conure_member::simulation::{disk_at, set_delay, set_disk};
use turmoil::Sim;

use crate::client::pick;
use crate::copies::{self, Copies};
use crate::plan::Plan;
use crate::watch::Watch;
use crate::world::{self, Order, data_dir, note, with};

/// See the module.
pub(crate) struct Faults {
    random: Random,
    plan: Plan,
    names: Vec<String>,
    next_ms: u64,
    /// When who comes back.
    down: BTreeMap<String, u64>,
    /// Who was told to stop.
    stopping: BTreeSet<String>,
    /// How often each process was started.
    lives: BTreeMap<String, u64>,
    /// How often each disk was emptied.
    emptied: BTreeMap<String, u64>,
    copies: Copies,
    pub(crate) count: u64,
}

/// What happens to the disk when a process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Death {
    /// The process alone: what it wrote is there.
    Kill,
    /// The power: what was not synced may be lost.
    PowerLoss,
    /// The disk is lost with it.
    Wipe,
}

impl Faults {
    pub(crate) fn new(seed: u64, plan: &Plan) -> Self {
        let mut random = Random::new(seed ^ 0xfa17);
        Self {
            plan: plan.clone(),
            names: plan.slots.iter().map(|slot| slot.name.clone()).collect(),
            next_ms: 300 + random.below(6_000),
            down: BTreeMap::new(),
            stopping: BTreeSet::new(),
            lives: BTreeMap::new(),
            emptied: BTreeMap::new(),
            copies: Copies::default(),
            count: 0,
            random,
        }
    }

    pub(crate) fn life(&self, name: &str) -> u64 {
        self.lives.get(name).copied().unwrap_or(0)
    }

    pub(crate) fn emptied(&self, name: &str) -> u64 {
        self.emptied.get(name).copied().unwrap_or(0)
    }

    /// Starts again who was down for long enough, and makes the next fault where it is time.
    pub(crate) fn step(&mut self, sim: &mut Sim<'_>, watch: &mut Watch, now_ms: u64) {
        self.recover(sim, watch, now_ms);
        if now_ms >= self.next_ms && !self.copies.hold() {
            self.next_ms = now_ms + 50 + self.random.below(self.plan.calm_ms_max);
            self.count += 1;
            self.fault(sim, watch, now_ms);
        }
    }

    fn start_again(&mut self, sim: &mut Sim<'_>, now_ms: u64) {
        let stopped: Vec<String> =
            self.stopping.iter().filter(|name| !sim.is_host_running(name.as_str())).cloned().collect();
        for name in stopped {
            self.stopping.remove(&name);
            self.down.insert(name, now_ms + self.random.below(1_000));
        }
        let due: Vec<String> =
            self.down.iter().filter(|(_, at)| **at <= now_ms).map(|(name, _)| name.clone()).collect();
        for name in due {
            self.down.remove(&name);
            *self.lives.entry(name.clone()).or_default() += 1;
            if self.random.below(6) == 0 {
                with(|world| world.move_port(&name));
            }
            sim.bounce(name.as_str());
        }
    }

    /// Everything is mended, and everybody comes back.
    pub(crate) fn mend(&mut self, sim: &mut Sim<'_>, now_ms: u64) {
        note!("all is mended");
        self.copies.end_twin(sim);
        for a in &self.names {
            for b in &self.names {
                if a != b {
                    sim.release(a.as_str(), b.as_str());
                    sim.repair(a.as_str(), b.as_str());
                }
            }
            set_delay(&data_dir(a), 1);
        }
        sim.set_fail_rate(0.0);
        sim.set_max_message_latency(Duration::from_millis(5));
        for at in self.down.values_mut() {
            *at = now_ms;
        }
        self.next_ms = u64::MAX;
    }

    /// Starts again whoever stopped meanwhile, and ends what is over.
    pub(crate) fn recover(&mut self, sim: &mut Sim<'_>, watch: &Watch, now_ms: u64) {
        self.start_again(sim, now_ms);
        self.copies.step(sim, now_ms);
        if let Some(name) = self.copies.noticed(watch, now_ms) {
            // As its line says: it starts over with an empty disk.
            self.die(sim, &name, Death::Wipe, now_ms);
        }
    }

    fn up(&self) -> Vec<String> {
        let up = |name: &&String| !self.down.contains_key(*name) && !self.stopping.contains(*name);
        self.names.iter().filter(up).cloned().collect()
    }

    fn fault(&mut self, sim: &mut Sim<'_>, watch: &mut Watch, now_ms: u64) {
        let up = self.up();
        match self.random.below(124) {
            kind @ 0..=29 => self.end(sim, kind, &up, now_ms),
            kind @ 30..=78 => self.network(sim, kind),
            kind @ 79..=93 => self.slow(kind, &up),
            94..=99 => {
                if let Some(name) = pick(&mut self.random, &up)
                    && may_lose(watch, &name)
                {
                    self.die(sim, &name, Death::Wipe, now_ms);
                }
            }
            100..=111 => self.copies.keep(&mut self.random, &up, watch),
            112..=115 => self.copies.start_twin(sim, &mut self.random, now_ms),
            _ => {
                if self.down.is_empty() && self.stopping.is_empty() {
                    self.put_back(sim, watch, now_ms);
                }
            }
        }
    }

    /// Ends the processes of one or all.
    fn end(&mut self, sim: &mut Sim<'_>, kind: u64, up: &[String], now_ms: u64) {
        match kind {
            0..=19 => {
                if let Some(name) = pick(&mut self.random, up) {
                    let death = if self.random.chance(70) { Death::PowerLoss } else { Death::Kill };
                    self.die(sim, &name, death, now_ms);
                }
            }
            20..=25 => {
                for name in up {
                    self.die(sim, name, Death::PowerLoss, now_ms);
                }
            }
            _ => {
                let Some(name) = pick(&mut self.random, up) else { return };
                note!("{name} is told to stop");
                let told = with(|world| {
                    let process = world.processes.get(&name);
                    process.is_some_and(|process| process.orders.send(Order::Stop).is_ok())
                });
                if told {
                    self.stopping.insert(name);
                }
            }
        }
    }

    /// Cuts, slows or repairs the network.
    fn network(&mut self, sim: &mut Sim<'_>, kind: u64) {
        let (a, b) = (pick(&mut self.random, &self.names), pick(&mut self.random, &self.names));
        let (Some(a), Some(b)) = (a, b) else { return };
        match kind {
            30..=37 if a != b => {
                note!("{a} and {b} are cut off from each other");
                sim.partition(a.as_str(), b.as_str());
            }
            38..=47 if a != b => {
                note!("nothing comes from {a} to {b}");
                sim.partition_oneway(a.as_str(), b.as_str());
            }
            30..=55 => {
                note!("{a} is cut off");
                for other in self.names.iter().filter(|other| **other != a) {
                    sim.partition(a.as_str(), other.as_str());
                }
            }
            56..=69 => {
                note!("the network is repaired");
                for a in &self.names {
                    for b in self.names.iter().filter(|b| a != *b) {
                        sim.repair(a.as_str(), b.as_str());
                    }
                }
                sim.set_fail_rate(0.0);
                sim.set_max_message_latency(Duration::from_millis(self.plan.latency_ms_max));
            }
            70..=73 => {
                note!("messages are lost");
                sim.set_fail_rate(0.002);
            }
            _ => {
                let ms = 50 + self.random.below(500);
                note!("messages take up to {ms} ms");
                sim.set_max_message_latency(Duration::from_millis(ms));
            }
        }
    }

    /// Makes a clock jump or a disk slow.
    fn slow(&mut self, kind: u64, up: &[String]) {
        if kind <= 86 {
            let ms = 100 + self.random.below(3_000);
            let Some(name) = pick(&mut self.random, up) else { return };
            note!("the clock of {name} jumps by {ms} ms");
            with(|world| world.processes.get(&name).map(|process| process.orders.send(Order::Jump(ms))));
        } else if let Some(name) = pick(&mut self.random, &self.names) {
            let slow = 50 + self.random.below(500);
            let ms = if self.random.chance(50) { self.plan.disk_ms_max } else { slow };
            note!("the disk of {name} takes up to {ms} ms");
            set_delay(&data_dir(&name), ms);
        }
    }

    /// A member dies, and its disk comes back as it was earlier.
    fn put_back(&mut self, sim: &mut Sim<'_>, watch: &mut Watch, now_ms: u64) {
        if let Some((name, disks)) = self.copies.put_back(sim, watch, &self.names, now_ms) {
            self.die(sim, &name, Death::Kill, now_ms);
            note!("the disk of {name} is put back as it was");
            copies::place(&name, disks);
            self.down.insert(name, now_ms + self.random.below(1_000));
        }
    }

    fn die(&mut self, sim: &mut Sim<'_>, name: &str, death: Death, now_ms: u64) {
        note!("{name} dies: {death:?}");
        let dir = data_dir(name);
        let seed = self.random.next_u64();
        let left: Vec<_> = [dir.clone(), dir.join("log")]
            .into_iter()
            .map(|path| {
                let disk = disk_at(&path);
                let left = match death {
                    Death::Kill => disk.kill_image(disk.ops()).map(Some),
                    Death::PowerLoss => disk.crash_image(disk.ops(), seed).map(Some),
                    Death::Wipe => Ok(None),
                };
                disk.kill_process();
                (path, left)
            })
            .collect();
        with(|world| world.processes.remove(name));
        sim.crash(name);
        for (path, left) in left {
            match left {
                Ok(disk) => set_disk(&path, disk.filter(|disk| path == dir || !is_empty(disk))),
                Err(e) => world::violated(format!("the simulation has no disk for {name}: {e}")),
            }
        }
        if death == Death::Wipe {
            *self.emptied.entry(name.to_owned()).or_default() += 1;
            with(|world| {
                world.serving.remove(name);
                world.wiped.insert(name.to_owned());
            });
        }
        let after = self.random.below(3_000);
        self.down.insert(name.to_owned(), now_ms + after);
    }
}

fn is_empty(disk: &SimDisk) -> bool {
    conure_io::Disk::list(disk).is_ok_and(|names| names.is_empty())
}

/// Whether the cluster bears the loss of this disk: the membership is settled, and a quorum of its voters have theirs.
pub(crate) fn may_lose(watch: &Watch, name: &str) -> bool {
    let Some(ledger) = watch.main() else { return false };
    let calm = with(|world| !world.changing && world.wiped.is_empty());
    let settled = watch.memberships_settled();
    let votes: Vec<&str> =
        ledger.members.iter().filter(|(_, _, votes)| *votes).map(|(_, name, _)| name.as_str()).collect();
    let mut names = votes.clone();
    names.sort_unstable();
    names.dedup();
    let left = votes.iter().filter(|voter| **voter != name).count();
    calm && settled && names.len() == votes.len() && left > votes.len() / 2
}
