//! Pure: what a member is, as far as joining goes, from what it says of itself.

use conure_client::api::{MemberInfo, RaftConfig, Status, Suffrage};
use serde_json::Value;

/// What a member is, as far as joining goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// In no cluster: it never was in one, or left its own one to follow another.
    Outside,
    /// In a cluster, without a vote: its join is not complete.
    Learner(Learner),
    /// A member in good standing.
    Voter {
        /// Its cluster.
        cluster_id: String,
    },
    /// Removed from its cluster, or left behind by a recovery of it.
    Removed {
        /// The cluster that it was in.
        cluster_id: String,
    },
    /// On its way from one to another.
    Changing,
}

/// A member without a vote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Learner {
    /// Its cluster.
    pub cluster_id: String,
    /// The cluster's incarnation.
    pub incarnation: u64,
    /// Whether it was in the membership, as far as anybody can tell. Where others do not have it there, it was removed since.
    pub placed: bool,
}

/// What a member is that says this of itself, in the words of its `/raft/stats`, `/status` and `/raft/config`.
#[must_use]
pub fn standing(stats: &Value, status: &Status, config: &RaftConfig) -> Standing {
    let cluster_id = status.cluster_id.clone();
    match stats["state"].as_str() {
        Some("fresh" | "released") => return Standing::Outside,
        Some("removed") => return Standing::Removed { cluster_id },
        Some("member") => {}
        _ => return Standing::Changing,
    }
    // While a wiped volume rejoins, the member's name stands there twice, with and without a vote.
    let own: Vec<&MemberInfo> = config.members.iter().filter(|member| member.id == status.node_id).collect();
    let placed = own.iter().any(|member| member.suffrage == Suffrage::Learner);
    match stats["raft"]["state"].as_str() {
        // Raft calls itself a learner of term 0 before it has looked at its log, whatever that says.
        Some("learner") if stats["raft"]["term"] == 0 && !own.is_empty() && !placed => Standing::Changing,
        Some("learner") => Standing::Learner(Learner { cluster_id, incarnation: status.incarnation, placed }),
        Some("follower" | "candidate" | "leader") if !own.is_empty() && !placed => {
            Standing::Voter { cluster_id }
        }
        _ => Standing::Changing,
    }
}

#[cfg(test)]
mod tests {
    use conure_client::api::Role;
    use serde_json::json;

    use super::*;

    fn status(cluster_id: &str) -> Status {
        Status {
            is_leader: false,
            leader: String::new(),
            leader_raft_addr: String::new(),
            leader_http_addr: String::new(),
            node_id: "n2".into(),
            raft_addr: String::new(),
            role: Role::Data,
            term: 1,
            revision: 0,
            commit_index: 0,
            applied_index: 0,
            cluster_id: cluster_id.into(),
            incarnation: 3,
            version: String::new(),
            health: String::new(),
        }
    }

    fn is(state: &str, raft: Option<&str>, listed: &[(&str, Suffrage)]) -> Standing {
        let members = listed.iter().map(|(id, suffrage)| MemberInfo {
            id: (*id).into(),
            raft_addr: String::new(),
            http_addr: String::new(),
            role: Role::Data,
            suffrage: *suffrage,
        });
        let stats = json!({ "state": state, "raft": raft.map(|state| json!({ "state": state, "term": 1 })) });
        standing(&stats, &status("c"), &RaftConfig { members: members.collect() })
    }

    #[test]
    fn a_voter_whose_raft_has_just_begun_is_no_learner() {
        let member = MemberInfo {
            id: "n2".into(),
            raft_addr: String::new(),
            http_addr: String::new(),
            role: Role::Data,
            suffrage: Suffrage::Voter,
        };
        let stats = json!({ "state": "member", "raft": { "state": "learner", "term": 0 } });
        let listed = RaftConfig { members: vec![member] };
        assert_eq!(standing(&stats, &status("c"), &listed), Standing::Changing);
        let unlisted = RaftConfig { members: vec![] };
        assert!(matches!(standing(&stats, &status("c"), &unlisted), Standing::Learner(_)));
    }

    #[test]
    fn a_member_is_what_it_says_of_itself() {
        use Suffrage::{Learner as L, Voter as V};
        let learner = |placed| Standing::Learner(Learner { cluster_id: "c".into(), incarnation: 3, placed });
        let voter = Standing::Voter { cluster_id: "c".into() };
        for (state, raft, listed, expected) in [
            ("fresh", None, &[][..], Standing::Outside),
            ("released", None, &[], Standing::Outside),
            ("removed", None, &[], Standing::Removed { cluster_id: "c".into() }),
            ("founding", Some("leader"), &[("n2", V)], Standing::Changing),
            ("adopted", None, &[], Standing::Changing),
            ("member", None, &[], Standing::Changing),
            ("member", Some("leader"), &[("n2", V)], voter.clone()),
            ("member", Some("candidate"), &[("n1", V), ("n2", V)], voter),
            ("member", Some("learner"), &[], learner(false)),
            ("member", Some("learner"), &[("n1", V), ("n2", L)], learner(true)),
            // A wiped volume: the vote is that of the member that it was.
            ("member", Some("learner"), &[("n1", V), ("n2", V)], learner(false)),
            ("member", Some("follower"), &[("n2", V), ("n2", L)], Standing::Changing),
            ("member", Some("follower"), &[("n1", V)], Standing::Changing),
            ("member", Some("shutdown"), &[("n2", V)], Standing::Changing),
        ] {
            assert_eq!(is(state, raft, listed), expected, "{state} {raft:?} {listed:?}");
        }
    }
}
