//! Made-up measurements.

use crate::outcome::{Outcome, Sample, Setup};

/// A sample with this rate, over a network.
pub fn sample(target: &str, round: usize, iops: f64) -> Sample {
    let setup = Setup { exports: vec!["0.1".to_owned()], window: 64, buffer_count: 64, ..Setup::default() };
    let mut outcome = Outcome { seconds: 100.0 / iops, idle: 0.5, setup, ..Outcome::default() };
    outcome.name = target.to_owned();
    outcome.reads.response.record_many(1000, 100);
    Sample { target: target.to_owned(), round, outcome, ..Sample::default() }
}

/// Samples of these targets, with the rates of each round.
pub fn rounds<const N: usize>(targets: &[&str; N], rates: &[[f64; N]]) -> Vec<Sample> {
    let of = |(round, rates): (usize, &[f64; N])| {
        let each = targets.iter().zip(*rates);
        each.map(|(target, iops)| sample(target, round + 1, iops)).collect::<Vec<_>>()
    };
    rates.iter().enumerate().flat_map(of).collect()
}

/// Samples of these targets at these rates. In the second round the machine was ten
/// times slower.
pub fn samples<const N: usize>(targets: &[&str; N], rates: &[f64; N]) -> Vec<Sample> {
    rounds(targets, &[1.0, 0.1, 1.0].map(|speed| rates.map(|iops| iops * speed)))
}
