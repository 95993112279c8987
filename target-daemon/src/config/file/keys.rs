//! All keys of a configuration file.

use crate::config::export::{EXPORT_OPTIONS, options};
use crate::store::OPTIONS;

/// The keys of an export: its address, its path and its options.
const EXPORT_KEYS: [&str; 2 + OPTIONS.len() + EXPORT_OPTIONS.len()] = {
    let mut keys = ["address"; _];
    let mut at = 1;
    keys[at] = "path";
    while at + 1 < keys.len() {
        let option = at - 1;
        at += 1;
        keys[at] = if option < OPTIONS.len() {
            OPTIONS[option].key
        } else {
            EXPORT_OPTIONS[option - OPTIONS.len()].key
        };
    }
    keys
};

/// The sections and their keys, in the order of the documentation. The first entry has
/// the keys before any section.
pub const KEYS: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "interfaces",
            "allow",
            "measure-every",
            "probe",
            "export",
            "workers",
            "rings",
            "xdp",
            "limits",
            "service",
            "acl",
        ],
    ),
    ("[[export]]", &EXPORT_KEYS),
    ("[workers]", &["cores", "idle", "spread"]),
    (
        "[rings]",
        &["rx-ring", "tx-ring", "umem-chunks", "chunk-bytes", "huge-pages", "busy-poll", "busy-poll-budget"],
    ),
    ("[xdp]", &["mode", "zero-copy", "multi-fragment"]),
    ("[limits]", &["buffer-count", "initiators"]),
    ("[service]", &["control", "control-group", "metrics", "state", "sandbox", "folders"]),
];

/// Other common names of keys.
const OTHER_WORDS: &[(&str, &str)] = &[
    ("file", "path"),
    ("filename", "path"),
    ("device", "path"),
    ("shelf", "address"),
    ("slot", "address"),
    ("cpus", "cores"),
    ("netif", "interfaces"),
    ("xdp-mode", "mode"),
    ("no-probe", "probe"),
];

/// The remedy for a key that this section does not have.
pub fn remedy(key: &str, section: &str, known: &[&str]) -> String {
    let key = plain(key);
    if let Some(meant) = meant(&key, known) {
        return format!("did you mean {meant}?");
    }
    let elsewhere = KEYS.iter().find(|(name, keys)| *name != section && keys.contains(&key.as_str()));
    match elsewhere {
        Some(("", _)) => "put it at the top of the file, before the first section".to_owned(),
        Some((name, _)) => format!("put it under {name}, as {key}"),
        None => format!("known are {}", known.join(", ")),
    }
}

/// A key in our spelling.
pub fn plain(key: &str) -> String {
    key.replace('_', "-").to_lowercase()
}

/// The known word closest to this one, if one is close enough.
pub fn meant<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let other = OTHER_WORDS.iter().find(|(other, _)| *other == word).map(|(_, key)| *key);
    let option = options().find(|option| option.name() == word || option.others.contains(&word));
    let other = other.or(option.map(|option| option.key));
    if let Some(key) = known.iter().find(|key| Some(**key) == other) {
        return Some(key);
    }
    let near = known.iter().map(|key| (strsim::jaro_winkler(word, key), *key));
    near.filter(|(nearness, _)| *nearness > 0.85).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, key)| key)
}
