//! A table, as text or as Markdown.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

/// A table whose rows have at most as many cells as headings.
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

    /// The headings.
    pub fn head(&self) -> &[String] {
        &self.head
    }

    /// The rows.
    pub fn rows(&self) -> &[Vec<String>] {
        &self.rows
    }

    /// Columns separated by spaces; all but the first are right-aligned.
    pub fn text(&self) -> String {
        let widths = self.widths();
        let mut out = String::new();
        for row in self.all() {
            let cells = aligned(row, &widths);
            let _ = writeln!(out, "{}", cells.join("  ").trim_end());
        }
        out
    }

    /// Markdown; all but the first column are right-aligned.
    pub fn markdown(&self) -> String {
        let harmless =
            |cells: &Vec<String>| cells.iter().map(|cell| one_line(cell).replace('|', "\\|")).collect();
        let escaped = Self { head: harmless(&self.head), rows: self.rows.iter().map(harmless).collect() };
        escaped.piped()
    }

    fn piped(&self) -> String {
        let widths = self.widths();
        let mut out = String::new();
        for (at, row) in self.all().enumerate() {
            let cells = aligned(row, &widths);
            let _ = writeln!(out, "| {} |", cells.join(" | "));
            if at == 0 {
                let rule = |(column, width): (usize, usize)| {
                    if column == 0 { "-".repeat(width.max(1)) } else { "-".repeat(width.max(2) - 1) + ":" }
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

/// Right-aligns all but the first cell.
fn aligned(row: &[String], widths: &[usize]) -> Vec<String> {
    let cell = |(column, (cell, &width)): (usize, (&String, &usize))| {
        if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
    };
    row.iter().zip(widths).enumerate().map(cell).collect()
}

/// Replaces line breaks by spaces.
pub fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn columns_line_up_as_text_and_as_markdown() {
        let mut table = Table::new(["target", "IOPS"]);
        table.row(["echo".to_owned(), "500000".to_owned()]);
        table.row(["a|b\nc".to_owned(), "7".to_owned()]);
        assert!(table.text().starts_with("target    IOPS\necho    500000\n"), "{}", table.text());
        let markdown =
            "| target |   IOPS |\n| ------ | -----: |\n| echo   | 500000 |\n| a\\|b c |      7 |\n";
        assert_eq!(table.markdown(), markdown);
    }
}
