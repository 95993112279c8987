//! Checks whether this machine fits a configuration, and what must change before it can be
//! served. Opens nothing for writing, locks nothing and attaches nothing, so a running
//! xblade is not affected.

use super::exports;
use super::failure::Failure;
use super::interface;
use super::plan;
use super::quarantine;
use super::segments;
use super::state_writer;
use crate::config::{Diagnostic, Export, ExportSpans, Loaded, Span};
use crate::control::{self, metrics};
use crate::link::{self, Facts};
use crate::store::{Expected, Problem};

/// All problems: diagnostics with the location in the file, and messages that have no
/// location.
pub fn problems(loaded: &Loaded) -> (Vec<Diagnostic>, Vec<String>) {
    let mut faults = interfaces(loaded);
    faults.extend(in_segments(loaded));
    faults.extend(files(loaded));
    faults.extend(two_ways(loaded));
    faults.extend(cores(loaded));
    faults.extend(metrics(loaded));
    faults.extend(workers(loaded));
    let mut everywhere = match link::missing_capabilities() {
        Ok(missing) if missing.is_empty() => Vec::new(),
        Ok(missing) => vec![lacking(&missing)],
        Err(e) => vec![format!("cannot read own capabilities: {e}")],
    };
    everywhere.extend(service(loaded));
    (faults, everywhere)
}

/// What is wrong with the kernel, the control socket and the state folder.
fn service(loaded: &Loaded) -> Vec<String> {
    let service = &loaded.serve.service;
    let (group, admins) = (service.control_group.as_deref(), service.admin_group.as_deref());
    let control = service.control.as_deref().map(|path| control::check_socket(path, group, admins).map(drop));
    let state = service.state.as_deref().map(state_writer::check_folder);
    let mut problems: Vec<String> = control.and_then(Result::err).iter().map(ToString::to_string).collect();
    problems.extend(state.and_then(Result::err).iter().map(ToString::to_string));
    problems.extend(plan::check_spread(&loaded.serve, link::kernel()).err().iter().map(ToString::to_string));
    problems
}

/// Exports that name a worker that there will not be.
fn workers(loaded: &Loaded) -> Vec<Diagnostic> {
    let names = interface::names(&loaded.serve.interfaces).unwrap_or_default();
    let queues: Vec<u32> =
        names.iter().filter_map(|name| interface::usable(name).ok()).map(|facts| facts.queues).collect();
    if queues.is_empty() {
        return Vec::new();
    }
    let workers = plan::workers(&loaded.serve, queues.into_iter());
    let one = |(export, ExportSpans { path: at, .. }): (&Export, &ExportSpans)| {
        let worker = export.worker.map(usize::from).filter(|worker| *worker >= workers)?;
        let what = plan::no_such_worker(export.address, worker, workers).to_string();
        Some(Diagnostic::value(at.clone(), what, "name one that there is, or leave worker out"))
    };
    loaded.serve.exports.iter().zip(&loaded.exports).filter_map(one).collect()
}

/// The error for missing capabilities.
pub fn lacking(missing: &[&str]) -> String {
    format!("this process lacks {}: run xblade as root (sudo xblade ...)", missing.join(", "))
}

fn fault(at: &Span, problem: Problem) -> Diagnostic {
    let remedy = if problem.remedy.is_empty() { "see `xblade check`".to_owned() } else { problem.remedy };
    Diagnostic::value(at.clone(), problem.what, remedy)
}

fn interfaces(loaded: &Loaded) -> Vec<Diagnostic> {
    let there = link::all().unwrap_or_default();
    let one = |(wanted, at): (&String, &Span)| {
        let names = match interface::fitting(wanted, &there) {
            Ok(names) => names,
            Err(failure) => return vec![fault(at, failure.problem())],
        };
        let refused = names.iter().filter_map(|name| interface::usable(name).err());
        refused.map(|failure| fault(at, failure.problem())).collect()
    };
    loaded.serve.interfaces.iter().zip(&loaded.interfaces).flat_map(one).collect()
}

/// Interfaces of exports that are not served, and VLANs whose tags do not arrive.
fn in_segments(loaded: &Loaded) -> Vec<Diagnostic> {
    let names = interface::names(&loaded.serve.interfaces).unwrap_or_default();
    let facts: Vec<Facts> = names.iter().filter_map(|name| interface::usable(name).ok()).collect();
    let served: Vec<&Facts> = facts.iter().collect();
    // Then some interface is at fault.
    if served.len() < names.len() || served.is_empty() {
        return Vec::new();
    }
    let there = link::all().unwrap_or_default();
    let one = |(export, at): (&Export, &ExportSpans)| match segments::placed(export, &served, &there) {
        Err(problem) => Some(fault(&at.interfaces, problem)),
        Ok(found) => segments::hidden(export, &found, &served).map(|problem| fault(&at.vlan, problem)),
    };
    loaded.serve.exports.iter().zip(&loaded.exports).filter_map(one).collect()
}

fn files(loaded: &Loaded) -> Vec<Diagnostic> {
    let interfaces = interface::names(&loaded.serve.interfaces).unwrap_or_default();
    let one = |(export, ExportSpans { path: at, .. }): (&Export, &ExportSpans)| {
        if let Err(error) = export.store.examine(None) {
            return Some(fault(at, Failure::machine(error).problem()));
        }
        let (data, folder) = (export.store.data()?, loaded.serve.service.state.as_deref());
        if let Some(folder) = folder
            && let Err(failure) = state_writer::check_state(export, &data, folder)
        {
            return Some(fault(at, failure.problem()));
        }
        if export.force {
            return None;
        }
        quarantine::check_kept(export, &data, folder, &interfaces).err().map(|why| fault(at, why))
    };
    loaded.serve.exports.iter().zip(&loaded.exports).filter_map(one).collect()
}

/// Exports of one file that would be accessed in different ways.
fn two_ways(loaded: &Loaded) -> Vec<Diagnostic> {
    let exports = loaded.serve.exports.iter().zip(loaded.exports.iter().map(|at| &at.path));
    let all: Vec<_> =
        exports.filter_map(|(export, at)| Some((export.address, export.store.expected()?, at))).collect();
    let first_of = |(later, (address, ours, at)): (usize, &(_, Expected, &Span))| {
        let beside = |(_, theirs, other): &(_, Expected, _)| Some((ours.check_beside(theirs).err()?, *other));
        let (error, other) = all.iter().take(later).find_map(beside)?;
        let problem = exports::in_the_way(*address, error, &loaded.serve).problem();
        Some(fault(at, problem).with(other.clone(), "first here"))
    };
    all.iter().enumerate().filter_map(first_of).collect()
}

/// A running xblade with this configuration may already use the address.
fn metrics(loaded: &Loaded) -> Option<Diagnostic> {
    let service = &loaded.serve.service;
    let (address, at) = (service.metrics?, loaded.metrics.as_ref()?);
    let running = service.control.as_deref().and_then(control::metrics_of);
    if running == Some(address) {
        return None;
    }
    metrics::bind(address).err().map(|problem| fault(at, problem))
}

fn cores(loaded: &Loaded) -> Vec<Diagnostic> {
    let there: Vec<usize> =
        core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect();
    let names: Vec<String> = there.iter().map(usize::to_string).collect();
    let wanted = loaded.serve.cores.iter().zip(&loaded.cores).filter(|(core, _)| !there.contains(core));
    let remedy = format!("give one of those there are ({})", names.join(", "));
    wanted
        .map(|(core, at)| {
            Diagnostic::value(at.clone(), format!("this process may not use a core {core}"), remedy.clone())
        })
        .collect()
}
