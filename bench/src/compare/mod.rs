//! `xblade-bench compare`: puts targets under the same load, one after the other, on a
//! veth pair or between two hosts, and on temporary files.
//!
//! ```text
//! profile ─► plan ─► rig: pair, files ──► target + generator ──► samples ─► document ─► report
//!                               └───────► fio ────────────────────┘
//! ```

mod case;
mod conditions;
mod files;
mod fio;
mod observer;
mod pair;
mod plan;
mod rig;
mod samples;
mod shell;
mod table;
mod target;
#[cfg(test)]
mod tests;
mod tracer;
mod verdict;
mod warnings;

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use crate::args::CompareArgs;
use crate::conditions::ROOT;
use crate::outcome::{Outcome, Sample};
use crate::report::{self, Document, Section};
use crate::signals;

pub use case::Case;
pub use target::Target;

use pair::Pair;
use plan::Plan;
use rig::Rig;
use target::Programs;
use tracer::Tracer;

/// Measures, and writes the results. Returns `false` if a request failed or data was
/// wrong.
pub fn run(args: &CompareArgs) -> Result<bool> {
    if args.list_profiles {
        print!("{}", Plan::list()?);
        return Ok(true);
    }
    let mut plan = Plan::new(args)?;
    let directory = args.report.clone().unwrap_or_else(|| usual(&plan.profile));
    report::check(&directory)?;
    ensure!(rustix::process::geteuid().is_root(), "network namespaces and XDP need root: run this with sudo");
    let (programs, missing) = Programs::find(args, &mut plan)?;
    let mut warnings = warnings::of_machine(&plan, Path::new(ROOT));
    warnings.extend(missing);
    let stop = signals::on_interrupt()?;
    let pair = match &args.hosts {
        Some(hosts) => Pair::of_hosts(hosts, &mut plan.cases)?,
        None => Pair::veth()?,
    };
    let mut conditions = conditions::of_all(&plan, &pair, programs.versions(&plan.targets));
    let call_ns = Tracer::calibrate();
    conditions.push(conditions::of_tracer(&call_ns));
    let rig = Rig::new(&plan, programs, pair, args.port, call_ns.ok(), &stop)?;
    let section = |case: &Case| Ok(section(case.name(), rig.measure(case)?));
    let sections = plan.cases.iter().map(section).collect::<Result<Vec<_>>>()?;
    if args.hosts.is_some() {
        conditions.extend(rig.generator.take());
    }
    drop(rig);
    let title = format!("xblade-bench compare: {}", plan.profile);
    let verdict = verdict::of(&sections, &warnings);
    let document = Document { title, verdict, conditions, warnings, sections };
    print!("{}", report::markdown(&document));
    report::write_all(&document, &directory)?;
    let page = directory.join("report.html");
    println!("\nreport: {}", std::fs::canonicalize(&page).unwrap_or(page).display());
    let mut samples = document.sections.iter().flat_map(|section| &section.samples);
    Ok(samples.all(|sample| sample.outcome.is_good()))
}

/// A case for reports: a curve for each target, and every sample.
fn section(title: String, samples: Vec<Sample>) -> Section {
    let outcome = |target: &str| {
        let of: Vec<&Sample> = samples::of(&samples, target).collect();
        let merged = samples::merged(&of)?;
        Some(Outcome { warnings: warnings::of_target(&of, &merged), ..merged })
    };
    let rows = table::rows(&samples);
    Section {
        table: Some(table::table(&samples, &rows)),
        outcomes: samples::names(&samples).into_iter().filter_map(outcome).collect(),
        ratios: samples::ratios(&samples),
        rows,
        title,
        samples,
    }
}

/// A new directory, named after the profile and the time.
fn usual(profile: &str) -> PathBuf {
    let time = jiff::Timestamp::now().strftime("%Y%m%d-%H%M%S");
    PathBuf::from(format!("xblade-report-{profile}-{time}"))
}
