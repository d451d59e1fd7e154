//! Disks that are put back as they were earlier, and disks that are copied to another machine.
//!
//! A disk that is put back has lost what it had synced. What holds then is promised only while the leader that counted on it
//! still runs and reaches it, so all else is calm until its member has noticed.

use std::time::Duration;

use conure_io::{Random, SimDisk};
use conure_member::simulation::{disk_at, set_delay, set_disk};
use turmoil::Sim;

use crate::client::pick;
use crate::faults::may_lose;
use crate::watch::Watch;
use crate::world::{self, TWIN, data_dir, note, with};

/// How long a member whose disk was put back may take to notice, or to show that it lost nothing.
const NOTICE_MS_MAX: u64 = 15_000;
/// By then, in a calm cluster, it has heard the leader.
const HEARD_MS: u64 = 4_000;
/// How long a copy runs at most.
const TWIN_MS_MAX: u64 = 8_000;

/// A disk as it was: the data directory's and the log's.
pub(crate) type Disks = [SimDisk; 2];

#[derive(Debug)]
struct Kept {
    name: String,
    node_id: u64,
    disks: Disks,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    kept: Option<Kept>,
    /// Until when a copy runs.
    twin_until_ms: Option<u64>,
    /// Whose disk was put back, and until when that may go unnoticed.
    put_back: Option<(String, u64)>,
}

/// The two folders of the member that runs on the machine `host`.
fn folders(host: &str) -> [std::path::PathBuf; 2] {
    let dir = data_dir(host);
    [dir.clone(), dir.join("log")]
}

fn image(name: &str) -> std::io::Result<Disks> {
    let [dir, log] = folders(name).map(|path| disk_at(&path));
    Ok([dir.image()?, log.image()?])
}

/// Gives the machine `host` these disks.
pub(crate) fn place(host: &str, disks: Disks) {
    for (path, disk) in folders(host).into_iter().zip(disks) {
        set_disk(&path, Some(disk));
    }
}

impl Copies {
    /// Whether all else must wait.
    pub(crate) fn hold(&self) -> bool {
        self.put_back.is_some()
    }

    /// Keeps the disk of one of `up` as it is.
    pub(crate) fn keep(&mut self, random: &mut Random, up: &[String], watch: &Watch) {
        let Some(name) = pick(random, up).filter(|name| watch.votes_with_others(name)) else { return };
        let Some(node_id) = watch.standing(&name).map(|standing| standing.node_id) else { return };
        match image(&name) {
            Ok(disks) => {
                note!("the disk of {name} is copied");
                self.kept = Some(Kept { name, node_id, disks });
            }
            Err(e) => world::violated(format!("the simulation cannot copy the disk of {name}: {e}")),
        }
    }

    /// Starts a second process with what was kept, beside its original.
    pub(crate) fn start_twin(&mut self, sim: &mut Sim<'_>, random: &mut Random, now_ms: u64) {
        if self.twin_until_ms.is_some() {
            return;
        }
        let Some(kept) = self.kept.take() else { return };
        note!("a copy of {} runs on another machine", kept.name);
        place(TWIN, kept.disks);
        with(|world| world.twin_of = Some(kept.name));
        sim.bounce(TWIN);
        self.twin_until_ms = Some(now_ms + 500 + random.below(TWIN_MS_MAX));
    }

    /// Ends the copy when its time is over.
    pub(crate) fn step(&mut self, sim: &mut Sim<'_>, now_ms: u64) {
        if self.twin_until_ms.is_some_and(|until| until <= now_ms) {
            self.end_twin(sim);
        }
    }

    pub(crate) fn end_twin(&mut self, sim: &mut Sim<'_>) {
        if self.twin_until_ms.take().is_none() {
            return;
        }
        note!("the copy ends");
        for path in folders(TWIN) {
            disk_at(&path).kill_process();
        }
        with(|world| {
            world.processes.remove(TWIN);
            world.twin_of = None;
        });
        sim.crash(TWIN);
        for path in folders(TWIN) {
            set_disk(&path, None);
        }
        sim.bounce(TWIN);
    }

    /// Puts the kept disk back, where the cluster bears the loss of the present one and a leader runs that knows what it held.
    /// All is calm from then on. Whose disk it is; the caller kills and starts its process.
    pub(crate) fn put_back(
        &mut self,
        sim: &mut Sim<'_>,
        watch: &mut Watch,
        names: &[String],
        now_ms: u64,
    ) -> Option<(String, Disks)> {
        let kept = self.kept.as_ref()?;
        let standing = |name: &str| watch.standing(name);
        let leads = |name: &&String| standing(name).is_some_and(|standing| standing.leads);
        let led = names.iter().any(|name| leads(&name) && *name != kept.name);
        let same = standing(&kept.name).is_some_and(|standing| standing.node_id == kept.node_id);
        if !led || !same || self.twin_until_ms.is_some() || !may_lose(watch, &kept.name) {
            return None;
        }
        let kept = self.kept.take()?;
        calm(sim, names);
        watch.forget_vote(&kept.name);
        with(|world| world.put_back = Some(kept.name.clone()));
        self.put_back = Some((kept.name.clone(), now_ms + NOTICE_MS_MAX));
        Some((kept.name, kept.disks))
    }

    /// The member whose disk was put back, once it has noticed what it lost.
    pub(crate) fn noticed(&mut self, watch: &Watch, now_ms: u64) -> Option<String> {
        let (name, until_ms) = self.put_back.clone()?;
        let process = with(|world| world.processes.get(&name).cloned());
        let failure = process.as_ref().and_then(|process| process.member.storage_failure());
        if failure.is_some_and(|text| text.contains("had acknowledged entry")) {
            note!("{name} noticed that its disk was put back");
            self.resolved();
            return Some(name);
        }
        let caught_up = process
            .and_then(|process| process.member.standing())
            .is_some_and(|standing| watch.main().is_some_and(|ledger| standing.applied + 3 >= ledger.last()));
        // The leader reached it long ago, and gave it what it lacks.
        if caught_up && now_ms + NOTICE_MS_MAX >= until_ms + HEARD_MS {
            note!("{name} had lost nothing that anybody counted on");
            self.resolved();
        } else if now_ms >= until_ms {
            world::violated(format!("{name} does not notice that its disk was put back"));
            self.resolved();
        }
        None
    }

    fn resolved(&mut self) {
        self.put_back = None;
        with(|world| world.put_back = None);
    }
}

/// Nothing is lost or late from now on.
fn calm(sim: &mut Sim<'_>, names: &[String]) {
    for a in names {
        for b in names.iter().filter(|b| *b != a) {
            sim.release(a.as_str(), b.as_str());
            sim.repair(a.as_str(), b.as_str());
        }
        set_delay(&data_dir(a), 1);
    }
    sim.set_fail_rate(0.0);
    sim.set_max_message_latency(Duration::from_millis(5));
}
