//! Every row of docs/PROTOCOL.md is seen kept on a link, by a rule or by one
//! of the tests that are named here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashSet;

use xblade_tests::rules;

/// Rows that are not about a request and its reply.
const ELSEWHERE: [(&str, &str); 7] = [
    ("P-HDR-12", "every `silence` of a rule names the counter"),
    ("P-ADR-3", "the command line"),
    ("P-ADR-4", "the command line"),
    ("P-ADR-6", "real::only_those_on_the_list_are_announced_to_and_answered"),
    ("P-QRY-11", "the command line"),
    ("P-QRY-13", "real::exports_are_announced_at_start_and_when_the_link_changes"),
    ("P-QRY-14", "real::only_those_on_the_list_are_announced_to_and_answered"),
];

#[test]
fn every_row_has_a_rule_and_every_rule_a_row() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/PROTOCOL.md")).unwrap();
    let rows: HashSet<_> = text.split("| P-").skip(1).map(|row| row.split(' ').next().unwrap()).collect();
    assert!(rows.len() > 50, "the tables were found");
    let named: HashSet<_> = rules::all().iter().flat_map(|rule| rule.ids).copied().collect();
    let known: HashSet<_> = named.iter().copied().chain(ELSEWHERE.map(|(id, _)| id)).collect();
    let rows: HashSet<_> = rows.into_iter().map(|row| format!("P-{row}")).collect();
    let known: HashSet<_> = known.into_iter().map(str::to_owned).collect();
    let missing: Vec<_> = rows.difference(&known).collect();
    let strange: Vec<_> = known.difference(&rows).collect();
    assert!(
        missing.is_empty() && strange.is_empty(),
        "without a rule: {missing:?}; no such row: {strange:?}"
    );
}

#[test]
fn every_rule_has_a_name_of_its_own() {
    let mut names = HashSet::new();
    for rule in rules::all() {
        assert!(names.insert((rule.name, rule.ids)), "{}", rule.name);
        assert!(!rule.ids.is_empty(), "{} names a row", rule.name);
    }
}
