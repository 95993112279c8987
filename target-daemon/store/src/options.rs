//! The options of an export. An option needs only one row of [`OPTIONS`]: the command
//! line, the configuration file, `xblade show`, suggestions and errors are derived from
//! it. The engine reads the value by its key.

use std::collections::BTreeMap;

use super::engine::{ENGINES, Engine};
use super::size::{exactly, parse_bytes, parse_rate, rate};
use super::{Problem, SECTOR_BYTES};

/// The word for a value that xblade chooses.
pub const AUTO: &str = "auto";

/// The word for no limit, and for what is turned off.
pub const NONE: &str = "none";

/// The engines that serve a file or device.
const FILES: &[&str] = &[AUTO, "direct", "file", "mmap"];

/// The options of the stores.
pub const OPTIONS: &[Opt] = &[
    Opt { key: "read-only", name: "ro", help: "refuse writes", engines: FILES, ..Opt::FLAG },
    Opt {
        key: "offset",
        takes: Takes::Bytes { min: 0 },
        default: "0",
        help: "where it starts; N counts sectors, or has a unit: 1MiB, 10G",
        engines: FILES,
        ..Opt::FLAG
    },
    Opt {
        key: "length",
        takes: Takes::Bytes { min: SECTOR_BYTES },
        default: AUTO,
        help: "its size; default: all from there on",
        ..Opt::FLAG
    },
    Opt {
        key: "store",
        takes: Takes::Store,
        default: AUTO,
        auto: "mmap for a file in memory, else direct, else file",
        ..Opt::FLAG
    },
    Opt {
        key: "durability",
        takes: Takes::Words(&["durable", "volatile"]),
        default: "durable",
        help: "a write is acknowledged from stable storage, or from memory",
        engines: FILES,
        ..Opt::FLAG
    },
    Opt {
        key: "sync",
        takes: Takes::Words(&[AUTO, "each", "group"]),
        default: AUTO,
        auto: "what fits the file",
        help: "for store=direct: make each write stable by itself, or many together",
        engines: &[AUTO, "direct"],
        not_with: &[("read-only", Value::Yes), ("durability", Value::Word("volatile"))],
        ..Opt::FLAG
    },
    Opt {
        key: "trim",
        takes: Takes::Words(&[AUTO, "on", "off"]),
        default: AUTO,
        auto: "on for devices and for files with holes",
        help: "let hosts give space back; default: for devices, and for files with holes",
        engines: FILES,
        not_with: &[("read-only", Value::Yes)],
        ..Opt::FLAG
    },
    Opt { key: "pin", help: "for store=mmap: lock it into memory", engines: &["mmap"], ..Opt::FLAG },
    Opt { key: "huge", help: "for store=mmap: on huge pages", engines: &["mmap"], ..Opt::FLAG },
];

/// The kind of value that an option takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Takes {
    /// No value: the option is given or not.
    Flag,
    /// A size.
    Bytes {
        /// The smallest.
        min: u64,
    },
    /// One of these words.
    Words(&'static [&'static str]),
    /// The name of an engine.
    Store,
    /// A number of bytes per second.
    Rate,
    /// A number.
    Number {
        /// The smallest.
        min: u32,
        /// The largest.
        max: u32,
    },
    /// Addresses of hosts.
    Hosts,
    /// VLANs.
    Vlans,
    /// Names of interfaces.
    Interfaces,
}

/// An option of an export.
#[derive(PartialEq, Eq, Debug)]
pub struct Opt {
    /// The key in a file.
    pub key: &'static str,
    /// The name on the command line, if it is not the key.
    pub name: &'static str,
    /// What it takes.
    pub takes: Takes,
    /// The value if it is not given.
    pub default: &'static str,
    /// What the default `auto` means for this option.
    pub auto: &'static str,
    /// What it does, for `--help`.
    pub help: &'static str,
    /// The engines that it applies to; empty for all.
    pub engines: &'static [&'static str],
    /// Values of other options with which it cannot be combined.
    pub not_with: &'static [(&'static str, Value)],
}

/// The value of an option.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value {
    /// A flag is given.
    Yes,
    /// A size in bytes.
    Bytes(u64),
    /// Bytes per second.
    Rate(u64),
    /// A word.
    Word(&'static str),
    /// A number.
    Number(u32),
}

impl Opt {
    /// A flag for every engine. The rows of a table take from it every field that they do
    /// not set.
    pub const FLAG: Self = Self {
        key: "",
        name: "",
        takes: Takes::Flag,
        default: "false",
        auto: "",
        help: "",
        engines: &[],
        not_with: &[],
    };

    /// The name on the command line.
    pub fn name(&self) -> &'static str {
        if self.name.is_empty() { self.key } else { self.name }
    }

    /// How it is written on the command line.
    pub fn syntax(&self) -> String {
        let value = match self.takes {
            Takes::Flag => return self.name().to_owned(),
            Takes::Bytes { .. } | Takes::Rate | Takes::Number { .. } => "N".to_owned(),
            Takes::Hosts => "MAC".to_owned(),
            Takes::Vlans => "N|untagged|any".to_owned(),
            Takes::Interfaces => "IF".to_owned(),
            Takes::Words(_) | Takes::Store => self.choices().join("|"),
        };
        format!("{}={value}", self.name())
    }

    /// The words that it takes.
    pub fn words(&self) -> Vec<&'static str> {
        match self.takes {
            Takes::Words(words) => words.to_vec(),
            Takes::Store => ENGINES.iter().map(|engine| engine.name).collect(),
            _ => Vec::new(),
        }
    }

    /// The words that differ from leaving the option out.
    pub fn choices(&self) -> Vec<&'static str> {
        self.words().into_iter().filter(|word| *word != AUTO).collect()
    }

    /// What it does, for `--help`.
    pub fn help(&self) -> String {
        if !matches!(self.takes, Takes::Store) {
            return self.help.to_owned();
        }
        let engines: Vec<&str> = ENGINES.iter().filter(|e| e.name != AUTO).map(|e| e.help).collect();
        format!("{}; default: {}", engines.join(", "), self.auto)
    }

    /// Parses its value. `None` stands for `auto` or `none`, if that is the default.
    ///
    /// # Errors
    ///
    /// The value is invalid. The problem contains the remedy, and for a size also the
    /// cause.
    pub fn parse(&self, text: &str) -> Result<Option<Value>, Problem> {
        let remedy = |remedy: String| Problem::new("", remedy);
        let word = Some(self.default).filter(|default| [AUTO, NONE].contains(default));
        if word == Some(text) {
            return Ok(None);
        }
        match self.takes {
            Takes::Bytes { min } => match parse_bytes(text)? {
                bytes if bytes < min => Err(remedy("give at least one sector".to_owned())),
                bytes => Ok(Some(Value::Bytes(bytes))),
            },
            Takes::Rate => parse_rate(text).map(|bytes| Some(Value::Rate(bytes))),
            Takes::Number { min, max } => match text.parse() {
                Ok(number) if (min..=max).contains(&number) => Ok(Some(Value::Number(number))),
                _ => {
                    let word = word.map_or_else(String::new, |word| format!(", or {word}"));
                    Err(remedy(format!("give a number from {min} to {max}{word}")))
                }
            },
            Takes::Words(_) | Takes::Store => {
                let words = self.choices();
                let word = words.iter().find(|word| **word == text);
                let otherwise = match self.auto {
                    "" => String::new(),
                    auto => format!(" (without it: {auto})"),
                };
                let (last, rest) = words.split_last().unwrap_or((&"", &[]));
                word.map(|word| Some(Value::Word(word)))
                    .ok_or_else(|| remedy(format!("give {} or {last}{otherwise}", rest.join(", "))))
            }
            Takes::Flag | Takes::Hosts | Takes::Vlans | Takes::Interfaces => {
                Ok((text != "false").then_some(Value::Yes))
            }
        }
    }

    /// Whether it applies to this engine.
    fn is_of(&self, engine: &Engine) -> bool {
        self.engines.is_empty() || self.engines.contains(&engine.name)
    }

    /// Whether it applies to this engine, or to another one for the same file.
    pub fn is_shown_with(&self, engine: &Engine) -> bool {
        self.is_of(engine)
            || (engine.access.is_some() && self.engines.iter().any(|name| FILES.contains(name)))
    }
}

/// An option with its value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Setting {
    /// The option.
    pub option: &'static Opt,
    /// Its value.
    pub value: Value,
}

impl Setting {
    /// As written on the command line.
    pub fn on_the_line(&self) -> String {
        match self.value {
            Value::Yes => self.option.name().to_owned(),
            value => format!("{}={}", self.option.name(), text(value)),
        }
    }

    /// As written in a configuration file.
    pub fn in_a_file(&self) -> String {
        match self.value {
            Value::Yes => format!("{} = true", self.option.key),
            Value::Number(number) => format!("{} = {number}", self.option.key),
            value => format!("{} = \"{}\"", self.option.key, text(value)),
        }
    }
}

fn text(value: Value) -> String {
    match value {
        Value::Yes => "true".to_owned(),
        Value::Bytes(bytes) => exactly(bytes).unwrap_or_else(|| (bytes / SECTOR_BYTES).to_string()),
        Value::Rate(bytes) => rate(bytes),
        Value::Word(word) => word.to_owned(),
        Value::Number(number) => number.to_string(),
    }
}

/// The options that are given, by key.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Options(BTreeMap<&'static str, Setting>);

/// A conflict between options, or an option that is missing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conflict {
    /// The option to change; `None` if it is missing.
    pub setting: Option<Setting>,
    /// The option that requires the change.
    pub because: Setting,
    /// The value of `store` that the option would apply to.
    pub instead: Option<Setting>,
}

impl Conflict {
    /// Describes the conflict. `write` formats a setting for the command line or for a
    /// file.
    pub fn problem(&self, write: fn(&Setting) -> String) -> Problem {
        let because = write(&self.because);
        let Some(setting) = &self.setting else {
            let length = Setting { option: option("length"), value: Value::Bytes(1 << 30) };
            let remedy = format!("give one, for example {}", write(&length));
            return Problem::new(format!("{because} needs a size"), remedy);
        };
        let setting = write(setting);
        let Some(store) = self.instead.as_ref().map(write) else {
            return Problem::new(format!("{setting} has no meaning with {because}"), "leave it out");
        };
        // The operator may not have given `store`, so the text cannot refer to it.
        let what = match self.because.value {
            Value::Word(AUTO) => format!("without {store}"),
            _ => format!("with {because}"),
        };
        Problem::new(format!("{setting} has no meaning {what}"), format!("leave it out, or give {store}"))
    }
}

/// Stands in for a key that is not in the table.
static UNKNOWN: Opt = Opt::FLAG;

/// The option of a store with this key.
fn option(key: &str) -> &'static Opt {
    let found = OPTIONS.iter().find(|option| option.key == key);
    debug_assert!(found.is_some(), "no option {key}");
    found.unwrap_or(&UNKNOWN)
}

impl Options {
    /// Adds an option. Returns `false` if it was already present.
    #[must_use]
    pub fn add(&mut self, option: &'static Opt, value: Value) -> bool {
        self.0.insert(option.key, Setting { option, value }).is_none()
    }

    /// Sets an option of a store, or removes it.
    pub fn set(&mut self, key: &str, value: Option<Value>) {
        let option = option(key);
        match value {
            Some(value) => self.0.insert(option.key, Setting { option, value }),
            None => self.0.remove(option.key),
        };
    }

    /// Removes an option and returns its value.
    pub fn take(&mut self, key: &str) -> Option<Value> {
        self.0.remove(key).map(|setting| setting.value)
    }

    /// The value of an option; `None` if it is not given.
    pub fn get(&self, key: &str) -> Option<Value> {
        self.setting(key).map(|setting| setting.value)
    }

    /// An option with its value.
    pub fn setting(&self, key: &str) -> Option<Setting> {
        self.0.get(key).copied()
    }

    /// Whether a flag is given.
    pub fn is_set(&self, key: &str) -> bool {
        self.get(key) == Some(Value::Yes)
    }

    /// A size in bytes, if it is given.
    pub fn bytes(&self, key: &str) -> Option<u64> {
        match self.get(key) {
            Some(Value::Bytes(bytes)) => Some(bytes),
            _ => None,
        }
    }

    /// A word, if it is given.
    pub fn word(&self, key: &str) -> Option<&'static str> {
        match self.get(key) {
            Some(Value::Word(word)) => Some(word),
            _ => None,
        }
    }

    /// The engine that `store` names.
    pub fn engine(&self) -> &'static Engine {
        Engine::named(self.word("store").unwrap_or(AUTO))
    }

    /// Removes the options that are set to their default.
    pub fn without_defaults(mut self) -> Self {
        self.0.retain(|_, Setting { option, value }| option.parse(option.default) != Ok(Some(*value)));
        self
    }

    /// The conflict of an option with the others, if there is one.
    pub fn conflict(&self, option: &'static Opt, value: Value) -> Option<Conflict> {
        let (setting, engine) = (Some(Setting { option, value }), self.engine());
        let store = |name| Setting { option: self::option("store"), value: Value::Word(name) };
        if !option.is_of(engine) {
            let instead = option
                .engines
                .last()
                .filter(|_| engine.name == AUTO || option.is_shown_with(engine))
                .map(|name| store(name));
            return Some(Conflict { setting, because: store(engine.name), instead });
        }
        let other =
            |(key, with): &(&str, Value)| self.0.get(key).filter(|other| other.value == *with).copied();
        let because = option.not_with.iter().find_map(other)?;
        Some(Conflict { setting, because, instead: None })
    }

    /// All conflicts, and the option that is missing, if any.
    pub fn conflicts(&self) -> Vec<Conflict> {
        let mut all: Vec<Conflict> =
            self.0.values().filter_map(|setting| self.conflict(setting.option, setting.value)).collect();
        let engine = self.engine();
        if engine.access.is_none() && self.get("length").is_none() {
            let because = Setting { option: option("store"), value: Value::Word(engine.name) };
            all.push(Conflict { setting: None, because, instead: None });
        }
        all
    }
}
