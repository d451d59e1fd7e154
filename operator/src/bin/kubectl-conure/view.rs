//! What there is of one cluster, and how it is shown. Pure.

use std::collections::BTreeMap;

use conure_crd::names::volume_claim;
use conure_crd::{ConureCluster, ConureClusterStatus};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use serde::Serialize;
use serde_json::{Value, json};

use crate::table::{age, table};

/// A cluster with its pods and claims, by name.
pub(crate) struct View {
    pub(crate) cluster: ConureCluster,
    pub(crate) pods: BTreeMap<String, Pod>,
    pub(crate) claims: BTreeMap<String, PersistentVolumeClaim>,
}

/// A member with what Kubernetes knows of its pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) role: String,
    pub(crate) suffrage: String,
    pub(crate) leader: bool,
    pub(crate) ready: bool,
    pub(crate) version: String,
    pub(crate) node: String,
    pub(crate) volume: String,
    pub(crate) restarts: i32,
    pub(crate) health: String,
}

impl View {
    pub(crate) fn status(&self) -> ConureClusterStatus {
        self.cluster.status.clone().unwrap_or_default()
    }

    /// Every member that the operator knows.
    pub(crate) fn members(&self) -> Vec<Member> {
        let status = self.status();
        let member = |member: &conure_crd::Member| {
            let pod = self.pods.get(&member.name);
            let containers = pod.and_then(|pod| pod.status.as_ref()?.container_statuses.as_ref());
            Member {
                name: member.name.clone(),
                role: format!("{:?}", member.role),
                suffrage: member.suffrage.map_or_else(|| "-".to_owned(), |suffrage| format!("{suffrage:?}")),
                leader: status.leader.as_ref() == Some(&member.name),
                ready: member.ready,
                version: member.version.clone().unwrap_or_else(|| "-".to_owned()),
                node: pod
                    .and_then(|pod| pod.spec.as_ref()?.node_name.clone())
                    .unwrap_or_else(|| "-".to_owned()),
                volume: self.volume(&member.name),
                restarts: containers.into_iter().flatten().map(|container| container.restart_count).sum(),
                health: member.health.clone().unwrap_or_default(),
            }
        };
        status.members.iter().map(member).collect()
    }

    fn volume(&self, member: &str) -> String {
        let Some(claim) = self.claims.get(&volume_claim(member)) else { return "missing".to_owned() };
        let status = claim.status.clone().unwrap_or_default();
        let size = status.capacity.and_then(|capacity| capacity.get("storage").cloned());
        let phase = status.phase.unwrap_or_else(|| "Unknown".to_owned());
        size.map_or_else(|| phase.clone(), |size| format!("{phase} {}", size.0))
    }

    /// `kubectl conure status`, for people.
    pub(crate) fn status_text(&self, now: Timestamp) -> String {
        let status = self.status();
        let unknown = || "unknown".to_owned();
        let mut text = format!(
            "{}/{}: members ready {}, leader {}, version {}, cluster {} (incarnation {})\n\n",
            self.cluster.namespace().unwrap_or_default(),
            self.cluster.name_any(),
            status.members_ready.clone().unwrap_or_else(unknown),
            status.leader.clone().unwrap_or_else(|| "none".to_owned()),
            status.version.clone().unwrap_or_else(unknown),
            status.cluster_id.clone().unwrap_or_else(unknown),
            status.incarnation.unwrap_or(0),
        );
        if status.observed_generation != self.cluster.metadata.generation {
            text += "the operator has not seen the last change of the spec yet\n\n";
        }
        let rows: Vec<Vec<String>> = status
            .conditions
            .iter()
            .map(|condition| {
                let since = now.as_second() - condition.last_transition_time.0.as_second();
                vec![
                    condition.type_.clone(),
                    condition.status.clone(),
                    age(since),
                    condition.reason.clone(),
                    condition.message.clone(),
                ]
            })
            .collect();
        text += &table(&["CONDITION", "STATUS", "SINCE", "REASON", "MESSAGE"], &rows);
        text.push('\n');
        text + &self.members_text()
    }

    /// `kubectl conure members`, for people.
    pub(crate) fn members_text(&self) -> String {
        let rows: Vec<Vec<String>> = self
            .members()
            .into_iter()
            .map(|member| {
                vec![
                    if member.leader { format!("{} *", member.name) } else { member.name },
                    member.role,
                    member.suffrage,
                    if member.ready { "yes" } else { "no" }.to_owned(),
                    member.version,
                    member.node,
                    member.volume,
                    member.restarts.to_string(),
                    member.health,
                ]
            })
            .collect();
        let headings =
            ["MEMBER", "ROLE", "SUFFRAGE", "READY", "VERSION", "NODE", "VOLUME", "RESTARTS", "HEALTH"];
        format!("{}* leads\n", table(&headings, &rows))
    }

    /// The same for programs.
    pub(crate) fn json(&self) -> Value {
        let status = self.status();
        json!({
            "name": self.cluster.name_any(),
            "namespace": self.cluster.namespace(),
            "generation": self.cluster.metadata.generation,
            "observedGeneration": status.observed_generation,
            "clusterID": status.cluster_id,
            "incarnation": status.incarnation,
            "version": status.version,
            "leader": status.leader,
            "conditions": status.conditions,
            "members": self.members(),
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A cluster of three on two nodes, all well.
    pub(crate) fn three() -> View {
        let condition = |kind: &str, status: &str, reason: &str| {
            json!({"type": kind, "status": status, "reason": reason, "message": "as it is",
                "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 2})
        };
        let names = ["conure-bootstrap-0", "conure-0", "conure-1"];
        let members = names.map(|name| {
            json!({"name": name, "role": "Data", "suffrage": "Voter", "ready": true, "version": "0.1.0", "health": "ok"})
        });
        let cluster = json!({
            "apiVersion": "conuredb.dev/v1alpha1", "kind": "ConureCluster",
            "metadata": {"name": "conure", "namespace": "db", "generation": 2}, "spec": {},
            "status": {
                "observedGeneration": 2, "clusterID": "id-1", "incarnation": 1, "leader": "conure-0",
                "membersReady": "3/3", "version": "0.1.0", "members": members,
                "conditions": [
                    condition("Ready", "True", "Ready"), condition("Available", "True", "QuorumServes"),
                    condition("Progressing", "False", "Settled"), condition("Degraded", "False", "AsExpected"),
                    condition("QuorumLost", "False", "QuorumPresent"),
                ],
            },
        });
        let pod = |(number, name): (usize, &str)| -> (String, Pod) {
            let pod = json!({"metadata": {"name": name}, "spec": {"nodeName": format!("node{}", number % 2), "containers": []},
                "status": {"containerStatuses": [{"name": "conure-db", "image": "i", "imageID": "", "ready": true, "restartCount": 1}]}});
            (name.to_owned(), serde_json::from_value(pod).unwrap())
        };
        let claim = |name: &str| -> (String, PersistentVolumeClaim) {
            let claim = json!({"metadata": {"name": volume_claim(name)},
                "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}});
            (volume_claim(name), serde_json::from_value(claim).unwrap())
        };
        View {
            cluster: serde_json::from_value(cluster).unwrap(),
            pods: names.into_iter().enumerate().map(pod).collect(),
            claims: names.into_iter().map(claim).collect(),
        }
    }

    #[test]
    fn status_shows_conditions_and_members() {
        let now: Timestamp = "2026-01-01T00:05:00Z".parse().unwrap();
        let text = three().status_text(now);
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[0].starts_with("db/conure: members ready 3/3, leader conure-0, version 0.1.0"),
            "{text}"
        );
        assert!(text.contains("Available    True    5m     QuorumServes   as it is"), "{text}");
        assert!(
            text.contains("conure-0 *          Data  Voter     yes    0.1.0    node1  Bound 1Gi  1"),
            "{text}"
        );
        assert!(!text.contains("has not seen"), "{text}");
    }

    #[test]
    fn what_is_missing_is_said() {
        let mut view = three();
        view.pods.clear();
        view.claims.clear();
        view.cluster.metadata.generation = Some(3);
        let text = view.status_text(Timestamp::now());
        assert!(text.contains("has not seen the last change"), "{text}");
        assert!(text.contains("missing"), "{text}");
        view.cluster.status = None;
        assert!(view.status_text(Timestamp::now()).contains("leader none"));
    }

    #[test]
    fn json_has_every_member() {
        let json = three().json();
        assert_eq!(json["members"][1]["leader"], true);
        assert_eq!(json["members"].as_array().map(Vec::len), Some(3));
        assert_eq!(json["clusterID"], "id-1");
    }
}
