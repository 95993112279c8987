//! A custom target, given by the command that runs it.

use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::compare::pair::End;
use crate::compare::shell::words;

use super::{SHELF, SLOT};

/// The placeholders in a command.
const PLACES: [&str; 5] = ["{interface}", "{file}", "{shelf}", "{slot}", "{mtu}"];

/// A target of `--target-cmd`, or of a profile's `[[target]]`.
#[derive(Clone, PartialEq, Eq, Deserialize, Debug)]
#[serde(try_from = "Written")]
pub struct CustomTarget {
    /// Its name in reports.
    pub name: String,
    /// The command, with placeholders.
    pub words: Vec<String>,
}

/// Its form in a profile.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    command: String,
}

impl TryFrom<Written> for CustomTarget {
    type Error = anyhow::Error;

    fn try_from(written: Written) -> Result<Self> {
        Self::new(&written.name, &written.command)
    }
}

impl FromStr for CustomTarget {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, command) = text.split_once('=').context("give NAME=COMMAND")?;
        Self::new(name, command)
    }
}

impl CustomTarget {
    fn new(name: &str, command: &str) -> Result<Self> {
        let words =
            shlex::split(command).with_context(|| format!("'{command}': a quotation mark is open"))?;
        if name.trim().is_empty() || words.is_empty() {
            bail!("'{name}={command}': give NAME=COMMAND");
        }
        // Lower-case words in braces are placeholders.
        let braced = command.split('{').skip(1).filter_map(|rest| rest.split_once('}'));
        for (place, _) in braced.filter(|(place, _)| place.chars().all(|c| c.is_ascii_lowercase())) {
            let place = format!("{{{place}}}");
            if place != "{}" && !PLACES.contains(&place.as_str()) {
                bail!("'{place}' stands for nothing: there are {}", PLACES.join(", "));
            }
        }
        Ok(Self { name: name.trim().to_owned(), words })
    }

    /// The command with its placeholders replaced.
    pub fn command(&self, end: &End, file: &Path, mtu: usize) -> Vec<String> {
        let values = words(&[&end.interface, &file.display(), &SHELF, &SLOT, &mtu]);
        let fill = |word: &String| {
            let pairs = PLACES.iter().zip(&values);
            pairs.fold(word.clone(), |word, (place, value)| word.replace(place, value))
        };
        self.words.iter().map(fill).collect()
    }

    /// The program of the command.
    pub fn program(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_filled_in_and_quotation_marks_keep_words_together() {
        let text = "other=serve --on {interface} 'a b' e{shelf}.{slot}={file} -m{mtu} ${HOME} {}";
        let target: CustomTarget = text.parse().unwrap();
        let end = End { namespace: "n".to_owned(), interface: "xbbt" };
        let words = target.command(&end, Path::new("/d/f"), 1500);
        let expected = ["serve", "--on", "xbbt", "a b", "e0.1=/d/f", "-m1500", "${HOME}", "{}"];
        assert_eq!((target.name.as_str(), target.program()), ("other", "serve"));
        assert_eq!(words, expected);
    }

    #[test]
    fn a_wrong_command_is_refused_with_what_is_wrong() {
        for (wrong, why) in [
            ("serve", "NAME=COMMAND"),
            ("=serve", "NAME=COMMAND"),
            ("a=", "NAME=COMMAND"),
            ("a=serve 'x", "quotation mark"),
            ("a=serve {device}", "'{device}' stands for nothing: there are {interface}, {file}"),
        ] {
            let said = wrong.parse::<CustomTarget>().unwrap_err().to_string();
            assert!(said.contains(why), "{wrong}: {said}");
        }
    }
}
