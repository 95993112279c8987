//! A table, as text or as Markdown.

use serde::{Deserialize, Serialize};

/// A table whose rows have at most as many cells as headings.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Table {
    /// The headings.
    pub head: Vec<String>,
    /// The rows.
    pub rows: Vec<Vec<String>>,
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

    /// Adds a column with a cell for each row.
    pub fn column(&mut self, head: &str, cells: impl IntoIterator<Item = String>) {
        self.head.push(head.to_owned());
        self.rows.iter_mut().zip(cells).for_each(|(row, cell)| row.push(cell));
    }

    /// Columns separated by spaces; all but the first are right-aligned.
    pub fn text(&self) -> String {
        self.aligned().into_iter().map(|cells| cells.join("  ").trim_end().to_owned() + "\n").collect()
    }

    /// Markdown; all but the first column are right-aligned.
    pub fn markdown(&self) -> String {
        let harmless =
            |cells: &Vec<String>| cells.iter().map(|cell| one_line(cell).replace('|', "\\|")).collect();
        let rule = ["---"].into_iter().chain(std::iter::repeat("---:")).map(str::to_owned);
        let rule = rule.take(self.head.len()).collect();
        let rows = std::iter::once(rule).chain(self.rows.iter().map(harmless)).collect();
        let lines = Self { head: harmless(&self.head), rows }.aligned();
        lines.iter().map(|cells| format!("| {} |\n", cells.join(" | "))).collect()
    }

    /// Headings and rows, with cells padded to the width of their columns.
    fn aligned(&self) -> Vec<Vec<String>> {
        let all = || std::iter::once(&self.head).chain(&self.rows);
        let width = |column: usize| {
            all().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        let cell = |(column, (cell, &width)): (usize, (&String, &usize))| {
            if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        };
        all().map(|row| row.iter().zip(&widths).enumerate().map(cell).collect()).collect()
    }
}

/// Replaces line breaks by spaces.
pub fn one_line(text: &str) -> String {
    Vec::from_iter(text.split_whitespace()).join(" ")
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn columns_line_up_as_text_and_as_markdown() {
        let mut table = Table::new(["target"]);
        table.row(["echo".to_owned()]);
        table.row(["a|b\nc".to_owned()]);
        table.column("IOPS", ["500000", "7"].map(str::to_owned));
        assert!(table.text().starts_with("target    IOPS\necho    500000\n"), "{}", table.text());
        let markdown =
            "| target |   IOPS |\n| ---    |   ---: |\n| echo   | 500000 |\n| a\\|b c |      7 |\n";
        assert_eq!(table.markdown(), markdown);
    }
}
