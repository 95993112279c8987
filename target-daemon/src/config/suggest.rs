//! What a word meant that stands at a wrong place of the command line.

use std::ffi::OsString;
use std::path::Path;

use clap::Command;
use clap::error::{ContextKind, ContextValue, Error};

use super::hint;
use super::vblade::is_interface;
use crate::wire::aoe::Address;

/// The error, with a tip where it shows what was meant.
pub(super) fn add(mut error: Error, command: &Command, words: &[OsString]) -> Error {
    let odd = word(&error).and_then(|odd| Odd::find(odd, command, words));
    if let Some(tip) = odd.and_then(|odd| odd.tip()).or_else(|| other_command(&error)) {
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
}

/// What a command is called here.
fn other_command(error: &Error) -> Option<String> {
    let Some(ContextValue::String(given)) = error.get(ContextKind::InvalidSubcommand) else { return None };
    let meant = match given.as_str() {
        "list" | "ls" | "show" | "status" | "stat" => "the exports are listed by 'xblade status'",
        "read-write" | "rw" | "writable" => "writes are taken again by 'xblade export read-only --off'",
        _ => return None,
    };
    Some(meant.to_owned())
}

/// The word that clap found odd: one too many, or an export that is none.
fn word(error: &Error) -> Option<&str> {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let argument = text(ContextKind::InvalidArg)?;
    let odd = if argument.contains("EXPORT") { text(ContextKind::InvalidValue)? } else { argument };
    Some(odd).filter(|odd| !odd.starts_with('-'))
}

/// A word, and what is around it.
struct Odd<'a> {
    word: &'a str,
    before: &'a str,
    after: &'a str,
    /// The options of the subcommand.
    options: Vec<&'a str>,
    /// Whether the subcommand takes exports.
    takes_exports: bool,
    is_check: bool,
    /// Whether an interface is given in its own place.
    has_interface: bool,
}

impl<'a> Odd<'a> {
    fn find(odd: &str, command: &'a Command, words: &'a [OsString]) -> Option<Self> {
        let words: Vec<&str> = words.iter().map(|word| word.to_str()).collect::<Option<_>>()?;
        let at = words.iter().skip(2).position(|word| *word == odd)? + 2;
        let subcommand = hint::subcommand(command, words.get(1)?)?;
        let is_option = |word: &&str| word.starts_with('-');
        let plain = |at: usize| words.get(at).copied().filter(|word| !is_option(word)).unwrap_or("");
        Some(Self {
            word: words.get(at).copied()?,
            before: plain(at - 1),
            after: plain(at + 1),
            options: subcommand.get_arguments().filter_map(clap::Arg::get_long).collect(),
            is_check: matches!(words.get(1), Some(&"check")),
            takes_exports: matches!(words.get(1..3), Some(["serve", _] | ["export", "add"])),
            has_interface: words.iter().any(|word| word.starts_with("-i") || word.starts_with("--interface")),
        })
    }

    fn tip(&self) -> Option<String> {
        if self.takes_exports {
            for (first, second) in [(self.word, self.after), (self.before, self.word)] {
                if second.is_empty() || second.contains('=') {
                    continue;
                }
                if first.ends_with(',') && first.contains('=') {
                    return Some(format!("an export is one word, without a space: '{first}{second}'"));
                }
                if first.parse::<Address>().is_ok() {
                    return Some(format!("an export is one word, with '=' in it: '{first}={second}'"));
                }
            }
        }
        if self.is_check && self.word.contains('=') {
            return Some("exports are checked as a file names them: '--config FILE'".to_owned());
        }
        if self.options.contains(&"config") && self.word.ends_with(".toml") {
            return Some(format!("a configuration file is given with its option: '--config {}'", self.word));
        }
        let is_meant = self.options.contains(&"interface") && self.is_like_an_interface();
        is_meant.then(|| format!("an interface is given with its option: '--interface {}'", self.word))
    }

    /// It is one; or it could be, is nothing else, and there is none.
    fn is_like_an_interface(&self) -> bool {
        let could_be = || {
            let is_name = self.word.chars().all(|c| c.is_ascii_alphanumeric());
            is_name && !self.has_interface && !Path::new(self.word).exists()
        };
        is_interface(self.word) || could_be()
    }
}
