//! The network of an instance: a bridge, and on it a network namespace for the control plane and one for each node, so
//! that ports never meet and a node can be cut off like a machine. Static routes lead to each node's pods, from the
//! machine itself too: tests and demo reach pods and Services without a port-forward.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::instance::{Instance, NODES};
use super::paths::Paths;
use super::state::Record;
use crate::process::output;

const LIMIT: Duration = Duration::from_secs(20);

/// Makes the network; each name is recorded before it is made.
pub fn create(instance: Instance, paths: &Paths, record: &mut Record) -> Result<()> {
    record.links.push(instance.bridge());
    record.links.extend((0..=NODES).map(|node| instance.link(node)));
    record.netns.push(instance.control_plane_netns());
    record.netns.extend((1..=NODES).map(|node| instance.node_netns(node)));
    record.write(paths)?;

    let bridge = instance.bridge();
    ip(&["link", "add", &bridge, "type", "bridge"])?;
    ip(&["addr", "add", &format!("{}/24", instance.machine_ip()), "dev", &bridge])?;
    ip(&["link", "set", &bridge, "up"])?;
    namespace(instance, 0)?;
    for node in 1..=NODES {
        namespace(instance, node)?;
        ip(&["route", "add", &instance.node_pods(node), "via", &instance.node_ip(node).to_string()])?;
    }
    // Any node's kube-proxy can serve the machine's own way to Services.
    ip(&["route", "add", &instance.services(), "via", &instance.node_ip(1).to_string()])?;
    forward(&bridge, paths, record)
}

/// Names of a member of the bridge: its namespace, its address. 0 is the control plane.
fn place(instance: Instance, node: u8) -> (String, String) {
    match node {
        0 => (instance.control_plane_netns(), instance.control_plane_ip().to_string()),
        _ => (instance.node_netns(node), instance.node_ip(node).to_string()),
    }
}

fn namespace(instance: Instance, node: u8) -> Result<()> {
    let (netns, address) = place(instance, node);
    let link = instance.link(node);
    ip(&["netns", "add", &netns])?;
    ip(&["link", "add", &link, "type", "veth", "peer", "name", "eth0", "netns", &netns])?;
    ip(&["link", "set", &link, "master", &instance.bridge(), "up"])?;
    ip(&["-n", &netns, "link", "set", "lo", "up"])?;
    ip(&["-n", &netns, "addr", "add", &format!("{address}/24"), "dev", "eth0"])?;
    ip(&["-n", &netns, "link", "set", "eth0", "up"])?;
    if node != 0 {
        output(within(&netns).args(["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]), LIMIT)?;
    }
    routes(instance, node)
}

/// The routes of a namespace; they are lost when its link goes down.
pub fn routes(instance: Instance, node: u8) -> Result<()> {
    let (netns, _) = place(instance, node);
    ip(&["-n", &netns, "route", "replace", "default", "via", &instance.machine_ip().to_string()])?;
    for other in (1..=NODES).filter(|other| *other != node) {
        let via = instance.node_ip(other).to_string();
        ip(&["-n", &netns, "route", "replace", &instance.node_pods(other), "via", &via])?;
    }
    Ok(())
}

/// Where the machine sends bridged traffic through its own firewall, that one has to let it pass.
fn forward(bridge: &str, paths: &Paths, record: &mut Record) -> Result<()> {
    let filtered = fs::read_to_string("/proc/sys/net/bridge/bridge-nf-call-iptables").unwrap_or_default();
    if filtered.trim() != "1" {
        return Ok(());
    }
    record.forward_rules.push(bridge.to_owned());
    record.write(paths)?;
    for rule in forward_rules(bridge) {
        output(Command::new("iptables").args(["-w", "10", "-I", "FORWARD"]).args(rule), LIMIT)?;
    }
    Ok(())
}

fn forward_rules(bridge: &str) -> [[&str; 4]; 2] {
    [["-i", bridge, "-j", "ACCEPT"], ["-o", bridge, "-j", "ACCEPT"]]
}

/// Removes what the record names; what is gone already is no error.
pub fn remove(record: &Record) -> Result<()> {
    for bridge in &record.forward_rules {
        for rule in forward_rules(bridge) {
            // A run killed in the middle may have added one of the two rules only.
            while output(Command::new("iptables").args(["-w", "10", "-D", "FORWARD"]).args(rule), LIMIT)
                .is_ok()
            {}
        }
    }
    for netns in &record.netns {
        if fs::exists(format!("/run/netns/{netns}"))? {
            ip(&["netns", "del", netns])?;
        }
    }
    for link in &record.links {
        // The kernel removes a link whose other end was in a namespace that goes, in its own time.
        if fs::exists(format!("/sys/class/net/{link}"))? {
            let removed = ip(&["link", "del", link]);
            if fs::exists(format!("/sys/class/net/{link}"))? {
                removed?;
            }
        }
    }
    Ok(())
}

/// A command that will run in a network namespace. Not `ip netns exec`, which mounts another /sys and so hides the
/// control groups.
pub fn within(netns: &str) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/run/netns/{netns}")).arg("--");
    command
}

/// Runs `ip`.
pub fn ip(arguments: &[&str]) -> Result<()> {
    output(Command::new("ip").args(arguments), LIMIT)?;
    Ok(())
}
