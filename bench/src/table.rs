//! The result for people on a terminal.

use std::fmt::Write;

use crate::engines::{self, Name};
use crate::rows::Row;
use crate::session::Found;

pub(crate) const GREEN: &str = "\x1b[32m";
pub(crate) const RED: &str = "\x1b[31m";
const PLAIN: &str = "\x1b[0m";

/// What the two ratios of a row say.
pub(crate) const LEGEND: &str = "Less is better in every row. A ratio is what conure needs divided by what the best peer needs: below 1.00 conure is better.\n\"B-trees\" are LMDB, redb and bbolt; \"all\" counts fjall, an LSM tree, too.\nOf the bulk loads, bbolt has its entries sorted first in both: in random order it takes a time that grows with the square of their number.";

/// What stands above the processor time.
pub(crate) const CPU: &str = "Processor time of all threads in the same runs, which neither a slow disk nor other work on the machine changes much:";

/// What stands above the syncs.
pub(crate) const SYNCS: &str = "Syncs in a small run of each workload, under a tracer; what follows a plus are writes that sync by themselves:";

/// The engines that some row has, conure first.
pub(crate) fn columns(rows: &[Row]) -> Vec<Name> {
    let has = |engine: &Name| rows.iter().any(|row| row.medians.contains_key(engine));
    engines::ALL.into_iter().filter(has).collect()
}

/// A number with as many places as it deserves.
pub(crate) fn number(value: Option<&f64>) -> String {
    match value {
        None => "–".to_owned(),
        Some(value) if *value < 9.995 => format!("{value:.2}"),
        Some(value) if *value < 99.95 => format!("{value:.1}"),
        Some(value) => format!("{value:.0}"),
    }
}

pub(crate) fn ratio(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.2}"))
}

/// The rows as lines of cells, the headings first.
pub(crate) fn cells(rows: &[Row]) -> Vec<Vec<String>> {
    let columns = columns(rows);
    let mut lines = vec![["workload", "unit"].map(str::to_owned).to_vec()];
    if let Some(head) = lines.first_mut() {
        head.extend(columns.iter().map(|engine| engine.title().to_owned()));
        head.extend(["to B-trees", "to all"].map(str::to_owned));
    }
    for row in rows {
        let mut line = vec![row.title.clone(), row.unit.name().to_owned()];
        line.extend(columns.iter().map(|engine| number(row.medians.get(engine))));
        line.extend([ratio(row.ratio_to_best_btree()), ratio(row.ratio_to_best())]);
        lines.push(line);
    }
    lines
}

/// The syncs as lines of cells, the headings first: a line for each workload, a cell for each engine.
pub(crate) fn sync_cells(found: &Found) -> Vec<Vec<String>> {
    let engines: Vec<Name> =
        engines::ALL.into_iter().filter(|engine| found.syncs.contains_key(engine)).collect();
    let mut lines = vec![["workload".to_owned(), "durable commits".to_owned()].to_vec()];
    if let Some(head) = lines.first_mut() {
        head.extend(engines.iter().map(|engine| engine.title().to_owned()));
    }
    let Some(first) = found.syncs.values().next() else { return lines };
    for counted in first {
        let mut line = vec![counted.workload.clone()];
        let of =
            |engine: &Name| found.syncs.get(engine)?.iter().find(|other| other.workload == counted.workload);
        let same = engines.iter().all(|engine| of(engine).is_some_and(|o| o.commits == counted.commits));
        line.push(if same { counted.commits.to_string() } else { "as many as fit".to_owned() });
        for engine in &engines {
            line.push(of(engine).map_or_else(String::new, |other| {
                let commits = if same { String::new() } else { format!(" for {}", other.commits) };
                match other.syncs.writes {
                    0 => format!("{}{commits}", other.syncs.calls),
                    writes => format!("{} + {writes}{commits}", other.syncs.calls),
                }
            }));
        }
        lines.push(line);
    }
    lines
}

/// The whole result; colours only where somebody can see them.
#[must_use]
pub fn text(found: &Found, colours: bool) -> String {
    let mut text = String::new();
    rows(&mut text, &found.rows, colours);
    let _ = writeln!(text, "\n{CPU}\n");
    rows(&mut text, &found.cpu_rows, colours);
    let _ = writeln!(text, "\n{LEGEND}\n\n{SYNCS}\n");
    aligned(&mut text, &sync_cells(found), |_, _, _| None);
    text.push('\n');
    for line in &found.conditions {
        let _ = writeln!(text, "{line}");
    }
    text
}

fn rows(text: &mut String, rows: &[Row], colours: bool) {
    let ratios: Vec<_> = rows.iter().map(Row::ratio_to_best_btree).collect();
    aligned(text, &cells(rows), |line, column, columns| {
        let ratio = line.checked_sub(1).and_then(|row| ratios.get(row).copied().flatten());
        let is_ratio = column + 2 == columns;
        match ratio {
            Some(ratio) if colours && is_ratio => Some(if ratio <= 1.0 { GREEN } else { RED }),
            _ => None,
        }
    });
}

/// Cells in columns, the first to the left and the others to the right.
pub(crate) fn aligned(
    text: &mut String,
    lines: &[Vec<String>],
    colour: impl Fn(usize, usize, usize) -> Option<&'static str>,
) {
    let columns = lines.first().map_or(0, Vec::len);
    let width = |column: usize| {
        lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or_default()).collect();
    for (at, line) in lines.iter().enumerate() {
        let mut shown = String::new();
        for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
            let width = *width;
            let padded = if column == 0 { format!("{cell:width$}") } else { format!("  {cell:>width$}") };
            match colour(at, column, columns) {
                Some(colour) => {
                    let _ = write!(shown, "{colour}{padded}{PLAIN}");
                }
                None => shown.push_str(&padded),
            }
        }
        let _ = writeln!(text, "{}", shown.trim_end());
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::event::Unit;
    use crate::syncs::{Counted, Syncs};

    pub(crate) fn found() -> Found {
        let row = |title: &str, medians: &[(Name, f64)]| Row {
            workload: title.to_owned(),
            title: title.to_owned(),
            unit: Unit::Ms,
            medians: medians.iter().copied().collect(),
        };
        let rows = vec![
            row("batches", &[(Name::Conure, 30.0), (Name::Lmdb, 60.0), (Name::Fjall, 10.0)]),
            row("open", &[(Name::Conure, 1.5), (Name::Lmdb, 1.0)]),
            row("compaction", &[(Name::Lmdb, 1234.4)]),
        ];
        let counted = |commits, calls, writes| {
            vec![Counted { workload: "batches".into(), commits, syncs: Syncs { calls, writes } }]
        };
        let syncs =
            BTreeMap::from([(Name::Conure, counted(100, 100, 0)), (Name::Lmdb, counted(100, 100, 101))]);
        Found { rows, cpu_rows: Vec::new(), syncs, conditions: vec!["2 cores".to_owned()] }
    }

    #[test]
    fn a_table_is_aligned_and_says_who_is_better() {
        let text = text(&found(), false);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "workload    unit  conure  LMDB  fjall  to B-trees  to all");
        assert_eq!(lines[1], "batches       ms    30.0  60.0   10.0        0.50    3.00");
        assert_eq!(lines[2], "open          ms    1.50  1.00      –        1.50    1.50");
        assert_eq!(lines[3], "compaction    ms       –  1234      –           –       –");
        assert!(lines.contains(&"batches               100     100  100 + 101"), "{text}");
        assert_eq!(lines.last(), Some(&"2 cores"));
    }

    #[test]
    fn colours_are_for_terminals() {
        assert!(!text(&found(), false).contains('\x1b'));
        let coloured = text(&found(), true);
        assert!(coloured.contains(&format!("{GREEN}        0.50{PLAIN}")), "{coloured:?}");
        assert!(coloured.contains(&format!("{RED}        1.50{PLAIN}")), "{coloured:?}");
    }

    #[test]
    fn commits_that_differ_are_shown_with_each_engine() {
        let mut found = found();
        found.syncs.get_mut(&Name::Lmdb).unwrap()[0].commits = 90;
        assert_eq!(sync_cells(&found)[1], ["batches", "as many as fit", "100 for 100", "100 + 101 for 90"]);
    }
}
