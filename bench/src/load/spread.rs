//! The differences between the runs of a job.

use crate::outcome::Outcome;
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
    let mut values: Vec<f64> = outcomes.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    let (Some(least), Some(most), middle) = (values.first(), values.last(), median(&values)) else { return };
    let spread = (most - least) / middle.max(f64::MIN_POSITIVE) * 100.0;
    let cells = [format!("{middle:.1}"), format!("{least:.1}"), format!("{most:.1}"), format!("{spread:.1}")];
    table.row([name.to_owned()].into_iter().chain(cells));
}

/// The median of sorted values.
fn median(values: &[f64]) -> f64 {
    let middle = values.len() / 2;
    let at = |n: usize| values.get(n).copied().unwrap_or(0.0);
    if values.len() % 2 == 1 { at(middle) } else { (at(middle.wrapping_sub(1)) + at(middle)) / 2.0 }
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
