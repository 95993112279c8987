//! Tables of outcomes, for every exporter.

use crate::outcome::{Latencies, Outcome};

use super::number::{column, grouped};
use super::{Section, Table, names};

/// The quantiles in tables.
const QUANTILES: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999)];

/// The table of a section: its own, or one row per outcome.
pub fn of_section(section: &Section) -> Table {
    section.table.clone().unwrap_or_else(|| compare(&section.outcomes))
}

/// One row per outcome.
fn compare(outcomes: &[Outcome]) -> Table {
    let all: Vec<Latencies> = outcomes.iter().map(Outcome::response).collect();
    let mut columns = Columns::new("", names::labels(outcomes));
    if outcomes.iter().any(|outcome| outcome.setup.rate.is_some()) {
        let rate = |outcome: &Outcome| outcome.setup.rate.map_or("–".to_owned(), |rate| grouped(rate, 0));
        columns.add("wanted IOPS", outcomes.iter().map(rate).collect());
    }
    columns.add("IOPS", outcomes.iter().map(|outcome| grouped(outcome.iops(), 0)).collect());
    columns.numbers("MB/s", outcomes.iter().map(Outcome::mb_per_s));
    for (name, quantile) in &QUANTILES[..4] {
        columns.numbers(&format!("{name} µs"), all.iter().map(|all| all.us(*quantile)));
    }
    columns.numbers("max µs", all.iter().map(Latencies::max_us));
    if outcomes.iter().any(|outcome| outcome.cost.is_some()) {
        let cost = |outcome: &Outcome| {
            outcome.cost_per_request().map_or("–".to_owned(), |(user, system)| grouped(user + system, 0))
        };
        columns.add("CPU ns/IO", outcomes.iter().map(cost).collect());
    }
    let count =
        |of: fn(&Outcome) -> u64| outcomes.iter().map(|outcome| grouped(of(outcome) as f64, 0)).collect();
    columns.add("resent", count(|outcome| outcome.trouble.retransmits));
    columns.add("dropped", count(|outcome| outcome.trouble.dropped));
    columns.add("failed", count(failed));
    columns.table()
}

fn failed(outcome: &Outcome) -> u64 {
    let t = &outcome.trouble;
    t.errors + t.refused + t.lost + t.unsent
}

/// The times of one outcome: a row each for reads and writes, and in an open loop another
/// for each without the wait before sending.
pub fn times(outcome: &Outcome) -> Table {
    let open = outcome.setup.rate.is_some();
    let mut rows: Vec<(String, &Latencies)> = Vec::new();
    for (name, side) in [("read", &outcome.reads), ("write", &outcome.writes)] {
        if side.response.is_empty() {
            continue;
        }
        let name_of = |kind: &str| if open { format!("{name}, {kind}") } else { name.to_owned() };
        rows.push((name_of("from intended start"), &side.response));
        rows.extend(side.service.iter().map(|service| (format!("{name}, from sending"), service)));
    }
    let mut columns = Columns::new("µs", rows.iter().map(|(name, _)| name.clone()).collect());
    columns.add("requests", rows.iter().map(|(_, times)| grouped(times.len() as f64, 0)).collect());
    let us = |of: fn(&Latencies) -> f64| rows.iter().map(move |(_, times)| of(times) / 1e3);
    columns.numbers("mean", us(|times| times.mean()));
    columns.numbers("deviation", us(|times| times.stdev()));
    columns.numbers("min", us(|times| times.min() as f64));
    for (name, quantile) in QUANTILES {
        columns.numbers(name, rows.iter().map(|(_, times)| times.us(quantile)));
    }
    columns.numbers("max", us(|times| times.max() as f64));
    columns.table()
}

/// A table built column by column.
struct Columns {
    head: Vec<String>,
    columns: Vec<Vec<String>>,
}

impl Columns {
    fn new(head: &str, names: Vec<String>) -> Self {
        Self { head: vec![head.to_owned()], columns: vec![names] }
    }

    fn add(&mut self, head: &str, cells: Vec<String>) {
        self.head.push(head.to_owned());
        self.columns.push(cells);
    }

    fn numbers(&mut self, head: &str, values: impl Iterator<Item = f64>) {
        self.add(head, column(&values.collect::<Vec<_>>()));
    }

    fn table(self) -> Table {
        let mut table = Table::new(self.head);
        let rows = self.columns.first().map_or(0, Vec::len);
        for row in 0..rows {
            table.row(self.columns.iter().map(|cells| cells.get(row).cloned().unwrap_or_default()));
        }
        table
    }
}
