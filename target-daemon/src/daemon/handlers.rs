//! The handlers of control requests.

use std::time::{Duration, Instant};

use super::closing::Removed;
use super::control::Served;
use super::exports::Refused;
use super::interface::{self, names_of};
use super::quarantine;
use super::registry::path_of;
use super::reload::{self, How, UNSYNCED};
use super::sizes::{Sizes, in_words};
use crate::config::{self, Export, Serve};
use crate::control::snapshot::{self, Snapshot};
use crate::control::{Answer, Change, ChangeReport, Changed, ControlError, Request};
use crate::wire::aoe::Address;
use crate::worker::{Clear, WithExports};

/// Handles one request.
pub fn handle(request: Request, served: &mut Served<'_>, sizes: &mut Sizes) {
    match request {
        Request::Snapshot(answer) => answer(snapshot(served)),
        Request::Configuration(answer) => answer(served.options.clone()),
        Request::Change(wanted, answer) => change(wanted, answer, served, sizes),
        Request::Trace { tracer, answer } => {
            served.pool.trace(Some(&tracer));
            log::info!("a trace has begun");
            answer(interfaces_of_lanes(served));
        }
        Request::EndTrace => {
            served.pool.trace(None);
            log::info!("the trace has ended");
        }
    }
}

fn change(wanted: Change, answer: Answer<Changed>, served: &mut Served<'_>, sizes: &mut Sizes) {
    let (what, address, outcome) = match wanted {
        Change::Reload { force } => return answer(reload(served, sizes, force)),
        Change::Add(export) => ("export add", export.address, add(*export, served)),
        Change::Remove { address, force } => match remove(address, force, served) {
            // The caller may pull the disk once this is answered.
            Ok(changed) if served.pool.registry.is_closing(address) => {
                return served.awaited.push(Awaited { address, changed, answer, since: Instant::now() });
            }
            removed => ("export remove", address, removed),
        },
        Change::Recover { address, reason } => ("export recover", address, recover(address, &reason, served)),
        Change::ReadOnly { address, read_only } => {
            let what = if read_only { "export read-only" } else { "export read-only --off" };
            (what, address, set_read_only(address, read_only, served))
        }
        Change::Resize(address) => ("export resize", address, resize(address, served, sizes)),
        Change::ClearReservation(address) => {
            let outcome = clear(address, Clear::Reservation, "has no reservation any more", served);
            ("reservations --clear", address, outcome)
        }
        Change::ClearMask(address) => {
            let outcome = clear(address, Clear::Mask, "has no mask list any more", served);
            ("masks --clear", address, outcome)
        }
    };
    // Logs a refusal as well: the person who looks for the reason may not be the caller.
    // Successful changes are logged where they are made.
    if let Err(refusal) = &outcome {
        log::warn!("{what} {address} was refused: {refusal}");
    }
    answer(outcome);
}

/// The interface of each lane, by the index of the lane.
fn interfaces_of_lanes(served: &Served<'_>) -> Vec<String> {
    let name = |index: usize| served.interfaces.get(index).map(|interface| interface.facts.name.clone());
    served.pool.lanes.iter().map(|lane| name(lane.interface).unwrap_or_default()).collect()
}

/// Collects everything that clients can read.
fn snapshot(served: &Served<'_>) -> Snapshot {
    let interfaces = served.interfaces.iter().map(interface::Interface::snapshot).collect();
    let workers = served.pool.snapshots(WithExports::No);
    Snapshot {
        refused: served.refused.iter().map(refused).collect(),
        ..Snapshot::new(served.since.elapsed(), interfaces, workers, served.pool.exports())
    }
}

/// Reloads the configuration file.
pub fn reload(served: &mut Served<'_>, sizes: &mut Sizes, force: bool) -> Changed {
    let outcome = read_again(served).and_then(|next| {
        let (next, refused) = without_refused(next, served, force);
        let changed = apply(served, next, force)?;
        served.refused = refused;
        sizes.set_period(served.options);
        Ok(changed)
    });
    match &outcome {
        Ok(changed) if changed.lines.is_empty() => log::info!("reloaded: nothing has changed"),
        Ok(changed) => log::info!("reloaded: {} change(s)", changed.lines.len()),
        Err(refusal) => log::error!("reload: {refusal}"),
    }
    outcome.map(|mut changed| {
        // No changes, but the caller must know them.
        changed.lines.extend(served.refused.iter().map(|refused| format!("NOT SERVED: {}", refused.why)));
        changed.lines.extend(served.pool.replaced());
        changed
    })
}

fn apply(served: &mut Served<'_>, next: Serve, force: bool) -> Changed {
    reload::apply(served.pool, served.interfaces, served.options, next, &How { force, recover: None })
}

/// Removes from `next` the exports that were not served so far and still may not be.
/// Returns both.
fn without_refused(mut next: Serve, served: &Served<'_>, force: bool) -> (Serve, Vec<Refused>) {
    let (folder, interfaces) = (next.service.state.0.clone(), names_of(served.interfaces));
    let still = |export: &Export| {
        let was = served.refused.iter().any(|refused| refused.wanted.address == export.address);
        let data = export.store.data().filter(|_| was && !force && !export.force)?;
        quarantine::check_kept(export, &data, folder.as_deref(), &interfaces).err()
    };
    let refused = next
        .exports
        .iter()
        .filter_map(|wanted| Some(Refused { wanted: wanted.clone(), why: still(wanted)? }));
    let refused: Vec<Refused> = refused.collect();
    next.exports.retain(|export| !refused.iter().any(|refused| refused.wanted.address == export.address));
    (next, refused)
}

fn refused(refused: &Refused) -> snapshot::Refused {
    snapshot::Refused {
        address: refused.wanted.address.to_string(),
        path: path_of(&refused.wanted),
        reason: refused.why.to_string(),
    }
}

fn read_again(served: &Served<'_>) -> Result<Serve, ControlError> {
    let Some(path) = served.config else {
        return Err(ControlError::Request(
            "xblade was started without a configuration file: use `xblade export add` and `remove`, or start it with \
             --config"
                .into(),
        ));
    };
    let loaded =
        config::load(path).map_err(|e| ControlError::Request(format!("nothing was changed: {e}")))?;
    loaded.complete().map_err(|faults| ControlError::Request(format!("nothing was changed:\n{faults}")))
}

fn add(mut export: Export, served: &mut Served<'_>) -> Changed {
    let address = export.address;
    if served.pool.registry.get(address).is_some() {
        return Err(ControlError::Request(format!(
            "{address} is served already: take another address, or remove it first"
        )));
    }
    export.allow.get_or_insert_with(|| served.options.allow.clone());
    let mut next = served.options.clone();
    let force = std::mem::take(&mut export.force);
    next.exports.push(export);
    let changed = apply(served, next, force)?;
    served.refused.retain(|refused| refused.wanted.address != address);
    Ok(changed)
}

fn remove(address: Address, force: bool, served: &mut Served<'_>) -> Changed {
    known(address, served)?;
    let mut next = served.options.clone();
    next.exports.retain(|export| export.address != address);
    let changed = apply(served, next, force)?;
    // The export is gone, but that does not make it a success.
    match changed.lines.iter().find(|line| line.contains(UNSYNCED)) {
        Some(line) => Err(ControlError::Machine(line.clone())),
        None => Ok(changed),
    }
}

/// An export whose removal waits for its last sync.
pub struct Awaited {
    address: Address,
    changed: ChangeReport,
    answer: Answer<Changed>,
    since: Instant,
}

/// The longest wait, less than the HTTP timeout of a change.
const AWAITED_MAX: Duration = Duration::from_secs(30);

/// Answers the callers that wait for exports to be closed.
pub fn answer_awaited(served: &mut Served<'_>, closed: &[(Address, Removed)]) {
    for Awaited { address, changed, answer, since } in std::mem::take(&mut served.awaited) {
        let how = closed.iter().find(|(other, _)| *other == address).map(|(_, how)| how);
        match how {
            Some(Removed::Unsynced(why)) => {
                answer(Err(ControlError::Machine(format!("{address} removed, but {why}"))))
            }
            Some(Removed::Closed) => answer(Ok(changed)),
            Some(Removed::Later) | None if since.elapsed() < AWAITED_MAX => {
                served.awaited.push(Awaited { address, changed, answer, since });
            }
            Some(Removed::Later) | None => answer(Err(ControlError::Machine(format!(
                "{address} removed, but what hosts have written is still on its way to the disk: wait until the log says \
                 `{address} is closed` before you take the disk away"
            )))),
        }
    }
}

/// Takes writes again, after reopening the store.
fn recover(address: Address, reason: &str, served: &mut Served<'_>) -> Changed {
    known(address, served)?;
    if !served.pool.degraded().contains(&address) {
        return Err(ControlError::Request(format!(
            "{address} has had no fault since it was opened: it needs no recovery"
        )));
    }
    let how = How { force: false, recover: Some(address) };
    let next = served.options.clone();
    reload::apply(served.pool, served.interfaces, served.options, next, &how)?;
    let line = format!("{address} accepts writes again; reason given by the operator: {reason}");
    log::warn!("{line}");
    Ok(ChangeReport { lines: vec![line] })
}

/// Refuses writes at once, with the same open store. To accept them again, the store is
/// reopened.
fn set_read_only(address: Address, read_only: bool, served: &mut Served<'_>) -> Changed {
    let mut settings = known(address, served)?;
    let mut next = served.options.clone();
    let export = next.exports.iter_mut().find(|export| export.address == address);
    let Some(store) = export.map(|export| &mut export.store).filter(|store| store.path().is_some()) else {
        return Err(ControlError::Request(format!("{address} has no file: it has nothing to protect")));
    };
    if store.read_only() == read_only {
        return Ok(ChangeReport::default());
    }
    store.set_read_only(read_only);
    if !read_only {
        return apply(served, next, false);
    }
    settings.read_only = true;
    if let Some(export) = next.exports.iter().find(|export| export.address == address) {
        served.pool.change(export, settings);
    }
    *served.options = next;
    let line = format!("{address} refuses writes");
    log::info!("{line}");
    Ok(ChangeReport { lines: vec![line] })
}

fn resize(address: Address, served: &mut Served<'_>, sizes: &mut Sizes) -> Changed {
    known(address, served)?;
    let before = size_of(address, served);
    let after = served.pool.measure_one(address).map_err(ControlError::Machine)?;
    sizes.follow(served.pool, served.interfaces.len(), served.options);
    Ok(match before == Some(after) {
        true => ChangeReport { lines: vec![format!("{address}: {}, as before", in_words(after))] },
        false => ChangeReport {
            lines: vec![format!("{address}: {} now, was {}", in_words(after), in_words(before.unwrap_or(0)))],
        },
    })
}

fn clear(address: Address, what: Clear, words: &str, served: &mut Served<'_>) -> Changed {
    known(address, served)?;
    served.pool.clear(address, what).map_err(ControlError::Machine)?;
    let line = format!("{address} {words}");
    log::info!("{line}");
    Ok(ChangeReport { lines: vec![line] })
}

fn size_of(address: Address, served: &Served<'_>) -> Option<u64> {
    served.pool.sizes().into_iter().find(|(other, _)| *other == address).map(|(_, size)| size)
}

fn known(address: Address, served: &Served<'_>) -> Result<crate::shelf::Settings, ControlError> {
    let entry = served.pool.registry.get(address);
    entry.map(|entry| entry.settings.clone()).ok_or_else(|| unknown(address, served))
}

fn unknown(address: Address, served: &Served<'_>) -> ControlError {
    let there: Vec<String> =
        served.pool.registry.entries().map(|entry| entry.wanted.address.to_string()).collect();
    ControlError::Unknown(format!("there is no export {address}: there are {}", there.join(", ")))
}
