//! Compares docs/METRICS.md with the existing metrics.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use xblade::control::metrics::{FAMILIES, Kind};
use xblade::link::Counter;
use xblade::observe::{Operation, Outcome};
use xblade::wire::DropReason;

use crate::exposition::{Sample, samples};

/// Type, labels, unit.
type Row = (String, Vec<String>, String);

pub fn text() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/METRICS.md")).unwrap()
}

/// The words between backticks.
fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The table rows that name a metric in their first column.
fn documented(text: &str) -> BTreeMap<String, Row> {
    let mut found = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| `xblade_")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 6, "{line}");
        assert!(!cells[4].is_empty(), "no meaning: {line}");
        let row = (cells[1].to_owned(), quoted(cells[2]), cells[3].to_owned());
        assert!(found.insert(quoted(cells[0])[0].clone(), row).is_none(), "twice: {line}");
    }
    found
}

#[test]
fn every_metric_is_documented_and_every_documented_one_exists() {
    let documented = documented(&text());
    let there: BTreeMap<String, Row> = FAMILIES
        .iter()
        .map(|family| {
            let labels = family.labels.iter().map(|label| (*label).to_owned()).collect();
            (family.queried(), (family.kind.name().to_owned(), labels, family.unit.to_owned()))
        })
        .collect();
    for (name, row) in &there {
        assert_eq!(documented.get(name), Some(row), "{name} in docs/METRICS.md");
    }
    for name in documented.keys() {
        assert!(there.contains_key(name), "docs/METRICS.md explains {name}, which there is not");
    }
}

#[test]
fn every_value_of_a_label_is_documented() {
    let text = text();
    let mut words: Vec<&str> = Operation::ALL.iter().map(|o| o.name()).collect();
    words.extend(Outcome::ALL.iter().map(|o| o.name()));
    words.extend(DropReason::NAMES);
    words.extend(Counter::ALL.iter().map(|c| c.name()));
    let told = samples();
    for (label, value) in told.iter().flat_map(Sample::labels) {
        if ["where", "reason", "verdict", "fault", "kind", "operation", "outcome"].contains(&label) {
            words.push(value);
        }
    }
    for word in words {
        assert!(text.contains(&format!("`{word}`")), "docs/METRICS.md does not mention `{word}`");
    }
}

#[test]
fn every_alert_is_documented() {
    let documented: Vec<String> = text()
        .lines()
        .filter(|line| line.starts_with("| `Xblade"))
        .map(|line| quoted(line)[0].clone())
        .collect();
    let rules = fs::read_to_string(crate::tools::alerts()).unwrap();
    let there: Vec<String> =
        rules.lines().filter_map(|line| Some(line.trim().strip_prefix("- alert: ")?.to_owned())).collect();
    assert_eq!(documented, there, "left docs/METRICS.md, right alerts.yml");
    let tests = fs::read_to_string(crate::tools::alerts().with_file_name("alerts_test.yml")).unwrap();
    for alert in there {
        assert!(tests.contains(&format!("alertname: {alert}\n")), "alerts_test.yml does not test {alert}");
    }
}

#[test]
fn names_carry_their_units_and_nothing_that_is_added() {
    for family in FAMILIES {
        assert!(family.unit.is_empty() || family.name.ends_with(&format!("_{}", family.unit)), "{family:?}");
        assert!(!family.name.ends_with("_total") && !family.name.ends_with("_info"), "{family:?}");
        assert!(family.help.ends_with('.') && !family.help.contains('"'), "{family:?}");
        assert!(family.kind != Kind::Histogram || family.unit == "seconds", "{family:?}");
    }
}
