//! docs/CONTROL.md describes every field and every path.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::fake::Fake;
use crate::http::get;
use crate::openapi::Document;
use crate::sample;
use crate::trace::Watcher;

/// Objects whose keys are counters, with their own names.
const MAPS: [&str; 5] = ["counters", "drops", "requests", "service", "store"];

fn text() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/CONTROL.md")).unwrap()
}

fn keys(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                found.insert(key.clone());
                match MAPS.contains(&key.as_str()) {
                    true => inner_times(value, found),
                    false => keys(value, found),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|value| keys(value, found)),
        _ => {}
    }
}

/// Names of operations are not fields, but the fields of their times are.
fn inner_times(value: &Value, found: &mut BTreeSet<String>) {
    let of_operations = value.as_object().into_iter().flat_map(|map| map.values());
    of_operations.filter(|times| times.get("p50-ns").is_some()).for_each(|times| keys(times, found));
}

fn fields() -> BTreeSet<String> {
    let fake = Fake::new();
    let mut found = BTreeSet::from(["changed", "error", "read-only", "export"].map(str::to_owned));
    for uri in
        ["status", "stats", "exports", "exports/0.1/reservation", "exports/0.1/mask", "exports/0.1/config"]
    {
        keys(&get(&fake.path, &format!("/v1/{uri}")).json(), &mut found);
    }
    let mut trace = Watcher::new(&fake.path, "");
    for _ in sample::traced() {
        keys(&trace.line(), &mut found);
    }
    found.insert("missed".to_owned());
    found
}

/// The first cell of every row of a table of fields.
fn documented(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut of_fields = false;
    for line in text.lines() {
        match line.strip_prefix("| ") {
            Some(row) if row.starts_with("field |") => of_fields = true,
            Some(row) if of_fields => {
                let cell = row.split('|').next().unwrap();
                found.extend(cell.split('`').skip(1).step_by(2).map(str::to_owned));
            }
            _ if !line.starts_with('|') => of_fields = false,
            _ => {}
        }
    }
    found
}

#[test]
fn every_field_is_documented_and_no_other() {
    let (there, told) = (fields(), documented(&text()));
    let missing: Vec<_> = there.difference(&told).collect();
    assert!(there.len() > 40 && missing.is_empty(), "docs/CONTROL.md does not tell of {missing:?}");
    let gone: Vec<_> = told.difference(&there).collect();
    assert!(gone.is_empty(), "docs/CONTROL.md tells of {gone:?}, which are not there");
}

#[test]
fn every_path_is_documented() {
    let operations = Document::of(&Fake::new().path).operations();
    assert!(operations.len() > 8, "{operations:?}");
    let text = text();
    for (method, path) in operations {
        let path = format!("{}`", path.replace("{address}", "0.1"));
        let method = method.to_uppercase();
        let is_documented =
            text.lines().any(|line| line.starts_with("- ") && line.contains(&path) && line.contains(&method));
        assert!(is_documented, "docs/CONTROL.md does not tell of {method} {path}");
    }
}
