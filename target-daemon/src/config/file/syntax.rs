//! Turns errors of the TOML parser into messages for an operator.

use std::ops::Range;

use toml::de::{DeTable, DeValue, Error};

use super::diagnostic::{Diagnostic, Severity};
use super::keys::{self, KEYS};
use crate::config::export::options;
use crate::store::Takes;

/// A parser message, our message, and the remedy.
const WORDS: &[(&str, &str, &str)] = &[
    ("string values must be quoted", "this text has no quotes", "write \"{}\""),
    ("key with no value", "a key without a value", "write KEY = VALUE"),
    ("unexpected leading zero", "a number does not begin with 0", "leave the zeros out"),
    ("unexpected key or value", "something follows the value", "put each key on a line of its own"),
    ("missing comma between array elements", "a comma is missing between two values", "write [VALUE, VALUE]"),
    ("invalid basic string", "the quotes are not closed", "put \" at the end of the text"),
    ("invalid literal string", "the quotes are not closed", "put ' at the end of the text"),
    (
        "missing escaped value",
        "a \\ in text in double quotes needs a letter that it escapes",
        "write \\\\ for a backslash, or put the text in single quotes",
    ),
    ("unclosed table", "the section's name is not closed", "put ] at its end"),
    ("unclosed array table", "the section's name is not closed", "put ]] at its end"),
    ("unclosed array", "the list is not closed", "put ] at its end"),
    ("unclosed inline table", "the { is not closed", "put } at its end"),
];

/// The diagnostic for a parser error.
pub fn fault(text: &str, root: &DeTable<'_>, error: &Error) -> Diagnostic {
    let at = error.span().unwrap_or(0..0);
    let (what, expected) = error.message().split_once(", expected ").unwrap_or((error.message(), ""));
    if what == "duplicate key" {
        return duplicate(text, at);
    }
    let mut sort = Severity::Syntax;
    let mut place = at.clone();
    if what.starts_with("unclosed") {
        sort = Severity::Open;
        // The opening position helps more than the end of the file.
        place = opened_at(root, at.end).unwrap_or(at.clone());
    }
    let given = text.get(at.clone()).unwrap_or("");
    if let Some(c) = text.get(at.start..).and_then(|rest| rest.chars().next()).filter(is_unprintable) {
        let message = format!("a character that cannot be shown (U+{:04X})", u32::from(c));
        return Diagnostic { sort, ..Diagnostic::value(place, message, "leave it out") };
    }
    let (message, remedy) = match WORDS.iter().find(|(found, ..)| *found == what) {
        Some(("string values must be quoted", ..)) if given.trim().is_empty() => {
            ("there is no value".to_owned(), "write KEY = VALUE, or leave the line out".to_owned())
        }
        Some(("string values must be quoted", ..)) if is_boolean(key_of(text, at.start)) => {
            no_boolean(key_of(text, at.start), given)
        }
        Some((_, message, remedy)) => ((*message).to_owned(), remedy.replace("{}", given)),
        None if what == "invalid boolean" => no_boolean(key_of(text, at.start), given),
        None => (format!("this is not TOML: {what}"), remedy_for(expected)),
    };
    Diagnostic { at: place, message, remedy, other: None, sort }
}

fn is_unprintable(c: &char) -> bool {
    c.is_control() && !matches!(c, '\n' | '\r' | '\t')
}

/// Keys that take true or false.
fn booleans() -> Vec<&'static str> {
    let flags = options().filter(|option| matches!(option.takes, Takes::Flag)).map(|option| option.key);
    flags.chain(["probe", "huge-pages"]).collect()
}

/// The key of the value at this position.
fn key_of(text: &str, at: usize) -> &str {
    let line = text.get(..at).and_then(|before| before.lines().last()).unwrap_or("");
    line.split('=').next().unwrap_or("").trim()
}

/// The boolean key that this key is, or is a misspelling of.
fn meant(key: &str) -> Option<&'static str> {
    let is_known = KEYS.iter().any(|(_, keys)| keys.contains(&key));
    let booleans = booleans();
    let known = booleans.iter().find(|boolean| **boolean == key).copied();
    known.or_else(|| if is_known { None } else { keys::meant(&keys::plain(key), &booleans) })
}

fn is_boolean(key: &str) -> bool {
    meant(key).is_some()
}

/// The message and remedy where a boolean is expected. An unknown key is reported in the
/// same message, because only one error per line is shown.
fn no_boolean(key: &str, given: &str) -> (String, String) {
    let message = format!("{given} is not true or false");
    match meant(key) {
        Some(meant) if meant != key => {
            // no-probe = yes
            let value = if keys::plain(key).starts_with("no-") { contrary(given) } else { boolean(given) };
            (format!("{key} is not a key, and {message}"), format!("write {meant} = {value}"))
        }
        _ => (message, format!("write {}", boolean(given))),
    }
}

fn contrary(given: &str) -> &'static str {
    if boolean(given) == "true" { "false" } else { "true" }
}

/// The boolean meant by a word such as yes or no.
fn boolean(given: &str) -> &'static str {
    let no = ["f", "n", "of"].iter().any(|start| given.to_lowercase().starts_with(start));
    if no { "false" } else { "true" }
}

fn remedy_for(expected: &str) -> String {
    match expected {
        "" | "nothing" => "correct it (https://toml.io/en/v1.0.0 has the rules)".to_owned(),
        expected => format!("write {expected} here"),
    }
}

/// Where the list or inline table that ends at `end` was opened.
fn opened_at(root: &DeTable<'_>, end: usize) -> Option<Range<usize>> {
    root.values().find_map(|value| match value.get_ref() {
        DeValue::Array(_) if value.span().end == end => Some(value.span().start..value.span().start + 1),
        DeValue::Array(list) => list.iter().find_map(|one| match one.get_ref() {
            DeValue::Table(table) => opened_at(table, end),
            _ => None,
        }),
        DeValue::Table(table) => opened_at(table, end).or_else(|| {
            (value.span().end == end && !table.is_empty()).then(|| value.span().start..value.span().start + 1)
        }),
        _ => None,
    })
}

/// A duplicate key. The parser does not report the location of the first one: it is on an
/// earlier line of the same section, or it is the header of a section of the same name.
fn duplicate(text: &str, at: Range<usize>) -> Diagnostic {
    let key = text.get(at.clone()).unwrap_or("").to_owned();
    let line_start = text.get(..at.start).and_then(|before| before.rfind('\n')).map_or(0, |n| n + 1);
    let own_line = text.get(line_start..).and_then(|rest| rest.lines().next()).unwrap_or("");
    let is_section = own_line.trim_start().starts_with('[');
    let mut first = None;
    let mut start = 0;
    for line in text.get(..line_start).unwrap_or("").split_inclusive('\n') {
        let trimmed = line.trim_start();
        let name = trimmed.trim_start_matches('[').trim_start();
        let is_header = trimmed.starts_with('[');
        let is_key = name.strip_prefix(&key).is_some_and(|rest| rest.trim_start().starts_with(['=', ']']));
        if is_header && !is_section {
            first = None;
        } else if is_key && is_header == is_section && first.is_none() {
            let from = start + line.len() - name.len();
            first = Some(from..from + key.len());
        }
        start += line.len();
    }
    let fault = if is_section && key == "export" {
        // The keys below would be read as part of the first section; errors in them
        // follow from this.
        let remedy = "write [[export]], in two brackets, above each of them";
        Diagnostic { sort: Severity::Open, ..Diagnostic::value(at, "[export] is one of several", remedy) }
    } else {
        let remedy = if is_section { "make them one section" } else { "leave one of them out" };
        Diagnostic {
            sort: Severity::Syntax,
            ..Diagnostic::value(at, format!("{key} is given twice"), remedy)
        }
    };
    match first {
        Some(first) => fault.with(first, "first here"),
        None => fault,
    }
}
