//! The sections of a file other than exports and access lists.

use std::collections::HashMap;

use toml::de::DeTable;

use super::acl::Acls;
use super::diagnostic::{Collector, Diagnostic, Span};
use super::export::{self, Draft};
use super::item::{Item, Section};
use super::keys::{self, ANY, KEYS, ROWS};
use crate::config::{RingOptions, Serve};
use crate::wire::ether::Mac;

/// Maximum length of an interface name: IFNAMSIZ without the NUL.
const INTERFACE_LEN_MAX: usize = 15;

/// A configuration, and the locations of its parts.
pub struct Read {
    pub serve: Serve,
    pub paths: Vec<Span>,
    pub interfaces: Vec<Span>,
    pub cores: Vec<Span>,
    pub metrics: Option<Span>,
}

/// Reads the whole file and collects its errors.
pub fn read<'a>(
    root: &'a DeTable<'a>,
    text: &str,
    ethers: &'a HashMap<String, Mac>,
    sink: &'a Collector,
) -> Read {
    // Missing keys are reported at the end of the file.
    let end = text.trim_end().len();
    let mut top = Section::new("", keys::of(""), root, end..end, sink);
    let mut read = Read {
        serve: Serve::default(),
        paths: Vec::new(),
        interfaces: Vec::new(),
        cores: Vec::new(),
        metrics: None,
    };
    let mut acls = Acls::read(top.take("acl"), ethers);
    (read.serve.interfaces, read.interfaces) = interfaces(top.take("interfaces"), &top);
    if let Some(allow) = top.take("allow").and_then(|item| acls.allow(item)) {
        read.serve.allow = allow;
    }
    rows("", &mut top, &mut read);
    let drafts = exports(top.take("export"), &top, &mut acls);
    export::clashes(&drafts, sink);
    (read.serve.exports, read.paths) = drafts.into_iter().filter_map(Draft::finish).unzip();
    for (name, known) in KEYS.iter().filter(|(name, _)| !matches!(*name, "" | "[[export]]")) {
        let item = top.take(name.trim_matches(['[', ']']));
        let Some(mut section) = item.and_then(|item| item.section(name, known)) else { continue };
        rows(name, &mut section, &mut read);
        if *name == "[rings]" {
            dependent(&mut section, &mut read.serve.rings);
        }
        section.finish();
    }
    top.finish();
    read
}

/// Reads what needs only its own value.
fn rows(section: &str, keys: &mut Section<'_>, read: &mut Read) {
    for row in ROWS.iter().filter(|row| row.section == section) {
        if let Some(of) = row.read
            && let Some(item) = keys.take(row.name)
        {
            of(read, item);
        }
    }
}

fn exports<'a>(item: Option<Item<'a>>, top: &Section<'a>, acls: &mut Acls<'a>) -> Vec<Draft> {
    match item {
        Some(item) => export::exports(item, acls),
        None => {
            let remedy = "add [[export]] with an address and a path";
            top.sink.put(Diagnostic::missing(top.at.clone(), "the file exports nothing", remedy));
            Vec::new()
        }
    }
}

fn interfaces(item: Option<Item<'_>>, top: &Section<'_>) -> (Vec<String>, Vec<Span>) {
    let Some(item) = item else {
        let remedy = "add interfaces = [\"eth1\"] at its top, with the interface that the other hosts are on";
        top.sink.put(Diagnostic::missing(0..0, "the file names no interface", remedy));
        return (Vec::new(), Vec::new());
    };
    let list = item.list("[\"eth1\"]");
    if list.as_ref().is_some_and(Vec::is_empty) {
        let _: Option<()> =
            item.refuse("interfaces is empty", "name the interface that the other hosts are on");
    }
    let mut names: Vec<String> = Vec::new();
    let mut places: Vec<Span> = Vec::new();
    for one in list.unwrap_or_default() {
        let Some(name) = one.text("\"eth1\"") else { continue };
        let before = names.iter().position(|before| before == name);
        if let Some(first) = before.and_then(|at| places.get(at)) {
            let fault = Diagnostic::value(one.at(), format!("{name} is given twice"), "give it once");
            top.sink.put(fault.with(first.clone(), "first here"));
        } else if let Some(()) = interface(one, name) {
            names.push(name.to_owned());
            places.push(one.at());
        }
    }
    (names, places)
}

fn interface(item: Item<'_>, name: &str) -> Option<()> {
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
        Some(())
    } else {
        item.refuse(format!("\"{name}\" is not the name of an interface"), "`ip link` shows the names")
    }
}

/// Reads the cores, with their locations.
pub fn cores(read: &mut Read, item: Item<'_>) {
    for one in item.list("[2, 3]").unwrap_or_default() {
        let Some(core) = one.number(ANY, "2") else { continue };
        let core = core as usize;
        let before = read.serve.cores.iter().position(|before| *before == core);
        match before.and_then(|at| read.cores.get(at)) {
            Some(first) => {
                let remedy = "give each core once: two workers on one wait for each other";
                let fault = Diagnostic::value(one.at(), format!("core {core} is given twice"), remedy);
                item.sink.put(fault.with(first.clone(), "first here"));
            }
            None => {
                read.serve.cores.push(core);
                read.cores.push(one.at());
            }
        }
    }
}

/// Reads the keys whose limits depend on other keys.
fn dependent(section: &mut Section<'_>, rings: &mut RingOptions) {
    let busy_poll = section.take("busy-poll");
    let is_polling = busy_poll.is_some_and(|item| item.as_text() != Some("off"));
    rings.busy_poll = busy_poll.and_then(|item| item.number_or("off", ANY, "20")).flatten();
    let Some(item) = section.take("busy-poll-budget") else { return };
    if !is_polling {
        let remedy = "leave it out, or give busy-poll in microseconds";
        let _: Option<()> = item.refuse("busy-poll-budget has no meaning without busy-poll", remedy);
    } else if let Some(budget) = item.number(ANY, "64") {
        rings.busy_poll_budget = budget;
    }
}
