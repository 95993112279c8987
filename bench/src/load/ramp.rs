//! Finds the knee: the highest rate at which responses are fast enough.

use std::time::Duration;

use anyhow::{Result, bail};

use crate::args::RampArgs;
use crate::outcome::Outcome;

/// Maximum number of steps; a rate not found by then will not be found.
const STEPS_MAX: u32 = 60;
/// A good step serves this fraction of the due requests in the given time.
const REACHED: f64 = 0.98;
/// Minimum rate, in requests per second.
const RATE_MIN: f64 = 1.0;
/// Maximum rate.
const RATE_MAX: f64 = 1e9;
/// How long a request is resent. A step with too high a rate should not take longer than
/// that to end.
pub const GIVE_UP: Duration = Duration::from_secs(1);

/// Refuses arguments that do not apply here.
pub fn check(args: &RampArgs) -> Result<()> {
    let load = &args.load;
    for (given, name) in
        [(load.rate.is_some(), "--rate"), (load.count.is_some(), "--count"), (load.runs != 1, "--runs")]
    {
        if given {
            bail!("{name} is for `load`: `ramp` chooses the rate, and tries each for --seconds");
        }
    }
    for (good, name, value, range) in [
        (args.limit_us > 0.0, "--limit-us", args.limit_us, "more than 0"),
        (args.percentile > 0.0 && args.percentile <= 100.0, "--percentile", args.percentile, "up to 100"),
        ((RATE_MIN..=RATE_MAX).contains(&args.from_rate), "--from-rate", args.from_rate, "1 to 1e9"),
        ((0.1..=50.0).contains(&args.precision), "--precision", args.precision, "0.1 to 50"),
    ] {
        if !good {
            bail!("{name} {value}: give {range}");
        }
    }
    Ok(())
}

/// The highest rate that `attempt` accepts: doubles the first until one fails, then halves
/// the distance, until it is less than a fraction `precision`. `None` if no rate is good.
pub fn search(
    first: f64,
    precision: f64,
    mut attempt: impl FnMut(f64) -> Result<bool>,
) -> Result<Option<f64>> {
    let (mut good, mut bad) = (None, None);
    let mut rate = first;
    for _ in 0..STEPS_MAX {
        if attempt(rate)? {
            good = Some(rate)
        } else {
            bad = Some(rate)
        }
        rate = match (good, bad) {
            (Some(good), None) => good * 2.0,
            (None, Some(bad)) => bad / 2.0,
            (Some(good), Some(bad)) if bad <= good * (1.0 + precision) => break,
            (Some(good), Some(bad)) => f64::midpoint(good, bad),
            (None, None) => break,
        };
        if !(RATE_MIN..=RATE_MAX).contains(&rate) {
            break;
        }
    }
    Ok(good)
}

/// Judges the outcome of a rate, at which requests became due for `seconds`: whether it was
/// served well enough, with this percentile of the response times within the limit, and a
/// line about it.
pub fn judge(outcome: &Outcome, rate: f64, seconds: f64, limit_us: f64, percentile: f64) -> (bool, String) {
    let (response, t) = (outcome.response(), &outcome.trouble);
    let (us, served) = (response.us(percentile / 100.0), outcome.iops());
    // With random arrivals the number of due requests differs from the requested one.
    let due = response.len() as f64 / seconds;
    let good = us <= limit_us && served >= REACHED * due && outcome.is_good();
    let line = format!(
        "{rate:>10.0}/s asked  {served:>10.0}/s served  p{percentile} {us:>10.1} us  \
         lost or unsent {}  resent {}  {}",
        t.lost + t.unsent,
        t.retransmits,
        if good { "good" } else { "too much" }
    );
    (good, line)
}

/// A sentence about the result.
pub fn verdict(found: Option<f64>, args: &RampArgs) -> String {
    let (percentile, limit) = (args.percentile, args.limit_us);
    match found {
        Some(rate) => format!("\nknee: {rate:.0}/s with p{percentile} of at most {limit} us"),
        None => format!("\nno knee: p{percentile} is above {limit} us at every rate that was tried"),
    }
}
