//! `xblade-bench compare`: puts targets under the same load, one after the other, on a
//! veth pair and temporary files.
//!
//! ```text
//! profile ─► plan ─► rig: pair, files ──► target + generator ──► sample ─► samples ─► document ─► report
//!                               └───────► fio ────────────────────┘
//! ```

mod case;
mod conditions;
mod files;
mod generator;
mod observer;
mod output;
mod pair;
mod plan;
mod rig;
mod samples;
mod shell;
mod table;
mod target;
#[cfg(test)]
mod tests;
mod warnings;

use std::path::Path;

use anyhow::{Result, bail};

use crate::args::CompareArgs;
use crate::conditions::{Cores, ROOT, load_average};
use crate::outcome::Outcome;
use crate::report::{Document, Section};
use crate::signals;

pub use case::CaseSpec;
pub use target::{CustomTarget, Target};

use plan::Plan;
use rig::Rig;
use samples::Samples;
use table::Earlier;
use target::Programs;

/// Measures, and writes the results. Returns `false` if a request failed or data was
/// wrong.
pub fn run(args: &CompareArgs) -> Result<bool> {
    if args.list_profiles {
        print!("{}", Plan::list()?);
        return Ok(true);
    }
    let mut plan = Plan::new(args)?;
    let earlier = args.against.as_deref().map(Earlier::read).transpose()?;
    if !rustix::process::geteuid().is_root() {
        bail!("network namespaces and XDP need root: run this with sudo");
    }
    let (programs, missing) = Programs::find(args, &mut plan)?;
    let (stop, root) = (signals::on_interrupt()?, Path::new(ROOT));
    let mut suspect = warnings::of_machine(&plan, &Cores::read(root), load_average(root));
    suspect.extend(missing);
    suspect.extend(earlier.as_ref().map(|_| table::NOTE.to_owned()));
    let versions = programs.versions(&plan.targets);
    let rig = Rig::new(&plan, programs, args.port, &stop)?;
    let drops = || anyhow::Ok((rig.pair.target.drops()?, rig.pair.initiator.drops()?));
    let before = drops()?;
    let results = plan.cases.iter().map(|case| rig.measure(case)).collect::<Result<Vec<Samples>>>()?;
    let mut conditions = conditions::of_all(&plan, &results, versions);
    conditions.push(conditions::of_drops(before, drops()?));
    drop(rig);
    let document = Document {
        title: format!("xblade-bench compare: {}", plan.profile),
        conditions,
        warnings: suspect,
        sections: results.iter().map(|samples| section(samples, earlier.as_ref())).collect(),
    };
    output::write(args, &plan.profile, &document)?;
    Ok(document.sections.iter().flat_map(|section| &section.samples).all(|sample| sample.outcome.is_good()))
}

/// A case for reports: a curve for each target, and every sample.
fn section(samples: &Samples, earlier: Option<&Earlier>) -> Section {
    let each = 0..samples.targets.len();
    let outcome = |at: usize| {
        let warnings = warnings::of_target(samples, at);
        Some(Outcome { name: samples.name(at), warnings, ..samples::merged(samples.of(at))? })
    };
    Section {
        title: samples.case.name(),
        table: Some(table::table(samples, earlier)),
        outcomes: each.filter_map(outcome).collect(),
        samples: samples.rounds.iter().flatten().cloned().collect(),
        ratios: samples.ratios(),
    }
}
