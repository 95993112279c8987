//! Looks for the knee: the highest rate at which responses are fast enough.

use std::fmt;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::args::{LoadArgs, RampArgs, ResendKind};
use crate::outcome::Outcome;

use super::run::Variant;

/// Steps at most: a rate that is not known by then is not to be known.
const STEPS_MAX: u32 = 60;
/// A step has to serve this share of what was due, in the time that was given.
const REACHED: f64 = 0.98;
/// No rate is lower, in requests a second.
const RATE_MIN: f64 = 1.0;
/// No rate is higher.
const RATE_MAX: f64 = 1e9;
/// How long a request is sent again: a step that is too much should not take
/// longer than that to end.
const GIVE_UP: Duration = Duration::from_secs(1);

/// What is looked for.
#[derive(Clone, Copy, Debug)]
pub struct Goal {
    /// The first rate to try.
    pub from: f64,
    /// Ends when the highest good rate and the lowest bad one differ by less
    /// than this share.
    pub precision: f64,
}

impl Goal {
    /// As the arguments have it.
    pub fn new(args: &RampArgs) -> Self {
        Self { from: args.from_rate, precision: args.precision / 100.0 }
    }
}

/// Refuses arguments that make no sense here.
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

/// The highest rate that `attempt` finds good: doubles until one is not, then
/// halves the distance. `None` if none is.
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

/// What is good enough.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// The response time,
    pub us: f64,
    /// at this percentile.
    pub percentile: f64,
    /// How long requests are due, in seconds.
    pub seconds: f64,
}

/// A step, and whether its rate was served well enough.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Judged {
    /// Whether it was.
    pub good: bool,
    rate: f64,
    served: f64,
    percentile: f64,
    us: f64,
    lost: u64,
    resent: u64,
}

impl Judged {
    /// Judges what came of a rate.
    pub fn new(outcome: &Outcome, rate: f64, limit: &Limit) -> Self {
        let (response, trouble) = (outcome.response(), &outcome.trouble);
        let (us, served) = (response.us(limit.percentile / 100.0), outcome.iops());
        // What was due is not just what was asked for if it comes at random.
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

/// What was found, in words.
pub fn verdict(found: Option<f64>, args: &RampArgs) -> String {
    let (percentile, limit) = (args.percentile, args.limit_us);
    match found {
        Some(rate) => format!("\nknee: {rate:.0}/s with p{percentile} of at most {limit} us"),
        None => format!("\nno knee: p{percentile} is above {limit} us at every rate that was tried"),
    }
}
