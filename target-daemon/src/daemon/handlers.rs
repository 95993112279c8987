//! The handlers of control requests.

use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, bounded};

use super::control::Served;
use super::exports::{self, Held, HeldFiles, Refused};
use super::interface::{Interface, names_of};
use super::quarantine;
use super::rates;
use super::registry::{ExportEntry, path_of};
use super::reload;
use super::removal::Removed;
use super::sizes::in_words;
use crate::config::{self, Export, Serve};
use crate::control::snapshot::{self, Snapshot};
use crate::control::{Answer, Change, ChangeReport, Changed, ControlError, Request};
use crate::privilege;
use crate::shelf::{HostSetting, HostSettings};
use crate::store::Handed;
use crate::wire::aoe::Address;
use crate::worker::{Cleared, WorkerCommand};

/// Handles one request.
pub fn handle(request: Request, served: &mut Served<'_>) {
    match request {
        Request::Snapshot(answer) => answer(snapshot(served)),
        Request::Configuration(answer) => answer(served.options.clone()),
        Request::Change(wanted, answer) => change(wanted, answer, served),
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

fn change(wanted: Change, answer: Answer<Changed>, served: &mut Served<'_>) {
    let clearing;
    let (what, address, outcome) = match wanted {
        // systemd sees it as a reload by signal; the caller gets the result.
        Change::Reload { force, dry_run: true } => return answer(dry_run(served, force)),
        Change::Reload { force, dry_run: false } => {
            served.notifier.reloading();
            answer(reload(served, force));
            let status = served.status();
            return served.notifier.reloaded(status, true);
        }
        Change::Add { export, descriptors } => {
            ("export add", export.address, add(*export, descriptors, served))
        }
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
        Change::Resize(address) => ("export resize", address, resize(address, served)),
        Change::Clear { address, setting, refuse } => {
            clearing = format!("{} --clear", setting.command());
            (clearing.as_str(), address, clear(address, setting, refuse, served))
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
pub fn snapshot(served: &Served<'_>) -> Snapshot {
    let interfaces = served.interfaces.iter().map(Interface::snapshot).collect();
    let workers = served.pool.snapshots();
    let refused = served.refused.iter().map(|refused| snapshot::Refused {
        address: refused.wanted.address.to_string(),
        path: path_of(&refused.wanted),
        reason: refused.why.to_string(),
    });
    Snapshot {
        refused: refused.collect(),
        host_limits: served.options.host_limits.iter().map(Into::into).collect(),
        ..Snapshot::new(served.since.elapsed(), interfaces, workers, served.pool.exports())
    }
}

/// Reloads the configuration file.
pub fn reload(served: &mut Served<'_>, force: bool) -> Changed {
    let outcome = read_again(served).and_then(|next| {
        let remarks = rates::remarks(&next);
        let (next, refused) = without_refused(next, served, force);
        let changed = reload::apply(served, next, force, None, HeldFiles::new())?;
        served.refused = refused;
        remarks.iter().for_each(|line| log::warn!("{line}"));
        Ok(changed)
    });
    match &outcome {
        Ok(changed) if changed.lines.is_empty() => log::info!("reloaded: nothing has changed"),
        Ok(changed) => log::info!("reloaded: {} change(s)", changed.lines.len()),
        // Those of a file have several lines each.
        Err(refusal) => refusal.to_string().lines().for_each(|line| log::error!("reload: {line}")),
    }
    outcome.map(|mut changed| {
        // No changes, but the caller must know them.
        changed.lines.extend(served.refused.iter().map(|refused| format!("NOT SERVED: {}", refused.why)));
        changed.lines.extend(served.pool.replaced());
        changed
    })
}

/// What a reload would change.
fn dry_run(served: &mut Served<'_>, force: bool) -> Changed {
    let (next, refused) = without_refused(read_again(served)?, served, force);
    let mut report = reload::plan(served, &next, force)?;
    report.lines.extend(refused.iter().map(|refused| format!("NOT SERVED: {}", refused.why)));
    Ok(report)
}

/// Removes from `next` the exports that were not served so far and still may not be.
/// Returns both.
fn without_refused(mut next: Serve, served: &Served<'_>, force: bool) -> (Serve, Vec<Refused>) {
    let (folder, interfaces) = (next.service.state.clone(), names_of(&served.interfaces));
    let still = |export: &Export| {
        let was = served.refused.iter().any(|refused| refused.wanted.address == export.address);
        let data = export.store.data().filter(|_| was && !force && !export.force)?;
        quarantine::check_kept(export, &data, folder.as_deref(), &interfaces).err()
    };
    let mut refused = Vec::new();
    next.exports.retain(|wanted| {
        let why = still(wanted);
        refused.extend(why.map(|why| Refused { wanted: wanted.clone(), why }));
        refused.last().is_none_or(|refused| refused.wanted.address != wanted.address)
    });
    (next, refused)
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

fn add(mut export: Export, descriptors: Vec<OwnedFd>, served: &mut Served<'_>) -> Changed {
    let address = export.address;
    if served.pool.registry.get(address).is_some() {
        return Err(ControlError::Request(format!(
            "{address} is served already: take another address, or remove it first"
        )));
    }
    export.allow.get_or_insert_with(|| served.options.allow.clone());
    export.host_settings.get_or_insert(served.options.host_settings);
    let mut held = HeldFiles::new();
    if let Some(options) = export.store.file() {
        if descriptors.is_empty() {
            privilege::may_add(&options.path).map_err(ControlError::Request)?;
        } else {
            let file = Handed::receive(descriptors, &options);
            let file = file.map_err(|error| reload::refusal(exports::failure(error)))?;
            held.insert(address, Held::by_caller(file, &export));
        }
    }
    let mut next = served.options.clone();
    let force = std::mem::take(&mut export.force);
    next.exports.push(export);
    let changed = reload::apply(served, next, force, None, held)?;
    served.refused.retain(|refused| refused.wanted.address != address);
    Ok(changed)
}

fn remove(address: Address, force: bool, served: &mut Served<'_>) -> Changed {
    known(address, served)?;
    let mut next = served.options.clone();
    next.exports.retain(|export| export.address != address);
    let mut changed = reload::apply(served, next, force, None, HeldFiles::new())?;
    // The export is gone, but that does not make it a success.
    changed.unsynced.take().map_or(Ok(changed), |line| Err(ControlError::Machine(line)))
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
    let next = served.options.clone();
    reload::apply(served, next, false, Some(address), HeldFiles::new())?;
    let line = format!("{address} accepts writes again; reason given by the operator: {reason}");
    log::warn!("{line}");
    Ok(ChangeReport::of(line))
}

/// Refuses writes at once, with the same open store. To accept them again, the store is
/// reopened.
fn set_read_only(address: Address, read_only: bool, served: &mut Served<'_>) -> Changed {
    let mut settings = known(address, served)?.settings.clone();
    let mut next = served.options.clone();
    let export = next.exports.iter_mut().find(|export| export.address == address);
    let Some(export) = export.filter(|export| export.store.path().is_some()) else {
        return Err(ControlError::Request(format!("{address} has no file: it has nothing to protect")));
    };
    if export.store.read_only() == read_only {
        return Ok(ChangeReport::default());
    }
    export.store.set_read_only(read_only);
    if !read_only {
        return reload::apply(served, next, false, None, HeldFiles::new());
    }
    settings.read_only = true;
    served.pool.change(export, settings);
    served.options = next;
    Ok(logged(format!("{address} refuses writes")))
}

fn resize(address: Address, served: &mut Served<'_>) -> Changed {
    let owner = known(address, served)?.owner;
    let size_of = |(other, size)| (other == address).then_some(size);
    let before = served.pool.directory.sizes().find_map(size_of);
    let after = served.pool.ask(owner, WorkerCommand::MeasureOne).ok_or_else(|| {
        ControlError::Machine(format!("{address}: its store does not answer: look at the disk"))
    })?;
    served.sizes.follow(&served.pool, &served.options);
    let after_words = in_words(after);
    Ok(ChangeReport::of(match before == Some(after) {
        true => format!("{address}: {after_words}, as before"),
        false => format!("{address}: {after_words} now, was {}", in_words(before.unwrap_or(0))),
    }))
}

/// How long a clear waits for the state writer.
const SAVED_WITHIN: Duration = Duration::from_secs(5);

/// How long it waits before it asks again, if the state writer is busy.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// Clears what hosts have set. With `refuse`, they can set nothing from before that on.
fn clear(address: Address, setting: HostSetting, refuse: bool, served: &mut Served<'_>) -> Changed {
    let mut settings = known(address, served)?.settings.clone();
    let mut report = ChangeReport::default();
    let export = served.options.exports.iter_mut().find(|export| export.address == address);
    if refuse
        && settings.host_settings != HostSettings::Refuse
        && let Some(export) = export
    {
        export.host_settings = Some(config::HostSettings::Refuse);
        settings.host_settings = HostSettings::Refuse;
        served.pool.change(export, settings);
        let line = format!("{address} has host-settings = \"refuse\" until the configuration is read again");
        report.lines.extend(logged(line).lines);
    }
    let (noun, entry) = (setting.noun(), known(address, served)?);
    until_saved(served, entry, setting).map_err(|why| ControlError::Machine(format!("{address}: {why}")))?;
    let may = entry.settings.host_settings != HostSettings::Refuse;
    let is_set_again = may
        && served.pool.snapshot_of(entry.owner).is_some_and(|now| match setting {
            HostSetting::Config => !now.config.is_empty(),
            HostSetting::Mask => !now.mask.is_empty(),
            HostSetting::Reservation => !now.reservation.is_empty(),
        });
    let line = match is_set_again {
        true => format!(
            "{address}: the {noun} was cleared, and a host has set it again: `xblade {} --clear {address} --refuse` \
             takes that away from hosts",
            setting.command()
        ),
        false => format!("{address} has no {noun} any more"),
    };
    report.lines.extend(logged(line).lines);
    Ok(report)
}

/// Has a value cleared, and waits until that is saved.
///
/// # Errors
///
/// It is not, with the reason.
fn until_saved(served: &Served<'_>, entry: &ExportEntry, setting: HostSetting) -> Result<(), &'static str> {
    const HANGS: &str = "its worker does not answer: a store of it hangs: look at the disk";
    let worker = served.pool.workers.get(usize::from(entry.owner.worker)).ok_or(HANGS)?;
    let deadline = Instant::now() + SAVED_WITHIN;
    loop {
        let (to, from) = bounded(1);
        if !worker.insist(WorkerCommand::Clear(entry.owner.export, setting, to)) {
            return Err(HANGS);
        }
        match from.recv_deadline(deadline) {
            Ok(Cleared::Saved) => return Ok(()),
            Ok(Cleared::Busy) if Instant::now() < deadline => thread::sleep(ASK_AGAIN),
            Ok(Cleared::Busy) | Err(RecvTimeoutError::Timeout) => {
                return Err(
                    "this is in force, but cannot be kept now: look at the disk with the state folder",
                );
            }
            Err(RecvTimeoutError::Disconnected) => return Err("it was not cleared: ask again"),
        }
    }
}

fn logged(line: String) -> ChangeReport {
    log::info!("{line}");
    ChangeReport::of(line)
}

fn known<'a>(address: Address, served: &'a Served<'_>) -> Result<&'a ExportEntry, ControlError> {
    let registry = &served.pool.registry;
    registry.get(address).ok_or_else(|| {
        let there: Vec<String> = registry.entries.keys().map(Address::to_string).collect();
        ControlError::Unknown(format!("there is no export {address}: there are {}", there.join(", ")))
    })
}
