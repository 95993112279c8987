//! Replaces the active configuration: completely or not at all.

use std::collections::{BTreeMap, BTreeSet};

use log::{error, info, warn};

use super::control::Served;
use super::exports::{self, Held, HeldFiles, Opened};
use super::failure::{Context, Failure};
use super::interface::{self, Interface, facts_of};
use super::rates::HostRates;
use super::removal::Removed;
use super::segments;
use super::worker_pool::WorkerPool;
use crate::config::{self, Export, Serve};
use crate::control::{ChangeReport, Changed, ControlError};
use crate::link;
use crate::shelf::Segments;
use crate::store::Durability;
use crate::text::printable;
use crate::wire::aoe::Address;
use crate::wire::ether::Mac;
use crate::wire::vlan::Vlans;

/// The difference between two configurations.
#[derive(Default)]
struct Difference {
    /// New exports.
    added: Vec<Export>,
    /// Removed exports.
    removed: Vec<Export>,
    /// Exports whose store must be reopened: the old and the new configuration.
    reopened: Vec<(Export, Export)>,
    /// Exports with other rules for hosts, other limits or other segments.
    changed: Vec<Export>,
}

impl Difference {
    /// Exports whose stores must be closed, with their current configuration.
    fn leaving(&self) -> impl Iterator<Item = &Export> {
        self.removed.iter().chain(self.reopened.iter().map(|(old, _)| old))
    }
}

/// Replaces the configuration with `next`. Exports that are the same in both are not
/// interrupted. `force` treats every export as if it had [`Export::force`], and allows
/// closing files that have no name any more. The export `recover` is reopened unchanged,
/// after which it accepts writes again. A new export at an address in `held` is opened through
/// that file.
///
/// # Errors
///
/// The reason; nothing has changed.
pub fn apply(
    served: &mut Served<'_>,
    mut next: Serve,
    force: bool,
    recover: Option<Address>,
    mut held: HeldFiles,
) -> Changed {
    served.pool.registry.left.clear();
    let host_rates = served.host_rates.next(&next.host_limits);
    let difference = compare((&served.options, &served.host_rates), (&next, &host_rates), recover);
    held.extend(served_files(&served.pool, &difference));
    // New hosts may be admitted before their exports are served, but not the other way
    // round.
    let Prepared { mut opened, later, changed } =
        prepare(served, &difference, (&next, &host_rates), force, &held, Opening::Free)
            .and_then(|prepared| widen(&mut served.interfaces, &served.options, &next).map(|()| prepared))
            .map_err(refusal)?;
    let mut report = ChangeReport::default();
    let registry = &mut served.pool.registry;
    let recovered = recover.and_then(|address| Some(registry.get(address)?.source.data.identity.clone()));
    let gone = close(&mut served.pool, &difference, &mut report);
    if let Some(identity) = recovered {
        served.pool.registry.quarantine.recover(&identity);
    }
    match open_all(&mut served.pool, &served.interfaces, &later, (&next, &host_rates), force, &held) {
        Ok(reopened) => opened.extend(reopened),
        Err(failure) => return Err(undo(served, &difference, failure, &held)),
    }
    for opened in opened {
        let (address, is_new) = (opened.wanted.address, difference.added.contains(&opened.wanted));
        match add(&mut served.pool, opened, if is_new { "added" } else { "reopened" }) {
            Ok(line) => report.lines.push(line),
            Err(failure) => {
                // Its worker has stopped answering since the stores were opened.
                let line = format!("{address} is not served: {failure}");
                error!("{line}");
                report.lines.push(line);
                next.exports.retain(|other| other.address != address);
            }
        }
    }
    for (export, segments) in difference.changed.iter().zip(changed) {
        change(&mut served.pool, export, segments, (&next, &host_rates));
        report.lines.push(format!("{} changed", export.address));
    }
    report.lines.extend(gone);
    (served.options, served.host_rates) = (next, host_rates);
    direct(served);
    let reopened = difference.reopened.into_iter();
    let reopened =
        reopened.filter(|(before, export)| before.limits != export.limits).map(|(_, export)| export);
    let new: Vec<Export> = difference.added.into_iter().chain(difference.changed).chain(reopened).collect();
    served.pool.announce_all(&served.options, &new);
    warn_of_segments(served, &new);
    report.lines.iter().for_each(|line| info!("{line}"));
    Ok(report)
}

/// Returns what [`apply`] would change, without changing or opening anything.
///
/// # Errors
///
/// Why [`apply`] would refuse it, except for what only opening the stores would show.
pub fn plan(served: &mut Served<'_>, next: &Serve, force: bool) -> Changed {
    let host_rates = served.host_rates.next(&next.host_limits);
    let difference = compare((&served.options, &served.host_rates), (next, &host_rates), None);
    let held = served_files(&served.pool, &difference);
    prepare(served, &difference, (next, &host_rates), force, &held, Opening::None).map_err(refusal)?;
    let Difference { added, removed, reopened, changed } = &difference;
    let mut report = ChangeReport::default();
    let path = |export: &Export| export.store.label().display().to_string();
    report.lines.extend(added.iter().map(|one| format!("{} would be added: {}", one.address, path(one))));
    let reopened = reopened.iter();
    report.lines.extend(reopened.map(|(_, one)| format!("{} would be reopened: {}", one.address, path(one))));
    report.lines.extend(changed.iter().map(|one| format!("{} would be changed", one.address)));
    report.lines.extend(removed.iter().map(|one| format!("{} would be removed", one.address)));
    Ok(report)
}

/// Which stores [`prepare`] opens.
#[derive(PartialEq)]
enum Opening {
    /// Those that no served export uses.
    Free,
    None,
}

/// What a change needs.
struct Prepared<'a> {
    /// The exports whose stores are open.
    opened: Vec<Opened>,
    /// Those whose stores must be opened later.
    later: Vec<&'a Export>,
    /// The segments of [`Difference::changed`].
    changed: Vec<Segments>,
}

/// Refuses what cannot be done, and opens the stores that can be opened before anything
/// changes.
fn prepare<'a>(
    served: &mut Served<'_>,
    difference: &'a Difference,
    (next, host_rates): Configured<'_>,
    force: bool,
    held: &HeldFiles,
    opening: Opening,
) -> Result<Prepared<'a>, Failure> {
    let Served { pool, interfaces, .. } = served;
    exports::check_count(next.exports.len())?;
    refuse_no_interface(&served.options, next)?;
    refuse_what_needs_a_restart(&served.options, next)?;
    let reopened = || difference.reopened.iter().map(|(_, next)| next);
    for export in difference.added.iter().chain(reopened()) {
        pool.refuse_no_worker(export)?;
        // A store that cannot be opened is reported below.
        if let Some(data) = exports::data(export, held) {
            pool.refuse_other_data(export, &data, force || export.force)?;
        }
    }
    for Export { address, .. } in difference.leaving() {
        let is_forced = reopened().any(|next| next.address == *address && next.force);
        pool.refuse_nameless(*address, force || is_forced)?;
    }
    // The others share a file with an export that must be closed first.
    let is_free = |export: &&Export| {
        opening == Opening::Free
            && !difference.leaving().any(|other| other.store.label() == export.store.label())
    };
    let (free, blocked): (Vec<&Export>, Vec<&Export>) = difference.added.iter().partition(is_free);
    let opened = open_all(pool, interfaces, &free, (next, host_rates), force, held)?;
    // Checked before any store is closed for one that then cannot be opened.
    let later: Vec<&Export> = reopened().chain(blocked).collect();
    later.iter().try_for_each(|export| exports::examine(export, held))?;
    exports::examine_together(&later, next)?;
    let segments = |export: &Export| segments::of(export, &facts_of(interfaces));
    later.iter().try_for_each(|export| segments(export).map(drop))?;
    // Other rules for hosts apply even where a NIC removes the tags of its VLANs at present.
    let changed = |export: &Export| {
        let before = served.options.exports.iter().find(|before| before.address == export.address);
        let same =
            |before: &&Export| (&before.vlans, &before.interfaces) == (&export.vlans, &export.interfaces);
        match before.filter(same).and_then(|_| pool.registry.get(export.address)) {
            Some(entry) => Ok(entry.settings.segments.clone()),
            None => segments(export),
        }
    };
    let changed = difference.changed.iter().map(changed).collect::<Result<_, _>>()?;
    Ok(Prepared { opened, later, changed })
}

/// Closes the stores of exports that leave. Returns the report lines of those removed for
/// good.
fn close(pool: &mut WorkerPool, difference: &Difference, report: &mut ChangeReport) -> Vec<String> {
    let is_removed = |export: &Export| difference.removed.contains(export);
    let removed = difference.removed.iter().map(|export| export.address);
    let used: Vec<Address> = removed.filter(|address| pool.is_used(*address)).collect();
    let mut gone = Vec::new();
    for export in difference.leaving() {
        let address = export.address;
        match pool.remove(address, is_removed(export)) {
            Removed::Unsynced(why) => {
                let line = format!("{address} removed, but {why}");
                error!("{line}");
                report.lines.push(line.clone());
                report.unsynced = Some(line);
                continue;
            }
            Removed::Closed => {}
            Removed::Later => warn!(
                "{address}: requests to it are still under way, or what hosts have written is still on its way to the \
                 disk; the log says when it is closed"
            ),
        }
        if is_removed(export) {
            let waits = ": hosts have used it, and wait for it up to 180 s";
            gone.push(format!("{address} removed{}", if used.contains(&address) { waits } else { "" }));
        }
    }
    gone
}

/// Serves an export. Returns its report line.
fn add(pool: &mut WorkerPool, opened: Opened, what: &str) -> Result<String, Failure> {
    let settings = &opened.export.state.settings;
    let is_at_risk = settings.durability == Durability::Volatile && !settings.read_only;
    let info = opened.info.describe(settings.read_only);
    let (address, path) = (opened.wanted.address, opened.wanted.store.label().display());
    let risk = if is_at_risk { ", VOLATILE" } else { "" };
    let line = format!("{address} {what}: {path} ({info}{risk})");
    pool.add(opened)?;
    Ok(line)
}

/// Refuses new interfaces that cannot be used. A restart for them would not help, and
/// would leave hosts without their disks.
fn refuse_no_interface(now: &Serve, next: &Serve) -> Result<(), Failure> {
    let there = link::all().unwrap_or_default();
    for wanted in next.interfaces.iter().filter(|name| !now.interfaces.contains(name)) {
        let names = interface::fitting(wanted, &there);
        let usable =
            names.and_then(|names| names.iter().try_for_each(|name| interface::usable(name).map(drop)));
        usable.map_err(Failure::request)?;
    }
    Ok(())
}

/// Refuses changes to anything except exports, rules for hosts and the measuring interval.
fn refuse_what_needs_a_restart(now: &Serve, next: &Serve) -> Result<(), Failure> {
    let fixed = |serve: &Serve| -> BTreeMap<String, toml::Value> {
        let rest = Serve {
            exports: Vec::new(),
            allow: Vec::new(),
            host_settings: config::HostSettings::default(),
            host_limits: Vec::new(),
            measure_every: 0,
            ..serve.clone()
        };
        let flat = |(key, value): (String, toml::Value)| match value {
            toml::Value::Table(section) => {
                section.into_iter().map(|(name, value)| (format!("{key}.{name}"), value)).collect()
            }
            value => vec![(key, value)],
        };
        config::to_table(&rest).into_iter().flat_map(flat).collect()
    };
    let (now, next) = (fixed(now), fixed(next));
    let mut keys: BTreeSet<&str> = now.keys().chain(next.keys()).map(String::as_str).collect();
    keys.retain(|key| now.get(*key) != next.get(*key));
    if keys.is_empty() {
        return Ok(());
    }
    Err(Failure::request(format!(
        "{} cannot change while xblade runs: restart it (hosts wait that long and go on), or take the change back",
        Vec::from_iter(keys).join(", ")
    )))
}

/// A configuration, and its limits of certain hosts.
type Configured<'a> = (&'a Serve, &'a HostRates);

fn compare(
    (now, rates_now): Configured<'_>,
    (next, rates_next): Configured<'_>,
    again: Option<Address>,
) -> Difference {
    let by_address =
        |serve: &Serve| serve.exports.iter().map(|e| (e.address, e.clone())).collect::<BTreeMap<_, _>>();
    let (mut old, new) = (by_address(now), by_address(next));
    let mut difference = Difference::default();
    for (address, export) in new {
        match old.remove(&address) {
            None => difference.added.push(export),
            Some(before) => {
                let is_same = before.store == export.store && before.worker == export.worker;
                if !is_same || again == Some(address) {
                    difference.reopened.push((before, export));
                } else if now.allowed(&before) != next.allowed(&export)
                    || now.host_settings(&before) != next.host_settings(&export)
                    || (&before.vlans, &before.interfaces) != (&export.vlans, &export.interfaces)
                    || rates_now.of(&before) != rates_next.of(&export)
                {
                    difference.changed.push(export);
                }
            }
        }
    }
    difference.removed.extend(old.into_values());
    difference
}

/// Opens the stores. Their paths may lead to other data than when they were checked, so
/// the opened data is checked again.
fn open_all(
    pool: &mut WorkerPool,
    interfaces: &[Interface],
    wanted: &[&Export],
    (options, host_rates): Configured<'_>,
    force: bool,
    held: &HeldFiles,
) -> Result<Vec<Opened>, Failure> {
    let one = |export: &&Export| {
        let opened = exports::open_one(export, options, host_rates, interfaces, held)?;
        pool.refuse_other_data(export, &opened.source.data, force || export.force)?;
        Ok(opened)
    };
    wanted.iter().map(one).collect()
}

/// The open files of exports that leave: this process may not be able to open them again.
fn served_files(pool: &WorkerPool, difference: &Difference) -> HeldFiles {
    let one = |export: &Export| {
        let entry = pool.registry.get(export.address)?;
        let looked = pool.watcher.look_now(export.address, entry.source.file.as_ref()?);
        let held = Held::served(&entry.source, looked.unwrap_or(entry.replaced).is_none())?;
        Some((export.address, held))
    };
    difference.leaving().filter_map(one).collect()
}

/// The answer to a change that was not made.
pub fn refusal(failure: Failure) -> ControlError {
    let text = format!("nothing was changed: {}", printable(&failure.to_string()));
    if failure.exit_code == 2 { ControlError::Request(text) } else { ControlError::Machine(text) }
}

/// Restores what was served before, through the files that are open still. Exports that cannot
/// be restored are removed from the configuration, so that the next reload tries them again.
fn undo(
    served: &mut Served<'_>,
    difference: &Difference,
    failure: Failure,
    held: &HeldFiles,
) -> ControlError {
    let Served { pool, options, host_rates, interfaces, .. } = served;
    let mut lost = Vec::new();
    for export in difference.leaving() {
        let added = match pool.is_leaving(export.address) {
            true => Err(Failure::machine("requests to it are still under way")),
            false => exports::open_again(export, options, host_rates, interfaces, held)
                .and_then(|opened| pool.add(opened)),
        };
        if let Err(failure) = added {
            error!("{} cannot be served any more: {failure}", export.address);
            lost.push(export.address.to_string());
            options.exports.retain(|other| other.address != export.address);
        }
    }
    direct(served);
    if lost.is_empty() {
        return refusal(failure);
    }
    ControlError::Machine(format!(
        "{failure}; and what was served at {} could not be opened again, and is NOT SERVED: see the log, correct it, \
         and reload",
        lost.join(", ")
    ))
}

fn change(pool: &mut WorkerPool, export: &Export, segments: Segments, (options, host_rates): Configured<'_>) {
    let settings = pool.registry.get(export.address).map(|entry| entry.settings.clone());
    if let Some(mut settings) = settings {
        settings.acl = exports::acl(options, export);
        let before = std::mem::replace(&mut settings.host_settings, exports::host_settings(options, export));
        let now = settings.host_settings;
        settings.segments = segments;
        settings.rates = host_rates.of(export);
        pool.change(export, settings);
        if now != before {
            pool.warn_of_old(export.address);
        }
    }
}

/// Logs what these exports need to know of VLANs on their interfaces.
fn warn_of_segments(served: &Served<'_>, exports: &[Export]) {
    let with_vlan = || exports.iter().filter(|export| export.vlans != Vlans::Untagged);
    let entries = || with_vlan().filter_map(|export| served.pool.registry.get(export.address));
    for (index, interface) in (0..).zip(&served.interfaces) {
        segments::warn(index, &interface.facts, entries().map(|entry| &entry.settings.segments));
    }
}

/// Makes the XDP programs admit all hosts that either configuration admits.
fn widen(interfaces: &mut [Interface], now: &Serve, next: &Serve) -> Result<(), Failure> {
    let (old, new) = (now.allowed_somewhere(), next.allowed_somewhere());
    let both = if old.is_empty() || new.is_empty() { Vec::new() } else { [old, new].concat() };
    set_acl(interfaces, both)
}

/// Makes the XDP programs admit only the hosts of the configuration, and direct frames to
/// the workers that own the exports. Call before the exports are announced.
fn direct(served: &mut Served<'_>) {
    // The workers check as well: a stale list costs them time but admits no one.
    if let Err(failure) = set_acl(&mut served.interfaces, served.options.allowed_somewhere()) {
        warn!("{failure}");
    }
    interface::direct(&mut served.interfaces, &served.pool.owners());
}

fn set_acl(interfaces: &mut [Interface], mut macs: Vec<Mac>) -> Result<(), Failure> {
    macs.sort_unstable();
    macs.dedup();
    let macs: Vec<[u8; 6]> = macs.into_iter().map(|mac| mac.0).collect();
    for Interface { facts, program, .. } in interfaces {
        if let Some(program) = program {
            program.set_acl(&macs).context(&facts.name)?;
        }
    }
    Ok(())
}
