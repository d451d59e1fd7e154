//! Columns for people. Pure.

/// Rows below their headings, each column as wide as its widest cell.
pub(crate) fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(headings.get(column).map(|heading| heading.len())).max().unwrap_or(0)
    };
    let line = |cells: &[&str]| {
        let padded: Vec<String> =
            cells.iter().enumerate().map(|(column, cell)| format!("{cell:0$}", width(column))).collect();
        format!("{}\n", padded.join("  ").trim_end())
    };
    let mut text = line(headings);
    for row in rows {
        text += &line(&row.iter().map(String::as_str).collect::<Vec<_>>());
    }
    text
}

/// A time span as kubectl writes it.
pub(crate) fn age(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ 0..120 => format!("{seconds}s"),
        seconds @ 120..7_200 => format!("{}m", seconds / 60),
        seconds @ 7_200..172_800 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_nothing_trails() {
        let rows = [vec!["a".to_owned(), "long cell".to_owned()], vec!["bbbbb".to_owned(), String::new()]];
        assert_eq!(table(&["NAME", "X"], &rows), "NAME   X\na      long cell\nbbbbb\n");
    }

    #[test]
    fn ages_are_short() {
        let ages: Vec<String> = [-5, 0, 119, 120, 7_200, 200_000].map(age).into();
        assert_eq!(ages, ["0s", "0s", "119s", "2m", "2h", "2d"]);
    }
}
