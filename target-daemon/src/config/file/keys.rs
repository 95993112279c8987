//! All keys of a configuration file. A key outside of exports is one row: how it is read into
//! the configuration, and how it is shown.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::LazyLock;

use clap::ValueEnum;
use toml::Value;

use super::item::Item;
use super::{Loaded, sections};
use crate::config::Serve;
use crate::config::bounds::{self, BUFFER_COUNT_MIN, INITIATORS_MIN};
use crate::config::export::{EVERYBODY, options};
use crate::config::limit::OF_HOSTS;
use crate::config::service::{host_name, or_none};
use crate::config::suggest::{plain, suggest};
use crate::store::NONE;
use crate::wire::ether::Mac;

/// A key of a section.
pub struct Key {
    /// The section; empty at the top of the file.
    pub section: &'static str,
    /// The key.
    pub name: &'static str,
    /// Reads it; `None` if that needs the access lists.
    pub read: Option<fn(&mut Loaded, Item<'_>)>,
    /// Its value; `None` if it is not shown.
    pub show: fn(&Serve) -> Option<Value>,
}

/// A row: where its value is, how it is read, and how it is shown.
macro_rules! key {
    ($section:literal, $name:literal, $($field:ident).+, $read:expr, $show:expr) => {
        Key {
            section: $section,
            name: $name,
            read: Some(|read, item| {
                if let Some(value) = $read(&item) {
                    read.serve.$($field).+ = value;
                }
            }),
            show: |serve| Option::from($show(&serve.$($field).+)),
        }
    };
}

/// All keys but those of exports, limits of hosts and access lists.
pub const ROWS: &[Key] = &[
    Key {
        section: "",
        name: "interfaces",
        read: Some(sections::interfaces),
        show: |serve| Some(serve.interfaces.clone().into()),
    },
    Key { section: "", name: "allow", read: None, show: |serve| Some(hosts(&serve.allow)) },
    key!("", "host-settings", host_settings, Item::word, word),
    key!("", "measure-every", measure_every, |item: &Item<'_>| item.number(ANY, "5"), value),
    key!("", "probe", no_probe, |item: &Item<'_>| item.boolean().map(|yes| !yes), |no: &bool| Value::from(
        !no
    )),
    Key {
        section: "[workers]",
        name: "cores",
        read: Some(sections::cores),
        show: |serve| Some(cores(serve)),
    },
    key!("[workers]", "idle", idle, Item::word, word),
    key!("[workers]", "spread", spread, Item::word, word),
    key!("[rings]", "rx-ring", rings.rx_ring, ring, |entries: &Option<u32>| or("auto", *entries)),
    key!("[rings]", "huge-pages", rings.huge_pages, Item::boolean, value),
    key!(
        "[rings]",
        "busy-poll",
        rings.busy_poll,
        |item: &Item<'_>| item.number_or("off", "20"),
        |micros: &Option<u32>| or("off", *micros)
    ),
    Key {
        section: "[rings]",
        name: "busy-poll-budget",
        read: Some(|read, item| match item.number(ANY, "64") {
            Some(_) if read.serve.rings.busy_poll.is_none() => {
                let what = "busy-poll-budget has no meaning without busy-poll";
                item.fault(what, "leave it out, or give busy-poll in microseconds");
            }
            Some(budget) => read.serve.rings.busy_poll_budget = budget,
            None => {}
        }),
        show: |serve| serve.rings.busy_poll.map(|_| serve.rings.busy_poll_budget.into()),
    },
    key!("[xdp]", "mode", xdp_mode, Item::word, word),
    key!("[xdp]", "zero-copy", zero_copy, Item::word, word),
    key!("[xdp]", "multi-fragment", multi_fragment, Item::word, word),
    key!("[limits]", "buffer-count", buffer_count, |item| small(item, BUFFER_COUNT_MIN, "64"), small_shown),
    key!("[limits]", "initiators", initiators, |item| small(item, INITIATORS_MIN, "8"), small_shown),
    key!(
        "[service]",
        "control",
        service.control,
        |item| path(item, "\"/run/xblade/xblade.sock\""),
        path_shown
    ),
    key!("[service]", "control-group", service.control_group, name, name_shown),
    key!("[service]", "admin-group", service.admin_group, name, name_shown),
    Key {
        section: "[service]",
        name: "metrics",
        read: Some(|read, item| {
            read.metrics = Some(item.at());
            if let Some(at) = listener(item) {
                read.serve.service.metrics = at;
            }
        }),
        show: |serve| Some(or(NONE, serve.service.metrics.map(|at| at.to_string()))),
    },
    key!("[service]", "metrics-names", service.metrics_names, names, |names: &[String]| texts(names.iter())),
    key!("[service]", "state", service.state, |item| path(item, "\"/var/lib/xblade\""), path_shown),
    key!("[service]", "sandbox", service.sandbox, Item::word, word),
    key!("[service]", "user", service.user, name, name_shown),
    key!("[service]", "folders", service.folders, folders, folders_shown),
];

/// Any number.
pub const ANY: std::ops::RangeInclusive<u32> = 0..=u32::MAX;

fn ring(item: &Item<'_>) -> Option<Option<u32>> {
    let Some(entries) = item.number_or("auto", "4096")? else { return Some(None) };
    bounds::ring(entries).map_or_else(|remedy| item.impossible(remedy), |entries| Some(Some(entries)))
}

fn small(item: &Item<'_>, min: u16, example: &str) -> Option<u16> {
    item.number(min.into()..=u16::MAX.into(), example).map(|number| number as u16)
}

fn path(item: &Item<'_>, example: &str) -> Option<Option<PathBuf>> {
    match or_none::<PathBuf>(item.text(example)?).ok()? {
        Some(path) if !path.is_absolute() => {
            item.impossible("write the whole path: a service starts in no directory of its own")
        }
        path => Some(path),
    }
}

fn folders(item: &Item<'_>) -> Option<Vec<PathBuf>> {
    Some(item.list("[\"/srv\"]")?.iter().filter_map(|one| path(one, "\"/srv\"")?).collect())
}

fn names(item: &Item<'_>) -> Option<Vec<String>> {
    let name = |one: &Item<'_>| {
        host_name(one.text("\"storage.example\"")?).map_or_else(|remedy| one.impossible(remedy), Some)
    };
    Some(item.list("[\"storage.example\"]")?.iter().filter_map(name).collect())
}

fn name(item: &Item<'_>) -> Option<Option<String>> {
    item.text("\"xblade\"").map(|name| Some(name.to_owned()))
}

fn listener(item: Item<'_>) -> Option<Option<SocketAddr>> {
    or_none(item.text("\"127.0.0.1:9464\"")?).map_or_else(
        |_| item.impossible("give an address and a port, as \"127.0.0.1:9464\", or \"none\""),
        Some,
    )
}

/// The hosts of an access list.
pub fn hosts(macs: &[Mac]) -> Value {
    if macs.is_empty() {
        return EVERYBODY.into();
    }
    texts(macs.iter())
}

fn texts(all: impl Iterator<Item: ToString>) -> Value {
    all.map(|one| one.to_string()).collect::<Vec<_>>().into()
}

fn folders_shown(folders: &[PathBuf]) -> Value {
    texts(folders.iter().map(|folder| folder.display()))
}

fn name_shown(name: &Option<String>) -> Option<Value> {
    name.clone().map(Value::from)
}

fn cores(serve: &Serve) -> Value {
    serve.cores.iter().map(|core| Value::Integer(*core as i64)).collect::<Vec<_>>().into()
}

/// The word used on the command line.
fn word<T: ValueEnum>(value: &T) -> Value {
    value.to_possible_value().map_or_else(String::new, |word| word.get_name().to_owned()).into()
}

fn value<T: Copy + Into<Value>>(value: &T) -> Value {
    (*value).into()
}

fn small_shown(value: &u16) -> Value {
    i64::from(*value).into()
}

fn path_shown(path: &Option<PathBuf>) -> Value {
    or(NONE, path.as_ref().map(|path| path.display().to_string()))
}

/// The value; the word if there is none.
fn or(word: &str, value: Option<impl Into<Value>>) -> Value {
    value.map_or(word.into(), Into::into)
}

/// The sections and their keys, in the order of the documentation. The first entry has
/// the keys before any section.
pub static KEYS: LazyLock<Vec<(&'static str, Vec<&'static str>)>> = LazyLock::new(|| {
    let mut keys: Vec<(&str, Vec<&str>)> = vec![("", Vec::new())];
    let export = ["address", "path"].into_iter().chain(options().map(|option| option.key));
    let export = ("[[export]]", export.collect());
    let host_limit = ("[[host-limit]]", ["hosts", "exports"].into_iter().chain(OF_HOSTS).collect());
    for row in ROWS {
        match keys.iter_mut().find(|(section, _)| *section == row.section) {
            Some((_, names)) => names.push(row.name),
            None => keys.push((row.section, vec![row.name])),
        }
    }
    let sections = keys.iter().skip(1).map(|(section, _)| section.trim_matches(['[', ']']));
    let last: Vec<&str> =
        std::iter::once("export").chain(["host-limit"]).chain(sections).chain(["acl"]).collect();
    if let Some((_, top)) = keys.first_mut() {
        top.extend(last);
    }
    keys.splice(1..1, [export, host_limit]);
    keys
});

/// The keys of a section.
pub fn of(section: &str) -> &'static [&'static str] {
    KEYS.iter().find(|(name, _)| *name == section).map_or(&[], |(_, keys)| keys)
}

/// Keys of `[rings]` that are no more: the sizes follow from `rx-ring`.
const GONE: [&str; 3] = ["tx-ring", "umem-chunks", "chunk-bytes"];

/// The remedy for a key that this section does not have.
pub fn remedy(key: &str, section: &str) -> String {
    let (key, known) = (plain(key), of(section));
    if GONE.contains(&key.as_str()) {
        return "leave it out: xblade sizes this by rx-ring".to_owned();
    }
    // An option of an export has another name on the command line.
    let by_name = options().filter(|option| option.name() == key).map(|option| (option.name(), option.key));
    let near = known.iter().map(|known| (*known, *known));
    let meant = suggest(&key, by_name.filter(|(_, key)| known.contains(key)).chain(near));
    if let Some(meant) = meant {
        return format!("did you mean {meant}?");
    }
    let elsewhere = KEYS.iter().find(|(name, keys)| *name != section && keys.contains(&key.as_str()));
    match elsewhere {
        Some(("", _)) => "put it at the top of the file, before the first section".to_owned(),
        Some((name, _)) => format!("put it under {name}, as {key}"),
        None => format!("known are {}", known.join(", ")),
    }
}
