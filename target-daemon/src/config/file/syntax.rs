//! Turns errors of the TOML parser into messages for an operator.

use std::iter;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue, Error};

use super::diagnostic::{Diagnostic, Severity, Span};
use crate::config::export::options;
use crate::store::{Opt, Takes};

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
        return duplicate(text, root, at);
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
        // No text is "yes" or "no".
        Some(("string values must be quoted", ..))
            if takes_boolean(text, at.start) || ["yes", "no"].contains(&given) =>
        {
            no_boolean(given)
        }
        Some((_, message, remedy)) => ((*message).to_owned(), remedy.replace("{}", given)),
        None if what == "invalid boolean" => no_boolean(given),
        None => (format!("this is not TOML: {what}"), remedy_for(expected)),
    };
    Diagnostic { at: place, message, remedy, other: None, sort }
}

fn is_unprintable(c: &char) -> bool {
    c.is_control() && !matches!(c, '\n' | '\r' | '\t')
}

/// Whether the key of the value at this position takes true or false.
fn takes_boolean(text: &str, at: usize) -> bool {
    let line = text.get(..at).and_then(|before| before.lines().last()).unwrap_or("");
    let key = line.split('=').next().unwrap_or("").trim();
    let is_flag = |option: &Opt| matches!(option.takes, Takes::Flag) && option.key == key;
    options().any(is_flag) || ["probe", "huge-pages"].contains(&key)
}

/// The message and remedy where a boolean is expected.
fn no_boolean(given: &str) -> (String, String) {
    let no = ["f", "n", "of"].iter().any(|start| given.to_lowercase().starts_with(start));
    (format!("{given} is not true or false"), format!("write {}", !no))
}

fn remedy_for(expected: &str) -> String {
    match expected {
        "" | "nothing" => "correct it (https://toml.io/en/v1.0.0 has the rules)".to_owned(),
        expected => format!("write {expected} here"),
    }
}

/// All keys with their values, at any depth.
fn entries<'a>(table: &'a DeTable<'a>) -> Vec<(&'a Spanned<DeString<'a>>, &'a Spanned<DeValue<'a>>)> {
    let inner = |value: &'a DeValue<'a>| match value {
        DeValue::Table(table) => entries(table),
        DeValue::Array(list) => {
            list.iter().filter_map(|one| one.get_ref().as_table()).flat_map(entries).collect()
        }
        _ => Vec::new(),
    };
    table.iter().flat_map(|(key, value)| iter::once((key, value)).chain(inner(value.get_ref()))).collect()
}

/// Where the innermost list or inline table that ends at `end` was opened.
fn opened_at(root: &DeTable<'_>, end: usize) -> Option<Span> {
    let is_open = |value: &DeValue<'_>| match value {
        DeValue::Table(table) => !table.is_empty(),
        value => value.is_array(),
    };
    let open = entries(root).into_iter().filter(|(_, value)| is_open(value.get_ref()));
    let starts = open.map(|(_, value)| value.span()).filter(|at| at.end == end).map(|at| at.start);
    starts.max().map(|start| start..start + 1)
}

/// A duplicate key. The parser does not report the location of the first one.
fn duplicate(text: &str, root: &DeTable<'_>, at: Span) -> Diagnostic {
    let key = text.get(at.clone()).unwrap_or("");
    let line = text.get(..at.start).and_then(|before| before.rsplit('\n').next()).unwrap_or("");
    let is_section = line.trim_start().starts_with('[');
    let first = match is_section {
        true => text.find(&format!("[{key}]")).map(|open| open + 1..open + 1 + key.len()),
        // Of several in a section, the parser keeps the first.
        false => {
            let same = entries(root).into_iter().filter(|(name, _)| name.get_ref() == key);
            same.map(|(name, _)| name.span()).filter(|first| first.start < at.start).max_by_key(|at| at.start)
        }
    };
    let (sort, message, remedy) = match is_section {
        // The keys below would be read as part of the first section; errors in them follow
        // from this.
        true if key == "export" => {
            let remedy = "write [[export]], in two brackets, above each of them";
            (Severity::Open, "[export] is one of several".to_owned(), remedy)
        }
        true => (Severity::Syntax, format!("{key} is given twice"), "make them one section"),
        false => (Severity::Syntax, format!("{key} is given twice"), "leave one of them out"),
    };
    let other = first.filter(|first| *first != at).map(|first| (first, "first here"));
    Diagnostic { sort, other, ..Diagnostic::value(at, message, remedy) }
}
