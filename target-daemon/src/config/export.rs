//! One export on the command line: `SHELF.SLOT=PATH[,OPTION...]`.

use std::error::Error;
use std::str::FromStr;

use clap::ValueEnum;

use super::HostSettings;
use super::bounds::{BURST_MS_MAX, IOPS_MAX};
use super::limit::ExportLimits;
use super::suggest::{plain, suggest};
use crate::store::{AUTO, NONE, OPTIONS, Opt, Options, Problem, Setting, StoreSpec, Takes, Value};
use crate::wire::aoe::{Address, AddressError};
use crate::wire::ether::{Mac, MacError};
use crate::wire::vlan::{UNTAGGED, VLAN_MAX, Vlans};

/// The access list that admits every initiator.
pub const EVERYBODY: &str = "everybody";
/// The VLANs of frames without a tag, or with a priority only.
pub(super) const UNTAGGED_VLAN: &str = "untagged";
/// All VLANs.
pub(super) const ANY_VLAN: &str = "any";

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
        key: "vlan",
        takes: Takes::Vlans,
        default: UNTAGGED_VLAN,
        help: "serve it in this VLAN only, by the 802.1Q tag; repeat it for more; default: untagged and \
               priority-tagged frames",
        ..Opt::FLAG
    },
    Opt {
        key: "interfaces",
        name: "interface",
        takes: Takes::Interfaces,
        help: "serve it on this interface only, of those of -i; repeat it for more",
        ..Opt::FLAG
    },
    Opt {
        key: "iops",
        takes: Takes::Number { min: 1, max: IOPS_MAX },
        default: NONE,
        help: "the most requests per second, of all hosts together",
        ..Opt::FLAG
    },
    Opt {
        key: "bytes-per-second",
        takes: Takes::Rate,
        default: NONE,
        help: "the most data per second, of all hosts together: 200MiB, 50MB",
        ..Opt::FLAG
    },
    Opt {
        key: "host-iops",
        takes: Takes::Number { min: 1, max: IOPS_MAX },
        default: NONE,
        help: "the most requests per second of each host",
        ..Opt::FLAG
    },
    Opt {
        key: "host-bytes-per-second",
        takes: Takes::Rate,
        default: NONE,
        help: "the most data per second of each host",
        ..Opt::FLAG
    },
    Opt {
        key: "burst",
        takes: Takes::Number { min: 1, max: BURST_MS_MAX },
        default: "100",
        help: "what may be used at once after a pause: what the rates allow in this many milliseconds",
        ..Opt::FLAG
    },
    Opt {
        key: "worker",
        takes: Takes::Number { min: 0, max: 1023 },
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
    /// The VLANs that it is served in.
    pub vlans: Vlans,
    /// Names and patterns of the interfaces that it is served on; empty for all.
    pub interfaces: Vec<String>,
    /// The worker that owns it; without one, workers are assigned in turn.
    pub worker: Option<u16>,
    /// Whether hosts may set config string, mask list and reservation: `None` for the
    /// default.
    pub host_settings: Option<HostSettings>,
    /// How much hosts may use of it.
    pub limits: ExportLimits,
    /// Serve it even if hosts have used other data at its address.
    pub force: bool,
}

/// Options as given, not yet checked against each other.
#[derive(Default)]
pub(super) struct Given {
    pub(super) options: Options,
    pub(super) allow: Option<Vec<Mac>>,
    pub(super) vlans: Option<Vlans>,
    pub(super) interfaces: Vec<String>,
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

/// Refuses an address that no host sends from.
pub(super) fn of_host(mac: Mac) -> Result<Mac, Problem> {
    if mac.is_multicast() || mac.is_zero() {
        let remedy = "give the address that `ip link` shows on the host";
        return Err(Problem::new(format!("{mac} is not the address of a host"), remedy));
    }
    Ok(mac)
}

/// As [`of_host`], from text.
pub(super) fn host(text: &str) -> Result<Mac, Box<dyn Error + Send + Sync>> {
    Ok(of_host(text.parse()?)?)
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
        let impossible =
            |problem: Problem| Problem::new(format!("{name}={value} is not possible"), problem.to_string());
        match option.takes {
            Takes::Hosts => return self.allow(value),
            Takes::Vlans => return self.vlan(value).map_err(|remedy| impossible(Problem::new("", remedy))),
            Takes::Interfaces if value.is_empty() => {
                return Err(impossible(Problem::new("", "`ip link` shows the names")));
            }
            Takes::Interfaces => {
                self.interfaces.push(value.to_owned());
                return Ok(());
            }
            _ => {}
        }
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
            let mac = value.parse().map_err(|error: MacError| impossible(&error.to_string()))?;
            macs.push(of_host(mac)?);
        }
        Ok(())
    }

    /// Adds a VLAN.
    ///
    /// # Errors
    ///
    /// The remedy.
    pub(super) fn vlan(&mut self, value: &str) -> Result<(), String> {
        let id = match value {
            UNTAGGED_VLAN => UNTAGGED,
            ANY_VLAN => VLAN_MAX + 1,
            number => {
                number.parse().ok().filter(|id| (UNTAGGED + 1..=VLAN_MAX).contains(id)).ok_or_else(|| {
                    format!("give a number from 1 to {VLAN_MAX}, {UNTAGGED_VLAN} or {ANY_VLAN}")
                })?
            }
        };
        let is_any = id > VLAN_MAX;
        self.vlans = Some(match &self.vlans {
            None if is_any => Vlans::Any,
            None => Vlans::listed([id]),
            Some(others) if is_any || *others == Vlans::Any => {
                return Err(format!("give {ANY_VLAN} alone, or each VLAN"));
            }
            Some(others) => Vlans::listed(others.ids().chain([id])),
        });
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
        let limits = ExportLimits::take(&mut self.options)?;
        let Self { options, allow, vlans, interfaces } = self;
        let (store, vlans) = (StoreSpec::new(path, options), vlans.unwrap_or_default());
        Ok(Export { address, store, allow, vlans, interfaces, worker, host_settings, limits, force })
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
