//! The `/metrics` page.

use std::time::Duration;

use conure_member::{Consistency, Member};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

mod member;

use member::MemberMetrics;

/// Bounds of the duration's buckets, in seconds.
const BUCKETS: [f64; 14] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 3.0, 10.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: &'static str,
    method: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DurationLabels {
    route: &'static str,
    method: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReadLabels {
    consistency: &'static str,
}

impl ReadLabels {
    fn of(consistency: Consistency) -> Self {
        let consistency = match consistency {
            Consistency::Linearizable => "linearizable",
            Consistency::Stale => "stale",
        };
        Self { consistency }
    }
}

/// What this process counts. Labels come from fixed lists, so that no client can make new series.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    durations: Family<DurationLabels, Histogram, fn() -> Histogram>,
    reads: Family<ReadLabels, Counter>,
    forwarded: Counter,
    connections: Gauge,
    crowded: Counter,
    member: MemberMetrics,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let mut registry = Registry::with_prefix("conure");
        let requests = Family::<RequestLabels, Counter>::default();
        registry.register("http_requests", "Requests answered", requests.clone());
        let durations = Family::new_with_constructor((|| Histogram::new(BUCKETS)) as fn() -> Histogram);
        registry.register_with_unit(
            "http_request_duration",
            "Time from a request's head to its answer's head",
            Unit::Seconds,
            durations.clone(),
        );
        let reads = Family::<ReadLabels, Counter>::default();
        registry.register("reads_served", "Reads that this member served itself", reads.clone());
        let forwarded = Counter::default();
        registry.register("http_forwarded", "Requests forwarded to the leader", forwarded.clone());
        let connections = Gauge::default();
        registry.register("http_connections", "Open HTTP connections", connections.clone());
        let crowded = Counter::default();
        registry.register(
            "http_connections_crowded",
            "HTTP connections that were turned away, or told so, because too many were open",
            crowded.clone(),
        );
        let member = MemberMetrics::register(&mut registry);
        // A series that comes only with its first event hides that one from `increase()`, and is no data until then.
        for consistency in [Consistency::Linearizable, Consistency::Stale] {
            drop(reads.get_or_create(&ReadLabels::of(consistency)));
        }
        for method in ["GET", "PUT", "DELETE"] {
            let route = "/kv";
            drop(requests.get_or_create(&RequestLabels { route, method, status: 200 }));
            drop(durations.get_or_create(&DurationLabels { route, method }));
        }
        Self { registry, requests, durations, reads, forwarded, connections, crowded, member }
    }

    pub(super) fn answered(&self, route: &'static str, method: &'static str, status: u16, took: Duration) {
        self.requests.get_or_create(&RequestLabels { route, method, status }).inc();
        self.durations.get_or_create(&DurationLabels { route, method }).observe(took.as_secs_f64());
    }

    pub(super) fn read_served(&self, consistency: Consistency) {
        self.reads.get_or_create(&ReadLabels::of(consistency)).inc();
    }

    pub(super) fn forwarded(&self) {
        self.forwarded.inc();
    }

    /// The gauge of open connections.
    pub(super) fn connections(&self) -> &Gauge {
        &self.connections
    }

    /// A connection came that is one too many.
    pub(super) fn crowded(&self) {
        self.crowded.inc();
    }

    /// The page; without a member, only what the HTTP side counts.
    pub(super) fn encode(&self, member: Option<&Member>) -> String {
        if let Some(member) = member {
            self.member.update(member);
        }
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// The label of a path: itself where the API has it.
pub(super) fn route_label(path: &str) -> &'static str {
    super::PATHS.iter().copied().find(|known| *known == path).unwrap_or("other")
}

/// The label of a method.
pub(super) fn method_label(method: &axum::http::Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "PUT" => "PUT",
        "POST" => "POST",
        "DELETE" => "DELETE",
        _ => "other",
    }
}
