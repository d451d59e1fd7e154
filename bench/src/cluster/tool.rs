//! etcd's tool `benchmark`: run, and its report read.

use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::latency::Outcome;
use super::system::Borne;

/// Runs it. A report of a mixed load has two parts.
///
/// # Errors
///
/// It failed, or a request did.
pub fn run(command: &mut Command, mixed: bool) -> Result<Borne> {
    let reads = command.get_args().any(|argument| argument == "range");
    let output = command.output().with_context(|| format!("cannot start {:?}", command.get_program()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!("etcd's tool failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    read(&text, mixed, reads).with_context(|| format!("etcd's tool said:\n{text}"))
}

fn read(text: &str, mixed: bool, reads: bool) -> Result<Borne> {
    ensure!(!text.contains("Error distribution"), "some requests failed");
    let mut reports = text.split("Summary:").skip(1).map(outcome);
    let mut next = || reports.next().context("a report is missing")?;
    if mixed {
        let (gets, puts) = (next()?, next()?);
        return Ok(Borne { gets, puts, requests: gets.requests + puts.requests });
    }
    let (one, requests) = next().map(|one| (one, one.requests))?;
    Ok(if reads {
        Borne { gets: one, requests, ..Borne::default() }
    } else {
        Borne { puts: one, requests, ..Borne::default() }
    })
}

fn outcome(report: &str) -> Result<Outcome> {
    let after = |name: &str| {
        let rest = report.split_once(name).map(|(_, rest)| rest.trim_start());
        let word = rest.and_then(|rest| rest.split_whitespace().next());
        word.and_then(|word| word.parse::<f64>().ok()).with_context(|| format!("no {name:?}"))
    };
    let (total, rate) = (after("Total:")?, after("Requests/sec:")?);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of requests")]
    let requests = (total * rate).round() as u64;
    // It leaves out the shares of which it saw too few.
    let slowest = after("Slowest:")?;
    let share = |name: &str| after(name).unwrap_or(slowest) * 1000.0;
    let (p50_ms, p99_ms, p999_ms) = (share("  50% in "), share("  99% in "), share("  99.9% in "));
    Ok(Outcome { requests, rate, p50_ms, p99_ms, p999_ms })
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = "
Summary:
  Total:\t2.5 secs.
  Slowest:\t0.009 secs.
  Requests/sec:\t400

Response time histogram:
  0.0012 [1]\t|

Latency distribution:
  10% in 0.001 secs.
  50% in 0.002 secs.
  99% in 0.004 secs.
  99.9% in 0.008 secs.
";

    #[test]
    fn a_report_is_read() {
        let put = read(REPORT, false, false).unwrap().puts;
        assert_eq!((put.requests, put.rate), (1000, 400.0));
        assert_eq!((put.p50_ms, put.p99_ms, put.p999_ms), (2.0, 4.0, 8.0));
        assert_eq!(read(REPORT, false, true).unwrap().gets, put);
        let few = REPORT.replace("  99.9% in 0.008 secs.\n", "");
        assert_eq!(read(&few, false, true).unwrap().gets.p999_ms, 9.0);
        let both = format!("Total Read Ops: 900\nDetails:{REPORT}Total Write Ops: 100\nDetails:{REPORT}");
        let mixed = read(&both, true, false).unwrap();
        assert_eq!((mixed.gets, mixed.puts), (put, put));
    }

    #[test]
    fn a_report_with_errors_is_none() {
        assert!(read(&format!("{REPORT}\nError distribution:\n  [3]\trefused\n"), false, true).is_err());
        assert!(read("Summary:\n  Total:\t2.5 secs.\n", false, true).is_err());
        assert!(read(REPORT, true, false).is_err());
    }
}
