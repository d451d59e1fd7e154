//! What commands print: aligned rows for people, JSON for programs.

use serde::Serialize;

use super::{CommandError, output_failed};

/// Prints to standard output; where that fails, the command has failed.
pub(super) fn print(text: &str) -> Result<(), CommandError> {
    conure_program::answer(text.as_bytes()).map_err(output_failed)
}

/// Prints a value as JSON.
pub(super) fn print_json(value: &impl Serialize) -> Result<(), CommandError> {
    let text = serde_json::to_string_pretty(value).map_err(|error| output_failed(error.into()))?;
    print(&format!("{text}\n"))
}

/// Rows whose columns stand one below the other.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
    /// From this column on cells end one below the other, as numbers should; everything begins so where there is none.
    numbers_from: Option<usize>,
}

impl Table {
    /// A table whose columns from `column` on (counted from 0) hold numbers.
    pub(super) fn with_numbers_from(column: usize) -> Self {
        Self { rows: Vec::new(), numbers_from: Some(column) }
    }

    /// Adds a row.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// The lines, each indented by `indent` spaces.
    pub(super) fn render(&self, indent: usize) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|at| self.rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max())
            .map(Option::unwrap_or_default)
            .collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = " ".repeat(indent);
            for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let right = self.numbers_from.is_some_and(|from| at >= from);
                let fill = " ".repeat(width.saturating_sub(cell.chars().count()));
                let (before, after) = if right { (fill, String::new()) } else { (String::new(), fill) };
                line += &format!("{before}{cell}{after}  ");
            }
            text += line.trim_end();
            text.push('\n');
        }
        text
    }
}

/// A number with its thousands apart.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes in the largest unit of which there is one.
pub(super) fn bytes(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

/// A number that may not be there.
pub(super) fn or_none(number: Option<u64>) -> String {
    number.map_or("none".to_owned(), count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        for (mut table, wanted) in [
            (Table::with_numbers_from(1), " tree       keys\n kv        1,200\n metadata      7\n"),
            (Table::default(), " tree      keys\n kv        1,200\n metadata  7\n"),
        ] {
            table.row(["tree", "keys"]);
            table.row(["kv", "1,200"]);
            table.row(["metadata", "7"]);
            assert_eq!(table.render(1), wanted);
        }
        assert_eq!(Table::default().render(0), "");
    }

    #[test]
    fn thousands_are_apart() {
        for (number, text) in
            [(0, "0"), (999, "999"), (1000, "1,000"), (u64::MAX, "18,446,744,073,709,551,615")]
        {
            assert_eq!(count(number), text);
        }
    }
}
