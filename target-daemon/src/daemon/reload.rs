//! Replaces the active configuration: completely or not at all.

use std::collections::BTreeMap;

use log::{error, info, warn};

use super::closing::Removed;
use super::exports::{self, Opened};
use super::failure::Failure;
use super::interface::{self, Interface};
use super::worker_pool::WorkerPool;
use crate::config::{self, Export, Serve};
use crate::control::{ChangeReport, ControlError};
use crate::link;
use crate::store::Durability;
use crate::wire::aoe::Address;

/// How a change is made.
#[derive(Clone, Copy, Debug)]
pub struct How {
    /// Treat every export as if it had [`Export::force`], and close unnamed files.
    pub force: bool,
    /// An export to reopen unchanged, after which it accepts writes again.
    pub recover: Option<Address>,
}

/// Reported for an export that is gone, before the reason.
pub const UNSYNCED: &str = "removed, but";

/// The difference between two configurations.
struct Difference {
    /// New exports.
    added: Vec<Export>,
    /// Removed exports.
    removed: Vec<Address>,
    /// Exports whose store must be reopened: the old and the new configuration.
    reopened: Vec<(Export, Export)>,
    /// Exports with other hosts or write protection.
    changed: Vec<Export>,
}

/// Replaces `now` with `next`. Exports that are the same in both are not interrupted.
///
/// # Errors
///
/// The reason; nothing has changed.
pub fn apply(
    pool: &mut WorkerPool,
    interfaces: &mut [Interface],
    now: &mut Serve,
    next: Serve,
    how: &How,
) -> Result<ChangeReport, ControlError> {
    let changed = change_over(pool, interfaces, now, next, how);
    pool.registry.past.has_changed();
    changed
}

fn change_over(
    pool: &mut WorkerPool,
    interfaces: &mut [Interface],
    now: &mut Serve,
    mut next: Serve,
    how: &How,
) -> Result<ChangeReport, ControlError> {
    refuse_no_interface(now, &next)?;
    refuse_what_needs_a_restart(now, &next)?;
    let difference = compare(now, &next, how.recover);
    for export in difference.added.iter().chain(difference.reopened.iter().map(|(_, next)| next)) {
        pool.refuse_no_worker(export)?;
        // A store that cannot be opened is reported below.
        if let Some(data) = export.store.data() {
            pool.refuse_other_data(export, &data, how.force || export.force)?;
        }
    }
    for export in &leaving(&difference, now) {
        let stays = difference.reopened.iter().find(|(_, next)| next.address == export.address);
        let force = how.force || stays.is_some_and(|(_, next)| next.force);
        pool.refuse_nameless(export.address, force)?;
    }
    // Stores that do not conflict with one in use are opened before anything changes.
    let (free, blocked): (Vec<&Export>, Vec<&Export>) =
        difference.added.iter().partition(|export| !is_in_the_way(export, &difference, now));
    let opened = open_all(pool, &free, &next, how)?;
    let later: Vec<&Export> = difference.reopened.iter().map(|(_, next)| next).chain(blocked).collect();
    // Do not close a store for one that cannot be opened.
    later.iter().try_for_each(|export| exports::examine(export)).map_err(refusal)?;
    exports::examine_together(&later, &next).map_err(refusal)?;
    // New hosts may be admitted before their exports are served, but not the other way
    // round.
    widen(interfaces, now, &next)?;
    let mut lines = Vec::new();
    let old: Vec<Export> = leaving(&difference, now);
    let used: Vec<Address> =
        difference.removed.iter().copied().filter(|address| pool.is_used(*address)).collect();
    for export in &old {
        let address = export.address;
        match pool.remove(address, difference.removed.contains(&address)) {
            Removed::Closed => {}
            Removed::Later => warn!(
                "{address}: requests to it are still under way, or what hosts have written is still on its way to the \
                 disk; the log says when it is closed"
            ),
            Removed::Unsynced(why) => {
                error!("{address} {UNSYNCED} {why}");
                lines.push(format!("{address} {UNSYNCED} {why}"));
            }
        }
    }
    if let Some(export) = old.iter().find(|export| Some(export.address) == how.recover)
        && let Some(data) = export.store.data()
    {
        pool.registry.quarantine.recover(&data.identity);
    }
    let reopened = match open_all(pool, &later, &next, how) {
        Ok(opened) => opened,
        Err(failure) => {
            let lost = restore(pool, &old, now);
            narrow(interfaces, now);
            interface::direct(interfaces, &pool.owners());
            return Err(if lost.is_empty() { failure } else { with_lost(&failure, &lost) });
        }
    };
    for (export, opened) in opened.into_iter().chain(reopened) {
        let address = export.address;
        let what = if difference.added.contains(&export) { "added" } else { "reopened" };
        let settings = &opened.export.state.settings;
        let risk = if settings.durability == Durability::Volatile && !settings.read_only {
            ", VOLATILE"
        } else {
            ""
        };
        let info = opened.info.describe(settings.read_only) + risk;
        match pool.add(&export, opened) {
            Ok(()) => lines.push(format!("{address} {what}: {} ({info})", path_of(&export))),
            Err(failure) => {
                // Its worker hangs, which began after the stores were opened.
                error!("{address} is not served: {failure}");
                lines.push(format!("{address} is not served: {failure}"));
                next.exports.retain(|other| other.address != address);
            }
        }
    }
    for export in &difference.changed {
        change(pool, export, &next);
        lines.push(format!("{} changed", export.address));
    }
    let told =
        |address: &&Address| !lines.iter().any(|line| line.starts_with(&format!("{address} {UNSYNCED}")));
    let removed: Vec<&Address> = difference.removed.iter().filter(told).collect();
    lines.extend(removed.into_iter().map(|address| match used.contains(address) {
        true => format!("{address} removed: hosts have used it, and wait for it up to 180 s"),
        false => format!("{address} removed"),
    }));
    *now = next;
    narrow(interfaces, now);
    // Before the exports are announced.
    interface::direct(interfaces, &pool.owners());
    let new: Vec<Export> = difference.added.iter().chain(&difference.changed).cloned().collect();
    for index in 0..interfaces.len() {
        pool.announce_some(index, now, &new);
    }
    for line in &lines {
        info!("{line}");
    }
    Ok(ChangeReport { lines })
}

/// A restart would not help, and would leave hosts without their disks.
fn refuse_no_interface(now: &Serve, next: &Serve) -> Result<(), ControlError> {
    let there = link::all().unwrap_or_default();
    let new = next.interfaces.iter().filter(|name| !now.interfaces.contains(name));
    for wanted in new {
        let names = interface::fitting(wanted, &there);
        let usable =
            names.and_then(|names| names.iter().try_for_each(|name| interface::usable(name).map(drop)));
        usable.map_err(|failure| ControlError::Request(format!("nothing was changed: {failure}")))?;
    }
    Ok(())
}

/// Compares everything except exports, hosts and the measuring interval.
fn refuse_what_needs_a_restart(now: &Serve, next: &Serve) -> Result<(), ControlError> {
    let fixed = |serve: &Serve| {
        let rest = Serve { exports: Vec::new(), allow: Vec::new(), measure_every: 0, ..serve.clone() };
        config::to_table(&rest)
    };
    let (now, next) = (fixed(now), fixed(next));
    let mut keys: Vec<String> = Vec::new();
    for (key, value) in &next {
        match (value.as_table(), now.get(key).and_then(|old| old.as_table())) {
            (Some(new), Some(old)) => {
                let differs = |name: &&String| new.get(*name) != old.get(*name);
                let names: std::collections::BTreeSet<&String> = new.keys().chain(old.keys()).collect();
                keys.extend(names.iter().filter(|name| differs(name)).map(|name| format!("{key}.{name}")));
            }
            _ if now.get(key) != Some(value) => keys.push(key.clone()),
            _ => {}
        }
    }
    if keys.is_empty() {
        return Ok(());
    }
    Err(ControlError::Request(format!(
        "nothing was changed: {} cannot change while xblade runs: restart it (hosts wait that long and go on), or take \
         the change back",
        keys.join(", ")
    )))
}

fn compare(now: &Serve, next: &Serve, again: Option<Address>) -> Difference {
    let by_address =
        |serve: &Serve| serve.exports.iter().map(|e| (e.address, e.clone())).collect::<BTreeMap<_, _>>();
    let (old, new) = (by_address(now), by_address(next));
    let mut difference =
        Difference { added: Vec::new(), removed: Vec::new(), reopened: Vec::new(), changed: Vec::new() };
    difference.removed.extend(old.keys().filter(|address| !new.contains_key(address)));
    for (address, export) in new {
        match old.get(&address) {
            None => difference.added.push(export),
            Some(before) if before.store == export.store => {
                if before.worker != export.worker || again == Some(address) {
                    difference.reopened.push((before.clone(), export));
                    continue;
                }
                let allow = |serve: &Serve, export: &Export| serve.allowed(export).to_vec();
                if allow(now, before) != allow(next, &export) {
                    difference.changed.push(export);
                }
            }
            Some(before) => difference.reopened.push((before.clone(), export)),
        }
    }
    difference
}

/// Whether its file belongs to an export that must leave first.
fn is_in_the_way(export: &Export, difference: &Difference, now: &Serve) -> bool {
    leaving(difference, now).iter().any(|other| path_of(other) == path_of(export))
}

/// Exports whose stores are closed, in their current configuration.
fn leaving(difference: &Difference, now: &Serve) -> Vec<Export> {
    let removed = now.exports.iter().filter(|export| difference.removed.contains(&export.address));
    removed.chain(difference.reopened.iter().map(|(old, _)| old)).cloned().collect()
}

fn path_of(export: &Export) -> String {
    export.store.label().display().to_string()
}

/// Opens the stores. Their paths may lead elsewhere since they were checked, so the opened
/// data is checked again.
fn open_all(
    pool: &mut WorkerPool,
    wanted: &[&Export],
    options: &Serve,
    how: &How,
) -> Result<Vec<(Export, Opened)>, ControlError> {
    let one = |export: &&Export| {
        let opened = exports::open_one(export, options).map_err(refusal)?;
        pool.refuse_other_data(export, &opened.source.data, how.force || export.force)?;
        Ok(((*export).clone(), opened))
    };
    wanted.iter().map(one).collect()
}

fn refusal(failure: Failure) -> ControlError {
    let text = format!("nothing was changed: {failure}");
    if failure.exit_code() == 2 { ControlError::Request(text) } else { ControlError::Machine(text) }
}

/// Restores what was served before. Returns the exports that could not be restored; they
/// are removed from the configuration, so that the next reload tries them again.
fn restore(pool: &mut WorkerPool, old: &[Export], now: &mut Serve) -> Vec<Address> {
    let mut lost = Vec::new();
    for export in old {
        let how = How { force: false, recover: None };
        let again = open_all(pool, &[export], now, &how).map(|mut opened| opened.pop());
        let added = again.and_then(|opened| match opened {
            Some((_, opened)) => pool.add(export, opened).map_err(refusal),
            None => Ok(()),
        });
        if let Err(failure) = added {
            error!("{} cannot be served any more: {failure}", export.address);
            lost.push(export.address);
        }
    }
    now.exports.retain(|export| !lost.contains(&export.address));
    lost
}

/// A refusal that did not leave everything as it was.
fn with_lost(failure: &ControlError, lost: &[Address]) -> ControlError {
    let lost: Vec<String> = lost.iter().map(Address::to_string).collect();
    let failure = failure.to_string();
    let failure = failure.strip_prefix("nothing was changed: ").unwrap_or(&failure);
    ControlError::Machine(format!(
        "{failure}; and what was served at {} could not be opened again, and is NOT SERVED: see the log, correct it, \
         and reload",
        lost.join(", ")
    ))
}

fn change(pool: &mut WorkerPool, export: &Export, options: &Serve) {
    let settings = pool.registry.get(export.address).map(|entry| entry.settings.clone());
    if let Some(mut settings) = settings {
        settings.acl = exports::acl(options, export);
        pool.change(export, settings);
    }
}

/// Makes the XDP programs admit all hosts that either configuration admits.
fn widen(interfaces: &mut [Interface], now: &Serve, next: &Serve) -> Result<(), ControlError> {
    let (old, new) = (now.allowed_somewhere(), next.allowed_somewhere());
    let both = if old.is_empty() || new.is_empty() { Vec::new() } else { [old, new].concat() };
    set_acl(interfaces, both)
}

/// Makes the XDP programs admit only the hosts of the configuration.
fn narrow(interfaces: &mut [Interface], now: &Serve) {
    // The workers check as well: a stale list costs them time but admits no one.
    if let Err(refusal) = set_acl(interfaces, now.allowed_somewhere()) {
        warn!("{refusal}");
    }
}

fn set_acl(interfaces: &mut [Interface], mut macs: Vec<crate::wire::ether::Mac>) -> Result<(), ControlError> {
    macs.sort_unstable();
    macs.dedup();
    let macs: Vec<[u8; 6]> = macs.into_iter().map(|mac| mac.0).collect();
    for interface in interfaces {
        if let Some(program) = &mut interface.program {
            program.set_acl(&macs).map_err(|e| {
                let text = super::failure::chain(&e);
                ControlError::Machine(format!("nothing was changed: {}: {text}", interface.facts.name))
            })?;
        }
    }
    Ok(())
}
