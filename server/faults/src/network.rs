//! The cluster's network: a network namespace for each member on one bridge, and who does not hear whom.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use conure_e2e::cluster::network::{ip, within};
use conure_e2e::process::{output, output_with};

const LIMIT: Duration = Duration::from_secs(20);
const BRIDGE: &str = "members";

/// The address of a member, by its place in the cluster.
pub(crate) fn address(member: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 99, 0, u8::try_from(member).unwrap_or(u8::MAX - 10) + 10)
}

/// The name of a member's network namespace.
pub(crate) fn namespace(member: usize) -> String {
    format!("m{}", member + 1)
}

/// Who hears whom among so many members: all, unless said otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Partition {
    /// For each member those that it does not hear.
    deaf: Vec<BTreeSet<usize>>,
}

impl Partition {
    /// Everybody hears everybody.
    pub(crate) fn none(members: usize) -> Self {
        Self { deaf: vec![BTreeSet::new(); members] }
    }

    /// One member and the others do not hear each other.
    pub(crate) fn cut_off(members: usize, one: usize) -> Self {
        Self::deaf_where(members, |to, from| (to == one) != (from == one))
    }

    /// `to` does not hear `from`, which hears it.
    pub(crate) fn one_way(members: usize, from: usize, to: usize) -> Self {
        Self::deaf_where(members, |a, b| (a, b) == (to, from))
    }

    /// `to` hears nobody; everybody hears it.
    pub(crate) fn deaf_one(members: usize, to: usize) -> Self {
        Self::deaf_where(members, |a, b| a == to && b != to)
    }

    /// Everybody hears a majority, but no two members the same one. With three, that is one broken link.
    pub(crate) fn ring(members: usize) -> Self {
        let far = |a: usize, b: usize| {
            let apart = a.abs_diff(b);
            apart.min(members - apart)
        };
        if members <= 3 {
            return Self::deaf_where(members, |a, b| a != b && a + b == 1);
        }
        Self::deaf_where(members, |a, b| far(a, b) > members / 4)
    }

    /// Everybody hears only the next one.
    pub(crate) fn one_way_ring(members: usize) -> Self {
        Self::deaf_where(members, |a, b| a != b && (a + 1) % members != b)
    }

    fn deaf_where(members: usize, deaf: impl Fn(usize, usize) -> bool) -> Self {
        let of = |to| (0..members).filter(|from| deaf(to, *from)).collect();
        Self { deaf: (0..members).map(of).collect() }
    }

    /// The packet filter's rules of one member: all of them, so that they are set at once.
    fn rules(&self, member: usize) -> String {
        let silent: Vec<String> = self.deaf[member].iter().map(|from| address(*from).to_string()).collect();
        if silent.is_empty() {
            return "flush ruleset\n".to_owned();
        }
        format!(
            "flush ruleset\ntable inet faults {{\nchain input {{\ntype filter hook input priority 0\nip saddr {{ {} }} drop\n}}\n}}\n",
            silent.join(", ")
        )
    }
}

/// Makes the bridge, the namespaces and their links.
pub(crate) fn create(members: usize) -> Result<()> {
    ip(&["link", "set", "lo", "up"])?;
    ip(&["link", "add", BRIDGE, "type", "bridge"])?;
    ip(&["addr", "add", "10.99.0.1/24", "dev", BRIDGE])?;
    ip(&["link", "set", BRIDGE, "up"])?;
    for member in 0..members {
        let (netns, link) = (namespace(member), format!("link{member}"));
        ip(&["netns", "add", &netns])?;
        ip(&["link", "add", &link, "type", "veth", "peer", "name", "eth0", "netns", &netns])?;
        ip(&["link", "set", &link, "master", BRIDGE, "up"])?;
        ip(&["-n", &netns, "link", "set", "lo", "up"])?;
        ip(&["-n", &netns, "addr", "add", &format!("{}/24", address(member)), "dev", "eth0"])?;
        ip(&["-n", &netns, "link", "set", "eth0", "up"])?;
    }
    Ok(())
}

/// From now on who hears whom is as `partition` says; clients reach everybody.
pub(crate) fn set(partition: &Partition) -> Result<()> {
    for member in 0..partition.deaf.len() {
        let mut nft = within(&namespace(member));
        output_with(nft.args(["nft", "-f", "-"]), &partition.rules(member), LIMIT)?;
    }
    Ok(())
}

/// Whether the packet filter works here.
pub(crate) fn may_partition() -> Result<()> {
    output(Command::new("nft").arg("list").arg("ruleset"), LIMIT)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pairs that do not hear: `(to, from)`.
    fn deaf(partition: &Partition) -> Vec<(usize, usize)> {
        let pairs = |(to, from): (usize, &BTreeSet<usize>)| {
            from.iter().map(move |from| (to, *from)).collect::<Vec<_>>()
        };
        partition.deaf.iter().enumerate().flat_map(pairs).collect()
    }

    #[test]
    fn partitions_are_what_they_are_called() {
        assert_eq!(deaf(&Partition::cut_off(3, 1)), [(0, 1), (1, 0), (1, 2), (2, 1)]);
        assert_eq!(deaf(&Partition::one_way(3, 0, 2)), [(2, 0)]);
        assert_eq!(deaf(&Partition::deaf_one(3, 0)), [(0, 1), (0, 2)]);
        assert_eq!(deaf(&Partition::ring(3)), [(0, 1), (1, 0)]);
        assert_eq!(deaf(&Partition::one_way_ring(3)), [(0, 2), (1, 0), (2, 1)]);
    }

    #[test]
    fn in_a_ring_of_five_each_hears_a_majority_and_no_two_the_same() {
        let ring = Partition::ring(5);
        assert!(ring.deaf.iter().all(|silent| silent.len() == 2));
        assert_eq!(ring.deaf.iter().collect::<BTreeSet<_>>().len(), 5);
    }

    #[test]
    fn rules_replace_what_was_there() {
        let rules = Partition::cut_off(3, 1).rules(0);
        assert!(
            rules.starts_with("flush ruleset\n") && rules.contains("ip saddr { 10.99.0.11 } drop"),
            "{rules}"
        );
        assert_eq!(Partition::none(3).rules(0), "flush ruleset\n");
    }
}
