//! What the operator counts, for `/metrics`.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// A cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClusterLabels {
    namespace: String,
    name: String,
}

/// A condition of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConditionLabels {
    namespace: String,
    name: String,
    condition: String,
}

/// A kind of action.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ActionLabels {
    action: String,
}

/// Every figure, and the registry that writes them.
pub struct Metrics {
    registry: Registry,
    reconciles: Counter,
    errors: Counter,
    seconds: Histogram,
    actions: Family<ActionLabels, Counter>,
    conditions: Family<ConditionLabels, Gauge>,
    members: Family<ClusterLabels, Gauge>,
    all_members: Family<ClusterLabels, Gauge>,
    suspended: Family<ClusterLabels, Gauge>,
    leading: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("conure_operator");
        let metrics = Self {
            reconciles: Counter::default(),
            errors: Counter::default(),
            seconds: Histogram::new(exponential_buckets(0.005, 2.0, 14)),
            actions: Family::default(),
            conditions: Family::default(),
            members: Family::default(),
            all_members: Family::default(),
            suspended: Family::default(),
            leading: Gauge::default(),
            registry: Registry::default(),
        };
        registry.register("reconciles", "Passes over a cluster", metrics.reconciles.clone());
        registry.register("reconcile_errors", "Passes that failed", metrics.errors.clone());
        registry.register("reconcile_seconds", "How long a pass takes", metrics.seconds.clone());
        registry.register("actions", "Changes made, by kind", metrics.actions.clone());
        registry.register(
            "cluster_condition",
            "A cluster's condition: 1 true, 0 false, -1 unknown",
            metrics.conditions.clone(),
        );
        registry.register(
            "cluster_ready_members",
            "Ready members, the arbiter included",
            metrics.members.clone(),
        );
        registry.register(
            "cluster_members",
            "Members that there are or shall be, the arbiter included",
            metrics.all_members.clone(),
        );
        registry.register(
            "cluster_suspended",
            "1 where spec.suspend is true, and nobody expects the cluster to serve",
            metrics.suspended.clone(),
        );
        registry.register("leading", "1 while this operator holds the lease", metrics.leading.clone());
        Self { registry, ..metrics }
    }
}

impl Metrics {
    /// A pass ended.
    pub fn reconciled(&self, took: Duration, ok: bool) {
        self.reconciles.inc();
        self.seconds.observe(took.as_secs_f64());
        if !ok {
            self.errors.inc();
        }
    }

    /// A change was made.
    pub fn acted(&self, action: &str) {
        self.actions.get_or_create(&ActionLabels { action: action.to_owned() }).inc();
    }

    /// What a cluster's status says now, and whether it is suspended.
    pub fn cluster(
        &self,
        namespace: &str,
        name: &str,
        status: &conure_crd::ConureClusterStatus,
        suspended: bool,
    ) {
        for condition in &status.conditions {
            let labels = ConditionLabels {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                condition: condition.type_.clone(),
            };
            let value = match condition.status.as_str() {
                "True" => 1,
                "False" => 0,
                _ => -1,
            };
            self.conditions.get_or_create(&labels).set(value);
        }
        let ready = status.members.iter().filter(|member| member.ready).count();
        let labels = ClusterLabels { namespace: namespace.to_owned(), name: name.to_owned() };
        let all = status.members.len();
        self.members.get_or_create(&labels).set(i64::try_from(ready).unwrap_or(i64::MAX));
        self.all_members.get_or_create(&labels).set(i64::try_from(all).unwrap_or(i64::MAX));
        self.suspended.get_or_create(&labels).set(i64::from(suspended));
    }

    /// A cluster is gone: its series end.
    pub fn forget(&self, namespace: &str, name: &str) {
        for condition in conure_crd::condition::ALL.into_iter().chain([conure_crd::condition::RECOVERED]) {
            self.conditions.remove(&ConditionLabels {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                condition: condition.to_owned(),
            });
        }
        let labels = ClusterLabels { namespace: namespace.to_owned(), name: name.to_owned() };
        self.members.remove(&labels);
        self.all_members.remove(&labels);
        self.suspended.remove(&labels);
    }

    /// Whether this process holds the lease.
    pub fn set_leading(&self, leading: bool) {
        self.leading.set(i64::from(leading));
    }

    /// The Prometheus text.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready() -> conure_crd::ConureClusterStatus {
        conure_crd::ConureClusterStatus {
            conditions: vec![k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition {
                type_: "Ready".into(),
                status: "True".into(),
                reason: "Ready".into(),
                message: String::new(),
                observed_generation: None,
                last_transition_time: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
                    k8s_openapi::jiff::Timestamp::UNIX_EPOCH,
                ),
            }],
            ..Default::default()
        }
    }

    #[test]
    fn series_of_a_cluster_come_and_go() {
        let metrics = Metrics::default();
        metrics.cluster("db", "conure", &ready(), false);
        let line = r#"conure_operator_cluster_condition{namespace="db",name="conure",condition="Ready"} 1"#;
        assert!(metrics.text().unwrap().contains(line), "{}", metrics.text().unwrap());
        metrics.forget("db", "conure");
        assert!(!metrics.text().unwrap().contains(line));
    }

    /// What `alerts.yaml` and `dashboard.json` of the operator's chart may ask for.
    fn known() -> Vec<String> {
        let metrics = Metrics::default();
        // A family shows itself with its first series.
        metrics.cluster("db", "conure", &ready(), false);
        metrics.acted("Join");
        let text = metrics.text().unwrap();
        let names = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
        let suffixes = ["", "_total", "_bucket", "_sum", "_count"];
        names.flat_map(|name| suffixes.map(|suffix| format!("{name}{suffix}"))).collect()
    }

    #[test]
    fn alerts_and_dashboard_ask_for_figures_that_there_are() {
        for file in ["alerts.yaml", "dashboard.json"] {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/conuredb-operator/files");
            let text = std::fs::read_to_string(format!("{folder}/{file}")).unwrap();
            let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
            let asked: Vec<&str> =
                text.split(word).filter(|word| word.starts_with("conure_operator_")).collect();
            assert!(asked.len() > 5, "{file} asks for {asked:?}");
            for name in asked {
                assert!(
                    known().iter().any(|known| known == name),
                    "{file} asks for {name}, which is not there"
                );
            }
        }
    }
}
