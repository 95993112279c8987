//! Finds the knee: the highest rate at which responses are fast enough.

use std::fmt;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::args::{LoadArgs, RampArgs, ResendKind};
use crate::outcome::Outcome;

use super::run::Variant;

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
const GIVE_UP: Duration = Duration::from_secs(1);

/// The parameters of the search.
#[derive(Clone, Copy, Debug)]
pub struct Goal {
    /// The first rate to try.
    pub from: f64,
    /// Stops when the highest good rate and the lowest bad one differ by less than this
    /// fraction.
    pub precision: f64,
}

impl Goal {
    /// As the arguments have it.
    pub fn new(args: &RampArgs) -> Self {
        Self { from: args.from_rate, precision: args.precision / 100.0 }
    }
}

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

/// The highest rate that `attempt` accepts: doubles until a rate fails, then halves the
/// distance. `None` if no rate is good.
pub fn search(goal: &Goal, mut attempt: impl FnMut(f64) -> Result<bool>) -> Result<Option<f64>> {
    let (mut good, mut bad) = (None, None);
    let mut rate = goal.from;
    for _ in 0..STEPS_MAX {
        if attempt(rate)? {
            good = Some(rate)
        } else {
            bad = Some(rate)
        }
        rate = match (good, bad) {
            (Some(good), None) => good * 2.0,
            (None, Some(bad)) => bad / 2.0,
            (Some(good), Some(bad)) if bad <= good * (1.0 + goal.precision) => break,
            (Some(good), Some(bad)) => f64::midpoint(good, bad),
            (None, None) => break,
        };
        if !(RATE_MIN..=RATE_MAX).contains(&rate) {
            break;
        }
    }
    Ok(good)
}

/// A step at this rate.
pub fn variant(load: &LoadArgs, rate: f64) -> Variant {
    let usual = Variant::new(format!("{rate:.0}/s"), load);
    let give_up = if load.resend == ResendKind::Linux { usual.give_up } else { GIVE_UP };
    Variant { rate: Some(rate), give_up, ..usual }
}

/// The criterion for a good step.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// The maximum response time,
    pub us: f64,
    /// at this percentile.
    pub percentile: f64,
    /// How long requests become due, in seconds.
    pub seconds: f64,
}

/// A step with its judgement.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Judged {
    /// Whether its rate was served well enough.
    pub good: bool,
    rate: f64,
    served: f64,
    percentile: f64,
    us: f64,
    lost: u64,
    resent: u64,
}

impl Judged {
    /// Judges the outcome of a rate.
    pub fn new(outcome: &Outcome, rate: f64, limit: &Limit) -> Self {
        let (response, trouble) = (outcome.response(), &outcome.trouble);
        let (us, served) = (response.us(limit.percentile / 100.0), outcome.iops());
        // With random arrivals the number of due requests differs from the requested one.
        let due = response.len() as f64 / limit.seconds;
        let good = us <= limit.us && served >= REACHED * due && outcome.is_good();
        let (lost, resent) = (trouble.lost + trouble.unsent, trouble.retransmits);
        Self { good, rate, served, percentile: limit.percentile, us, lost, resent }
    }
}

impl fmt::Display for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rate, served, percentile, us, lost, resent, .. } = *self;
        write!(
            f,
            "{rate:>10.0}/s asked  {served:>10.0}/s served  p{percentile} {us:>10.1} us  \
             lost or unsent {lost}  resent {resent}  {}",
            if self.good { "good" } else { "too much" }
        )
    }
}

/// A sentence about the result.
pub fn verdict(found: Option<f64>, args: &RampArgs) -> String {
    let (percentile, limit) = (args.percentile, args.limit_us);
    match found {
        Some(rate) => format!("\nknee: {rate:.0}/s with p{percentile} of at most {limit} us"),
        None => format!("\nno knee: p{percentile} is above {limit} us at every rate that was tried"),
    }
}
