//! The rows of the result.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::latency::Outcome;
use super::member::Used;
use super::system::Name;
use crate::rows::median;

/// What was measured, in units that say whether more is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Requests in a second.
    PerSecond,
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Millis,
}

impl Unit {
    /// How it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PerSecond => "1/s",
            Self::Seconds => "s",
            Self::Millis => "ms",
        }
    }
}

/// What one system came to in one row: medians.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Numbers {
    /// The row's number.
    pub value: f64,
    /// Of a load: how long its requests took, in milliseconds.
    pub latency: Option<[f64; 3]>,
    /// Of a load: seconds of processor time of all members for a million requests.
    pub cpu_s: Option<f64>,
    /// Of a load: the most memory of one member, with and without mapped files, in MiB.
    pub peak_mib: Option<[f64; 2]>,
}

/// One row.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The name of what was measured.
    pub workload: String,
    /// With how many clients; 0 where that means nothing.
    pub clients: usize,
    /// In what.
    pub unit: Unit,
    /// What each system came to.
    pub numbers: BTreeMap<Name, Numbers>,
    /// The machine's limit for it.
    pub limit: Option<f64>,
}

impl Row {
    /// ConureDB's number in units of etcd's.
    #[must_use]
    pub fn ratio(&self) -> Option<f64> {
        let of = |name| self.numbers.get(&name).map(|numbers| numbers.value);
        let (conure, etcd) = (of(Name::Conure)?, of(Name::Etcd)?);
        (etcd > 0.0).then(|| conure / etcd)
    }
}

/// One measurement of a load.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// The requests.
    pub outcome: Outcome,
    /// What the members used, for all requests of the load.
    pub used: Used,
    /// How many those were.
    pub requests: u64,
}

/// All that was measured, as it comes in.
#[derive(Debug, Default)]
pub struct Collected {
    order: Vec<(String, usize)>,
    loads: BTreeMap<(String, usize, Name), Vec<Sample>>,
    values: BTreeMap<(String, Name), (Unit, Vec<f64>)>,
    limits: BTreeMap<(String, usize), Vec<f64>>,
}

impl Collected {
    /// Adds a load.
    pub fn load(&mut self, workload: &str, clients: usize, name: Name, sample: Sample) {
        self.remember(workload, clients);
        self.loads.entry((workload.to_owned(), clients, name)).or_default().push(sample);
    }

    /// Adds a number.
    pub fn value(&mut self, workload: &str, unit: Unit, name: Name, value: f64) {
        self.remember(workload, 0);
        self.values.entry((workload.to_owned(), name)).or_insert((unit, Vec::new())).1.push(value);
    }

    /// Adds what the machine allows at most.
    pub fn limit(&mut self, workload: &str, clients: usize, value: f64) {
        self.remember(workload, clients);
        self.limits.entry((workload.to_owned(), clients)).or_default().push(value);
    }

    fn remember(&mut self, workload: &str, clients: usize) {
        let row = (workload.to_owned(), clients);
        if !self.order.contains(&row) {
            self.order.push(row);
        }
    }

    /// The median of a limit.
    #[must_use]
    pub fn limit_of(&self, workload: &str, clients: usize) -> Option<f64> {
        median(self.limits.get(&(workload.to_owned(), clients))?)
    }

    /// The rows, in the order in which they were first measured.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        self.order.iter().map(|(workload, clients)| self.row(workload, *clients)).collect()
    }

    fn row(&self, workload: &str, clients: usize) -> Row {
        let mut unit = Unit::PerSecond;
        let mut numbers = BTreeMap::new();
        for name in [Name::Conure, Name::Etcd] {
            if let Some(samples) = self.loads.get(&(workload.to_owned(), clients, name)) {
                numbers.insert(name, medians(samples));
            }
            if let Some((own, values)) = self.values.get(&(workload.to_owned(), name))
                && let Some(value) = median(values)
            {
                unit = *own;
                numbers.insert(name, Numbers { value, ..Numbers::default() });
            }
        }
        Row { workload: workload.to_owned(), clients, unit, numbers, limit: self.limit_of(workload, clients) }
    }
}

fn medians(samples: &[Sample]) -> Numbers {
    let of = |field: &dyn Fn(&Sample) -> f64| {
        median(&samples.iter().map(field).collect::<Vec<_>>()).unwrap_or_default()
    };
    #[expect(clippy::cast_precision_loss, reason = "a size for people")]
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 requests")]
    let per_million = |sample: &Sample| sample.used.cpu_s * 1e6 / (sample.requests as f64).max(1.0);
    Numbers {
        value: of(&|sample| sample.outcome.rate),
        latency: Some([
            of(&|sample| sample.outcome.p50_ms),
            of(&|sample| sample.outcome.p99_ms),
            of(&|sample| sample.outcome.p999_ms),
        ]),
        cpu_s: Some(of(&per_million)),
        peak_mib: Some([
            of(&|sample| mib(sample.used.peak_bytes)),
            of(&|sample| mib(sample.used.peak_own_bytes)),
        ]),
    }
}

/// The result for programs.
#[must_use]
pub fn json(rows: &[Row]) -> Value {
    let detail = |numbers: &Numbers| {
        let mut detail = json!({});
        let mut put = |name: &str, value: Option<f64>| {
            if let (Some(value), Some(detail)) = (value, detail.as_object_mut()) {
                detail.insert(name.to_owned(), json!(value));
            }
        };
        let [p50, p99, p999] = numbers.latency.map_or([None; 3], |latency| latency.map(Some));
        put("p50_ms", p50);
        put("p99_ms", p99);
        put("p999_ms", p999);
        put("cpu_s_per_million", numbers.cpu_s);
        let [all, own] = numbers.peak_mib.map_or([None; 2], |peak| peak.map(Some));
        put("peak_mib", all);
        put("peak_own_mib", own);
        detail
    };
    let rows: Vec<_> = rows
        .iter()
        .map(|row| {
            let of = |name| row.numbers.get(&name);
            json!({
                "workload": row.workload,
                "clients": row.clients,
                "unit": row.unit.name(),
                "conure": of(Name::Conure).map(|numbers| numbers.value),
                "etcd": of(Name::Etcd).map(|numbers| numbers.value),
                "ratio": row.ratio(),
                "limit": row.limit,
                "conure_detail": of(Name::Conure).map(detail),
                "etcd_detail": of(Name::Etcd).map(detail),
            })
        })
        .collect();
    json!({"rows": rows})
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn sample(rate: f64) -> Sample {
        let outcome = Outcome { requests: 100, rate, p50_ms: 1.0, p99_ms: 2.0, p999_ms: 3.0 };
        let used = Used { cpu_s: 0.01, peak_bytes: 3 << 20, peak_own_bytes: 2 << 20 };
        Sample { outcome, used, requests: 100 }
    }

    pub(crate) fn collected() -> Collected {
        let mut all = Collected::default();
        all.limit("nothing", 64, 60_000.0);
        for rate in [10.0, 30.0, 20.0] {
            all.load("put", 64, Name::Conure, sample(rate));
            all.load("put", 64, Name::Etcd, sample(rate / 4.0));
        }
        all.value("failover", Unit::Seconds, Name::Conure, 0.5);
        all.value("failover", Unit::Seconds, Name::Etcd, 2.0);
        all
    }

    #[test]
    fn rows_have_medians_and_ratios_in_the_order_of_the_run() {
        let rows = collected().rows();
        let names: Vec<_> = rows.iter().map(|row| row.workload.as_str()).collect();
        assert_eq!(names, ["nothing", "put", "failover"]);
        assert_eq!(rows[1].ratio(), Some(4.0));
        let put = rows[1].numbers[&Name::Conure];
        assert_eq!((put.value, put.cpu_s, put.peak_mib), (20.0, Some(100.0), Some([3.0, 2.0])));
        assert_eq!((rows[2].ratio(), rows[2].unit), (Some(0.25), Unit::Seconds));
        assert_eq!((rows[0].limit, rows[0].ratio()), (Some(60_000.0), None));
    }

    #[test]
    fn the_result_for_programs_has_its_shape() {
        let value = json(&collected().rows());
        let put = &value["rows"][1];
        assert_eq!(put["workload"], "put");
        assert_eq!((&put["clients"], &put["ratio"]), (&json!(64), &json!(4.0)));
        assert_eq!(put["conure_detail"]["p99_ms"], 2.0);
        assert!(value["rows"][2]["conure_detail"].get("p99_ms").is_none());
    }
}
