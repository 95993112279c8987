//! `xblade-bench load`: sends requests to exports, on a schedule or as fast as they are
//! answered.
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
mod run;
mod schedule;
mod tally;
mod verify;
mod worker;
#[cfg(test)]
mod tests;

use anyhow::Result;

use crate::args::LoadArgs;
use crate::report::{self, Document, result};

use job::Job;

pub use plan::Pattern;

/// Runs the load, and prints the outcome. Returns `false` if some request was not served
/// correctly.
pub fn run(args: &LoadArgs) -> Result<bool> {
    let outcome = Job::new(args)?.run()?;
    let (text, good) = (report::text(&outcome), outcome.is_good());
    let document = Document::of(outcome);
    if args.prints_json() {
        print!("{}", result::json(&document));
    } else {
        println!("{}", text.trim_end());
        args.json.as_deref().map_or(Ok(()), |file| result::write(&document, file))?;
    }
    args.report.as_deref().map_or(Ok(()), |directory| report::write_all(&document, directory))?;
    Ok(good)
}
