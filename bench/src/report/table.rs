//! A table, as text or as Markdown, and the numbers in it.

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

    /// A table of these rows, to which columns are added.
    pub fn of(head: &str, names: impl IntoIterator<Item = String>) -> Self {
        Self { head: vec![head.to_owned()], rows: names.into_iter().map(|name| vec![name]).collect() }
    }

    /// Adds a column with a cell for each row.
    pub fn column(&mut self, head: &str, cells: impl IntoIterator<Item = String>) {
        self.head.push(head.to_owned());
        self.rows.iter_mut().zip(cells).for_each(|(row, cell)| row.push(cell));
    }

    /// Adds a column of numbers that line up.
    pub fn numbers(&mut self, head: &str, values: impl IntoIterator<Item = f64>) {
        self.column(head, column(&values.into_iter().collect::<Vec<_>>()));
    }

    /// Columns separated by spaces; all but the first are right-aligned.
    pub fn text(&self) -> String {
        let line = |cells: Vec<String>| cells.join("  ").trim_end().to_owned() + "\n";
        self.aligned().into_iter().map(line).collect()
    }

    /// Markdown; all but the first column are right-aligned.
    pub fn markdown(&self) -> String {
        let harmless =
            |cells: &Vec<String>| cells.iter().map(|cell| one_line(cell).replace('|', "\\|")).collect();
        let escaped = Self { head: harmless(&self.head), rows: self.rows.iter().map(harmless).collect() };
        let mut lines = escaped.aligned();
        let rule = |(column, width): (usize, usize)| match column {
            0 => "-".repeat(width.max(1)),
            _ => "-".repeat(width.max(2) - 1) + ":",
        };
        lines.insert(1, escaped.widths().into_iter().enumerate().map(rule).collect());
        lines.iter().map(|cells| format!("| {} |\n", cells.join(" | "))).collect()
    }

    /// Headings and rows, with cells padded to the width of their columns.
    fn aligned(&self) -> Vec<Vec<String>> {
        let widths = self.widths();
        let cell = |(column, (cell, &width)): (usize, (&String, &usize))| {
            if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        };
        self.all().map(|row| row.iter().zip(&widths).enumerate().map(cell).collect()).collect()
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

/// Replaces line breaks by spaces.
pub fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The thousands separator: narrow and non-breaking.
pub const THIN: char = '\u{202f}';

/// With this number of decimals and thousands separators: "12 345.6".
pub fn grouped(value: f64, decimals: usize) -> String {
    let plain = format!("{:.decimals$}", value.abs());
    let (whole, rest) = plain.split_at(plain.find('.').unwrap_or(plain.len()));
    let sign = if value < 0.0 && plain.bytes().any(|b| (b'1'..=b'9').contains(&b)) { "−" } else { "" };
    let mut out = sign.to_owned();
    for (at, digit) in whole.chars().enumerate() {
        // Four digits are easy to read.
        if at > 0 && whole.len() > 4 && (whole.len() - at).is_multiple_of(3) {
            out.push(THIN);
        }
        out.push(digit);
    }
    out + rest
}

/// A column of numbers with the same number of decimals, so that they line up, chosen for
/// at most three significant digits.
pub fn column(values: &[f64]) -> Vec<String> {
    let most = values.iter().copied().fold(0.0, f64::max);
    let decimals = match most {
        ..1.0 => 3,
        ..10.0 => 2,
        ..1000.0 => 1,
        _ => 0,
    };
    values.iter().map(|&value| grouped(value, decimals)).collect()
}

/// A size in the largest unit: "4 KiB".
pub fn bytes(n: u64) -> String {
    if n >= 1024 && n.is_multiple_of(1024) { format!("{} KiB", n / 1024) } else { format!("{n} B") }
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

#[cfg(test)]
mod number_tests {
    use super::*;

    #[test]
    fn numbers_are_easy_to_read() {
        let plain = |value, decimals| grouped(value, decimals).replace(THIN, " ");
        assert_eq!(plain(1_234_567.89, 1), "1 234 567.9");
        assert_eq!([plain(1234.0, 0), plain(12_345.0, 0), plain(0.5, 2)], ["1234", "12 345", "0.50"]);
        assert_eq!([plain(-12_345.6, 0), plain(-0.01, 1)], ["−12 346", "0.0"]);
        assert_eq!(column(&[1.0, 250.25]), ["1.0", "250.2"]);
        assert_eq!(column(&[3.2, 1250.9]), ["3", "1251"]);
        assert_eq!([bytes(512), bytes(4096), bytes(1536)], ["512 B", "4 KiB", "1536 B"]);
    }
}
