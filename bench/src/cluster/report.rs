//! The result for people, on a terminal and in the documentation.

use std::fmt::Write as _;

use super::rows::{Numbers, Row, Unit};
use super::session::Found;
use super::system::Name;
use crate::page;
use crate::table::{aligned, number, ratio};

/// What stands below the tables.
const LEGEND: &str = "A ratio is conure's number divided by etcd's: of requests in a second more is better, of times less.\n\"Limit\" is what a handler that does nothing answers in a second under the same HTTP server, to as many clients of the same kind.";

/// What a row is, for people.
fn title(row: &Row) -> String {
    match row.workload.as_str() {
        "put" => "put".to_owned(),
        "get" => "get, linearizable".to_owned(),
        "stale" => "get, stale (serializable)".to_owned(),
        "mix-gets" => "mix of 90 % gets and 10 % puts: the gets".to_owned(),
        "mix-puts" => "the puts of the mix".to_owned(),
        "put-large" => "put, large database".to_owned(),
        "restart" => "restart of a member with the large database".to_owned(),
        "failover" => "longest pause of a client after SIGKILL of the leader".to_owned(),
        "catch-up" => "a new member catches up".to_owned(),
        "catch-up-writers-before" => "p99 of paced writers before it".to_owned(),
        "catch-up-writers" => "p99 of paced writers meanwhile".to_owned(),
        "nothing" => "a handler that does nothing".to_owned(),
        "fdatasync" => "append and fdatasync by one thread".to_owned(),
        other => other.to_owned(),
    }
}

fn clients(row: &Row) -> String {
    if row.clients == 0 { "–".to_owned() } else { row.clients.to_string() }
}

fn cell(value: Option<f64>) -> String {
    number(value.as_ref())
}

fn cells(head: &[&str], lines: impl Iterator<Item = Vec<String>>) -> Vec<Vec<String>> {
    std::iter::once(head.iter().map(|word| (*word).to_owned()).collect()).chain(lines).collect()
}

/// The systems' numbers of one kind, conure first.
fn both(row: &Row, of: impl Fn(&Numbers) -> Option<f64>) -> [String; 2] {
    [Name::Conure, Name::Etcd].map(|name| cell(row.numbers.get(&name).and_then(&of)))
}

fn is_load(row: &Row) -> bool {
    row.numbers.values().any(|numbers| numbers.latency.is_some())
}

/// The rows of loads: requests in a second, and their times.
fn loads(rows: &[Row]) -> Vec<Vec<String>> {
    let head = ["load", "clients", "conure 1/s", "etcd 1/s", "ratio", "limit 1/s"];
    let times = ["p50 ms", "etcd", "p99 ms", "etcd", "p99.9 ms", "etcd"];
    let limit = |row: &Row| rows.iter().find(|l| l.workload == "nothing" && l.clients == row.clients)?.limit;
    let line = |row: &Row| {
        let mut line = vec![title(row), clients(row)];
        line.extend(both(row, |numbers| Some(numbers.value)));
        line.extend([ratio(row.ratio()), cell(limit(row))]);
        for at in 0..3 {
            line.extend(both(row, |numbers| numbers.latency?.get(at).copied()));
        }
        line
    };
    cells(&[head, times].concat(), rows.iter().filter(|row| is_load(row)).map(line))
}

/// The rows of loads: what the members used.
fn uses(rows: &[Row]) -> Vec<Vec<String>> {
    let head = [
        "load",
        "clients",
        "conure CPU s",
        "etcd CPU s",
        "conure MiB",
        "etcd MiB",
        "conure MiB without files",
        "etcd MiB without files",
    ];
    let line = |row: &Row| {
        let mut line = vec![title(row), clients(row)];
        line.extend(both(row, |numbers| numbers.cpu_s));
        line.extend(both(row, |numbers| Some(numbers.peak_mib?[0])));
        line.extend(both(row, |numbers| Some(numbers.peak_mib?[1])));
        line
    };
    cells(&head, rows.iter().filter(|row| is_load(row)).map(line))
}

/// The other rows.
fn others(rows: &[Row]) -> Vec<Vec<String>> {
    let line = |row: &Row| {
        let mut line = vec![title(row), clients(row), row.unit.name().to_owned()];
        line.extend(both(row, |numbers| Some(numbers.value)));
        line.extend([ratio(row.ratio()), cell(row.limit)]);
        line
    };
    let head = ["what", "clients", "unit", "conure", "etcd", "ratio", "the machine"];
    cells(&head, rows.iter().filter(|row| !is_load(row)).map(line))
}

/// How near one client that stores comes to the disk.
fn nearness(rows: &[Row]) -> Option<String> {
    let syncs = rows.iter().find(|row| row.workload == "fdatasync")?.limit?;
    let put = rows.iter().find(|row| row.workload == "put" && row.clients == 1)?;
    let of = |name| Some(put.numbers.get(&name)?.value / syncs * 100.0);
    let share = |name| of(name).map_or_else(|| "–".to_owned(), |share| format!("{share:.0} %"));
    Some(format!(
        "One client stores as often as {} (conure) and {} (etcd) of what one thread can append and sync.",
        share(Name::Conure),
        share(Name::Etcd)
    ))
}

const USES: &str =
    "Processor time of all three members for a million requests, and the most memory of one of them:";

/// For a terminal; colours only where somebody can see them.
#[must_use]
pub fn text(found: &Found, colours: bool) -> String {
    let mut text = String::new();
    let good: Vec<_> = found.rows.iter().filter(|row| is_load(row)).map(is_good).collect();
    aligned(&mut text, &loads(&found.rows), |line, column, _| {
        let good = good.get(line.checked_sub(1)?).copied().flatten()?;
        (colours && column == 4).then_some(if good { crate::table::GREEN } else { crate::table::RED })
    });
    let _ = writeln!(text, "\n{USES}\n");
    aligned(&mut text, &uses(&found.rows), |_, _, _| None);
    text.push('\n');
    aligned(&mut text, &others(&found.rows), |_, _, _| None);
    let _ = writeln!(text, "\n{LEGEND}");
    for line in nearness(&found.rows).iter().chain(&found.conditions) {
        let _ = writeln!(text, "{line}");
    }
    text
}

/// Whether conure is ahead.
fn is_good(row: &Row) -> Option<bool> {
    row.ratio().map(|ratio| if row.unit == Unit::PerSecond { ratio >= 1.0 } else { ratio <= 1.0 })
}

/// For the documentation.
#[must_use]
pub fn markdown(found: &Found) -> String {
    let mut text = String::new();
    for line in &found.conditions {
        let _ = writeln!(text, "- {line}");
    }
    text.push('\n');
    page::markdown(&mut text, &loads(&found.rows));
    let _ = writeln!(text, "\n{LEGEND}");
    if let Some(line) = nearness(&found.rows) {
        let _ = writeln!(text, "{line}");
    }
    let _ = writeln!(text, "\n{USES}\n");
    page::markdown(&mut text, &uses(&found.rows));
    text.push('\n');
    page::markdown(&mut text, &others(&found.rows));
    text
}

#[cfg(test)]
mod tests {
    use super::super::rows::tests::collected;
    use super::*;

    fn found() -> Found {
        Found { rows: collected().rows(), conditions: vec!["2 cores".to_owned()] }
    }

    #[test]
    fn a_table_has_every_row_once() {
        let text = text(&found(), false);
        let line = |name: &str| text.lines().filter(|line| line.starts_with(name)).count();
        assert_eq!(line("put "), 2, "{text}");
        assert_eq!(line("a handler that does nothing"), 1, "{text}");
        assert!(
            text.contains(
                "longest pause of a client after SIGKILL of the leader        –     s    0.50  2.00   0.25"
            ),
            "{text}"
        );
        assert!(text.ends_with("2 cores\n"));
    }

    #[test]
    fn colours_are_for_terminals() {
        assert!(!text(&found(), false).contains('\x1b'));
        assert!(text(&found(), true).contains(crate::table::GREEN));
    }

    #[test]
    fn a_section_is_markdown() {
        let text = markdown(&found());
        assert!(text.starts_with("- 2 cores\n\n| load | clients |"), "{text}");
        assert!(text.contains("\n| put | 64 | 20.0 | 5.00 | 4.00 | 60000 |"), "{text}");
    }
}
