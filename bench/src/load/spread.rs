//! The differences between the runs of a job.

use crate::outcome::{Outcome, Spread};
use crate::report::Table;

/// A row for each quantity: its median over the runs, its minimum and its maximum.
pub fn table(outcomes: &[Outcome]) -> Table {
    let mut table = Table::new(["", &format!("median of {}", outcomes.len()), "least", "most", "spread %"]);
    let quantile = |q| move |outcome: &Outcome| outcome.response().us(q);
    row(&mut table, "IOPS", outcomes, Outcome::iops);
    row(&mut table, "p50 us", outcomes, quantile(0.5));
    row(&mut table, "p99 us", outcomes, quantile(0.99));
    table
}

fn row(table: &mut Table, name: &str, outcomes: &[Outcome], of: impl Fn(&Outcome) -> f64) {
    let Some(Spread { least, median, most }) = Spread::of(outcomes.iter().map(of)) else { return };
    let spread = (most - least) / median.max(f64::MIN_POSITIVE) * 100.0;
    let cells = [median, least, most, spread].map(|value| format!("{value:.1}"));
    table.row([name.to_owned()].into_iter().chain(cells));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_spreads_are_over_the_runs() {
        let outcome = |answers: u64, ns| {
            let mut outcome = Outcome { seconds: 1.0, ..Outcome::default() };
            (0..answers).for_each(|_| outcome.reads.response.record(ns));
            outcome
        };
        let runs = [outcome(30, 1000), outcome(10, 2000), outcome(20, 1500)];
        let text = table(&runs).text();
        let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[1], ["IOPS", "20.0", "10.0", "30.0", "100.0"]);
        assert_eq!(rows[2], ["p50", "us", "1.5", "1.0", "2.0", "66.7"]);
        let two = table(&runs[..2]).text();
        let rate: Vec<&str> = two.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(rate[1], "20.0", "between the two: {two}");
    }
}
