//! What both systems can: form a cluster, say who leads, store and read over HTTP, bear a load.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::http;
use super::latency::Outcome;
use super::load::{Kind, Until, key};
use super::member::{Running, free_address, until};

/// How long a cluster may take for what is usually done in a second.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long one request may take.
const ANSWER: Duration = Duration::from_secs(5);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(5);

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    /// ConureDB.
    Conure,
    /// etcd.
    Etcd,
}

impl Name {
    /// How it is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Conure => "conure",
            Self::Etcd => "etcd",
        }
    }
}

/// A load, as both systems bear it.
#[derive(Debug, Clone, Copy)]
pub struct Work {
    /// What is asked.
    pub kind: Kind,
    /// How many clients.
    pub clients: usize,
    /// The length of a value.
    pub value_len: usize,
    /// When it ends.
    pub until: Until,
}

/// What a load came to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Borne {
    /// Reads.
    pub gets: Outcome,
    /// Writes.
    pub puts: Outcome,
    /// How many requests it took, those included that only tried how fast it goes.
    pub requests: u64,
}

/// Where a member is.
#[derive(Debug, Clone)]
pub struct Place {
    /// Its number, from 1.
    pub number: usize,
    /// Its data directory.
    pub dir: PathBuf,
    /// Where clients ask it.
    pub client: SocketAddr,
    /// Where other members ask it.
    pub peer: SocketAddr,
}

impl Place {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> String {
        format!("m{}", self.number)
    }
}

/// ConureDB or etcd.
pub trait System {
    /// Which one.
    fn name(&self) -> Name;
    /// The command that starts the last of these members; whether it founds the cluster or joins one.
    fn command(&self, places: &[Place], at: usize, joins: bool) -> Command;
    /// Whether members are told of a new one before it starts (else it is asked to join when it runs).
    fn announces(&self) -> bool;
    /// Whether a cluster is founded by all its members at once.
    fn founds_together(&self) -> bool;
    /// The request that brings a member in.
    fn join_request(&self, place: &Place) -> Vec<u8>;
    /// Whether the member there leads.
    fn leads(&self, client: SocketAddr) -> Result<bool>;
    /// The request that stores.
    fn put_request(&self, key: &str, value: &[u8]) -> Vec<u8>;
    /// The request that reads, linearizably.
    fn get_request(&self, key: &str) -> Vec<u8>;
    /// Whether a successful answer to a read holds a value.
    fn has_value(&self, body: &[u8]) -> bool;
    /// Bears a load. The leader comes first.
    fn bear(&self, members: &[SocketAddr], work: &Work) -> Result<Borne>;
}

/// A member and its process.
#[derive(Debug)]
pub struct Member {
    /// Where it is.
    pub place: Place,
    running: Option<Running>,
}

/// A running cluster.
pub struct Cluster<'a> {
    /// Whose.
    pub system: &'a dyn System,
    /// Its members.
    pub members: Vec<Member>,
    dir: PathBuf,
}

impl<'a> Cluster<'a> {
    /// Starts a cluster of three in a folder that is not there yet, and waits until it has stored a key.
    ///
    /// # Errors
    ///
    /// It did not start.
    pub fn start(system: &'a dyn System, dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let mut cluster = Self { system, members: Vec::new(), dir: dir.to_owned() };
        let founders = if system.founds_together() { 3 } else { 1 };
        for number in 1..=founders {
            let place = cluster.place(number)?;
            cluster.members.push(Member { place, running: None });
        }
        for at in 0..founders {
            cluster.run(at, false)?;
        }
        cluster.store(&key(0), &[b'v'; 256])?;
        while cluster.members.len() < 3 {
            cluster.add()?;
        }
        for at in 0..3 {
            cluster.wait_for_member(at, &key(0))?;
        }
        Ok(cluster)
    }

    fn place(&self, number: usize) -> Result<Place> {
        let dir = self.dir.join(format!("m{number}"));
        Ok(Place { number, dir, client: free_address()?, peer: free_address()? })
    }

    fn run(&mut self, at: usize, joins: bool) -> Result<()> {
        let places: Vec<_> = self.members.iter().map(|member| member.place.clone()).collect();
        let mut command = self.system.command(&places, at, joins);
        let member = self.members.get_mut(at).context("no such member")?;
        let log = self.dir.join(format!("{}.log", member.place.name()));
        member.running = Some(Running::start(&mut command, &log)?);
        Ok(())
    }

    /// Brings in one more member: until it is told that it belongs to the cluster.
    ///
    /// # Errors
    ///
    /// It could not be.
    pub fn add(&mut self) -> Result<()> {
        let place = self.place(self.members.len() + 1)?;
        let join = self.system.join_request(&place);
        let at = self.members.len();
        self.members.push(Member { place, running: None });
        let leader = self.leader_among(at)?;
        let announce = || {
            let (status, body) = http::ask(leader, &join, PATIENCE)?;
            ensure!(status == 200, "status {status}: {}", String::from_utf8_lossy(&body));
            Ok(())
        };
        if self.system.announces() {
            until(PATIENCE, PAUSE, announce)?;
            return self.run(at, true);
        }
        self.run(at, true)?;
        until(PATIENCE * 5, PAUSE, announce)
    }

    /// Where clients ask, the leader first.
    ///
    /// # Errors
    ///
    /// Nobody leads.
    pub fn clients(&mut self) -> Result<Vec<SocketAddr>> {
        let leader = self.leader()?;
        let mut clients: Vec<_> = self.members.iter().map(|member| member.place.client).collect();
        clients.swap(0, leader);
        Ok(clients)
    }

    /// The number in `members` of the one that leads.
    ///
    /// # Errors
    ///
    /// Nobody does within some time, or a member has ended.
    pub fn leader(&mut self) -> Result<usize> {
        self.check()?;
        let leader = self.leader_among(self.members.len())?;
        let is = |member: &Member| member.place.client == leader;
        self.members.iter().position(is).context("the leader is no member")
    }

    fn leader_among(&self, count: usize) -> Result<SocketAddr> {
        until(PATIENCE, PAUSE, || {
            for member in self.members.iter().take(count) {
                if self.system.leads(member.place.client).unwrap_or_default() {
                    return Ok(member.place.client);
                }
            }
            bail!("no member leads")
        })
    }

    fn check(&mut self) -> Result<()> {
        self.members.iter_mut().filter_map(|member| member.running.as_mut()).try_for_each(Running::check)
    }

    /// The processes that run.
    #[must_use]
    pub fn ids(&self) -> Vec<u32> {
        self.members.iter().filter_map(|member| member.running.as_ref().map(Running::id)).collect()
    }

    /// Stores one key, at whoever takes it.
    ///
    /// # Errors
    ///
    /// Nobody did.
    pub fn store(&mut self, key: &str, value: &[u8]) -> Result<()> {
        let request = self.system.put_request(key, value);
        until(PATIENCE, PAUSE, || {
            let leader = self.leader()?;
            let member = self.members.get(leader).context("the leader is no member")?;
            let (status, body) = http::ask(member.place.client, &request, ANSWER)?;
            ensure!(status == 200, "status {status}: {}", String::from_utf8_lossy(&body));
            Ok(())
        })
    }

    /// Waits until a member has answered a linearizable read of a key that is there.
    ///
    /// # Errors
    ///
    /// It did not, or it has ended.
    pub fn wait_for_member(&mut self, at: usize, key: &str) -> Result<()> {
        let request = self.system.get_request(key);
        let member = self.members.get_mut(at).context("no such member")?;
        until(PATIENCE * 5, Duration::from_millis(1), || {
            if let Some(running) = &mut member.running {
                running.check()?;
            }
            let (status, body) = http::ask(member.place.client, &request, ANSWER)?;
            ensure!(status == 200 && self.system.has_value(&body), "it does not serve yet ({status})");
            Ok(())
        })
    }

    /// SIGKILL for one member.
    ///
    /// # Errors
    ///
    /// It does not run.
    pub fn kill(&mut self, at: usize) -> Result<()> {
        let member = self.members.get_mut(at).context("no such member")?;
        member.running.take().context("it does not run")?.kill()
    }

    /// Starts a member again.
    ///
    /// # Errors
    ///
    /// It cannot be started.
    pub fn restart(&mut self, at: usize) -> Result<()> {
        self.run(at, true)
    }

    /// Bears a load.
    ///
    /// # Errors
    ///
    /// A request failed, or a member has ended.
    pub fn bear(&mut self, work: &Work) -> Result<Borne> {
        let clients = self.clients()?;
        let borne = self.system.bear(clients.get(..3).unwrap_or(&clients), work);
        self.check()?;
        borne
    }
}

impl Drop for Cluster<'_> {
    fn drop(&mut self) {
        self.members.clear();
        // What cannot be removed now is in the way of the next run, which will say so.
        let _ = std::fs::remove_dir_all(&self.dir);
        // What one system leaves to be written must not be written in the time of the next.
        rustix::fs::sync();
    }
}
