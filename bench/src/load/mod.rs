//! `xblade-bench load` and `ramp`: sends requests to exports, on a schedule or as fast as
//! they are answered.
//!
//! ```text
//! args ─► job ─► run ─┬─ thread: clock ─► worker ─► engine ─► port
//!  assign: who loads  │                            schedule, plan, flight,
//!    what             │                            verifier
//!                     └─ sum of the counts of all threads ─► outcome
//! ```

mod clock;
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
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::atomic::Ordering;

use anyhow::{Context, Result, bail};

use crate::args::{LoadArgs, RampArgs};
use crate::outcome::Outcome;
use crate::report;
use crate::signals;

use job::Job;
use run::{Bench, Variant};

pub use plan::Pattern;

/// Runs the load, and prints the outcome. Returns `false` if some request was not served
/// correctly.
pub fn run(args: &LoadArgs) -> Result<bool> {
    check_rate("--rate", args.rate)?;
    if args.runs == 0 {
        bail!("--runs 0: give at least 1");
    }
    let job = Job::new(args)?;
    let mut bench = bench(args, &job)?;
    let mut outcomes = Vec::new();
    for number in 1..=args.runs {
        let name = if args.runs == 1 { String::new() } else { format!("run {number} of {}", args.runs) };
        let outcome = bench.run(&Variant::new(name, args))?;
        let heading = if args.runs == 1 { String::new() } else { format!("{}\n", outcome.name) };
        println!("{heading}{}", report::text(&outcome).trim_end());
        outcomes.push(outcome);
        write(args.json.as_deref(), &outcomes)?;
        if bench.stop.load(Ordering::Relaxed) {
            break;
        }
    }
    if outcomes.len() > 1 {
        print!("\n{}", spread::table(&outcomes).text());
    }
    let good = outcomes.iter().all(Outcome::is_good);
    if let Some(directory) = &args.report {
        report::write_all(&report::Document::of(outcomes), directory)?;
    }
    Ok(good)
}

/// Finds the highest rate that is served fast enough, and prints each step.
pub fn ramp(args: &RampArgs) -> Result<bool> {
    let load = &args.load;
    ramp::check(args)?;
    let job = Job::new(load)?;
    let mut bench = bench(load, &job)?;
    let mut outcomes = Vec::new();
    let stop = bench.stop.clone();
    let seconds = job.duration.unwrap_or_default().as_secs_f64();
    let limit = ramp::Limit { us: args.limit_us, percentile: args.percentile, seconds };
    let found = ramp::search(args.from_rate, args.precision / 100.0, |rate| {
        let outcome = bench.run(&ramp::variant(load, rate))?;
        let (good, line) = limit.judge(&outcome, rate);
        println!("{line}");
        outcomes.push(outcome);
        write(load.json.as_deref(), &outcomes)?;
        if stop.load(Ordering::Relaxed) {
            bail!("interrupted");
        }
        Ok(good)
    })?;
    println!("{}", ramp::verdict(found, args));
    if let Some(directory) = &load.report {
        report::write_all(&report::Document::of(outcomes), directory)?;
    }
    Ok(found.is_some())
}

fn bench<'a>(args: &'a LoadArgs, job: &'a Job) -> Result<Bench<'a>> {
    args.report.as_deref().map_or(Ok(()), report::check)?;
    let ports = job.open_ports(args.port)?;
    Ok(Bench { args, job, ports, stop: signals::on_interrupt()?, done: 0 })
}

fn check_rate(name: &str, rate: Option<f64>) -> Result<()> {
    match rate {
        Some(rate) if !(0.001..=1e9).contains(&rate) => bail!("{name} {rate}: give 0.001 to 1e9 a second"),
        _ => Ok(()),
    }
}

fn write(file: Option<&Path>, outcomes: &[Outcome]) -> Result<()> {
    let Some(file) = file else { return Ok(()) };
    let text = report::result::of_outcomes(outcomes).to_string();
    std::fs::write(file, text + "\n").with_context(|| format!("cannot write {}", file.display()))
}
