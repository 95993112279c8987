//! Whether this machine fits a configuration: what has to change here before it
//! can be served. Opens nothing for writing, locks nothing and attaches
//! nothing, so a process that serves does not notice.

use super::exports;
use super::failure::{Failure, chain};
use super::interface;
use super::quarantine;
use crate::config::{Diagnostic, Image, Loaded, Span};
use crate::control::{self, metrics};
use crate::link;
use crate::store::{self, Expected};

/// All that does not fit, each as a fault of the place in the file that asks
/// for it, and what has to do with no place.
pub fn problems(loaded: &Loaded) -> (Vec<Diagnostic>, Vec<String>) {
    let mut faults = interfaces(loaded);
    faults.extend(files(loaded));
    faults.extend(two_ways(loaded));
    faults.extend(cores(loaded));
    faults.extend(metrics(loaded));
    let missing = link::missing_capabilities().map_err(|e| format!("cannot read own capabilities: {e}"));
    let everywhere = match missing {
        Ok(missing) if missing.is_empty() => None,
        Ok(missing) => Some(Failure::Privilege { missing }.to_string()),
        Err(text) => Some(text),
    };
    (faults, everywhere.into_iter().collect())
}

/// The last part of a message is what to do.
fn fault(at: &Span, text: &str) -> Diagnostic {
    let (message, remedy) = text.rsplit_once(": ").unwrap_or((text, "see `xblade check`"));
    Diagnostic::value(at.clone(), message, remedy)
}

fn interfaces(loaded: &Loaded) -> Vec<Diagnostic> {
    let there = link::all().unwrap_or_default();
    let one = |(wanted, at): (&String, &Span)| {
        let names = match interface::fitting(wanted, &there) {
            Ok(names) => names,
            Err(failure) => return vec![fault(at, &failure.to_string())],
        };
        let refused = names.iter().filter_map(|name| interface::usable(name).err());
        refused.map(|failure| fault(at, &in_order(&failure.to_string()))).collect()
    };
    loaded.serve.interfaces.iter().zip(&loaded.interfaces).flat_map(one).collect()
}

/// Where a message ends with what there is, that is no remedy by itself.
fn in_order(text: &str) -> String {
    match text.split_once(": there are ") {
        Some((message, there)) => format!("{message}: give one of those there are ({there})"),
        None => text.to_owned(),
    }
}

fn files(loaded: &Loaded) -> Vec<Diagnostic> {
    let interfaces = interface::names(&loaded.serve.interfaces).unwrap_or_default();
    let one = |(export, at): (&crate::config::Export, &Span)| {
        let Image::File(options) = &export.image else { return None };
        if let Err(error) = store::examine(options) {
            return Some(fault(at, &remedy_last(&error)));
        }
        let data = quarantine::data_of(export).filter(|_| !export.force)?;
        let folder = loaded.serve.service.state.0.as_deref();
        quarantine::check_kept(export, &data, folder, &interfaces).err().map(|why| fault(at, &why))
    };
    loaded.serve.exports.iter().zip(&loaded.paths).filter_map(one).collect()
}

/// Exports of one file that would be reached in different ways.
fn two_ways(loaded: &Loaded) -> Vec<Diagnostic> {
    let expected = |export: &crate::config::Export| match &export.image {
        Image::File(options) => Expected::of(options),
        Image::Null { .. } => None,
    };
    let exports = loaded.serve.exports.iter().zip(&loaded.paths);
    let all: Vec<_> =
        exports.filter_map(|(export, at)| Some((export.address, expected(export)?, at))).collect();
    let first_of = |(later, (address, ours, at)): (usize, &(_, Expected, &Span))| {
        let earlier = all.iter().take(later);
        let (error, other) = earlier
            .filter_map(|(_, theirs, other)| Some((ours.check_beside(theirs).err()?, other)))
            .next()?;
        let failure = exports::in_the_way(*address, &error, &loaded.serve);
        let text = failure.map_or_else(|| error.to_string(), |failure| failure.to_string());
        Some(fault(at, &text).with((*other).clone(), "first here"))
    };
    all.iter().enumerate().filter_map(first_of).collect()
}

/// What the system said goes before the remedy.
fn remedy_last(error: &store::OpenError) -> String {
    let text = error.to_string();
    let whole = chain(error);
    match (whole.strip_prefix(&text), text.rsplit_once(": ")) {
        (Some(cause), Some((message, remedy))) if !cause.is_empty() => {
            format!("{message} ({}): {remedy}", cause.trim_start_matches(": "))
        }
        _ => text,
    }
}

/// The xblade that serves by this file, if there is one, may have the address already.
fn metrics(loaded: &Loaded) -> Option<Diagnostic> {
    let service = &loaded.serve.service;
    let (address, at) = (service.metrics.0?, loaded.metrics.as_ref()?);
    let running = service.control.0.as_deref().and_then(control::metrics_of);
    if running == Some(address) {
        return None;
    }
    let error = metrics::Listener::bind(address).err()?;
    Some(Diagnostic::value(at.clone(), error.what(), error.remedy()))
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
