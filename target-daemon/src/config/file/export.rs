//! One `[[export]]`. Its keys are translated to options of the command line, so that both
//! mean the same.

use std::path::{Path, PathBuf};

use super::acl::Acls;
use super::diagnostic::{Diagnostic, Sink, Span};
use super::item::{Item, Section, twice};
use super::sections;
use crate::config::Export;
use crate::config::bounds::EXPORTS_MAX;
use crate::config::export::{Given, options};
use crate::config::limit::ExportLimits;
use crate::store::{Conflict, Opt, Problem, Setting, Takes, Value};
use crate::wire::aoe::Address;

/// The locations of values of an export; that of the path for one that is not given.
#[derive(Clone, Debug)]
pub struct ExportSpans {
    /// The path, or the export if it has none.
    pub path: Span,
    /// The interfaces.
    pub interfaces: Span,
    /// The VLANs.
    pub vlan: Span,
}

/// Reads all exports of the file, with locations. One with errors is left out.
pub fn exports<'a>(item: Item<'a>, acls: &mut Acls<'a>) -> Vec<(Export, ExportSpans)> {
    let Some(list) = item.sections("address and path") else { return Vec::new() };
    if list.len() > EXPORTS_MAX {
        let what = format!("{} exports are more than xblade serves, {EXPORTS_MAX}", list.len());
        item.fault(what, "divide them between several files, each for a process and interfaces of its own");
        return Vec::new();
    }
    let sections = list.into_iter().filter_map(|one| one.section("[[export]]"));
    let (addresses, exports): (Vec<_>, Vec<_>) = sections.map(|section| export(section, acls)).unzip();
    let addresses: Vec<(Address, Span)> = addresses.into_iter().flatten().collect();
    let message = |address: &Address| format!("address {address} is given twice");
    let remedy = "give each export its own address";
    twice(&addresses, |address| *address, |_, _| true, message, remedy, item.sink);
    let exports: Vec<(Export, ExportSpans)> = exports.into_iter().flatten().collect();
    let paths: Vec<(&Export, Span)> = exports.iter().map(|(export, at)| (export, at.path.clone())).collect();
    let overlap = |a: &&Export, b: &&Export| a.store.overlaps(&b.store);
    let message = |export: &&Export| {
        format!("{} is exported twice, and may be written", export.store.label().display())
    };
    let remedy = "make both read-only, or give them an offset and length so that they do not overlap";
    let path = |export: &&Export| export.store.file().map(|file| file.path.components().collect::<PathBuf>());
    twice(&paths, path, overlap, message, remedy, item.sink);
    exports
}

/// What was read, if it was, with its location.
pub type Located<T> = Option<(T, Span)>;

/// The address, and the export with its locations, as far as they could be read.
fn export<'a>(
    mut section: Section<'a>,
    acls: &mut Acls<'a>,
) -> (Located<Address>, Option<(Export, ExportSpans)>) {
    let header = section.at.clone();
    let sink = section.sink;
    let address =
        section.need("address", header.clone(), "this export has no address", "add address = \"0.1\"");
    let address = address.and_then(address_of);
    let path = section.take("path");
    let mut given = Given::default();
    let mut places: Vec<(&'static str, Span)> = Vec::new();
    let before = sink.count();
    for option in options() {
        let Some(item) = section.take(option.key) else { continue };
        places.push((option.key, item.at()));
        if matches!(option.takes, Takes::Hosts) {
            given.allow = acls.allow(item);
        } else if matches!(option.takes, Takes::Vlans) {
            vlans(item, &mut given);
        } else if matches!(option.takes, Takes::Interfaces) {
            given.interfaces = sections::names(item).into_iter().map(|(name, _)| name).collect();
        } else if let Some(Err(problem)) = value(option, item).map(|value| given.set(option, value)) {
            item.fault(problem.what, problem.remedy);
        }
    }
    if let Some((_, at)) = places.iter().find(|(key, _)| *key == "burst" && sink.count() == before)
        && let Err(problem) = ExportLimits::take(&mut given.options.clone())
    {
        sink.push(Diagnostic::value(at.clone(), problem.what, problem.remedy));
    }
    let conflicts = given.options.conflicts();
    conflicts.iter().for_each(|conflict| sink.push(in_the_file(conflict, &places, &header)));
    let good = sink.count() == before;
    section.finish();
    let path = path_of(&given, path, &header, sink).filter(|_| good);
    let export = address.as_ref().zip(path);
    let export = export.and_then(|((address, _), (path, at))| {
        let of = |key| places.iter().find(|(other, _)| *other == key).map_or(&at, |(_, at)| at).clone();
        let spans = ExportSpans { interfaces: of("interfaces"), vlan: of("vlan"), path: at.clone() };
        Some((given.export(*address, path).ok()?, spans))
    });
    (address, export)
}

/// The value of an option; an inner `None` if it is `auto`, `none`, or off.
pub fn value(option: &Opt, item: Item<'_>) -> Option<Option<Value>> {
    let or_text = |kind, example| {
        item.as_number()
            .or_else(|| item.as_text().map(str::to_owned))
            .or_else(|| item.wrong_kind(kind, example))
    };
    let text = match option.takes {
        Takes::Flag => return item.boolean().map(|yes| yes.then_some(Value::Yes)),
        Takes::Bytes { .. } => or_text("sectors, or a size in quotes", "\"1GiB\"")?,
        Takes::Rate => or_text("a size in quotes", "\"200MiB\"")?,
        Takes::Number { min: 0, .. } => or_text("a number", "0")?,
        Takes::Number { .. } => or_text("a number", "1000")?,
        Takes::Words(_) | Takes::Store => item.one_of(&option.words())?.to_owned(),
        // Read by the caller.
        Takes::Hosts | Takes::Vlans | Takes::Interfaces => return None,
    };
    match option.parse(&text) {
        Ok(value) => Some(value),
        Err(Problem { what, remedy }) if what.is_empty() => item.impossible(remedy),
        Err(Problem { what, remedy }) => item.refuse(what, remedy),
    }
}

/// Reads a VLAN, or a list of them.
fn vlans(item: Item<'_>, given: &mut Given) {
    let all = item.as_list().unwrap_or_else(|| vec![item]);
    if all.is_empty() {
        item.fault("vlan names no VLAN", "name some, or leave it out");
    }
    for one in all {
        let text = one.as_number().or_else(|| one.as_text().map(str::to_owned));
        let Some(text) = text.or_else(|| one.wrong_kind("a number, \"untagged\" or \"any\"", "20")) else {
            continue;
        };
        if let Err(remedy) = given.vlan(&text) {
            one.impossible::<()>(remedy);
        }
    }
}

pub fn address_of(item: Item<'_>) -> Located<Address> {
    // In 0.10 the slot is 10, but TOML reads it as the number 0.1.
    let quoted = if item.as_text().is_none() { format!("\"{}\"", item.written()) } else { String::new() };
    let example = if quoted.contains('.') { quoted.as_str() } else { "\"0.1\"" };
    let text = item.text(example)?;
    match text.parse() {
        Ok(address) => Some((address, item.at())),
        Err(error) => item.refuse(error.what, error.remedy),
    }
}

/// The path, with its location; that of the export if the store has none.
fn path_of<'a>(given: &Given, path: Option<Item<'a>>, header: &Span, sink: &Sink) -> Located<&'a str> {
    let store = given.options.setting("store").filter(|_| given.options.engine().access.is_none());
    let item = match (path, store) {
        (Some(item), None) => item,
        (Some(item), Some(store)) => {
            return item.refuse(format!("path has no meaning with {}", store.in_a_file()), "leave it out");
        }
        (None, Some(_)) => return Some(("", header.clone())),
        (None, None) => {
            let remedy = "add path = \"/srv/disk.img\"";
            sink.push(Diagnostic::missing(header.clone(), "this export has no path", remedy));
            return None;
        }
    };
    let path = item.text("\"/srv/disk.img\"")?;
    if path.contains('\0') {
        return item.refuse("path has a zero byte in it", "leave it out");
    }
    if !Path::new(path).is_absolute() {
        return item.refuse(
            format!("path = {path:?} does not begin with a /"),
            "write the whole path: a service starts in no directory of its own",
        );
    }
    Some((path, item.at()))
}

/// Reports options that conflict, at the location of the one to change.
fn in_the_file(conflict: &Conflict, places: &[(&'static str, Span)], header: &Span) -> Diagnostic {
    let place = |setting: &Setting| {
        places.iter().find(|(key, _)| *key == setting.option.key).map(|(_, at)| at.clone())
    };
    let Problem { what, remedy } = conflict.problem(Setting::in_a_file);
    let because = place(&conflict.because);
    let at = conflict.setting.as_ref().map_or(because.clone(), place);
    let fault = Diagnostic::value(at.unwrap_or_else(|| header.clone()), what, remedy);
    match because.filter(|_| conflict.setting.is_some()) {
        Some(other) => fault.with(other, "because of this"),
        None => fault,
    }
}
