//! Rates as plain text, one export per line, with fixed columns.

use std::time::Duration;

use super::rates::{Rates, Row};

/// Names of the columns, in the order of [`cells`].
const COLUMNS: [&str; 12] = [
    "export", "read/s", "write/s", "rMB/s", "wMB/s", "p50", "p99", "p99.9", "inflight", "wait/s", "limited",
    "flags",
];

/// All rows as text, without the interfaces.
pub fn lines(rates: &Rates) -> String {
    let rows = rates.exports.iter().map(|row| line(&cells(row)) + "\n");
    heading() + "\n" + &rows.collect::<String>()
}

/// The names of the columns.
pub fn heading() -> String {
    line(&COLUMNS.map(str::to_owned))
}

/// Cells in fixed columns.
pub fn line(cells: &[String; 12]) -> String {
    let [export, numbers @ .., flags] = cells;
    let numbers: String = numbers.iter().map(|cell| format!(" {cell:>8}")).collect();
    format!("{export:<9}{numbers} {flags}")
}

/// The cells of a row; "-" where there is no value.
pub fn cells(row: &Row) -> [String; 12] {
    let times = row.percentiles.map(|times| times.map(duration));
    let [p50, p99, p999] = times.unwrap_or_else(|| ["-"; 3].map(str::to_owned));
    [
        row.export.clone(),
        count(row.reads),
        count(row.writes),
        megabytes(row.bytes_read),
        megabytes(row.bytes_written),
        p50,
        p99,
        p999,
        row.in_flight.to_string(),
        count(row.waited),
        row.limited.to_string(),
        if row.flags.is_empty() { "-".into() } else { row.flags.clone() },
    ]
}

/// A rate per second: an integer, with one decimal below ten.
pub fn count(rate: f64) -> String {
    if rate == 0.0 || rate >= 9.95 { format!("{rate:.0}") } else { format!("{rate:.1}") }
}

fn megabytes(bytes: f64) -> String {
    format!("{:.1}", bytes / 1e6)
}

/// A duration with three digits and a unit: 812us, 1.24ms.
fn duration(time: Duration) -> String {
    let us = time.as_secs_f64() * 1e6;
    let (value, unit) = match us {
        us if us < 999.5 => (us, "us"),
        us if us < 999_500.0 => (us / 1e3, "ms"),
        us => (us / 1e6, "s"),
    };
    match value {
        v if v < 9.995 => format!("{v:.2}{unit}"),
        v if v < 99.95 => format!("{v:.1}{unit}"),
        v => format!("{v:.0}{unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits_and_a_unit() {
        for (ns, text) in [
            (800, "0.80us"),
            (9_990, "9.99us"),
            (9_999, "10.0us"),
            (99_960, "100us"),
            (999_400, "999us"),
            (999_600, "1.00ms"),
            (12_340_000, "12.3ms"),
            (999_600_000, "1.00s"),
            (600_000_000_000, "600s"),
        ] {
            assert_eq!(duration(Duration::from_nanos(ns)), text, "{ns}");
        }
    }

    #[test]
    fn small_rates_have_a_digit_more() {
        for (rate, text) in [(0.0, "0"), (0.25, "0.2"), (9.94, "9.9"), (9.96, "10"), (123_456.7, "123457")] {
            assert_eq!(count(rate), text, "{rate}");
        }
    }
}
