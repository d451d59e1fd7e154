//! The names and labels of the objects made for a cluster.

use std::collections::BTreeMap;

/// The longest name a cluster may have: every object's name, a pod's host name and a StatefulSet's revision label fit.
pub const MAX_NAME: usize = 42;

/// Endings that would let two clusters' objects share a name.
pub const RESERVED_SUFFIXES: [&str; 3] = ["-bootstrap", "-arbiter", "-peers"];

/// The port of the HTTP API.
pub const HTTP_PORT: i32 = 8081;

/// The port on which members speak Raft.
pub const RAFT_PORT: i32 = 7001;

/// The claim template's name in every StatefulSet.
pub const VOLUME: &str = "data";

/// Which of a cluster's StatefulSets an object belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Component {
    /// The one pod that the cluster began with.
    Bootstrap,
    /// The other data members.
    Voter,
    /// The member without data.
    Arbiter,
}

impl Component {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Bootstrap, Self::Voter, Self::Arbiter];

    /// The value of the label `app.kubernetes.io/component`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Bootstrap => "bootstrap",
            Self::Voter => "voter",
            Self::Arbiter => "arbiter",
        }
    }

    /// Whether its members hold data.
    pub fn holds_data(self) -> bool {
        !matches!(self, Self::Arbiter)
    }

    /// The name of its StatefulSet.
    pub fn stateful_set(self, cluster: &str) -> String {
        match self {
            Self::Bootstrap => format!("{cluster}-bootstrap"),
            Self::Voter => cluster.to_owned(),
            Self::Arbiter => format!("{cluster}-arbiter"),
        }
    }

    /// The name of its pod with that ordinal, which is the member's name too.
    pub fn pod(self, cluster: &str, ordinal: u32) -> String {
        format!("{}-{ordinal}", self.stateful_set(cluster))
    }
}

/// Which component and ordinal a pod of `cluster` has, or `None` for a name that is none of its pods'.
pub fn parse_pod(cluster: &str, pod: &str) -> Option<(Component, u32)> {
    Component::ALL.into_iter().find_map(|component| {
        let ordinal = pod.strip_prefix(&component.stateful_set(cluster))?.strip_prefix('-')?;
        let number: u32 = ordinal.parse().ok()?;
        // "01" and "+1" parse, and name no pod.
        (number.to_string() == ordinal).then_some((component, number))
    })
}

/// The claim of a pod's volume.
pub fn volume_claim(pod: &str) -> String {
    format!("{VOLUME}-{pod}")
}

/// The pod that a claim of that name is for, `None` for a name that is none of a member's volume.
pub fn claimant(claim: &str) -> Option<&str> {
    claim.strip_prefix(VOLUME)?.strip_prefix('-')
}

/// The Service that clients use: ready data members only.
pub fn service(cluster: &str) -> String {
    cluster.to_owned()
}

/// The headless Service that gives every member a DNS name, ready or not.
pub fn peers_service(cluster: &str) -> String {
    format!("{cluster}-peers")
}

/// The PodDisruptionBudget over all members.
pub fn disruption_budget(cluster: &str) -> String {
    cluster.to_owned()
}

/// The Secret with the administration token.
pub fn admin_secret(cluster: &str) -> String {
    format!("{cluster}-admin")
}

/// A member's DNS name, which needs no cluster domain.
pub fn member_host(cluster: &str, namespace: &str, pod: &str) -> String {
    format!("{pod}.{}.{namespace}.svc", peers_service(cluster))
}

/// The label that names an object's cluster.
pub const CLUSTER_LABEL: &str = "app.kubernetes.io/instance";

/// The labels by which a cluster's objects are found; they never change.
pub fn selector_labels(cluster: &str) -> BTreeMap<String, String> {
    [("app.kubernetes.io/name", "conuredb"), (CLUSTER_LABEL, cluster)]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

/// The labels by which the pods of one component are found.
pub fn component_labels(cluster: &str, component: Component) -> BTreeMap<String, String> {
    let mut labels = selector_labels(cluster);
    labels.insert("app.kubernetes.io/component".to_owned(), component.label().to_owned());
    labels
}

/// The labels that every object of a cluster carries, `version` where one is known.
pub fn object_labels(cluster: &str, version: Option<&str>) -> BTreeMap<String, String> {
    let mut labels = selector_labels(cluster);
    labels.insert("app.kubernetes.io/managed-by".to_owned(), "conure-operator".to_owned());
    labels.insert("app.kubernetes.io/part-of".to_owned(), "conuredb".to_owned());
    if let Some(version) = version.and_then(label_value) {
        labels.insert("app.kubernetes.io/version".to_owned(), version);
    }
    labels
}

/// The selector of the data pods, as `status.selector` shows it.
pub fn data_selector(cluster: &str) -> String {
    format!(
        "app.kubernetes.io/name=conuredb,{CLUSTER_LABEL}={cluster},\
         app.kubernetes.io/component in (bootstrap,voter)"
    )
}

/// `text` as a label's value: at most 63 characters, none that a label may not hold, `None` where nothing is left.
fn label_value(text: &str) -> Option<String> {
    let kept: String = text
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' })
        .take(63)
        .collect();
    let trimmed = kept.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    (!trimmed.is_empty()).then(|| trimmed.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_are_named_and_told_apart() {
        for component in Component::ALL {
            let pod = component.pod("conure", 0);
            assert_eq!(parse_pod("conure", &pod), Some((component, 0)), "{pod}");
        }
        assert_eq!(parse_pod("conure", "conure-bootstrap-0"), Some((Component::Bootstrap, 0)));
        assert_eq!(parse_pod("conure", "conure-12"), Some((Component::Voter, 12)));
    }

    #[test]
    fn names_of_others_are_no_pods() {
        for pod in ["conure", "conure-", "conure-01", "conure-+1", "conure-x-0", "other-0", "conure-peers-0"]
        {
            assert_eq!(parse_pod("conure", pod), None, "{pod}");
        }
    }

    #[test]
    fn version_label_is_always_a_valid_value() {
        assert_eq!(label_value("v1.0.0+build/7").as_deref(), Some("v1.0.0_build_7"));
        assert_eq!(label_value("-."), None);
        assert_eq!(label_value(&"a".repeat(80)).map(|v| v.len()), Some(63));
    }
}
