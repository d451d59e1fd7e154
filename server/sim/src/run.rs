//! One simulation from beginning to end.

use std::path::Path;
use std::time::Duration;

use conure_client::api::Role;
use conure_member::simulation::{set_delay, set_seed};
use turmoil::{Builder, Sim};

use crate::faults::Faults;
use crate::plan::Plan;
use crate::watch::Watch;
use crate::world::{self, Phase, TWIN, note, with};
use crate::{client, host, operator};

/// One step of the simulation, in milliseconds.
const STEP_MS: u64 = 1;
/// How long a mended cluster may take until all its members agree.
const RECOVERY_MS_MAX: u64 = 60_000;
/// How long clients work on after that.
const AFTERWARDS_MS: u64 = 2_000;

/// What became of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) steps: u64,
    pub(crate) faults: u64,
    pub(crate) leaders: usize,
    pub(crate) snapshots: u64,
    pub(crate) trace: u64,
    pub(crate) violation: Option<String>,
}

/// Runs the simulation that `seed` decides.
pub(crate) fn run(seed: u64) -> Outcome {
    let plan = Plan::new(seed);
    note!("seed {seed}: {plan:?}");
    set_seed(seed);
    set_delay(Path::new("/"), plan.disk_ms_max);
    let mut sim = Builder::new()
        .rng_seed(seed)
        .tick_duration(Duration::from_millis(STEP_MS))
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(plan.latency_ms_max))
        .simulation_duration(Duration::from_secs(3_600))
        .tcp_capacity(4_096)
        .enable_random_order()
        .build();
    for slot in &plan.slots {
        let slot = slot.clone();
        sim.host(slot.name.clone(), move || host::run(slot.clone()));
    }
    let slots = plan.slots.clone();
    sim.host(TWIN, move || host::run_twin(slots.clone()));
    with(|world| world.serving.insert("m1".to_owned()));
    for number in 1..=plan.clients {
        sim.client(format!("c{number}"), client::run(number, seed ^ (number << 32)));
    }
    sim.client("operator", operator::run(plan.slots.clone(), seed ^ 0x0b));
    let mut all = All { watch: Watch::default(), faults: Faults::new(seed, &plan), plan, steps: 0 };
    all.go(&mut sim);
    let violation = world::violation();
    if violation.is_none() {
        note!("ends after {} steps", all.steps);
    }
    let outcome = Outcome {
        steps: all.steps,
        faults: all.faults.count,
        leaders: all.watch.leaders(),
        snapshots: all.watch.snapshots,
        trace: world::trace(),
        violation,
    };
    // Its members are ended before what they share with it.
    with(|world| world.processes.clear());
    outcome
}

struct All {
    watch: Watch,
    faults: Faults,
    plan: Plan,
    steps: u64,
}

impl All {
    fn now_ms(&self) -> u64 {
        self.steps * STEP_MS
    }

    fn go(&mut self, sim: &mut Sim<'_>) {
        while self.now_ms() < self.plan.trouble_ms {
            let now_ms = self.now_ms();
            self.faults.step(sim, &mut self.watch, now_ms);
            if self.step(sim) {
                return;
            }
        }
        self.faults.mend(sim, self.now_ms());
        with(|world| world.phase = Phase::Recovery);
        let begun = self.now_ms();
        let mut agreed_at = None;
        while agreed_at.is_none_or(|at| self.now_ms() < at + AFTERWARDS_MS) {
            self.faults.recover(sim, &self.watch, self.now_ms());
            if self.step(sim) {
                return;
            }
            if agreed_at.is_none() && self.agree() {
                note!("all agree");
                agreed_at = Some(self.now_ms());
            }
            if self.now_ms() > begun + RECOVERY_MS_MAX {
                world::violated(format!("a minute after all was mended: {}", self.disagreement()));
                return;
            }
        }
        with(|world| world.phase = Phase::End);
        while !self.step(sim) {}
        if let Some(claim) = with(|world| world.history.unjudged().cloned()) {
            world::violated(format!("{claim:?} was answered, and nobody applied as much"));
        }
    }

    /// Goes on by one step and looks at everybody. Whether this is the end.
    fn step(&mut self, sim: &mut Sim<'_>) -> bool {
        self.steps += 1;
        world::set_now(self.now_ms());
        let ended = match sim.step() {
            Ok(ended) => ended,
            Err(e) => {
                world::violated(format!("a process ended: {e}"));
                true
            }
        };
        let processes: Vec<_> = with(|world| {
            world.processes.iter().map(|(name, process)| (name.clone(), process.member.clone())).collect()
        });
        let put_back = with(|world| world.put_back.clone());
        for (name, member) in processes {
            if name == TWIN || put_back.as_ref() == Some(&name) {
                if member.standing().is_some_and(|standing| standing.leads) {
                    world::violated(format!("{name} leads with the disk of another time or machine"));
                }
                continue;
            }
            let life = (name.clone(), self.faults.life(&name));
            if let Err(what) = self.watch.look(&life, self.faults.emptied(&name), &member) {
                world::violated(format!("{name}: {what}"));
            }
            if let Some(what) = member.storage_failure() {
                world::violated(format!("{name}: its storage failed: {what}"));
            }
        }
        if let Some(ledger) = self.watch.main()
            && let Err(what) = with(|world| world.history.judge(ledger))
        {
            world::violated(what);
        }
        ended || world::violation().is_some()
    }

    /// Whether every member of the cluster runs and has applied the same, and one of them leads.
    fn agree(&self) -> bool {
        let Some(ledger) = self.watch.main() else { return false };
        let members: Vec<_> =
            ledger.members.iter().map(|(id, name, _)| (id, self.watch.standing(name))).collect();
        let there = members.iter().all(|(id, standing)| {
            standing.is_some_and(|standing| standing.node_id == **id && standing.applied + 3 >= ledger.last())
        });
        let leads = |standing: &crate::watch::Standing| standing.leads && standing.role == Role::Data;
        there
            && members.iter().filter(|(_, standing)| standing.is_some_and(leads)).count() == 1
            && with(|world| world.wiped.is_empty())
    }

    fn disagreement(&self) -> String {
        let Some(ledger) = self.watch.main() else { return "there is no cluster".to_owned() };
        let members: Vec<_> = ledger
            .members
            .iter()
            .map(|member| {
                let standing = self.watch.standing(&member.1);
                format!("{member:?}: {standing:?}")
            })
            .collect();
        format!("entry {} was agreed on, and {}", ledger.last(), members.join("; "))
    }
}
