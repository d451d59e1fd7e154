//! The member's figures, as gauges and counters that are set when the page is read.

use std::sync::atomic::Ordering;

use conure_client::api::Suffrage;
use conure_member::Member;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use serde_json::Value;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SuffrageLabels {
    suffrage: &'static str,
}

/// The figures that are always there.
#[derive(Debug)]
pub(super) struct MemberMetrics {
    term: Gauge,
    commit_index: Gauge,
    applied_index: Gauge,
    revision: Gauge,
    is_leader: Gauge,
    has_leader: Gauge,
    members: Family<SuffrageLabels, Gauge>,
    wal_syncs: Counter,
    wal_bytes: Gauge,
    tree_bytes: Gauge,
    tree_oldest_reader_age_ms: Gauge,
    tree_oldest_reader_waiting_pages: Gauge,
    tree_waiting_pages: Gauge,
    disk_free_bytes: Gauge,
    disk_total_bytes: Gauge,
    disk_needed_bytes: Gauge,
    disk_nearly_full: Gauge,
    wal_sync_average_us: Gauge,
    port_refused: Counter,
    port_malformed: Counter,
    port_crowded_out: Counter,
    port_silent: Counter,
    appends_refused: Counter,
    snapshots_received: Counter,
    snapshots_refused: Counter,
}

impl MemberMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let gauge = |registry: &mut Registry, name: &str, help: &str| {
            let gauge = Gauge::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        let counter = |registry: &mut Registry, name: &str, help: &str| {
            let counter = Counter::default();
            registry.register(name, help, counter.clone());
            counter
        };
        let members = Family::default();
        registry.register("raft_members", "Members in this member's view", members.clone());
        let wal_syncs = counter(registry, "wal_syncs", "Times the log was synced to disk");
        Self {
            term: gauge(registry, "raft_term", "The current Raft term"),
            commit_index: gauge(registry, "raft_commit_index", "The highest log index known to be committed"),
            applied_index: gauge(registry, "raft_applied_index", "The highest log index applied here"),
            revision: gauge(registry, "revision", "The revision of the last applied change"),
            is_leader: gauge(registry, "raft_is_leader", "1 where this member leads"),
            has_leader: gauge(registry, "raft_has_leader", "1 where this member knows a leader"),
            members,
            wal_syncs,
            wal_bytes: gauge(registry, "wal_bytes", "Size of the log on disk"),
            tree_bytes: gauge(registry, "tree_bytes", "Size of the database file"),
            tree_oldest_reader_age_ms: gauge(
                registry,
                "tree_oldest_reader_age_milliseconds",
                "How long the oldest snapshot of the database has been held; 0 where none is",
            ),
            tree_oldest_reader_waiting_pages: gauge(
                registry,
                "tree_oldest_reader_waiting_pages",
                "Pages that cannot be used again before the oldest snapshot is let go",
            ),
            tree_waiting_pages: gauge(
                registry,
                "tree_waiting_pages",
                "Pages that no longer hold anything and cannot be used again yet",
            ),
            disk_free_bytes: gauge(
                registry,
                "disk_free_bytes",
                "Free room on the data directory's file system",
            ),
            disk_total_bytes: gauge(registry, "disk_total_bytes", "Size of the data directory's file system"),
            disk_needed_bytes: gauge(
                registry,
                "disk_needed_bytes",
                "Free room below which this member, as a leader, takes no puts",
            ),
            disk_nearly_full: gauge(registry, "disk_nearly_full", "1 where less is free than needed"),
            wal_sync_average_us: gauge(
                registry,
                "wal_sync_average_microseconds",
                "How long writing and syncing a batch of the log takes, lately",
            ),
            port_refused: counter(
                registry,
                "raft_port_refused",
                "Connections on the Raft port from another version, cluster or incarnation, or for another member",
            ),
            port_malformed: counter(
                registry,
                "raft_port_malformed",
                "Connections on the Raft port that were closed because of bytes that no member sends",
            ),
            port_crowded_out: counter(
                registry,
                "raft_port_crowded_out",
                "Connections on the Raft port that were closed because too many were open",
            ),
            port_silent: counter(
                registry,
                "raft_port_silent",
                "Connections on the Raft port that were closed because they said nothing",
            ),
            appends_refused: counter(
                registry,
                "raft_appends_refused",
                "Log entries from other members that were refused because they cannot be true",
            ),
            snapshots_received: counter(registry, "raft_snapshots_received", "Snapshots that were installed"),
            snapshots_refused: counter(
                registry,
                "raft_snapshots_refused",
                "Snapshots that were refused because they cannot be true, are foreign, or did not arrive as they were sent",
            ),
        }
    }

    pub(super) fn update(&self, member: &Member) {
        let status = member.status();
        self.term.set(clamped(status.term));
        self.commit_index.set(clamped(status.commit_index));
        self.applied_index.set(clamped(status.applied_index));
        self.revision.set(clamped(status.revision));
        self.is_leader.set(status.is_leader.into());
        self.has_leader.set((!status.leader.is_empty()).into());
        let config = member.raft_config();
        for (suffrage, label) in [(Suffrage::Voter, "voter"), (Suffrage::Learner, "learner")] {
            let count = config.members.iter().filter(|member| member.suffrage == suffrage).count();
            let labels = SuffrageLabels { suffrage: label };
            self.members.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        let stats = member.stats();
        let figure = |path: &str| stats.pointer(path).and_then(Value::as_u64);
        for (counter, path) in [
            (&self.wal_syncs, "/log/syncs"),
            (&self.port_refused, "/port/refused"),
            (&self.port_malformed, "/port/malformed"),
            (&self.port_crowded_out, "/port/crowded_out"),
            (&self.port_silent, "/port/silent"),
            (&self.appends_refused, "/port/appends_refused"),
            (&self.snapshots_received, "/port/snapshots_received"),
            (&self.snapshots_refused, "/port/snapshots_refused"),
        ] {
            if let Some(count) = figure(path) {
                counter.inner().store(count, Ordering::Relaxed);
            }
        }
        let full = stats.pointer("/disk/nearly_full").and_then(Value::as_bool);
        self.disk_nearly_full.set(full.unwrap_or(false).into());
        // It is null where no snapshot is held.
        self.tree_oldest_reader_age_ms
            .set(clamped(figure("/storage/tree/oldest_reader_age_ms").unwrap_or_default()));
        for (gauge, path) in [
            (&self.wal_bytes, "/log/disk_bytes"),
            (&self.tree_bytes, "/storage/tree/file_bytes"),
            (&self.tree_oldest_reader_waiting_pages, "/storage/tree/oldest_reader_waiting_pages"),
            (&self.tree_waiting_pages, "/storage/tree/waiting_pages"),
            (&self.disk_free_bytes, "/disk/free_bytes"),
            (&self.disk_total_bytes, "/disk/total_bytes"),
            (&self.disk_needed_bytes, "/disk/needed_bytes"),
            (&self.wal_sync_average_us, "/log/sync_average_us"),
        ] {
            if let Some(value) = figure(path) {
                gauge.set(clamped(value));
            }
        }
    }
}

fn clamped(figure: u64) -> i64 {
    i64::try_from(figure).unwrap_or(i64::MAX)
}
