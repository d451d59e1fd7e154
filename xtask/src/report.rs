//! What a run of the checks found: the time of each, and one honest last line.

use std::time::{Duration, Instant};

use anyhow::Result;
use conure_e2e::progress::{Step, spent};

/// How much of an error the table shows; all of it was printed when it happened.
const REMARK_CHARS: usize = 100;

/// How a check ended.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Passed(String),
    Failed(String),
    /// Not begun, because something that it needs failed.
    NotRun,
}

/// The checks so far.
#[derive(Debug)]
pub(crate) struct Report {
    start: Instant,
    rows: Vec<(String, Duration, Outcome)>,
}

impl Report {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), rows: Vec::new() }
    }

    /// Runs one check; it answers a remark for the table. Whether it passed is the value.
    pub(crate) fn check(&mut self, name: &str, work: impl FnOnce(&Step) -> Result<String>) -> bool {
        let checked = self.stage(name, || {
            let step = Step::begin(name);
            let remark = work(&step)?;
            step.done();
            Ok(((), remark))
        });
        checked.is_some()
    }

    /// Runs a check that shows steps of its own; what it made is the value if it passed.
    pub(crate) fn stage<T>(&mut self, name: &str, work: impl FnOnce() -> Result<(T, String)>) -> Option<T> {
        let start = Instant::now();
        let (value, outcome) = match work() {
            Ok((value, remark)) => (Some(value), Outcome::Passed(remark)),
            Err(error) => {
                let error = format!("{error:#}");
                eprintln!("{error}");
                (
                    None,
                    Outcome::Failed(
                        error.lines().next().unwrap_or_default().chars().take(REMARK_CHARS).collect(),
                    ),
                )
            }
        };
        self.rows.push((name.to_owned(), start.elapsed(), outcome));
        value
    }

    /// Notes that checks were not begun.
    pub(crate) fn not_run(&mut self, names: &[&str]) {
        self.rows.extend(names.iter().map(|name| ((*name).to_owned(), Duration::ZERO, Outcome::NotRun)));
    }

    /// Whether everything passed.
    pub(crate) fn passed(&self) -> bool {
        self.rows.iter().all(|(_, _, outcome)| matches!(outcome, Outcome::Passed(_)))
    }

    /// The table, and the verdict as its last line. `left_out` names what this run was asked to leave out.
    pub(crate) fn render(&self, left_out: Option<&str>) -> String {
        let width = self.rows.iter().map(|(name, ..)| name.chars().count()).max().unwrap_or_default();
        let mut text = String::new();
        for (name, time, outcome) in &self.rows {
            let (sign, remark) = match outcome {
                Outcome::Passed(remark) => ("✓", remark.as_str()),
                Outcome::Failed(remark) => ("✗", remark.as_str()),
                Outcome::NotRun => ("-", "not run: what it needs failed"),
            };
            let line = format!("{sign} {name:width$}  {:>12}  {remark}", spent(*time));
            text.push_str(line.trim_end());
            text.push('\n');
        }
        let failed: Vec<&str> = self
            .rows
            .iter()
            .filter(|(_, _, outcome)| !matches!(outcome, Outcome::Passed(_)))
            .map(|(name, ..)| name.as_str())
            .collect();
        let total = spent(self.start.elapsed());
        let count = self.rows.len();
        let verdict = match (failed.is_empty(), left_out) {
            (false, _) => {
                format!("FAILED in {total}: {} of {count} checks: {}", failed.len(), failed.join(", "))
            }
            (true, None) => format!("PASSED in {total}: all {count} checks"),
            (true, Some(left_out)) => format!("PASSED in {total}: {count} checks, without {left_out}"),
        };
        text.push_str(&verdict);
        text
    }
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn the_last_line_tells_the_truth() {
        let mut report = Report::new();
        assert!(report.check("a", |_| Ok("3 tests".into())));
        assert!(report.render(None).ends_with("s: all 1 checks"));
        assert!(report.render(Some("the rest")).ends_with("s: 1 checks, without the rest"));
        assert!(!report.check("b", |_| bail!("broken\nin detail")));
        report.not_run(&["c"]);
        assert!(!report.passed());
        let text = report.render(None);
        assert!(text.contains("✗ b") && text.contains("broken") && !text.contains("in detail"), "{text}");
        let last = text.lines().last().unwrap();
        assert!(last.starts_with("FAILED in") && last.ends_with("2 of 3 checks: b, c"), "{last}");
    }
}
