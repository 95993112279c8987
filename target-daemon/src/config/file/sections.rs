//! The sections of a file, but for the exports and access lists.

use std::collections::HashMap;

use toml::de::DeTable;

use super::acl::Acls;
use super::diagnostic::{Collector, Diagnostic, Span};
use super::export::{self, Draft};
use super::item::{Item, Section};
use super::keys::KEYS;
use super::service;
use crate::config::bounds::{self, BUFFER_COUNT_MIN, INITIATORS_MIN};
use crate::config::{RingOptions, Serve};
use crate::wire::ether::Mac;

/// Longest name of an interface: IFNAMSIZ, with its end.
const INTERFACE_LEN_MAX: usize = 15;

/// A configuration, and where its parts stand.
pub struct Read {
    pub serve: Serve,
    pub paths: Vec<Span>,
    pub interfaces: Vec<Span>,
    pub cores: Vec<Span>,
    pub metrics: Option<Span>,
}

/// Reads the whole file; notes what is wrong.
pub fn read<'a>(
    root: &'a DeTable<'a>,
    text: &str,
    ethers: &'a HashMap<String, Mac>,
    sink: &'a Collector,
) -> Read {
    // What is missing is told at the end of the file.
    let end = text.trim_end().len();
    let mut top = Section::new("", keys(""), root, end..end, sink);
    let mut serve = Serve::default();
    let mut acls = Acls::read(top.take("acl"), ethers);
    let (names, interfaces) = interfaces(top.take("interfaces"), &top);
    serve.interfaces = names;
    set(top.take("allow").and_then(|item| acls.allow(item)), &mut serve.allow);
    set(top.take("measure-every").and_then(|item| item.number(0..=u32::MAX, "5")), &mut serve.measure_every);
    set(top.take("probe").and_then(|item| item.boolean()).map(|probe| !probe), &mut serve.no_probe);
    let drafts = exports(top.take("export"), &top, &mut acls);
    export::clashes(&drafts, sink);
    let (exports, paths) = drafts.into_iter().filter_map(Draft::finish).unzip();
    serve.exports = exports;
    let cores = workers(&mut top, &mut serve);
    rings(&mut top, &mut serve.rings);
    xdp(&mut top, &mut serve);
    limits(&mut top, &mut serve);
    let metrics = service::read(&mut top, keys("[service]"), &mut serve.service);
    top.finish();
    Read { serve, paths, interfaces, cores, metrics }
}

fn keys(name: &str) -> &'static [&'static str] {
    KEYS.iter().find(|(section, _)| *section == name).map_or(&[], |(_, keys)| keys)
}

fn set<T>(value: Option<T>, place: &mut T) {
    if let Some(value) = value {
        *place = value;
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

fn workers(top: &mut Section<'_>, serve: &mut Serve) -> Vec<Span> {
    let Some(mut section) = top.take("workers").and_then(|item| item.section("[workers]", keys("[workers]")))
    else {
        return Vec::new();
    };
    let mut places: Vec<Span> = Vec::new();
    for one in section.take("cores").and_then(|item| item.list("[2, 3]")).unwrap_or_default() {
        let Some(core) = one.number(0..=u32::MAX, "2") else { continue };
        let core = core as usize;
        let before = serve.cores.iter().position(|before| *before == core);
        match before.and_then(|at| places.get(at)) {
            Some(first) => {
                let remedy = "give each core once: two workers on one wait for each other";
                let fault = Diagnostic::value(one.at(), format!("core {core} is given twice"), remedy);
                section.sink.put(fault.with(first.clone(), "first here"));
            }
            None => {
                serve.cores.push(core);
                places.push(one.at());
            }
        }
    }
    set(section.take("idle").and_then(|item| item.word()), &mut serve.idle);
    set(section.take("spread").and_then(|item| item.word()), &mut serve.spread);
    section.finish();
    places
}

fn rings(top: &mut Section<'_>, rings: &mut RingOptions) {
    let Some(mut section) = top.take("rings").and_then(|item| item.section("[rings]", keys("[rings]")))
    else {
        return;
    };
    let any = 0..=u32::MAX;
    set(section.take("rx-ring").and_then(ring), &mut rings.rx_ring);
    set(section.take("tx-ring").and_then(ring), &mut rings.tx_ring);
    let bytes = section.take("chunk-bytes").and_then(|item| {
        bounds::chunk_bytes(item.number(any.clone(), "4096")?)
            .map_or_else(|remedy| item.impossible(remedy), Some)
    });
    set(bytes, &mut rings.chunk_bytes);
    let chunks = section.take("umem-chunks").and_then(|item| {
        let Some(chunks) = item.number_or("auto", any.clone(), "4096")? else { return Some(None) };
        bounds::umem_chunks(chunks, rings.chunk_bytes)
            .map_or_else(|remedy| item.impossible(remedy), |chunks| Some(Some(chunks)))
    });
    set(chunks, &mut rings.umem_chunks);
    set(section.take("huge-pages").and_then(|item| item.boolean()), &mut rings.huge_pages);
    let busy_poll = section.take("busy-poll");
    let is_polling = busy_poll.is_some_and(|item| item.as_text() != Some("off"));
    set(busy_poll.and_then(|item| item.number_or("off", any.clone(), "20")), &mut rings.busy_poll);
    if let Some(item) = section.take("busy-poll-budget") {
        if is_polling {
            set(item.number(any, "64"), &mut rings.busy_poll_budget);
        } else {
            let remedy = "leave it out, or give busy-poll in microseconds";
            let _: Option<()> = item.refuse("busy-poll-budget has no meaning without busy-poll", remedy);
        }
    }
    section.finish();
}

fn ring(item: Item<'_>) -> Option<Option<u32>> {
    let Some(entries) = item.number_or("auto", 0..=u32::MAX, "4096")? else { return Some(None) };
    bounds::ring(entries).map_or_else(|remedy| item.impossible(remedy), |entries| Some(Some(entries)))
}

fn xdp(top: &mut Section<'_>, serve: &mut Serve) {
    let Some(mut section) = top.take("xdp").and_then(|item| item.section("[xdp]", keys("[xdp]"))) else {
        return;
    };
    set(section.take("mode").and_then(|item| item.word()), &mut serve.xdp_mode);
    set(section.take("zero-copy").and_then(|item| item.word()), &mut serve.zero_copy);
    set(section.take("multi-fragment").and_then(|item| item.word()), &mut serve.multi_fragment);
    section.finish();
}

fn limits(top: &mut Section<'_>, serve: &mut Serve) {
    let Some(mut section) = top.take("limits").and_then(|item| item.section("[limits]", keys("[limits]")))
    else {
        return;
    };
    let number = |item: Item<'_>, min: u16, example: &str| {
        item.number(min.into()..=u16::MAX.into(), example).map(|number| number as u16)
    };
    let count = section.take("buffer-count").and_then(|item| number(item, BUFFER_COUNT_MIN, "64"));
    set(count, &mut serve.buffer_count);
    set(section.take("initiators").and_then(|item| number(item, INITIATORS_MIN, "8")), &mut serve.initiators);
    section.finish();
}
