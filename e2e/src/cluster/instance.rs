//! The names and addresses of one local Kubernetes: everything is derived from the instance, so that two of them can
//! be up at once and whatever is found on the machine tells whose it is. Pure.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use anyhow::bail;

/// How many nodes each local Kubernetes has.
pub const NODES: u8 = 3;

/// One local Kubernetes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instance {
    name: &'static str,
    /// Tells the addresses of the instances apart.
    number: u8,
}

impl Instance {
    /// What `cargo xtask demo` starts and leaves up.
    pub const DEMO: Self = Self { name: "demo", number: 0 };
    /// What `cargo xtask test` starts and removes.
    pub const TEST: Self = Self { name: "test", number: 1 };
    /// For work on the project itself: kept up between runs of the tests.
    pub const DEV: Self = Self { name: "dev", number: 2 };

    /// Every instance there can be.
    pub const ALL: [Self; 3] = [Self::DEMO, Self::TEST, Self::DEV];

    /// The instance's name.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// The bridge between the nodes, the control plane and the machine itself.
    pub fn bridge(self) -> String {
        format!("conure-{}", self.name)
    }

    /// The root of every control group that the instance uses.
    pub fn cgroup(self) -> String {
        format!("conuredb-{}", self.name)
    }

    /// The control plane's network namespace.
    pub fn control_plane_netns(self) -> String {
        format!("conure-{}-control", self.name)
    }

    /// A node's network namespace.
    pub fn node_netns(self, node: u8) -> String {
        format!("conure-{}-node{node}", self.name)
    }

    /// The machine's end of the link into a network namespace (0 is the control plane's); 15 bytes are the limit.
    pub fn link(self, node: u8) -> String {
        format!("cn-{}-{node}", self.name)
    }

    /// The machine's own address on the bridge.
    pub fn machine_ip(self) -> Ipv4Addr {
        self.bridge_ip(1)
    }

    /// Where the API server and the cluster's DNS answer.
    pub fn control_plane_ip(self) -> Ipv4Addr {
        self.bridge_ip(2)
    }

    /// A node's address.
    pub fn node_ip(self, node: u8) -> Ipv4Addr {
        self.bridge_ip(10 + node)
    }

    fn bridge_ip(self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 250, self.number, host)
    }

    /// The addresses of all pods.
    pub fn pods(self) -> String {
        format!("10.{}.0.0/16", 240 + self.number)
    }

    /// The addresses of one node's pods.
    pub fn node_pods(self, node: u8) -> String {
        format!("10.{}.{node}.0/24", 240 + self.number)
    }

    /// The addresses of all Services.
    pub fn services(self) -> String {
        format!("10.{}.0.0/16", 230 + self.number)
    }

    /// The API server's own Service.
    pub fn api_service_ip(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 230 + self.number, 0, 1)
    }

    /// The API server's URL.
    pub fn api_url(self) -> String {
        format!("https://{}:6443", self.control_plane_ip())
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl FromStr for Instance {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> anyhow::Result<Self> {
        let Some(instance) = Self::ALL.into_iter().find(|instance| instance.name == name) else {
            bail!("no instance {name:?}: there are {}", Self::ALL.map(Self::name).join(", "));
        };
        Ok(instance)
    }
}

/// The name of a node inside Kubernetes.
pub fn node_name(node: u8) -> String {
    format!("node{node}")
}

/// The number of a node by its name inside Kubernetes.
pub fn node_number(name: &str) -> anyhow::Result<u8> {
    let number = name.strip_prefix("node").and_then(|number| number.parse().ok());
    match number {
        Some(number) if (1..=NODES).contains(&number) => Ok(number),
        _ => bail!("no node {name:?}: there are node1 to node{NODES}"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn instances_share_neither_names_nor_addresses() {
        let mut seen = BTreeSet::new();
        for instance in Instance::ALL {
            let mut own = vec![
                instance.bridge(),
                instance.cgroup(),
                instance.control_plane_netns(),
                instance.machine_ip().to_string(),
                instance.control_plane_ip().to_string(),
                instance.pods(),
                instance.services(),
                instance.api_service_ip().to_string(),
            ];
            for node in 1..=NODES {
                own.extend([
                    instance.node_netns(node),
                    instance.node_ip(node).to_string(),
                    instance.node_pods(node),
                ]);
            }
            own.extend((0..=NODES).map(|node| instance.link(node)));
            for name in own {
                assert!(seen.insert(name.clone()), "{name} is used twice");
            }
        }
    }

    #[test]
    fn interface_names_fit_the_kernel() {
        for instance in Instance::ALL {
            assert!(instance.bridge().len() <= 15 && instance.link(NODES).len() <= 15);
        }
    }

    #[test]
    fn an_unknown_instance_is_refused_by_name() {
        assert_eq!("test".parse::<Instance>().unwrap(), Instance::TEST);
        assert_eq!(
            "x".parse::<Instance>().unwrap_err().to_string(),
            "no instance \"x\": there are demo, test, dev"
        );
        assert!(node_number("node4").is_err() && node_number("node0").is_err());
        assert_eq!(node_number(&node_name(3)).unwrap(), 3);
    }
}
