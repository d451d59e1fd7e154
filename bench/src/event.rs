//! What the process of an engine reports: a line of JSON each, on its standard output. `bbolt/` writes the same lines.

use serde::{Deserialize, Serialize};

/// A line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A workload begins.
    Begin {
        /// Its name.
        workload: String,
    },
    /// A workload has ended.
    End {
        /// Its name.
        workload: String,
        /// What was measured.
        measures: Vec<Measure>,
        /// How many durable commits it made.
        commits: u64,
        /// A sum over what was read: the same for all engines.
        check: u64,
    },
    /// All has ended.
    Done {
        /// The version of the engine.
        version: String,
        /// How many entries the database holds.
        entries: u64,
        /// The digest of all entries in their order: the same for all engines.
        digest: u64,
        /// The most memory that the process had at once, mapped files included, in bytes.
        peak_bytes: u64,
    },
}

/// One measured number; less is better for all of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measure {
    /// What was measured.
    pub name: String,
    /// In what.
    pub unit: Unit,
    /// How much.
    pub value: f64,
    /// The processor time of all threads meanwhile, in milliseconds, where one thread's work was timed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_ms: Option<f64>,
}

/// A unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// Milliseconds.
    #[serde(rename = "ms")]
    Ms,
    /// Units of 1,048,576 bytes.
    #[serde(rename = "MiB")]
    Mib,
}

impl Unit {
    /// How it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ms => "ms",
            Self::Mib => "MiB",
        }
    }
}

impl Measure {
    /// A time.
    #[must_use]
    pub fn time(name: &str, time: std::time::Duration) -> Self {
        Self { name: name.to_owned(), unit: Unit::Ms, value: time.as_secs_f64() * 1000.0, cpu_ms: None }
    }

    /// The same, with the processor time.
    #[must_use]
    pub fn with_cpu(self, cpu: std::time::Duration) -> Self {
        Self { cpu_ms: Some(cpu.as_secs_f64() * 1000.0), ..self }
    }

    /// A size.
    #[must_use]
    pub fn size(name: &str, bytes: u64) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a size for people")]
        let value = bytes as f64 / f64::from(1 << 20);
        Self { name: name.to_owned(), unit: Unit::Mib, value, cpu_ms: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_what_the_go_program_writes() {
        let line = r#"{"event":"end","workload":"open","measures":[{"name":"open","unit":"ms","value":0.5,"cpu_ms":0.25}],"commits":0,"check":18446744073709551615}"#;
        let event: Event = serde_json::from_str(line).unwrap();
        let open = Measure::time("open", std::time::Duration::from_micros(500));
        let measures = vec![open.with_cpu(std::time::Duration::from_micros(250))];
        assert_eq!(event, Event::End { workload: "open".into(), measures, commits: 0, check: u64::MAX });
        assert_eq!(serde_json::to_string(&event).unwrap(), line);
    }
}
