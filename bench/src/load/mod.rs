//! `xblade-bench load` and `ramp`: sends requests to exports, on a schedule or as fast as
//! they are answered.
//!
//! ```text
//! args ─► job ─► run ─┬─ thread: worker ─► engine ─► port
//!  assign: who loads  │                    schedule, plan, flight,
//!    what             │                    verifier
//!                     └─ sum of the counts of all threads ─► outcome
//! ```

mod assign;
mod engine;
mod flight;
mod guard;
mod job;
mod plan;
mod ramp;
mod run;
mod schedule;
mod spread;
mod tally;
mod verify;
mod worker;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::args::{LoadArgs, RampArgs};
use crate::outcome::Outcome;
use crate::report;

use job::Job;

pub use plan::Pattern;

/// How long a request is resent.
const GIVE_UP: Duration = Duration::from_secs(10);

/// Runs the load, and prints the outcome. Returns `false` if some request was not served
/// correctly.
pub fn run(args: &LoadArgs) -> Result<bool> {
    if let Some(rate) = args.rate
        && !(0.001..=1e9).contains(&rate)
    {
        bail!("--rate {rate}: give 0.001 to 1e9 a second");
    }
    if args.runs == 0 {
        bail!("--runs 0: give at least 1");
    }
    let mut job = Job::new(args)?;
    let mut outcomes = Vec::new();
    for number in 1..=args.runs {
        let name = if args.runs == 1 { String::new() } else { format!("run {number} of {}", args.runs) };
        let outcome = job.run(name, args.rate, GIVE_UP)?;
        if args.runs > 1 {
            println!("{}", outcome.name);
        }
        println!("{}", report::text(&outcome).trim_end());
        outcomes.push(outcome);
        write(args.json.as_deref(), &outcomes)?;
        if job.stop.load(Ordering::Relaxed) {
            break;
        }
    }
    if outcomes.len() > 1 {
        print!("\n{}", spread::table(&outcomes).text());
    }
    let good = outcomes.iter().all(Outcome::is_good);
    write_report(args, outcomes)?;
    Ok(good)
}

/// Finds the highest rate that is served fast enough, and prints each step.
pub fn ramp(args: &RampArgs) -> Result<bool> {
    ramp::check(args)?;
    let load = &args.load;
    let mut job = Job::new(load)?;
    let mut outcomes = Vec::new();
    let found = ramp::search(args.from_rate, args.precision / 100.0, |rate| {
        let outcome = job.run(format!("{rate:.0}/s"), Some(rate), ramp::GIVE_UP)?;
        let seconds = job.duration.unwrap_or_default().as_secs_f64();
        let (good, line) = ramp::judge(&outcome, rate, seconds, args.limit_us, args.percentile);
        println!("{line}");
        outcomes.push(outcome);
        write(load.json.as_deref(), &outcomes)?;
        if job.stop.load(Ordering::Relaxed) {
            bail!("interrupted");
        }
        Ok(good)
    })?;
    println!("{}", ramp::verdict(found, args));
    write_report(load, outcomes)?;
    Ok(found.is_some())
}

fn write_report(args: &LoadArgs, outcomes: Vec<Outcome>) -> Result<()> {
    match &args.report {
        Some(directory) => report::write_all(&report::Document::of(outcomes), directory).map(|_| ()),
        None => Ok(()),
    }
}

fn write(file: Option<&Path>, outcomes: &[Outcome]) -> Result<()> {
    let Some(file) = file else { return Ok(()) };
    let text = report::result::of_outcomes(outcomes).to_string();
    std::fs::write(file, text + "\n").with_context(|| format!("cannot write {}", file.display()))
}
