//! One line of the benchmarks' table, and the table.

use serde::{Deserialize, Serialize};

/// One line of the table.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What was done.
    pub procedure: String,
    /// How long it took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// The longest that a client of the members' addresses waited for a write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_pause_seconds: Option<f64>,
    /// The same through the Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_write_pause_seconds: Option<f64>,
    /// What `seconds` is to stay within.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_seconds: Option<f64>,
    /// What `write_pause_seconds` is to stay within.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_write_pause_seconds: Option<f64>,
    /// A figure that is no time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// The figure's unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// What it is to stay below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<f64>,
}

impl Row {
    /// A time.
    #[must_use]
    pub fn seconds(procedure: impl Into<String>, seconds: f64, target: Option<f64>) -> Self {
        Self {
            procedure: procedure.into(),
            seconds: Some(seconds),
            target_seconds: target,
            ..Self::default()
        }
    }

    /// Another figure.
    #[must_use]
    pub fn value(procedure: impl Into<String>, value: f64, unit: &str, target: Option<f64>) -> Self {
        let unit = Some(unit.to_owned());
        Self { procedure: procedure.into(), value: Some(value), unit, target, ..Self::default() }
    }

    /// Whether every figure is within its target.
    #[must_use]
    pub fn holds(&self) -> bool {
        let within = |found: Option<f64>, target: Option<f64>| match (found, target) {
            (Some(found), Some(target)) => found < target,
            _ => true,
        };
        within(self.seconds, self.target_seconds)
            && within(self.write_pause_seconds, self.target_write_pause_seconds)
            && within(self.value, self.target)
    }
}

/// The rows as a table in Markdown.
#[must_use]
pub fn markdown(rows: &[Row]) -> String {
    let number = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.2}"));
    let mut text = String::from(
        "| procedure | seconds | target | write pause (members), s | target | write pause (Service), s | figure | below | |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|---|\n",
    );
    for row in rows {
        let figure = row.value.map_or_else(String::new, |value| {
            format!("{value:.2} {}", row.unit.as_deref().unwrap_or_default())
        });
        text += &format!(
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
            row.procedure,
            number(row.seconds),
            number(row.target_seconds),
            number(row.write_pause_seconds),
            number(row.target_write_pause_seconds),
            number(row.service_write_pause_seconds),
            figure.trim(),
            number(row.target),
            if row.holds() { "" } else { "missed" },
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_target_is_shown_with_its_number() {
        let mut row = Row::seconds("3 to 5", 13.5, Some(12.0));
        assert!(!row.holds());
        assert!(markdown(&[row.clone()]).contains("| 3 to 5 | 13.50 | 12.00 |"));
        assert!(markdown(&[row.clone()]).contains("missed"));
        row.seconds = Some(11.0);
        assert!(row.holds() && !markdown(&[row]).contains("missed"));
        assert!(!Row::value("memory", 101.0, "MiB", Some(100.0)).holds());
    }
}
