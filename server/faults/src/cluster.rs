//! The cluster: its members, who leads, and the administration that faults need.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex as Plain, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use conure_client::api::{Status, Suffrage};
use conure_client::{ClientError, problem};
use tokio::sync::{Mutex, OwnedMutexGuard, RwLock};
use tokio::task::JoinSet;

use crate::arguments::Topology;
use crate::member::{Member, Place, Start};
use crate::network::{self, Partition};
use crate::places::Places;

/// How often something is looked at that is waited for.
pub(crate) const LOOK: Duration = Duration::from_millis(100);
/// How long a member may take to be ready once nothing keeps it from that.
pub(crate) const RECOVERY_LIMIT: Duration = Duration::from_secs(90);

/// A member that a fault has for itself.
pub(crate) type Held = OwnedMutexGuard<Member>;

/// See the module.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) places: Arc<Places>,
    members: Vec<Arc<Mutex<Member>>>,
    /// Faults that may cost the leader its place without taking it share this.
    pub(crate) calm: Arc<RwLock<()>>,
    /// Where volumes and logs are.
    pub(crate) folder: PathBuf,
    /// What no fault explains.
    problems: Plain<Vec<String>>,
}

impl Cluster {
    /// Makes the network, starts the members and brings them together.
    pub(crate) async fn start(
        topology: Topology,
        start: &Start,
        folder: &Path,
        sync: Duration,
    ) -> Result<Self> {
        let count = topology.voters();
        network::create(count)?;
        let places = Arc::new(Places::new((0..count).map(Place::of).collect())?);
        let members = (0..count).map(|number| {
            let start = Start { arbiter: number >= topology.data, ..start.clone() };
            Member::new(number, start, folder, sync)
        });
        let members = members.map(|member| Ok(Arc::new(Mutex::new(member?)))).collect::<Result<Vec<_>>>()?;
        let cluster = Self {
            places,
            members,
            folder: folder.to_owned(),
            calm: Arc::default(),
            problems: Plain::default(),
        };
        for (number, member) in cluster.members.iter().enumerate() {
            member.lock().await.start(number == 0)?;
        }
        for number in 0..count {
            cluster.until_it_answers(number).await?;
            if number > 0 {
                cluster.join(number, RECOVERY_LIMIT).await?;
            }
        }
        cluster.until_ready().await?;
        Ok(cluster)
    }

    /// Where the cluster says that a member is, as any of them knows it.
    pub(crate) async fn known_at(&self, member: usize) -> Option<String> {
        let place = self.places.get(member)?;
        let known = self.places.admin().raft_config().await.ok()?.members;
        known.into_iter().find(|known| known.id == place.name).map(|known| known.raft_addr)
    }

    pub(crate) fn count(&self) -> usize {
        self.places.count()
    }

    /// Takes a member that no other fault has.
    pub(crate) fn take(&self, member: usize) -> Option<Held> {
        Arc::clone(self.members.get(member)?).try_lock_owned().ok()
    }

    /// Takes a member as soon as it is free.
    pub(crate) async fn wait_for(&self, member: usize) -> Result<Held> {
        let member = self.members.get(member).context("no such member")?;
        Ok(Arc::clone(member).lock_owned().await)
    }

    /// Notes what no fault explains.
    pub(crate) fn problem(&self, text: String) {
        eprintln!("problem: {text}");
        self.problems.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    }

    pub(crate) fn problems(&self) -> Vec<String> {
        self.problems.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) async fn status(&self, member: usize) -> Option<Status> {
        self.places.asking(member)?.status().await.ok()
    }

    /// Figures of a member, by their path in `/raft/stats`.
    pub(crate) async fn figure(&self, member: usize, path: &str) -> Option<u64> {
        self.places.asking(member)?.raft_stats().await.ok()?.pointer(path)?.as_u64()
    }

    /// Who says that it leads, in the latest term.
    pub(crate) async fn leader(&self) -> Option<usize> {
        Some(self.leads().await?.0)
    }

    /// The leader and its term.
    pub(crate) async fn leads(&self) -> Option<(usize, u64)> {
        let mut asked = JoinSet::new();
        for number in 0..self.count() {
            let Some(client) = self.places.asking(number) else { continue };
            asked.spawn(async move { (number, client.status().await) });
        }
        let answers = asked.join_all().await;
        let leaders = answers.into_iter().filter_map(|(number, status)| Some((number, status.ok()?)));
        let terms =
            leaders.filter(|(_, status)| status.is_leader).map(|(number, status)| (number, status.term));
        terms.max_by_key(|(_, term)| *term)
    }

    /// A member of the membership that is shown by the others is at the place where it is now.
    pub(crate) async fn until_known(&self, member: usize, limit: Duration) -> Result<()> {
        let place = self.places.get(member).context("no such member")?;
        let began = Instant::now();
        loop {
            let known = self.known_at(member).await;
            if known.as_ref() == Some(&place.raft) {
                return Ok(());
            }
            if began.elapsed() > limit {
                let known = known.unwrap_or_else(|| "nobody knows where".to_owned());
                bail!("{} is at {} for {} s and known at {known}", place.name, place.raft, limit.as_secs());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until the process answers at all.
    pub(crate) async fn until_it_answers(&self, member: usize) -> Result<()> {
        let client = self.places.asking(member).context("no such member")?;
        let began = Instant::now();
        while client.livez().await.is_err() {
            ensure!(began.elapsed() < RECOVERY_LIMIT, "m{} does not answer", member + 1);
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Joins a member, again and again until it is a voter.
    pub(crate) async fn join(&self, member: usize, limit: Duration) -> Result<()> {
        let place = self.places.get(member).context("no such member")?;
        let began = Instant::now();
        loop {
            let last = match self.places.admin().join(&place.name, &place.raft).await {
                Ok(answer) if answer.suffrage == Suffrage::Voter => return Ok(()),
                Ok(answer) => {
                    format!("it lags by {}", answer.last_index.saturating_sub(answer.matched_index))
                }
                Err(error) => error.to_string(),
            };
            if began.elapsed() > limit {
                bail!("{} did not join within {} s: {last}", place.name, limit.as_secs());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Removes a member; false where the cluster refuses that now.
    pub(crate) async fn remove(&self, member: usize, limit: Duration) -> Result<bool> {
        let place = self.places.get(member).context("no such member")?;
        let began = Instant::now();
        loop {
            match self.places.admin().remove(&place.name).await {
                Ok(_) => return Ok(true),
                Err(error) if error.is(problem::UNKNOWN_MEMBER) => return Ok(true),
                Err(error) if error.status() == Some(409) => return Ok(false),
                Err(error) if began.elapsed() > limit => {
                    return Err(error).with_context(|| format!("{} could not be removed", place.name));
                }
                Err(_) => tokio::time::sleep(LOOK).await,
            }
        }
    }

    /// Asks for another leader; refusals are no matter.
    pub(crate) async fn transfer(&self, to: usize) -> Result<(), ClientError> {
        let Some(place) = self.places.get(to) else { return Ok(()) };
        self.places.admin().transfer_leadership(&place.name).await.map(drop)
    }

    /// Looks for processes that ended although no fault asked them to; those are started again.
    pub(crate) fn supervise(&self) -> Result<()> {
        for number in 0..self.count() {
            let Some(mut member) = self.take(number) else { continue };
            if let Some(status) = member.ended()? {
                self.problem(format!("{} ended by itself: {status}", member.place.name));
                member.start(false)?;
            }
        }
        Ok(())
    }

    /// All hear each other.
    pub(crate) fn heal_network(&self) -> Result<()> {
        network::set(&Partition::none(self.count()))
    }

    /// Everything is as it was: who was stopped runs, all hear each other.
    pub(crate) async fn heal(&self) -> Result<()> {
        self.heal_network()?;
        for number in 0..self.count() {
            let mut member = self.wait_for(number).await?;
            member.resume();
            member.set_clock(0)?;
            member.volume.set_full(false);
            member.volume.set_broken(false);
            member.volume.set_readable();
            if !member.runs() {
                member.start(false)?;
            }
        }
        Ok(())
    }

    /// Waits until every member serves.
    pub(crate) async fn until_ready(&self) -> Result<()> {
        let began = Instant::now();
        for number in 0..self.count() {
            let place = self.places.get(number).context("no such member")?;
            let client = self.places.asking(number).context("no such member")?;
            loop {
                let why = match client.readyz(None).await {
                    Ok(probe) if probe.ok => break,
                    Ok(probe) => probe.reason,
                    Err(error) => error.to_string(),
                };
                if began.elapsed() > RECOVERY_LIMIT {
                    bail!(
                        "{} is not ready {} s after the last fault: {why}",
                        place.name,
                        RECOVERY_LIMIT.as_secs()
                    );
                }
                self.supervise()?;
                tokio::time::sleep(LOOK).await;
            }
        }
        Ok(())
    }

    /// What the logs say of panics.
    pub(crate) async fn panics(&self) -> Vec<String> {
        let mut found = Vec::new();
        for member in &self.members {
            let member = member.lock().await;
            found.extend(member.panics().into_iter().map(|line| format!("{}: {line}", member.place.name)));
        }
        found
    }
}
