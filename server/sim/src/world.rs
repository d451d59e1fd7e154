//! What all parts of one simulation share. All of it runs on one thread.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hasher};
use std::path::PathBuf;

use conure_member::Member;
use tokio::sync::mpsc;

use crate::api::{RAFT_PORT, RAFT_PORT_MOVED};
use crate::history::History;

/// The machine on which copies of disks run.
pub(crate) const TWIN: &str = "twin";

/// What a member's process is told from outside.
#[derive(Debug)]
pub(crate) enum Order {
    /// End well.
    Stop,
    /// The clock jumps ahead by so many milliseconds.
    Jump(u64),
}

/// A member's process that runs.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    pub(crate) member: Member,
    pub(crate) orders: mpsc::UnboundedSender<Order>,
}

/// See the module.
#[derive(Default)]
pub(crate) struct World {
    /// The running members by name.
    pub(crate) processes: BTreeMap<String, Process>,
    /// The members that clients ask.
    pub(crate) serving: BTreeSet<String>,
    /// The members whose disks were emptied and that were not joined since.
    pub(crate) wiped: BTreeSet<String>,
    /// The Raft ports of the members that have moved to another one.
    pub(crate) ports: BTreeMap<String, u16>,
    /// The member whose disk a second process has a copy of.
    pub(crate) twin_of: Option<String>,
    /// The member whose disk was put back as it was earlier, until it has noticed.
    pub(crate) put_back: Option<String>,
    /// Whether a change of the membership was asked for and is not answered.
    pub(crate) changing: bool,
    pub(crate) history: History,
    /// What clients and the operator shall do.
    pub(crate) phase: Phase,
    /// The first promise that was broken.
    violation: Option<String>,
    trace: DefaultHasher,
    tell: bool,
}

impl World {
    /// Where the member's Raft port is.
    pub(crate) fn raft_port(&self, name: &str) -> u16 {
        self.ports.get(name).copied().unwrap_or(RAFT_PORT)
    }

    /// The member's next process is dialled elsewhere.
    pub(crate) fn move_port(&mut self, name: &str) {
        let there = if self.raft_port(name) == RAFT_PORT { RAFT_PORT_MOVED } else { RAFT_PORT };
        self.ports.insert(name.to_owned(), there);
    }
}

/// How far a simulation is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Clients work, faults happen.
    #[default]
    Trouble,
    /// All faults are mended; clients work on.
    Recovery,
    /// Clients end.
    End,
}

thread_local! {
    static WORLD: RefCell<World> = RefCell::default();
}

/// Looks at or changes what is shared.
pub(crate) fn with<T>(work: impl FnOnce(&mut World) -> T) -> T {
    WORLD.with_borrow_mut(work)
}

/// Notes what happened: all of it makes the trace, which is the same for the same seed.
pub(crate) fn note_args(what: std::fmt::Arguments<'_>) {
    let at = turmoil_now();
    with(|world| {
        let line = format!("{at} {what}");
        world.trace.write(line.as_bytes());
        if world.tell {
            eprintln!("{line}");
        }
    });
}

macro_rules! note {
    ($($what:tt)*) => { $crate::world::note_args(format_args!($($what)*)) };
}
pub(crate) use note;

thread_local! {
    static NOW_MS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

fn turmoil_now() -> u64 {
    NOW_MS.get()
}

/// The simulation's own clock, which no member can see.
pub(crate) fn set_now(ms: u64) {
    NOW_MS.set(ms);
}

/// Writes what happens to the standard error output.
pub(crate) fn tell() {
    with(|world| world.tell = true);
}

/// A promise was broken: the simulation ends.
pub(crate) fn violated(what: String) {
    note!("VIOLATION {what}");
    with(|world| {
        world.violation.get_or_insert(what);
    });
}

/// The first promise that was broken.
pub(crate) fn violation() -> Option<String> {
    with(|world| world.violation.clone())
}

/// What the trace amounts to.
pub(crate) fn trace() -> u64 {
    with(|world| world.trace.finish())
}

/// The phase that it is in.
pub(crate) fn phase() -> Phase {
    with(|world| world.phase)
}

/// The data directory of the member `name`.
pub(crate) fn data_dir(name: &str) -> PathBuf {
    PathBuf::from("/data").join(name)
}
