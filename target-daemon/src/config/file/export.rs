//! One `[[export]]`: its keys become the options of the command line, so that
//! both mean the same.

use std::path::PathBuf;

use super::acl::Acls;
use super::diagnostic::{Collector, Diagnostic, Span};
use super::item::{Item, Section};
use super::keys::KEYS;
use crate::config::conflicts;
use crate::config::export::{ExportError, Raw, WORKERS_MAX};
use crate::config::{Export, Image};
use crate::wire::aoe::Address;

/// What could be read of an export.
pub struct Draft {
    address: Option<(Address, Span)>,
    /// What is behind it, and where its path stands.
    image: Option<(Image, Span)>,
    allow: Option<Vec<crate::wire::ether::Mac>>,
    worker: Option<u16>,
    force: bool,
}

impl Draft {
    /// The export, and where its path stands, if all of it could be read.
    pub fn finish(self) -> Option<(Export, Span)> {
        let (address, _) = self.address?;
        let (image, at) = self.image?;
        Some((Export { address, image, allow: self.allow, worker: self.worker, force: self.force }, at))
    }
}

/// Every export of the file.
pub fn exports<'a>(item: Item<'a>, acls: &mut Acls<'a>) -> Vec<Draft> {
    let name = "[[export]]";
    let keys = KEYS.iter().find(|(section, _)| *section == name).map_or(&[][..], |(_, keys)| keys);
    if item.is_section() {
        let _: Option<()> = item.refuse("[export] is one of several", "write [[export]], in two brackets");
        return Vec::new();
    }
    let Some(list) = item.as_list() else {
        let _: Option<()> = item.refuse(
            "export is a section, of which there may be several",
            "write [[export]] on a line of its own, and address and path below",
        );
        return Vec::new();
    };
    list.into_iter().filter_map(|one| one.section(name, keys)).map(|section| export(section, acls)).collect()
}

fn export<'a>(mut section: Section<'a>, acls: &mut Acls<'a>) -> Draft {
    let header = section.at.clone();
    let sink = section.sink;
    let address = match section.take("address") {
        Some(item) => address(item),
        None => {
            sink.put(Diagnostic::missing(
                header.clone(),
                "this export has no address",
                "add address = \"0.1\"",
            ));
            None
        }
    };
    let path = section.take("path");
    let mut raw = Raw::default();
    let mut places: Vec<(&'static str, Span)> = Vec::new();
    let mut good = true;
    for (key, option) in OPTIONS {
        let Some(item) = section.take(key) else { continue };
        let before = sink.count();
        if let Some(text) = written(key, option, item)
            && let Err(error) = raw.set(&text)
        {
            refuse(item, &error);
        }
        good &= sink.count() == before;
        places.push((option, item.at()));
    }
    let allow = section.take("allow").and_then(|item| acls.allow(item));
    section.finish();
    for error in raw.faults() {
        good = false;
        sink.put(meaningless(&error, &places, &header));
    }
    let (worker, force) = (raw.worker, raw.is_forced());
    let image = image(raw, path, &header, sink).filter(|_| good);
    Draft { address, image, allow, worker, force }
}

/// Keys, and the options of the command line that they are.
const OPTIONS: &[(&str, &str)] = &[
    ("read-only", "ro"),
    ("offset", "offset"),
    ("length", "length"),
    ("store", "store"),
    ("durability", "durability"),
    ("sync", "sync"),
    ("trim", "trim"),
    ("pin", "pin"),
    ("huge", "huge"),
    ("worker", "worker"),
    ("force", "force"),
];

/// The option as the command line has it; `None` if it is switched off.
fn written(key: &str, option: &str, item: Item<'_>) -> Option<String> {
    match key {
        "read-only" | "pin" | "huge" | "force" => item.boolean()?.then(|| option.to_owned()),
        "offset" | "length" => match item.as_number() {
            Some(sectors) => Some(format!("{option}={sectors}")),
            None => {
                let kinds = "sectors, or a size in quotes";
                let size = item.as_text().or_else(|| item.wrong_kind(kinds, "\"1GiB\""))?;
                Some(format!("{option}={size}"))
            }
        },
        "worker" if item.as_text() == Some("auto") => Some("worker=auto".to_owned()),
        "worker" => item.number(0..=u32::from(WORKERS_MAX) - 1, "0").map(|worker| format!("worker={worker}")),
        _ => Some(format!("{option}={}", item.one_of(words(key))?)),
    }
}

/// What a key may say. The command line knows these words too: a test tries
/// them all.
fn words(key: &str) -> &'static [&'static str] {
    match key {
        "store" => &["auto", "direct", "file", "mmap", "null"],
        "durability" => &["durable", "volatile"],
        "sync" => &["auto", "each", "group"],
        _ => &["auto", "on", "off"],
    }
}

fn address(item: Item<'_>) -> Option<(Address, Span)> {
    // Of 0.10, 10 is the slot, and TOML takes it for 0.1.
    let quoted = if item.as_text().is_none() { format!("\"{}\"", item.written()) } else { String::new() };
    let example = if quoted.contains('.') { quoted.as_str() } else { "\"0.1\"" };
    let text = item.text(example)?;
    match text.parse() {
        Ok(address) => Some((address, item.at())),
        Err(error) => {
            let (message, remedy) = in_two(&crate::wire::aoe::AddressError::to_string(&error));
            item.refuse(message, remedy)
        }
    }
}

fn image(raw: Raw, path: Option<Item<'_>>, header: &Span, sink: &Collector) -> Option<(Image, Span)> {
    if raw.is_null() {
        if let Some(item) = path {
            return item.refuse("path has no meaning with store = \"null\"", "leave it out");
        }
        return raw.image("null").ok().map(|image| (image, header.clone()));
    }
    let Some(item) = path else {
        sink.put(Diagnostic::missing(
            header.clone(),
            "this export has no path",
            "add path = \"/srv/disk.img\"",
        ));
        return None;
    };
    let path = item.text("\"/srv/disk.img\"")?;
    if path.contains('\0') {
        return item.refuse("path has a zero byte in it", "leave it out");
    }
    if !PathBuf::from(path).is_absolute() {
        return item.refuse(
            format!("path = {path:?} does not begin with a /"),
            "write the whole path: a service starts in no directory of its own",
        );
    }
    raw.image(path).ok().map(|image| (image, item.at()))
}

fn refuse(item: Item<'_>, error: &ExportError) {
    let _: Option<()> = match error {
        ExportError::Value { remedy, .. } if remedy.starts_with('\'') => {
            // A size: the message names it.
            let (message, remedy) = in_two(remedy);
            item.refuse(message, remedy)
        }
        ExportError::Value { remedy, .. } => item.impossible(in_words_of_the_file(remedy)),
        error => item.refuse(error.to_string(), "leave it out"),
    };
}

/// A fault of options beside each other, at the place of the one to change.
fn meaningless(error: &ExportError, places: &[(&'static str, Span)], header: &Span) -> Diagnostic {
    let place = |option: &str| {
        let name = option.split('=').next().unwrap_or(option);
        places.iter().find(|(option, _)| *option == name).map(|(_, at)| at.clone())
    };
    match error {
        ExportError::Meaningless { option, with, remedy } => {
            let at = place(option).unwrap_or_else(|| header.clone());
            let words = in_words_of_the_file;
            let message = format!("{} has no meaning with {}", words(option), words(with));
            let fault = Diagnostic::value(at.clone(), message, words(remedy));
            match place(with) {
                Some(other) => fault.with(other, "because of this"),
                None => fault,
            }
        }
        _ => Diagnostic::value(
            place("store").unwrap_or_else(|| header.clone()),
            "store = \"null\" needs a size",
            "add length = \"1GiB\"",
        ),
    }
}

/// What is wrong, and what to do about it: the last part, after a colon.
pub fn in_two(text: &str) -> (String, String) {
    match text.rsplit_once(": ") {
        Some((message, remedy)) => (message.to_owned(), remedy.to_owned()),
        None => (text.to_owned(), "correct it".to_owned()),
    }
}

/// `sync=each` as `sync = "each"`, and `ro` as `read-only = true`.
fn in_words_of_the_file(text: &str) -> String {
    let word = |word: &str| {
        let bare = word.trim_end_matches([',', ':', '.']);
        let rest = word.get(bare.len()..).unwrap_or("");
        match (bare, bare.split_once('=')) {
            ("ro", _) => format!("read-only = true{rest}"),
            ("pin" | "huge", _) => format!("{bare} = true{rest}"),
            (_, Some((key, value))) if !value.is_empty() => format!("{key} = \"{value}\"{rest}"),
            _ => word.to_owned(),
        }
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// Notes exports that get in each other's way.
pub fn clashes(drafts: &[Draft], sink: &Collector) {
    let addresses: Vec<&(Address, Span)> = drafts.iter().filter_map(|d| d.address.as_ref()).collect();
    let only: Vec<Address> = addresses.iter().map(|(address, _)| *address).collect();
    for (first, later) in conflicts::addresses_twice(&only) {
        if let (Some((_, other)), Some((address, at))) = (addresses.get(first), addresses.get(later)) {
            let message = format!("address {address} is given twice");
            let fault = Diagnostic::value(at.clone(), message, "give each export its own address");
            sink.put(fault.with(other.clone(), "first here"));
        }
    }
    let images: Vec<&(Image, Span)> = drafts.iter().filter_map(|d| d.image.as_ref()).collect();
    let only: Vec<&Image> = images.iter().map(|(image, _)| image).collect();
    for (first, later) in conflicts::images_overlap(&only) {
        if let (Some((_, other)), Some((image, at))) = (images.get(first), images.get(later)) {
            let path = match image {
                Image::File(options) => options.path.display().to_string(),
                Image::Null { .. } => String::new(),
            };
            let message = format!("{path} is exported twice, and may be written");
            let remedy = "make both read-only, or give them an offset and length so that they do not overlap";
            sink.put(Diagnostic::value(at.clone(), message, remedy).with(other.clone(), "first here"));
        }
    }
}
