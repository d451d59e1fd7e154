//! The result as it stands in `docs/benchmarks.md`, between two marks, so that a run can put it there again.

use std::fmt::Write;

use anyhow::{Context, Result};

use crate::session::Found;
use crate::table;

/// The first mark of what the comparison of engines measures.
pub const ENGINE: &str = "<!-- begin: measured by `cargo xtask bench engine --write-docs` -->";
/// The first mark of what the comparison of clusters measures.
pub const CLUSTER: &str = "<!-- begin: measured by `cargo xtask bench cluster --write-docs` -->";
const END: &str = "<!-- end: measured -->";

/// The part of the page that a run measures.
#[must_use]
pub fn section(found: &Found) -> String {
    let mut text = String::new();
    for line in &found.conditions {
        let _ = writeln!(text, "- {line}");
    }
    text.push('\n');
    markdown(&mut text, &table::cells(&found.rows));
    let _ = writeln!(text, "\n{}\n\n{}\n", table::LEGEND, table::CPU);
    markdown(&mut text, &table::cells(&found.cpu_rows));
    let _ = writeln!(text, "\n{}\n", table::SYNCS);
    markdown(&mut text, &table::sync_cells(found));
    text
}

pub(crate) fn markdown(text: &mut String, lines: &[Vec<String>]) {
    for (at, line) in lines.iter().enumerate() {
        let _ = writeln!(text, "| {} |", line.join(" | "));
        if at == 0 {
            let rule: Vec<_> =
                (0..line.len()).map(|column| if column == 0 { "---" } else { "--:" }).collect();
            let _ = writeln!(text, "|{}|", rule.join("|"));
        }
    }
}

/// The page with another measured part, the one that begins with that mark.
///
/// # Errors
///
/// The page has not both marks.
pub fn replaced(page: &str, begin: &str, section: &str) -> Result<String> {
    let missing = || format!("the page needs a line {begin} and below it a line {END}");
    let (before, rest) = page.split_once(begin).with_context(missing)?;
    let (_, after) = rest.split_once(END).with_context(missing)?;
    Ok(format!("{before}{begin}\n\n{}\n\n{END}{after}", section.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_markdown() {
        let text = section(&table::tests::found());
        assert!(text.starts_with("- 2 cores\n\n| workload | unit | conure | LMDB |"), "{text}");
        assert!(text.contains("\n|---|--:|--:|--:|"), "{text}");
        assert!(text.contains("\n| batches | 100 | 100 | 100 + 101 |"), "{text}");
    }

    #[test]
    fn only_the_measured_part_is_replaced() {
        let page = format!("{CLUSTER}\nother\n{END}\nhead\n{ENGINE}\nold\n{END}\ntail\n");
        let new = replaced(&page, ENGINE, "new\n").unwrap();
        assert_eq!(new, format!("{CLUSTER}\nother\n{END}\nhead\n{ENGINE}\n\nnew\n\n{END}\ntail\n"));
        assert_eq!(replaced(&new, ENGINE, "new").unwrap(), new);
        assert!(replaced("head", ENGINE, "new").is_err());
    }
}
