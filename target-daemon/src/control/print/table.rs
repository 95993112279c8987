//! Text tables with aligned columns.

use std::fmt;

use crate::text::printable;

/// Rows under a heading.
pub struct Table<const N: usize> {
    columns: [&'static str; N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    /// A table without rows. Columns of numbers have a `>` before their heading: they are
    /// aligned to the right.
    pub fn new(columns: [&'static str; N]) -> Self {
        Self { columns, rows: Vec::new() }
    }

    /// Appends a row.
    pub fn row(&mut self, cells: [&dyn fmt::Display; N]) {
        self.rows.push(cells.map(|cell| printable(&cell.to_string()).into_owned()));
    }

    /// Whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn line(&self, cells: [&str; N], widths: [usize; N], f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = String::new();
        for ((cell, column), width) in cells.iter().zip(&self.columns).zip(widths) {
            let gap = if line.is_empty() { "" } else { "  " };
            line += &match column.starts_with('>') {
                true => format!("{gap}{cell:>width$}"),
                false => format!("{gap}{cell:<width$}"),
            };
        }
        writeln!(f, "{}", line.trim_end())
    }
}

impl<const N: usize> fmt::Display for Table<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headings = self.columns.map(|column| column.trim_start_matches('>'));
        let rows = || self.rows.iter().map(|row| row.each_ref().map(String::as_str));
        let width = |at: usize| {
            let cells =
                rows().chain([headings]).filter_map(|row| row.get(at).map(|cell| cell.chars().count()));
            cells.max().unwrap_or(0)
        };
        let widths: [usize; N] = std::array::from_fn(width);
        self.line(headings, widths, f)?;
        for row in rows() {
            self.line(row, widths, f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other() {
        let mut table = Table::new(["NAME", ">N", "PATH"]);
        table.row([&"a", &1000, &"/ä"]);
        table.row([&"longer", &"7", &""]);
        assert_eq!(table.to_string(), "NAME       N  PATH\na       1000  /ä\nlonger     7\n");
    }
}
