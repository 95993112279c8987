//! Whether this machine fits a configuration: what has to change here before it
//! can be served. Opens nothing for writing, locks nothing and attaches
//! nothing, so a process that serves does not notice.

use super::failure::{Failure, chain};
use super::interface;
use crate::config::{Fault, Image, Loaded, Place};
use crate::control::{self, metrics};
use crate::link;
use crate::store;

/// All that does not fit, each as a fault of the place in the file that asks
/// for it, and what has to do with no place.
pub fn misfits(loaded: &Loaded) -> (Vec<Fault>, Vec<String>) {
    let mut faults = interfaces(loaded);
    faults.extend(exports(loaded));
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
fn fault(at: &Place, text: &str) -> Fault {
    let (message, remedy) = text.rsplit_once(": ").unwrap_or((text, "see `xblade check`"));
    Fault::value(at.clone(), message, remedy)
}

fn interfaces(loaded: &Loaded) -> Vec<Fault> {
    let there = link::all().unwrap_or_default();
    let one = |(wanted, at): (&String, &Place)| {
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

fn exports(loaded: &Loaded) -> Vec<Fault> {
    let one = |(export, at): (&crate::config::Export, &Place)| {
        let Image::File(options) = &export.image else { return None };
        store::examine(options).err().map(|error| fault(at, &remedy_last(&error)))
    };
    loaded.serve.exports.iter().zip(&loaded.paths).filter_map(one).collect()
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
fn metrics(loaded: &Loaded) -> Option<Fault> {
    let service = &loaded.serve.service;
    let (address, at) = (service.metrics.0?, loaded.metrics.as_ref()?);
    let running = service.control.0.as_deref().and_then(control::metrics_of);
    if running == Some(address) {
        return None;
    }
    let error = metrics::Listener::bind(address).err()?;
    Some(Fault::value(at.clone(), error.what(), error.remedy()))
}

fn cores(loaded: &Loaded) -> Vec<Fault> {
    let there: Vec<usize> =
        core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect();
    let names: Vec<String> = there.iter().map(usize::to_string).collect();
    let wanted = loaded.serve.cores.iter().zip(&loaded.cores).filter(|(core, _)| !there.contains(core));
    let remedy = format!("give one of those there are ({})", names.join(", "));
    wanted
        .map(|(core, at)| {
            Fault::value(at.clone(), format!("this process may not use a core {core}"), remedy.clone())
        })
        .collect()
}
