//! One export on the command line: `SHELF.SLOT=PATH[,OPTION...]`.

use std::str::FromStr;

use clap::ValueEnum;

use super::HostSettings;
use super::suggest::{plain, suggest};
use crate::store::{AUTO, OPTIONS, Opt, Options, Problem, Setting, StoreSpec, Takes, Value};
use crate::wire::aoe::{Address, AddressError};
use crate::wire::ether::{Mac, MacError};

/// The access list that admits every initiator.
pub(super) const EVERYBODY: &str = "everybody";

/// The options of every export, beside those of its store.
pub(super) const EXPORT_OPTIONS: &[Opt] = &[
    Opt {
        key: "allow",
        takes: Takes::Hosts,
        help: "serve only this initiator, rather than those of --allow; repeat it for more; allow=everybody: all",
        ..Opt::FLAG
    },
    Opt {
        key: "host-settings",
        takes: Takes::Words(&["allow", "volatile", "refuse"]),
        default: "refuse",
        help: "whether hosts may set its config string, mask list and reservation, rather than --host-settings",
        ..Opt::FLAG
    },
    Opt {
        key: "worker",
        takes: Takes::Number { end: 1024 },
        default: AUTO,
        help: "which worker serves it, from 0",
        ..Opt::FLAG
    },
    Opt { key: "force", help: "serve it though hosts have used its address with other data", ..Opt::FLAG },
];

/// All options of an export, in the order of the documentation.
pub fn options() -> impl Iterator<Item = &'static Opt> {
    OPTIONS.iter().chain(EXPORT_OPTIONS)
}

/// What `--help` says of an export.
pub(super) fn help() -> String {
    let all: Vec<String> =
        options().map(|option| format!("{} ({})", option.syntax(), option.help())).collect();
    format!("What to export, and where: SHELF.SLOT=PATH[,OPTION...]. Options: {}", all.join("; "))
}

/// One export, as configured.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Export {
    /// Its AoE address.
    pub address: Address,
    /// What it exports.
    pub store: StoreSpec,
    /// Initiators that may use it: `None` for the default list, an empty list for all.
    pub allow: Option<Vec<Mac>>,
    /// The worker that owns it; without one, workers are assigned in turn.
    pub worker: Option<u16>,
    /// Whether hosts may set config string, mask list and reservation: `None` for the
    /// default.
    pub host_settings: Option<HostSettings>,
    /// Serve it even if hosts have used other data at its address.
    pub force: bool,
}

/// Options as given, not yet checked against each other.
#[derive(Default)]
pub(super) struct Given {
    pub(super) options: Options,
    pub(super) allow: Option<Vec<Mac>>,
}

impl FromStr for Export {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        let form = || {
            let what = format!("'{text}' is not an export");
            Problem::new(what, "write SHELF.SLOT=PATH, for example 0.1=/srv/disk.img")
        };
        let (address, rest) = text.split_once('=').ok_or_else(form)?;
        let address = address.parse().map_err(|AddressError { what, remedy }| Problem::new(what, remedy))?;
        let mut parts = rest.split(',');
        let path = parts.next().filter(|path| !path.is_empty()).ok_or_else(form)?;
        let mut given = Given::default();
        for option in parts {
            given.add(option)?;
        }
        given.export(address, path)
    }
}

impl Given {
    /// Parses one option in the form of the command line.
    pub(super) fn add(&mut self, text: &str) -> Result<(), Problem> {
        let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
        let takes_value = |option: &Opt| !matches!(option.takes, Takes::Flag);
        let option = options()
            .find(|option| option.name() == name && takes_value(option) == value.is_some())
            .ok_or_else(|| unknown(text))?;
        let value = value.unwrap_or_default();
        if matches!(option.takes, Takes::Hosts) {
            return self.allow(value);
        }
        let impossible =
            |problem: Problem| Problem::new(format!("{name}={value} is not possible"), problem.to_string());
        self.set(option, option.parse(value).map_err(impossible)?)
    }

    /// Adds an option that was parsed; `None` for `auto`.
    pub(super) fn set(&mut self, option: &'static Opt, value: Option<Value>) -> Result<(), Problem> {
        match value {
            Some(value) if !self.options.add(option, value) => {
                Err(Problem::new(format!("{} is given twice", option.name()), "give it once"))
            }
            _ => Ok(()),
        }
    }

    /// Adds an address to the list; `everybody` leaves it empty.
    fn allow(&mut self, value: &str) -> Result<(), Problem> {
        let impossible = |remedy: &str| Problem::new(format!("allow={value} is not possible"), remedy);
        let everybody = value == EVERYBODY;
        if self.allow.as_ref().is_some_and(|macs| everybody || macs.is_empty()) {
            return Err(impossible("give everybody, or one address each"));
        }
        let macs = self.allow.get_or_insert_default();
        if !everybody {
            macs.push(value.parse().map_err(|error: MacError| impossible(&error.to_string()))?);
        }
        Ok(())
    }

    /// Checks the options against each other.
    pub(super) fn export(mut self, address: Address, path: &str) -> Result<Export, Problem> {
        if let Some(conflict) = self.options.conflicts().first() {
            return Err(conflict.problem(Setting::on_the_line));
        }
        let worker = match self.options.take("worker") {
            Some(Value::Number(worker)) => u16::try_from(worker).ok(),
            _ => None,
        };
        let host_settings = match self.options.take("host-settings") {
            Some(Value::Word(word)) => HostSettings::from_str(word, false).ok(),
            _ => None,
        };
        let force = self.options.take("force").is_some();
        let store = StoreSpec::new(path, self.options);
        Ok(Export { address, store, allow: self.allow, worker, host_settings, force })
    }
}

fn unknown(text: &str) -> Problem {
    let meant = meant(text).map_or_else(String::new, |meant| format!(", did you mean `{meant}`?"));
    let known: Vec<String> = options().map(Opt::syntax).collect();
    Problem::new(
        format!(
            "'{text}' is not an option of an export{meant} (known: {}; a path with a comma in it needs a link without \
             one)",
            known.join(", ")
        ),
        "",
    )
}

/// The option that is meant by an unknown one, if one is close enough.
fn meant(given: &str) -> Option<String> {
    let name = plain(given.split('=').next().unwrap_or(""));
    let known = options().flat_map(|option| [(option.name(), option), (option.key, option)]);
    suggest(&name, known).map(Opt::syntax)
}

#[cfg(test)]
mod tests;
