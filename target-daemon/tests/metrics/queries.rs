//! The queries of the dashboard and of the alert rules use only existing metrics and
//! labels.

use std::fs;
use std::path::Path;

use serde_json::Value;
use xblade::control::metrics::{FAMILIES, Kind};

/// A query, and where it was found.
#[derive(Debug)]
pub struct Query {
    pub place: String,
    pub text: String,
}

/// The queries of the dashboard, with its variables as a user would choose them.
pub fn of_the_dashboard() -> Vec<Query> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/grafana/xblade.json");
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let mut found = Vec::new();
    collect(&dashboard, "dashboard", &mut found);
    assert!(found.len() > 20, "{found:?}");
    found
}

fn collect(value: &Value, place: &str, found: &mut Vec<Query>) {
    match value {
        Value::Object(map) => {
            let place = map.get("title").and_then(Value::as_str).unwrap_or(place);
            if let Some(Value::String(text)) = map.get("expr") {
                let text = [("$__rate_interval", "1m"), ("$instance", ".*"), ("$export", ".*")]
                    .iter()
                    .fold(text.clone(), |text, (variable, value)| text.replace(variable, value));
                assert!(!text.contains('$'), "{place}: {text}");
                found.push(Query { place: place.to_owned(), text });
            }
            map.values().for_each(|value| collect(value, place, found));
        }
        Value::Array(list) => list.iter().for_each(|value| collect(value, place, found)),
        _ => {}
    }
}

/// The words of a query that look like our metrics.
fn metrics(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| word.starts_with("xblade_"))
}

fn exists(name: &str) -> bool {
    FAMILIES.iter().any(|family| match family.kind {
        Kind::Histogram => name.strip_suffix("_bucket") == Some(family.name),
        _ => family.queried() == name,
    })
}

/// Whether the name is that of a histogram without a suffix, as used in prose.
fn is_told_of(name: &str) -> bool {
    FAMILIES.iter().any(|family| family.kind == Kind::Histogram && name == family.name)
}

#[test]
fn queries_name_metrics_that_there_are() {
    for query in of_the_dashboard() {
        assert!(metrics(&query.text).count() > 0, "{query:?}");
        for name in metrics(&query.text) {
            assert!(exists(name), "{}: {name}: {query:?}", query.place);
        }
    }
    let rules = fs::read_to_string(crate::tools::alerts()).unwrap();
    assert!(metrics(&rules).count() > 10);
    for name in metrics(&rules) {
        assert!(exists(name) || is_told_of(name), "alerts.yml: {name}");
    }
    let document = crate::document::text();
    for name in metrics(&document).filter(|name| *name != "xblade_") {
        assert!(exists(name) || is_told_of(name), "METRICS.md: {name}");
    }
}

#[test]
fn queries_name_labels_that_there_are() {
    let is_label = |word: &str| {
        ["instance", "job", "le"].contains(&word) || FAMILIES.iter().any(|f| f.labels.contains(&word))
    };
    for query in of_the_dashboard() {
        // In braces before an operator, and in the list of a `by`.
        for part in query.text.split('{').skip(1).map(|rest| rest.split('}').next().unwrap()) {
            for matcher in part.split(", ") {
                let label = matcher.split(['=', '!']).next().unwrap();
                assert!(is_label(label), "{label}: {query:?}");
            }
        }
        for part in query.text.split(" by (").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            assert!(part.split(", ").all(is_label), "{part}: {query:?}");
        }
    }
}
