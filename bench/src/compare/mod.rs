//! `xblade-bench compare`: targets under the same load, in turn, on a veth pair
//! and a file of their own.
//!
//! ```text
//! case ──► rig: pair, file ──► target + generator ──► sample ──► samples ──► report
//!                         └──► fio ───────────────────┘
//! ```

mod case;
mod conditions;
mod file;
mod generator;
mod pair;
mod report;
mod rig;
mod sample;
mod samples;
mod shell;
mod spinner;
mod target;
mod warnings;

use std::path::Path;

use anyhow::{Context, Result};

use crate::args::CompareArgs;
use crate::signals;

pub use case::CaseArg;
pub use target::Target;

use case::Case;
use rig::Rig;
use samples::Samples;

/// Measures, and prints what came of it.
pub fn run(args: &CompareArgs) -> Result<()> {
    let stop = signals::on_interrupt()?;
    let load_before = conditions::load_average();
    let cases = Case::list(args)?;
    let rig = Rig::new(args, &stop)?;
    let results = cases.iter().map(|case| rig.measure(*case)).collect::<Result<Vec<Samples>>>()?;
    let port = port(&results);
    let conditions = conditions::describe(args, &cases, &port, &rig.versions(), load_before);
    let report = report::markdown(&conditions, &results);
    print!("{report}");
    if let Some(file) = &args.markdown {
        write(file, &report)?;
    }
    if let Some(file) = &args.json {
        let json = report::json(&conditions, &results);
        write(file, &serde_json::to_string_pretty(&json).context("cannot write the samples as JSON")?)?;
    }
    Ok(())
}

fn write(file: &Path, text: &str) -> Result<()> {
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

/// How the generator's frames left and arrived.
fn port(results: &[Samples]) -> String {
    let mut networks =
        results.iter().flat_map(|s| s.rounds.iter().flatten()).filter_map(|s| s.network.as_ref());
    networks.next().map_or_else(|| "nothing".to_owned(), |network| network.port.clone())
}
