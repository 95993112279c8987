//! docs/PROTOCOL.md names, for every row, a rule that sees it kept on a link.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{HashMap, HashSet};

use xblade_tests::rules;

/// Rows that no frame shows.
const NO_FRAME: [&str; 4] = ["P-HDR-12", "P-ADR-3", "P-ADR-4", "P-QRY-11"];

/// The last cell of every row, by id.
fn rows() -> HashMap<String, Vec<String>> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/PROTOCOL.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| P-")).map(|line| {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let names = cells.last().unwrap().split('`').skip(1).step_by(2).map(str::to_owned);
        (cells[0].to_owned(), names.collect())
    });
    rows.collect()
}

#[test]
fn every_row_names_rules_that_claim_it() {
    let rows = rows();
    assert!(rows.len() > 50, "the tables were found");
    let rules: HashMap<_, _> = rules::all().into_iter().map(|rule| (rule.name, rule.ids)).collect();
    let real = include_str!("real.rs");
    for (id, names) in &rows {
        assert_eq!(names.is_empty(), NO_FRAME.contains(&id.as_str()), "{id}: {names:?}");
        for name in names {
            match name.strip_prefix("real::") {
                Some(test) => assert!(real.contains(&format!("fn {test}()")), "{id}: {name}"),
                None => {
                    let claims = rules.get(name.as_str()).unwrap_or_else(|| panic!("{id}: no rule {name}"));
                    assert!(claims.contains(&id.as_str()), "{name} does not claim {id}");
                }
            }
        }
    }
}

#[test]
fn every_rule_claims_rows_that_exist() {
    let rows = rows();
    let mut names = HashSet::new();
    for rule in rules::all() {
        assert!(names.insert(rule.name), "{} is there twice", rule.name);
        assert!(!rule.ids.is_empty(), "{} claims a row", rule.name);
        for id in rule.ids {
            assert!(rows.contains_key(*id), "{} claims {id}", rule.name);
        }
    }
}
