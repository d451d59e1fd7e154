//! What is done, in which order and how often.

use anyhow::{Result, bail};
use clap::Args;

/// A workload. They are done in the order of this list, on the database that the ones before left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Workload {
    /// All keys in one durable commit, put in random order. Always done: the others need its data.
    BulkLoad,
    /// Durable commits of one new key each.
    SingleCommits,
    /// Durable commits of many new keys each.
    Batches,
    /// Reads of random keys in one snapshot.
    RandomReads,
    /// The ten entries from a random key on, in one snapshot.
    RangeReads,
    /// Random reads by 1, 2, 4 and 8 threads while another thread commits.
    ReadsBesideWriter,
    /// Half of the keys in one durable commit.
    Removal,
    /// The engine's own way to give unused space back.
    Compaction,
    /// Opening the database and reading one key.
    Open,
    /// All keys in one durable commit into an empty database, sorted first: the engine's own way for sorted input.
    SortedLoad,
}

/// All workloads in their order.
pub const ALL: [Workload; 10] = [
    Workload::BulkLoad,
    Workload::SingleCommits,
    Workload::Batches,
    Workload::RandomReads,
    Workload::RangeReads,
    Workload::ReadsBesideWriter,
    Workload::Removal,
    Workload::Compaction,
    Workload::Open,
    Workload::SortedLoad,
];

impl Workload {
    /// The name, as it is typed.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::BulkLoad => "bulk-load",
            Self::SingleCommits => "single-commits",
            Self::Batches => "batches",
            Self::RandomReads => "random-reads",
            Self::RangeReads => "range-reads",
            Self::ReadsBesideWriter => "reads-beside-writer",
            Self::Removal => "removal",
            Self::Compaction => "compaction",
            Self::Open => "open",
            Self::SortedLoad => "sorted-load",
        }
    }

    /// Whether it is part of the run with many keys.
    #[must_use]
    pub fn is_in_large_run(self) -> bool {
        matches!(self, Self::BulkLoad | Self::Batches | Self::RandomReads)
    }
}

impl std::str::FromStr for Workload {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        match ALL.iter().find(|workload| workload.name() == name) {
            Some(workload) => Ok(*workload),
            None => bail!("no workload {name:?}; there are: {}", ALL.map(Self::name).join(", ")),
        }
    }
}

/// How many threads read beside the writer, one after the other.
pub const READERS: [u64; 4] = [1, 2, 4, 8];

/// How many entries a range read looks at.
pub const RANGE_ENTRIES: usize = 10;

/// Reads by one thread beside the writer in one snapshot.
pub const READS_PER_SNAPSHOT: u64 = 1000;

/// Entries in each commit of the writer beside readers.
pub const BESIDE_ENTRIES: u64 = 100;

/// The writer beside readers begins a commit this often, in milliseconds, and later only where the one before took longer.
pub const BESIDE_EVERY_MS: u64 = 10;

/// The writer beside readers changes that many of the keys, and makes them what they were when it is done.
pub const BESIDE_KEYS: u64 = 10_000;

/// How often the database is opened; the median counts.
pub const OPENS: usize = 5;

/// How much is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub struct Plan {
    /// Keys of the bulk load.
    #[arg(long)]
    pub keys: u64,
    /// Durable commits of one key.
    #[arg(long)]
    pub singles: u64,
    /// Durable commits of many keys.
    #[arg(long)]
    pub batches: u64,
    /// Keys in each of them.
    #[arg(long)]
    pub batch_keys: u64,
    /// Random reads.
    #[arg(long)]
    pub reads: u64,
    /// Random range reads.
    #[arg(long)]
    pub ranges: u64,
}

impl Plan {
    /// What is done with that many keys: from 100,000 on the published counts, less with fewer.
    #[must_use]
    pub fn of(keys: u64) -> Self {
        Self {
            keys,
            singles: (keys / 10).clamp(1, 1000),
            batches: 100,
            batch_keys: (keys / 100).clamp(1, 1000),
            reads: keys.min(1_000_000),
            ranges: (keys / 5).clamp(1, 200_000),
        }
    }

    /// The arguments that give a process this plan.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        [
            ("keys", self.keys),
            ("singles", self.singles),
            ("batches", self.batches),
            ("batch-keys", self.batch_keys),
            ("reads", self.reads),
            ("ranges", self.ranges),
        ]
        .map(|(name, count)| format!("--{name}={count}"))
        .into()
    }
}

/// A count for people: `200 k`, `10 M`, `12,345`.
#[must_use]
pub fn short(count: u64) -> String {
    match count {
        _ if count >= 1_000_000 && count.is_multiple_of(1_000_000) => format!("{} M", count / 1_000_000),
        _ if count >= 10_000 && count.is_multiple_of(1000) => format!("{} k", count / 1000),
        _ if count >= 1000 => format!("{},{:03}", count / 1000, count % 1000),
        _ => count.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_their_workloads() {
        for workload in ALL {
            assert_eq!(workload.name().parse::<Workload>().unwrap(), workload);
        }
        let error = "reads".parse::<Workload>().unwrap_err().to_string();
        assert!(error.contains("\"reads\"") && error.contains("random-reads"), "{error}");
        assert!(ALL.is_sorted());
    }

    #[test]
    fn a_million_keys_are_the_published_counts() {
        let plan = Plan::of(1_000_000);
        assert_eq!((plan.singles, plan.batches, plan.batch_keys), (1000, 100, 1000));
        assert_eq!((plan.reads, plan.ranges), (1_000_000, 200_000));
        assert_eq!(Plan::of(10_000_000), Plan { keys: 10_000_000, ..plan });
        assert_eq!(plan.arguments()[3], "--batch-keys=1000");
        assert!(Plan::of(1).arguments().iter().all(|argument| !argument.ends_with("=0")));
    }

    #[test]
    fn counts_read_well() {
        let shown = [7, 1000, 12_345, 200_000, 1_000_000, 10_000_000, 1_500_000].map(short);
        assert_eq!(shown, ["7", "1,000", "12,345", "200 k", "1 M", "10 M", "1500 k"]);
    }
}
