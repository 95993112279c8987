//! Sections and their values. An error in one value goes to the sink, and reading
//! continues with the next.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::Hash;
use std::ops::RangeInclusive;

use clap::ValueEnum;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Diagnostic, Sink, Span};
use super::keys::{self, ANY};

/// A value with its key.
#[derive(Clone, Copy)]
pub struct Item<'a> {
    /// The key.
    pub key: &'a str,
    /// Whether it is an element of a list.
    is_one: bool,
    value: &'a Spanned<DeValue<'a>>,
    /// Collects errors.
    pub sink: &'a Sink,
}

impl<'a> Item<'a> {
    /// Its location.
    pub fn at(&self) -> Span {
        self.value.span()
    }

    /// Reports an error at this value.
    pub fn fault(&self, message: impl Into<String>, remedy: impl Into<String>) {
        self.sink.push(Diagnostic::value(self.at(), message, remedy));
    }

    /// As [`Self::fault`]. Returns `None`, for the caller to pass on.
    pub fn refuse<T>(&self, message: impl Into<String>, remedy: impl Into<String>) -> Option<T> {
        self.fault(message, remedy);
        None
    }

    /// Reports an invalid value, and what is valid.
    pub fn impossible<T>(&self, remedy: impl Into<String>) -> Option<T> {
        let between = if self.is_one { "" } else { " =" };
        self.refuse(format!("{}{between} {} is not possible", self.key, self.written()), remedy)
    }

    /// Reports a value of the wrong type.
    pub fn wrong_kind<T>(&self, wanted: &str, example: &str) -> Option<T> {
        let given = kind(self.value.get_ref());
        if self.is_one {
            let message = format!("each of {} is {wanted}, and this is {given}", self.key);
            return self.refuse(message, format!("write {example}"));
        }
        let message = format!("{} takes {wanted}, not {given}", self.key);
        self.refuse(message, format!("write {} = {example}", self.key))
    }

    /// The value as it would be written on one line.
    pub fn written(&self) -> String {
        match self.value.get_ref() {
            DeValue::String(text) => format!("{:?}", text.as_ref()),
            DeValue::Integer(number) => number.to_string(),
            DeValue::Float(number) => number.to_string(),
            DeValue::Boolean(yes) => yes.to_string(),
            DeValue::Datetime(time) => time.to_string(),
            DeValue::Array(_) => "[...]".to_owned(),
            DeValue::Table(_) => "{...}".to_owned(),
        }
    }

    /// The text, if it is text; reports nothing.
    pub fn as_text(&self) -> Option<&'a str> {
        self.value.get_ref().as_str()
    }

    /// The digits, if it is a number; reports nothing.
    pub fn as_number(&self) -> Option<String> {
        match self.value.get_ref() {
            DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
            DeValue::Integer(number) => {
                i64::from_str_radix(number.as_str(), number.radix()).ok().map(|n| n.to_string())
            }
            _ => None,
        }
    }

    /// Requires text.
    pub fn text(&self, example: &str) -> Option<&'a str> {
        self.as_text().or_else(|| self.wrong_kind("text in quotes", example))
    }

    /// Requires a list of sections, with `contents` in each.
    pub fn sections(self, contents: &str) -> Option<Vec<Item<'a>>> {
        let key = self.key;
        if self.is_section() {
            self.fault(format!("[{key}] is one of several"), format!("write [[{key}]], in two brackets"));
            return None;
        }
        let list = self.as_list();
        if list.is_none() {
            self.fault(
                format!("{key} is a section, of which there may be several"),
                format!("write [[{key}]] on a line of its own, and {contents} below"),
            );
        }
        list
    }

    /// Requires one of these words. The error message reads true as "on" and false as
    /// "off".
    pub fn one_of(&self, words: &[impl AsRef<str>]) -> Option<&'a str> {
        let words = words.iter().map(AsRef::as_ref);
        let switch = self.value.get_ref().as_bool().map(|yes| if yes { "on" } else { "off" });
        let meant = words.clone().find(|word| Some(*word) == switch).or(words.clone().next());
        let text = self.text(&format!("\"{}\"", meant.unwrap_or("")))?;
        if words.clone().any(|word| word == text) {
            return Some(text);
        }
        let quoted: Vec<String> = words.map(|word| format!("\"{word}\"")).collect();
        let (last, others) = quoted.split_last()?;
        self.impossible(format!("give {} or {last}", others.join(", ")))
    }

    /// Requires true or false.
    pub fn boolean(&self) -> Option<bool> {
        let no = matches!(self.as_text(), Some("false" | "no" | "off" | "0"))
            || self.as_number().is_some_and(|number| number == "0");
        let wrong = || self.wrong_kind("true or false", if no { "false" } else { "true" });
        self.value.get_ref().as_bool().or_else(wrong)
    }

    /// Requires an integer within limits.
    pub fn number(&self, range: RangeInclusive<u32>, example: &str) -> Option<u32> {
        let Some(digits) = self.as_number() else {
            let meant = self.as_text().filter(|text| text.parse::<u32>().is_ok()).unwrap_or(example);
            return self.wrong_kind("a number", meant);
        };
        let within = digits.parse().ok().filter(|number| range.contains(number));
        within.or_else(|| match range.end() {
            &u32::MAX => self.impossible(format!("give a number of {} or more", range.start())),
            end => self.impossible(format!("give {} to {end}", range.start())),
        })
    }

    /// Requires this word, which means none, or a number.
    pub fn number_or(&self, word: &str, example: &str) -> Option<Option<u32>> {
        match self.as_text() {
            Some(text) if text == word => Some(None),
            Some(text) if text.parse::<u32>().is_err() => {
                self.impossible(format!("give a number, or \"{word}\""))
            }
            _ => self.number(ANY, example).map(Some),
        }
    }

    /// Requires one of the words of a command-line option.
    pub fn word<T: ValueEnum>(&self) -> Option<T> {
        let values = T::value_variants().iter().filter_map(T::to_possible_value);
        let names: Vec<String> = values.map(|value| value.get_name().to_owned()).collect();
        T::from_str(self.one_of(&names)?, false).ok()
    }

    /// Requires a list; the caller checks its elements.
    pub fn list(&self, example: &str) -> Option<Vec<Item<'a>>> {
        let is_element = match example.starts_with("[\"") {
            true => self.as_text().is_some(),
            false => self.as_number().is_some(),
        };
        let meant = if is_element { format!("[{}]", self.written()) } else { example.to_owned() };
        self.as_list().or_else(|| self.wrong_kind("a list", &meant))
    }

    /// Requires a section.
    pub fn section(&self, name: &'static str) -> Option<Section<'a>> {
        match self.value.get_ref() {
            DeValue::Table(table) => Some(Section::new(name, table, self.at(), self.sink)),
            _ => {
                let message = format!("{} is a section, not {}", self.key, kind(self.value.get_ref()));
                self.refuse(message, format!("write {name} on a line of its own, and its keys below"))
            }
        }
    }

    /// The elements, if it is a list; reports nothing.
    pub fn as_list(&self) -> Option<Vec<Item<'a>>> {
        let list = self.value.get_ref().as_array()?;
        Some(list.iter().map(|value| Item { value, is_one: true, ..*self }).collect())
    }

    /// Whether it is a section; reports nothing.
    pub fn is_section(&self) -> bool {
        self.value.get_ref().is_table()
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a section",
    }
}

/// The keys of a section that have not been read yet.
pub struct Section<'a> {
    name: &'static str,
    left: Vec<(Item<'a>, Span)>,
    /// Where it begins.
    pub at: Span,
    /// Collects errors.
    pub sink: &'a Sink,
}

impl<'a> Section<'a> {
    /// All keys of a table.
    pub fn new(name: &'static str, table: &'a DeTable<'a>, at: Span, sink: &'a Sink) -> Self {
        let item =
            |key: &'a Spanned<_>, value| Item { key: Cow::as_ref(key.get_ref()), is_one: false, value, sink };
        let left = table.iter().map(|(key, value)| (item(key, value), key.span())).collect();
        Self { name, left, at, sink }
    }

    /// Takes the value of a key, if present.
    pub fn take(&mut self, key: &str) -> Option<Item<'a>> {
        debug_assert!(keys::of(self.name).contains(&key), "{key} is not among the keys");
        let at = self.left.iter().position(|(item, _)| item.key == key)?;
        Some(self.left.remove(at).0)
    }

    /// As [`Self::take`]; reports a missing key, and where it should be.
    pub fn need(&mut self, key: &str, at: Span, message: &str, remedy: &str) -> Option<Item<'a>> {
        let item = self.take(key);
        if item.is_none() {
            self.sink.push(Diagnostic::missing(at, message, remedy));
        }
        item
    }

    /// All values; the keys may have any name.
    pub fn into_items(self) -> impl Iterator<Item = Item<'a>> {
        self.left.into_iter().map(|(item, _)| item)
    }

    /// Reports every key that was not taken.
    pub fn finish(self) {
        for (item, at) in self.left {
            if self.sink.is_full() {
                break;
            }
            let what = match self.name {
                "" => format!("{} is not a key or section", item.key),
                name => format!("{} is not a key of {name}", item.key),
            };
            self.sink.push(Diagnostic::value(at, what, keys::remedy(item.key, self.name)));
        }
    }
}

/// Reports each value that conflicts with an earlier one, which has the same key.
pub fn twice<'a, T, K: Eq + Hash>(
    all: &'a [(T, Span)],
    key: impl Fn(&'a T) -> K,
    conflict: impl Fn(&T, &T) -> bool,
    message: impl Fn(&T) -> String,
    remedy: &str,
    sink: &Sink,
) {
    let mut known: HashMap<K, Vec<&(T, Span)>> = HashMap::new();
    for one in all {
        let (later, at) = one;
        let earlier = known.entry(key(later)).or_default();
        if let Some((_, first)) = earlier.iter().find(|(earlier, _)| conflict(earlier, later)) {
            let fault = Diagnostic::value(at.clone(), message(later), remedy);
            sink.push(fault.with(first.clone(), "first here"));
        } else {
            earlier.push(one);
        }
    }
}
