//! The membership of one played cluster: what its members would agree on. Pure.

use std::collections::BTreeMap;

use conure_client::api::{MemberInfo, RaftConfig, Role, Suffrage};

/// One member in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// The data directory that the member is.
    pub(super) node_id: String,
    pub(super) raft_addr: String,
    pub(super) role: Role,
    pub(super) suffrage: Suffrage,
}

/// A cluster.
#[derive(Debug, Clone, Default)]
pub(super) struct Group {
    pub(super) members: BTreeMap<String, Entry>,
    pub(super) leader: Option<String>,
    pub(super) term: u64,
    pub(super) index: u64,
}

impl Group {
    /// A cluster of one.
    pub(super) fn of(name: &str, entry: Entry) -> Self {
        let members = BTreeMap::from([(name.to_owned(), entry)]);
        Self { members, leader: Some(name.to_owned()), term: 1, index: 1 }
    }

    /// Whether a majority of the voters, without `except`, lives.
    pub(super) fn has_quorum(&self, except: Option<&str>, lives: impl Fn(&str, &Entry) -> bool) -> bool {
        let voters = self.voters().filter(|(name, _)| Some(*name) != except);
        let (all, live) = voters
            .fold((0, 0), |(all, live), (name, entry)| (all + 1, live + usize::from(lives(name, entry))));
        live > all / 2
    }

    /// Elects where the leader is gone: the first data voter that lives, if there is a quorum.
    pub(super) fn elect(&mut self, lives: impl Fn(&str, &Entry) -> bool) {
        if !self.has_quorum(None, &lives) {
            self.leader = None;
            return;
        }
        let fit = |name: &str, entry: &Entry| {
            entry.role == Role::Data && entry.suffrage == Suffrage::Voter && lives(name, entry)
        };
        let stays = self.leader.as_ref().and_then(|name| self.members.get_key_value(name));
        if stays.is_some_and(|(name, entry)| fit(name, entry)) {
            return;
        }
        self.leader =
            self.members.iter().find(|(name, entry)| fit(name, entry)).map(|(name, _)| name.clone());
        self.term += 1;
    }

    pub(super) fn voters(&self) -> impl Iterator<Item = (&str, &Entry)> {
        let all = self.members.iter().map(|(name, entry)| (name.as_str(), entry));
        all.filter(|(_, entry)| entry.suffrage == Suffrage::Voter)
    }

    /// What `/raft/config` answers.
    pub(super) fn config(&self) -> RaftConfig {
        let members = self.members.iter().map(|(name, entry)| MemberInfo {
            id: name.clone(),
            raft_addr: entry.raft_addr.clone(),
            http_addr: entry.raft_addr.replace(":7001", ":8081"),
            role: entry.role,
            suffrage: entry.suffrage,
        });
        RaftConfig { members: members.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(role: Role) -> Entry {
        Entry { node_id: "1".into(), raft_addr: "a:7001".into(), role, suffrage: Suffrage::Voter }
    }

    #[test]
    fn an_election_needs_a_quorum_and_chooses_a_data_member() {
        let mut group = Group::of("c-bootstrap-0", entry(Role::Data));
        group.members.insert("c-0".into(), entry(Role::Data));
        group.members.insert("c-arbiter-0".into(), entry(Role::Arbiter));
        group.elect(|name, _| name != "c-bootstrap-0");
        assert_eq!(group.leader.as_deref(), Some("c-0"));
        assert_eq!(group.term, 2);
        group.elect(|name, _| name == "c-0");
        assert_eq!(group.leader, None);
        assert!(!group.has_quorum(Some("c-0"), |name, _| name == "c-arbiter-0"));
    }
}
