//! What must hold of the members at every step.
//!
//! - A leader, named by term and node id, is one process, and holds every entry that was agreed on before.
//! - Two logs that hold an entry of the same index and leader hold the same entry, and the same ones before it.
//! - What was applied is applied by everyone, in the same order, to the same state, byte for byte.
//! - A vote that was on disk is never gone or overtaken by an earlier one.
//! - A node id belongs to one data directory, and a data directory has one vote.

use std::collections::BTreeMap;

use conure_client::api::Role;
use conure_member::Member;
pub(crate) use conure_member::simulation::Standing;
use conure_member::simulation::{Change, LeaderId, Logged};

use crate::ledger::Ledger;
use crate::world::note;

/// So far back a log is looked at again when it grew.
const LOOK_BACK: u64 = 16;

/// One process: a member's name and how often it was started.
pub(crate) type Life = (String, u64);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// What each cluster agreed on, by its id.
    ledgers: BTreeMap<String, Ledger>,
    /// The id of the first cluster, which is the one that clients know.
    main: Option<String>,
    /// The logs as they were last looked at, by name.
    seen: BTreeMap<String, Seen>,
    /// Each entry by cluster, leader and index: a digest of it and the leader of the entry before.
    written: BTreeMap<(String, LeaderId, u64), (Logged, Option<LeaderId>)>,
    leaders: BTreeMap<(String, LeaderId), Life>,
    votes: BTreeMap<u64, (LeaderId, bool)>,
    /// The data directories: a member's name and how often its disk was emptied.
    directories: BTreeMap<u64, (String, u64)>,
    /// How many snapshots were installed.
    pub(crate) snapshots: u64,
}

#[derive(Debug)]
struct Seen {
    life: u64,
    standing: Standing,
    log: BTreeMap<u64, LeaderId>,
}

impl Watch {
    /// What the cluster that m1 began agreed on.
    pub(crate) fn main(&self) -> Option<&Ledger> {
        self.ledgers.get(self.main.as_ref()?)
    }

    /// Whether the last change of the members was agreed on to its end, and no member knows of another one.
    pub(crate) fn memberships_settled(&self) -> bool {
        let (known, joint) = self.main().map_or((0, false), |ledger| (ledger.members_index, ledger.joint));
        !joint
            && self.seen.values().all(|seen| {
                Some(&seen.standing.cluster_id) != self.main.as_ref()
                    || seen.standing.membership_index <= known
            })
    }

    /// The disk of the member `name` is put back as it was earlier: its vote goes back with it.
    pub(crate) fn forget_vote(&mut self, name: &str) {
        if let Some(seen) = self.seen.get(name) {
            self.votes.remove(&seen.standing.node_id);
        }
    }

    /// Whether the member votes in a settled cluster of more than one, and knows that.
    pub(crate) fn votes_with_others(&self, name: &str) -> bool {
        let (Some(ledger), Some(standing)) = (self.main(), self.standing(name)) else { return false };
        let votes = |id| ledger.members.iter().any(|(member, _, votes)| *member == id && *votes);
        self.memberships_settled()
            && ledger.members.iter().filter(|(_, _, votes)| *votes).count() > 1
            && votes(standing.node_id)
            && standing.membership_index == ledger.members_index
    }

    /// How many leaders there were.
    pub(crate) fn leaders(&self) -> usize {
        self.leaders.len()
    }

    /// Where the member stood when it was last looked at.
    pub(crate) fn standing(&self, name: &str) -> Option<&Standing> {
        self.seen.get(name).map(|seen| &seen.standing)
    }

    /// Looks at one member.
    pub(crate) fn look(&mut self, life: &Life, emptied: u64, member: &Member) -> Result<(), String> {
        let Some(standing) = member.standing() else { return Ok(()) };
        if life.0 == "m1" {
            self.main.get_or_insert_with(|| standing.cluster_id.clone());
        }
        let before = self.seen.remove(&life.0);
        if let Some(seen) = &before
            && seen.life == life.1
            && seen.standing == standing
        {
            self.seen.extend(before.map(|seen| (life.0.clone(), seen)));
            return Ok(());
        }
        let same_life =
            before.filter(|seen| seen.life == life.1 && seen.standing.node_id == standing.node_id);
        let (was, mut log) = match same_life {
            Some(seen) => (Some(seen.standing), seen.log),
            None => (None, BTreeMap::new()),
        };
        self.directory_of(&standing, &life.0, emptied)?;
        self.vote(&standing)?;
        self.log(&standing, member, &mut log)?;
        if was.as_ref().map(|was| (was.leads, was.vote, was.applied))
            != Some((standing.leads, standing.vote, standing.applied))
        {
            note!(
                "{} vote {:?} leads {} last {} applied {}",
                life.0,
                standing.vote,
                standing.leads,
                standing.last,
                standing.applied
            );
        }
        if standing.leads {
            self.leader(&standing, life, &log)?;
        }
        let before = was.as_ref().map(|was| was.applied);
        if before != Some(standing.applied) {
            self.applied(&standing, member, before)?;
        }
        self.seen.insert(life.0.clone(), Seen { life: life.1, standing, log });
        Ok(())
    }

    fn directory_of(&mut self, standing: &Standing, name: &str, emptied: u64) -> Result<(), String> {
        let here = (name.to_owned(), emptied);
        let known = self.directories.entry(standing.node_id).or_insert_with(|| here.clone());
        if *known == here {
            return Ok(());
        }
        Err(format!("node id {} is that of {known:?} and of {here:?}", standing.node_id))
    }

    fn vote(&mut self, standing: &Standing) -> Result<(), String> {
        let newest = self.votes.entry(standing.node_id).or_default();
        if standing.stored_vote < *newest {
            return Err(format!("its vote went back from {newest:?} to {:?}", standing.stored_vote));
        }
        // Before the first term there is no vote to be kept.
        let flushed = if standing.vote.0.0 > 0 { standing.vote } else { standing.stored_vote };
        *newest = standing.stored_vote.max(flushed).max(*newest);
        Ok(())
    }

    fn log(
        &mut self,
        standing: &Standing,
        member: &Member,
        log: &mut BTreeMap<u64, LeaderId>,
    ) -> Result<(), String> {
        let known = log.last_key_value().map_or(0, |(index, _)| *index);
        let mut from = known.min(standing.last).saturating_sub(LOOK_BACK).max(standing.first);
        let entries = loop {
            let entries = member.logged(from, standing.last + 1).map_err(|e| e.to_string())?;
            let overlaps = entries.first().is_none_or(|first| log.get(&first.index) == Some(&first.by));
            if overlaps || from <= standing.first {
                break entries;
            }
            from = standing.first;
        };
        log.split_off(&from);
        *log = log.split_off(&standing.first);
        for entry in entries {
            let before = entry.index.checked_sub(1).and_then(|index| log.get(&index)).copied();
            log.insert(entry.index, entry.by);
            let key = (standing.cluster_id.clone(), entry.by, entry.index);
            let (known, known_before) = self.written.entry(key).or_insert_with(|| (entry.clone(), before));
            if *known != entry {
                return Err(format!("its log has {entry:?}, another's {known:?}"));
            }
            if let (Some(before), Some(known)) = (before, *known_before)
                && before != known
            {
                return Err(format!(
                    "before entry {} its log has {before:?}, another's {known:?}",
                    entry.index
                ));
            }
            *known_before = known_before.or(before);
        }
        Ok(())
    }

    fn leader(
        &mut self,
        standing: &Standing,
        life: &Life,
        log: &BTreeMap<u64, LeaderId>,
    ) -> Result<(), String> {
        let (leader, _) = standing.vote;
        let key = (standing.cluster_id.clone(), leader);
        if let Some(known) = self.leaders.get(&key) {
            return if known == life {
                Ok(())
            } else {
                Err(format!("{leader:?} was already the leader as {known:?}, now as {life:?}"))
            };
        }
        self.leaders.insert(key, life.clone());
        let Some(ledger) = self.ledgers.get(&standing.cluster_id) else { return Ok(()) };
        for index in standing.first.max(1)..=ledger.last() {
            let agreed = ledger.by(index);
            if agreed.is_some_and(|by| by < leader) && log.get(&index).copied() != agreed {
                return Err(format!(
                    "{leader:?} leads without entry {index} of {agreed:?}, which was agreed on; it has {:?}",
                    log.get(&index)
                ));
            }
        }
        Ok(())
    }

    fn applied(&mut self, standing: &Standing, member: &Member, known: Option<u64>) -> Result<(), String> {
        let before = known.unwrap_or(0);
        if standing.applied < before {
            return Err(format!("its state went back from entry {before} to {}", standing.applied));
        }
        let ledger = self.ledgers.entry(standing.cluster_id.clone()).or_default();
        let from = (before + 1).max(standing.first).max(1);
        let entries = member.logged(from, standing.applied + 1).map_err(|e| e.to_string())?;
        let mut voters = Vec::new();
        if known.is_some() && (entries.len() as u64) < standing.applied - before {
            self.snapshots += 1;
        }
        for entry in entries {
            ledger.applied(&entry)?;
            if let Change::Members { members, .. } = entry.change {
                voters = members.into_iter().filter(|(_, _, votes)| *votes).map(|(id, _, _)| id).collect();
            }
        }
        if standing.applied > ledger.last() {
            return Err(format!("it applied entry {}, which nobody's log has", standing.applied));
        }
        if standing.applied > 0 && ledger.by(standing.applied) != Some(standing.applied_by) {
            return Err(format!("it applied entry {} of {:?}", standing.applied, standing.applied_by));
        }
        if standing.role == Role::Data
            && standing.applied > 0
            && let Some(dump) = member.dump().map_err(|e| e.to_string())?
        {
            ledger.compare(&dump)?;
        }
        let mut directories: Vec<_> = voters.iter().filter_map(|id| self.directories.get(id)).collect();
        directories.sort();
        if directories.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(format!("one data directory has two votes: {directories:?}"));
        }
        Ok(())
    }
}
