//! The rows of the result: what was measured of each engine, its median, and how it compares.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::engines::Name;
use crate::event::{Measure, Unit};
use crate::plan::{self, BESIDE_ENTRIES, BESIDE_EVERY_MS, Plan, RANGE_ENTRIES, READERS};

pub(crate) const BULK_LOAD: &str = "bulk-load";
pub(crate) const SINGLE_COMMITS: &str = "single-commits";
pub(crate) const BATCHES: &str = "batches";
pub(crate) const RANDOM_READS: &str = "random-reads";
pub(crate) const RANGE_READS: &str = "range-reads";
pub(crate) const REMOVAL: &str = "removal";
pub(crate) const COMPACTION: &str = "compaction";
pub(crate) const OPEN: &str = "open";
pub(crate) const SORTED_LOAD: &str = "sorted-load";
pub(crate) const SIZE_LOADED: &str = "file-size-loaded";
pub(crate) const DISK_LOADED: &str = "disk-space-loaded";
pub(crate) const SIZE_REMOVED: &str = "file-size-before-compaction";
pub(crate) const DISK_REMOVED: &str = "disk-space-before-compaction";
pub(crate) const SIZE_COMPACTED: &str = "file-size-after-compaction";
pub(crate) const DISK_COMPACTED: &str = "disk-space-after-compaction";
pub(crate) const PEAK: &str = "peak-memory";
pub(crate) const PEAK_OWN: &str = "peak-own-memory";

pub(crate) fn reads_by(readers: u64) -> String {
    format!("reads-by-{readers}-beside-writer")
}

pub(crate) fn commit_beside(readers: u64) -> String {
    format!("commit-beside-{readers}-readers")
}

/// The rows in the order in which they are shown.
fn order() -> Vec<String> {
    let names = [BULK_LOAD, SORTED_LOAD, SINGLE_COMMITS, BATCHES, RANDOM_READS, RANGE_READS];
    let later = [
        REMOVAL,
        COMPACTION,
        OPEN,
        SIZE_LOADED,
        SIZE_REMOVED,
        SIZE_COMPACTED,
        DISK_LOADED,
        DISK_REMOVED,
        DISK_COMPACTED,
        PEAK,
        PEAK_OWN,
    ];
    let beside = READERS.iter().map(|readers| reads_by(*readers));
    let commits = READERS.iter().map(|readers| commit_beside(*readers));
    let (names, later) = (names.map(str::to_owned), later.map(str::to_owned));
    names.into_iter().chain(beside).chain(commits).chain(later).collect()
}

/// What a row is, for people.
fn title(name: &str, plan: &Plan) -> String {
    let keys = plan::short(plan.keys);
    let singles = plan::short(plan.singles);
    let (batches, batch_keys) = (plan.batches, plan::short(plan.batch_keys));
    let (reads, ranges) = (plan::short(plan.reads), plan::short(plan.ranges));
    for readers in READERS {
        let threads = if readers == 1 { "1 thread".to_owned() } else { format!("{readers} threads") };
        if name == reads_by(readers) {
            return format!("{reads} random reads by {threads} beside a writer");
        }
        if name == commit_beside(readers) {
            return format!(
                "a commit of {BESIDE_ENTRIES}, every {BESIDE_EVERY_MS} ms, beside {threads} that read"
            );
        }
    }
    match name {
        BULK_LOAD => format!("bulk load of {keys} in random order, one commit"),
        SORTED_LOAD => format!("bulk load of {keys} sorted first, one commit"),
        SINGLE_COMMITS => format!("{singles} durable commits of one"),
        BATCHES => format!("{batches} durable commits of {batch_keys}"),
        RANDOM_READS => format!("{reads} random reads"),
        RANGE_READS => format!("{ranges} random range reads of {RANGE_ENTRIES}"),
        REMOVAL => format!("removal of {}, one commit", plan::short(plan.keys / 2)),
        COMPACTION => "compaction".to_owned(),
        OPEN => "open and read one key".to_owned(),
        SIZE_LOADED => "file size after the bulk load".to_owned(),
        SIZE_REMOVED => "file size before compaction".to_owned(),
        SIZE_COMPACTED => "file size after compaction".to_owned(),
        DISK_LOADED => "disk space after the bulk load".to_owned(),
        DISK_REMOVED => "disk space before compaction".to_owned(),
        DISK_COMPACTED => "disk space after compaction".to_owned(),
        PEAK => "peak memory, mapped file included".to_owned(),
        PEAK_OWN => "peak memory without files".to_owned(),
        other => other.to_owned(),
    }
}

/// The numbers of a run, as they come in.
#[derive(Debug, Default)]
pub struct Numbers {
    values: Values,
    cpu: Values,
}

type Values = BTreeMap<(String, Name), (Unit, Vec<f64>)>;

impl Numbers {
    /// Adds a number of an engine.
    pub fn add(&mut self, engine: Name, measure: &Measure) {
        let key = (measure.name.clone(), engine);
        if let Some(cpu_ms) = measure.cpu_ms {
            self.cpu.entry(key.clone()).or_insert((Unit::Ms, Vec::new())).1.push(cpu_ms);
        }
        self.values.entry(key).or_insert((measure.unit, Vec::new())).1.push(measure.value);
    }

    /// The rows, with the median of each engine. `suffix` ends the names of all of them.
    #[must_use]
    pub fn rows(&self, plan: &Plan, suffix: &str) -> Vec<Row> {
        rows_of(&self.values, plan, suffix)
    }

    /// The same of the processor time, where it was taken.
    #[must_use]
    pub fn cpu_rows(&self, plan: &Plan, suffix: &str) -> Vec<Row> {
        rows_of(&self.cpu, plan, suffix)
    }
}

fn rows_of(values: &Values, plan: &Plan, suffix: &str) -> Vec<Row> {
    let of = |name: &str| {
        let found = |engine: Name| values.get(&(name.to_owned(), engine));
        let medians: BTreeMap<Name, f64> = crate::engines::ALL
            .into_iter()
            .filter_map(|engine| Some((engine, median(&found(engine)?.1)?)))
            .collect();
        let unit = crate::engines::ALL.into_iter().find_map(found)?.0;
        let title = match suffix {
            "" => title(name, plan),
            _ => format!("{} keys: {}", plan::short(plan.keys), title(name, plan)),
        };
        Some(Row { workload: format!("{name}{suffix}"), title, unit, medians })
    };
    order().iter().filter_map(|name| of(name)).collect()
}

/// One row of the result. Less is better in every row.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The name of what was measured.
    pub workload: String,
    /// The same for people.
    pub title: String,
    /// The unit of all numbers.
    pub unit: Unit,
    /// The median of each engine.
    pub medians: BTreeMap<Name, f64>,
}

impl Row {
    /// What conure needs in units of what the best of all peers needs: below 1 conure is better.
    #[must_use]
    pub fn ratio_to_best(&self) -> Option<f64> {
        self.ratio_to(|_| true)
    }

    /// The same among the peers that are B-trees.
    #[must_use]
    pub fn ratio_to_best_btree(&self) -> Option<f64> {
        self.ratio_to(Name::is_btree)
    }

    fn ratio_to(&self, counts: impl Fn(Name) -> bool) -> Option<f64> {
        let own = self.medians.get(&Name::Conure)?;
        let peers = self.medians.iter().filter(|(name, _)| **name != Name::Conure && counts(**name));
        let best = peers.map(|(_, value)| *value).min_by(f64::total_cmp)?;
        (best > 0.0).then(|| own / best)
    }
}

/// The middle of some numbers, or the mean of the two in the middle.
#[must_use]
pub fn median(numbers: &[f64]) -> Option<f64> {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = *sorted.get(sorted.len().checked_sub(1)? / 2)?;
    Some(f64::midpoint(lower, upper))
}

#[derive(Serialize)]
struct JsonRow<'a> {
    workload: &'a str,
    unit: &'a str,
    conure: Option<f64>,
    peers: BTreeMap<&'a str, f64>,
    ratio_to_best: Option<f64>,
}

#[derive(Serialize)]
struct Json<'a> {
    rows: Vec<JsonRow<'a>>,
}

/// The result for programs.
///
/// # Errors
///
/// A number is none.
pub fn json(rows: &[Row]) -> serde_json::Result<String> {
    let rows = rows.iter().map(|row| JsonRow {
        workload: &row.workload,
        unit: row.unit.name(),
        conure: row.medians.get(&Name::Conure).copied(),
        peers: row
            .medians
            .iter()
            .filter(|(name, _)| **name != Name::Conure)
            .map(|(name, value)| (name.name(), *value))
            .collect(),
        ratio_to_best: row.ratio_to_best(),
    });
    serde_json::to_string_pretty(&Json { rows: rows.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(given: &[(&str, Name, &[f64])]) -> Vec<Row> {
        let mut numbers = Numbers::default();
        for (name, engine, values) in given {
            for value in *values {
                numbers.add(
                    *engine,
                    &Measure { name: (*name).into(), unit: Unit::Ms, value: *value, cpu_ms: None },
                );
            }
        }
        numbers.rows(&Plan::of(1_000_000), "")
    }

    #[test]
    fn a_median_is_in_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 100.0]), Some(3.0));
    }

    #[test]
    fn a_ratio_compares_with_the_best_peer_and_with_the_best_btree() {
        let rows = numbers(&[
            (BATCHES, Name::Conure, &[30.0, 20.0, 10.0]),
            (BATCHES, Name::Lmdb, &[40.0]),
            (BATCHES, Name::Redb, &[50.0]),
            (BATCHES, Name::Fjall, &[5.0, 5.0, 1.0]),
        ]);
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].ratio_to_best(), Some(4.0));
        assert_eq!(rows[0].ratio_to_best_btree(), Some(0.5));
        assert_eq!(rows[0].title, "100 durable commits of 1,000");
    }

    #[test]
    fn processor_time_is_counted_apart() {
        let mut numbers = Numbers::default();
        let time = Measure::time(OPEN, std::time::Duration::from_millis(7));
        numbers.add(Name::Conure, &time.clone().with_cpu(std::time::Duration::from_millis(2)));
        numbers.add(Name::Lmdb, &time);
        let plan = Plan::of(1000);
        assert_eq!(numbers.rows(&plan, "")[0].medians.len(), 2);
        let row = &numbers.cpu_rows(&plan, "-1k")[0];
        assert_eq!(row.medians, BTreeMap::from([(Name::Conure, 2.0)]));
        assert_eq!(
            (row.workload.as_str(), row.title.as_str()),
            ("open-1k", "1,000 keys: open and read one key")
        );
    }

    #[test]
    fn a_row_without_a_side_has_no_ratio() {
        let rows = numbers(&[(OPEN, Name::Conure, &[1.0]), (COMPACTION, Name::Redb, &[1.0])]);
        assert!(rows.iter().all(|row| row.ratio_to_best().is_none()));
        let rows = numbers(&[(OPEN, Name::Conure, &[1.0]), (OPEN, Name::Redb, &[0.0])]);
        assert_eq!(rows[0].ratio_to_best(), None);
    }

    #[test]
    fn rows_come_in_their_order_and_each_has_a_title() {
        let names = order();
        let given: Vec<_> = names.iter().map(|name| (name.as_str(), Name::Bbolt, &[1.0][..])).rev().collect();
        let rows = numbers(&given);
        assert_eq!(rows.iter().map(|row| row.workload.clone()).collect::<Vec<_>>(), names);
        assert!(rows.iter().all(|row| row.workload == COMPACTION || row.title != row.workload));
    }

    #[test]
    fn the_result_for_programs_has_its_shape() {
        let rows = numbers(&[
            (OPEN, Name::Conure, &[1.5]),
            (OPEN, Name::Lmdb, &[3.0]),
            (COMPACTION, Name::Redb, &[7.0]),
        ]);
        let value: serde_json::Value = serde_json::from_str(&json(&rows).unwrap()).unwrap();
        let expected = serde_json::json!({"rows": [
            {"workload": "compaction", "unit": "ms", "conure": null, "peers": {"redb": 7.0}, "ratio_to_best": null},
            {"workload": "open", "unit": "ms", "conure": 1.5, "peers": {"lmdb": 3.0}, "ratio_to_best": 0.5},
        ]});
        assert_eq!(value, expected);
    }
}
