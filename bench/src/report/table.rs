//! A table, as text or as Markdown.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

/// Rows of as many cells as there are headings.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table.
    pub fn new<S: Into<String>>(head: impl IntoIterator<Item = S>) -> Self {
        Self { head: head.into_iter().map(S::into).collect(), rows: Vec::new() }
    }

    /// Adds a row. Cells beyond the headings are not shown.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Columns divided by blanks.
    pub fn text(&self) -> String {
        let widths = self.widths();
        let mut out = String::new();
        for row in self.all() {
            let cells: Vec<String> =
                row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}")).collect();
            let _ = writeln!(out, "{}", cells.join("  ").trim_end());
        }
        out
    }

    /// Markdown; every column but the first is set flush right.
    pub fn markdown(&self) -> String {
        let widths = self.widths();
        let mut out = String::new();
        for (at, row) in self.all().enumerate() {
            let cells: Vec<String> =
                row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}")).collect();
            let _ = writeln!(out, "| {} |", cells.join(" | "));
            if at == 0 {
                let rule = |(column, width): (usize, usize)| {
                    if column == 0 { "-".repeat(width) } else { "-".repeat(width.max(2) - 1) + ":" }
                };
                let rules: Vec<String> = widths.iter().copied().enumerate().map(rule).collect();
                let _ = writeln!(out, "| {} |", rules.join(" | "));
            }
        }
        out
    }

    fn all(&self) -> impl Iterator<Item = &Vec<String>> {
        std::iter::once(&self.head).chain(&self.rows)
    }

    fn widths(&self) -> Vec<usize> {
        let width = |column: usize| {
            self.all().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        (0..self.head.len()).map(width).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn columns_line_up_as_text_and_as_markdown() {
        let mut table = Table::new(["target", "IOPS"]);
        table.row(["echo".to_owned(), "500000".to_owned()]);
        assert_eq!(table.text(), "target  IOPS\necho    500000\n");
        assert_eq!(table.markdown(), "| target | IOPS   |\n| ------ | -----: |\n| echo   | 500000 |\n");
    }
}
