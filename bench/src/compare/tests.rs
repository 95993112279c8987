//! Made-up measurements.

use crate::outcome::{Outcome, Sample, Setup};

use super::case::Case;
use super::samples::Samples;
use super::target::Target;

/// A sample with this rate, over a network.
pub fn sample(iops: f64) -> Sample {
    let setup = Setup { exports: vec!["0.1".to_owned()], window: 64, buffer_count: 64, ..Setup::default() };
    let mut outcome = Outcome { seconds: 100.0 / iops, idle: 0.5, setup, ..Outcome::default() };
    outcome.reads.response.record_many(1000, 100);
    Sample { outcome, ..Sample::default() }
}

/// Samples of these targets at these rates. In the second round the machine was ten
/// times slower.
pub fn samples(targets: &[Target], rates: &[f64]) -> Samples {
    let one = |(at, iops): (usize, &f64), speed: f64| {
        let target = targets.get(at).map(|target| target.name(&Case::default()));
        Sample { target: target.unwrap_or_default(), ..sample(iops * speed) }
    };
    let round = |speed: f64| rates.iter().enumerate().map(|each| one(each, speed)).collect();
    let rounds = [1.0, 0.1, 1.0].map(round).to_vec();
    Samples { case: Case::default(), targets: targets.to_vec(), rounds }
}
