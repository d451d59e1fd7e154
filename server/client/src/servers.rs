//! The servers that a client knows, in the order in which it asks them.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::Server;

/// How old the known list of members may get.
const DISCOVERY_AGE_MAX: Duration = Duration::from_secs(15);
/// How many servers are remembered.
const SERVERS_MAX: usize = 32;

/// The servers; the first is asked first.
///
/// **Invariant:** there is always at least one.
#[derive(Debug)]
pub(crate) struct Servers(Mutex<Known>);

#[derive(Debug)]
struct Known {
    servers: Vec<Server>,
    discovered: Option<Instant>,
}

impl Servers {
    /// `servers` has at least one.
    pub(crate) fn new(servers: Vec<Server>) -> Self {
        Self(Mutex::new(Known { servers, discovered: None }))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Nothing that holds the lock can leave the list half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn all(&self) -> Vec<Server> {
        self.known().servers.clone()
    }

    pub(crate) fn first(&self) -> Server {
        self.known().servers[0].clone()
    }

    /// Puts the leader first.
    pub(crate) fn prefer(&self, leader: Server) {
        let mut known = self.known();
        known.servers.retain(|server| *server != leader);
        known.servers.insert(0, leader);
        known.servers.truncate(SERVERS_MAX);
    }

    /// Puts servers that did not serve last, in this order, and says how many there are.
    pub(crate) fn step_back(&self, asked: &[&Server]) -> usize {
        let mut known = self.known();
        for asked in asked {
            if let Some(at) = known.servers.iter().position(|server| server == *asked) {
                let server = known.servers.remove(at);
                known.servers.push(server);
            }
        }
        known.servers.len()
    }

    /// Whether it is time to ask for the others; whoever is told so does it.
    pub(crate) fn discovery_is_due(&self) -> bool {
        let mut known = self.known();
        let due = known.discovered.is_none_or(|at| at.elapsed() > DISCOVERY_AGE_MAX);
        if due {
            known.discovered = Some(Instant::now());
        }
        due
    }

    /// Adds servers that are not known yet, last.
    pub(crate) fn learn(&self, servers: impl Iterator<Item = Server>) {
        let mut known = self.known();
        for server in servers {
            if known.servers.len() < SERVERS_MAX && !known.servers.contains(&server) {
                known.servers.push(server);
            }
        }
    }
}
