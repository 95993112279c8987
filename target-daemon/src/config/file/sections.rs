//! The sections of a file other than exports and access lists.

use std::collections::HashMap;

use toml::de::DeTable;

use super::acl::{Acls, too_many};
use super::diagnostic::{Sink, Span};
use super::item::{Item, Section, twice};
use super::keys::{ANY, KEYS, ROWS};
use super::{Loaded, export, host_limit};
use crate::wire::ether::Mac;

/// Maximum length of an interface name: IFNAMSIZ without the NUL.
const INTERFACE_LEN_MAX: usize = 15;

/// The most names of interfaces.
const INTERFACES_MAX: usize = 256;

/// Reads the whole file and collects its errors.
pub fn read(read: &mut Loaded, root: &DeTable<'_>, text: &str, ethers: &HashMap<String, Mac>, sink: &Sink) {
    // Missing keys are reported at the end of the file.
    let end = text.trim_end().len();
    let mut top = Section::new("", root, end..end, sink);
    let mut acls = Acls::read(top.take("acl"), ethers);
    let remedy = "add interfaces = [\"eth1\"] at its top, with the interface that the other hosts are on";
    if let Some(item) = top.need("interfaces", 0..0, "the file names no interface", remedy) {
        interfaces(read, item);
    }
    if let Some(allow) = top.take("allow").and_then(|item| acls.allow(item)) {
        read.serve.allow = allow;
    }
    rows("", &mut top, read);
    let remedy = "add [[export]] with an address and a path";
    if let Some(item) = top.need("export", end..end, "the file exports nothing", remedy) {
        (read.serve.exports, read.exports) = export::exports(item, &mut acls).into_iter().unzip();
    }
    too_many(&read.serve, &acls);
    if let Some(item) = top.take("host-limit") {
        read.serve.host_limits = host_limit::host_limits(item, &mut acls);
    }
    for (name, _) in KEYS.iter().filter(|(name, _)| !name.is_empty() && !name.starts_with("[[")) {
        let item = top.take(name.trim_matches(['[', ']']));
        let Some(mut section) = item.and_then(|item| item.section(name)) else { continue };
        rows(name, &mut section, read);
        section.finish();
    }
    top.finish();
}

fn rows(section: &str, keys: &mut Section<'_>, read: &mut Loaded) {
    for row in ROWS.iter().filter(|row| row.section == section) {
        if let Some(of) = row.read
            && let Some(item) = keys.take(row.name)
        {
            of(read, item);
        }
    }
}

/// Reads the interfaces, with their locations.
pub fn interfaces(read: &mut Loaded, item: Item<'_>) {
    (read.serve.interfaces, read.interfaces) = names(item).into_iter().unzip();
}

/// Names and patterns of interfaces, with their locations.
pub fn names(item: Item<'_>) -> Vec<(String, Span)> {
    let Some(list) = item.list("[\"eth1\"]") else { return Vec::new() };
    if list.is_empty() {
        item.fault("interfaces is empty", "name the interface that the other hosts are on");
    }
    if list.len() > INTERFACES_MAX {
        item.fault(
            format!("interfaces has {} names", list.len()),
            format!("give at most {INTERFACES_MAX}, or patterns"),
        );
        return Vec::new();
    }
    let names: Vec<(String, Span)> = list.into_iter().filter_map(interface).collect();
    twice(
        &names,
        |name| name,
        |_, _| true,
        |name| format!("{name} is given twice"),
        "give it once",
        item.sink,
    );
    names
}

fn interface(item: Item<'_>) -> Option<(String, Span)> {
    let name = item.text("\"eth1\"")?;
    if let Err(error) = glob::Pattern::new(name) {
        return item.refuse(
            format!("\"{name}\" is not a pattern: {}", error.msg),
            "write * for any letters, ? for one, [ab] for a or b",
        );
    }
    let is_pattern = name.contains(['*', '?', '[']);
    let possible = !name.is_empty()
        && (is_pattern || name.len() <= INTERFACE_LEN_MAX)
        && !name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control());
    if possible {
        Some((name.to_owned(), item.at()))
    } else {
        item.refuse(format!("\"{name}\" is not the name of an interface"), "`ip link` shows the names")
    }
}

/// Reads the cores, with their locations.
pub fn cores(read: &mut Loaded, item: Item<'_>) {
    let list = item.list("[2, 3]").unwrap_or_default().into_iter();
    let cores: Vec<(usize, Span)> =
        list.filter_map(|one| Some((one.number(ANY, "2")? as usize, one.at()))).collect();
    let remedy = "give each core once: two workers on one wait for each other";
    twice(&cores, |core| *core, |_, _| true, |core| format!("core {core} is given twice"), remedy, item.sink);
    (read.serve.cores, read.cores) = cores.into_iter().unzip();
}
