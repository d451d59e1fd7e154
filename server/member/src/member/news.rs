//! What an operator reads of a member's life: who leads, who belongs to the cluster, who does not answer. Each is said once
//! when it changes, with members by name; Raft's own lines name them by number, and repeat themselves with every heartbeat.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use conure_client::api::{Role, Suffrage};
use openraft::async_runtime::WatchReceiver as _;
use tokio::time::{Instant, sleep};

use super::node::Node;

/// How often those are looked at that no change of Raft's figures tells of.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A member that was silent for so long does not answer, and a leader that is missed for so long is missed.
const SILENCE_MAX: Duration = Duration::from_secs(3);

/// Who leads.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Leads {
    /// So far: this process has just begun.
    Unknown,
    Nobody,
    Self_,
    Other(String),
}

/// What was seen at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    term: u64,
    leads: Leads,
    /// Members that are applied in the membership, by name.
    members: BTreeMap<String, (Role, Suffrage)>,
    /// Who does not answer this leader.
    silent: BTreeSet<String>,
    /// Why the leader cannot be dialled from here.
    unreached: Option<String>,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
enum News {
    Leads(u64),
    Follows(String, u64),
    NoLeader,
    Members(String),
    Silent(String),
    Answers(String),
    Unreached(String),
    Reached,
}

impl News {
    fn tell(&self) {
        match self {
            Self::Leads(term) => tracing::info!(term, "this member leads"),
            Self::Follows(leader, term) => tracing::info!(leader, term, "this member follows a leader"),
            Self::NoLeader => tracing::warn!(
                "no leader is known; see that a quorum of members runs and can reach each other"
            ),
            Self::Members(members) => tracing::info!(members, "the members of the cluster"),
            Self::Silent(member) => tracing::warn!(member, "a member does not answer this leader"),
            Self::Answers(member) => tracing::info!(member, "a member answers this leader again"),
            Self::Unreached(why) => tracing::warn!(why, "this member is not ready"),
            Self::Reached => tracing::info!("the leader can be dialled from here again"),
        }
    }
}

/// The lines between two moments.
fn news(before: &Seen, now: &Seen) -> Vec<News> {
    let mut lines = Vec::new();
    if (&before.leads, before.term) != (&now.leads, now.term) {
        match &now.leads {
            Leads::Nobody if before.leads != Leads::Nobody => lines.push(News::NoLeader),
            Leads::Nobody | Leads::Unknown => {}
            Leads::Self_ => lines.push(News::Leads(now.term)),
            Leads::Other(leader) => lines.push(News::Follows(leader.clone(), now.term)),
        }
    }
    if before.members != now.members {
        lines.push(News::Members(listed(&now.members)));
    }
    lines.extend(now.silent.difference(&before.silent).cloned().map(News::Silent));
    // Whoever was removed, or is no longer this leader's to ask, does not answer again.
    let answers = before.silent.difference(&now.silent);
    let answers = answers.filter(|name| now.leads == Leads::Self_ && now.members.contains_key(*name));
    lines.extend(answers.cloned().map(News::Answers));
    match (&before.unreached, &now.unreached) {
        (None, Some(why)) => lines.push(News::Unreached(why.clone())),
        (Some(_), None) => lines.push(News::Reached),
        _ => {}
    }
    lines
}

fn listed(members: &BTreeMap<String, (Role, Suffrage)>) -> String {
    let one = |(name, kind): (&String, &(Role, Suffrage))| match kind {
        (Role::Data, Suffrage::Voter) => name.clone(),
        (Role::Arbiter, Suffrage::Voter) => format!("{name} (arbiter)"),
        (_, Suffrage::Learner) => format!("{name} (learner)"),
    };
    members.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Looks, and tells what changed, until Raft ends.
pub(super) async fn tell(node: Arc<Node>) {
    let mut server = node.raft.server_metrics();
    let mut watch = Watch::new(&node);
    loop {
        let now = watch.look(&node);
        for line in news(&watch.told, &now) {
            line.tell();
        }
        watch.told = now;
        tokio::select! {
            changed = server.changed() => if changed.is_err() {
                // Whoever watches Raft sees to its end.
                std::future::pending::<()>().await;
            },
            () = sleep(LOOK_EVERY) => {}
        }
    }
}

/// What was told, and since when what is not told yet has lasted.
#[derive(Debug)]
struct Watch {
    told: Seen,
    leading_since: Option<Instant>,
    leaderless_since: Option<Instant>,
}

impl Watch {
    fn new(node: &Node) -> Self {
        // That it goes on with the members that it had is no news.
        let told = Seen {
            term: 0,
            leads: Leads::Unknown,
            members: members(node),
            silent: BTreeSet::new(),
            unreached: None,
        };
        Self { told, leading_since: None, leaderless_since: None }
    }

    fn look(&mut self, node: &Node) -> Seen {
        let leads = match node.leader() {
            Some((id, _)) if id == node.identity.node_id => Leads::Self_,
            // Raft remembers from before this process whom it followed.
            Some((_, peer)) if node.heard_any() => Leads::Other(peer.name),
            // Who the members are, and so who leads, comes with its first snapshot.
            _ if node.peers().is_empty() => self.told.leads.clone(),
            _ => Leads::Nobody,
        };
        let mut now = Seen {
            term: node.metrics().current_term,
            silent: BTreeSet::new(),
            members: members(node),
            // Nobody is dialled yet, or nobody leads.
            unreached: node.reach.why_not().filter(|_| node.reach.was_reached() && leads != Leads::Nobody),
            leads,
        };
        let lasts = |since: &mut Option<Instant>, holds: bool| {
            *since = holds.then(|| since.unwrap_or_else(Instant::now));
            since.is_some_and(|since| since.elapsed() >= SILENCE_MAX)
        };
        // Between two leaders there is none for a moment.
        if !lasts(&mut self.leaderless_since, now.leads == Leads::Nobody) && now.leads == Leads::Nobody {
            (now.leads, now.term) = (self.told.leads.clone(), self.told.term);
        }
        // Who has just been elected has not heard of all who live.
        if lasts(&mut self.leading_since, now.leads == Leads::Self_) {
            now.silent = silent(node);
        }
        now
    }
}

fn members(node: &Node) -> BTreeMap<String, (Role, Suffrage)> {
    let applied = node.store.applied();
    let voters: BTreeSet<u64> = applied.membership.voter_ids().collect();
    let suffrage = |id| if voters.contains(id) { Suffrage::Voter } else { Suffrage::Learner };
    applied.membership.nodes().map(|(id, peer)| (peer.name.clone(), (peer.role, suffrage(id)))).collect()
}

fn silent(node: &Node) -> BTreeSet<String> {
    let own = node.identity.node_id;
    let answers = |id: &u64| *id == own || node.answered_ago(*id).is_some_and(|ago| ago < SILENCE_MAX);
    node.peers().into_iter().filter(|(id, _)| !answers(id)).map(|(_, peer)| peer.name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(term: u64, leads: Leads) -> Seen {
        let member = |name: &str| (name.to_owned(), (Role::Data, Suffrage::Voter));
        Seen {
            term,
            leads,
            members: ["n1", "n2"].map(member).into_iter().collect(),
            silent: BTreeSet::new(),
            unreached: None,
        }
    }

    #[test]
    fn what_stays_as_it_is_is_no_news() {
        let before = Seen { silent: BTreeSet::from(["n2".into()]), ..seen(3, Leads::Self_) };
        assert_eq!(news(&before, &before), []);
        assert_eq!(news(&seen(0, Leads::Nobody), &seen(1, Leads::Nobody)), []);
        assert_eq!(news(&seen(0, Leads::Unknown), &seen(0, Leads::Nobody)), [News::NoLeader]);
    }

    #[test]
    fn a_failover_is_one_line_on_each_member() {
        let before = seen(3, Leads::Other("n1".into()));
        assert_eq!(news(&before, &seen(4, Leads::Self_)), [News::Leads(4)]);
        let follows = [News::Follows("n2".into(), 4)];
        assert_eq!(news(&before, &seen(4, Leads::Other("n2".into()))), follows);
        assert_eq!(news(&before, &seen(4, Leads::Nobody)), [News::NoLeader]);
    }

    #[test]
    fn a_member_is_told_of_when_it_falls_silent_and_when_it_answers_but_not_once_it_is_gone() {
        let (well, ill) =
            (seen(3, Leads::Self_), Seen { silent: BTreeSet::from(["n2".into()]), ..seen(3, Leads::Self_) });
        assert_eq!(news(&well, &ill), [News::Silent("n2".into())]);
        assert_eq!(news(&ill, &well), [News::Answers("n2".into())]);
        let mut without = well.clone();
        without.members.remove("n2");
        assert_eq!(news(&ill, &without), [News::Members("n1".into())]);
        assert_eq!(
            news(&ill, &seen(4, Leads::Other("n1".into()))),
            [News::Follows("n1".into(), 4)],
            "who leads no more hears of nobody"
        );
    }

    #[test]
    fn members_are_listed_by_name_and_kind() {
        let mut members = seen(1, Leads::Self_).members;
        members.insert("n3".into(), (Role::Arbiter, Suffrage::Voter));
        members.insert("n4".into(), (Role::Data, Suffrage::Learner));
        assert_eq!(listed(&members), "n1, n2, n3 (arbiter), n4 (learner)");
    }
}
