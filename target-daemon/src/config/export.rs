//! One export on the command line: `SHELF.SLOT=PATH[,OPTION...]`.

use std::str::FromStr;

use super::hint;
use super::size::{SizeError, parse_bytes};
use crate::store::{Access, Durability, OpenOptions, Sync};
use crate::wire::aoe::{Address, AddressError};
use crate::wire::ether::{Mac, MacError};

/// The access list that admits every initiator.
pub(super) const EVERYBODY: &str = "everybody";

/// Limit on the worker number, above the core count of any machine.
pub(super) const WORKERS_MAX: u16 = 1024;

/// One export, as configured.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Export {
    /// Its AoE address.
    pub address: Address,
    /// What it exports.
    pub image: Image,
    /// Initiators that may use it: `None` for the default list, an empty list for all.
    pub allow: Option<Vec<Mac>>,
    /// The worker that owns it; without one, workers are assigned in turn.
    pub worker: Option<u16>,
    /// Serve it even if hosts have used other data at its address.
    pub force: bool,
}

/// What an export serves, as configured.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Image {
    /// A file or block device.
    File(OpenOptions),
    /// No data: writes are discarded, reads return zeros.
    Null {
        /// Its size.
        length_bytes: u64,
    },
}

/// Why an export is invalid.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ExportError {
    /// The syntax is wrong.
    #[error("'{0}' is not an export: write SHELF.SLOT=PATH, for example 0.1=/srv/disk.img")]
    Form(String),
    /// The address is invalid.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// Unknown option.
    #[error(
        "'{option}' is not an option of an export{} (known: {}; a path with a comma in it needs a link without one)",
        hint::instead_of(option), hint::KNOWN.join(", ")
    )]
    Option {
        /// The option as given.
        option: String,
    },
    /// The value of an option is invalid.
    #[error("{option}={value} is not possible: {remedy}")]
    Value {
        /// The option.
        option: &'static str,
        /// The value as given.
        value: String,
        /// The remedy.
        remedy: String,
    },
    /// An option is given twice.
    #[error("{0} is given twice: give it once")]
    Twice(&'static str),
    /// An option has no effect beside another.
    #[error("{option} has no meaning with {with}: {remedy}")]
    Meaningless {
        /// The option without effect.
        option: String,
        /// The option that makes it so.
        with: &'static str,
        /// The remedy.
        remedy: &'static str,
    },
    /// `store=null` without a size.
    #[error("store=null needs a size: add length=N, for example length=1GiB")]
    NullSize,
}

/// Parsed options that have not been checked against each other.
#[derive(Default)]
pub(super) struct Raw {
    read_only: Option<()>,
    offset_bytes: Option<u64>,
    length_bytes: Option<u64>,
    store: Option<StoreKind>,
    durability: Option<Durability>,
    sync: Option<Sync>,
    trim: Option<bool>,
    pin: Option<()>,
    huge: Option<()>,
    pub(super) allow: Option<Vec<Mac>>,
    pub(super) worker: Option<u16>,
    force: Option<()>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum StoreKind {
    File(Access),
    Null,
}

impl FromStr for Export {
    type Err = ExportError;

    fn from_str(text: &str) -> Result<Self, ExportError> {
        let form = || ExportError::Form(text.to_owned());
        let (address, rest) = text.split_once('=').ok_or_else(form)?;
        let address: Address = address.parse()?;
        let mut parts = rest.split(',');
        let path = parts.next().filter(|p| !p.is_empty()).ok_or_else(form)?;
        let mut raw = Raw::default();
        for option in parts {
            raw.set(option)?;
        }
        let (allow, worker, force) = (raw.allow.take(), raw.worker, raw.is_forced());
        Ok(Self { address, image: raw.image(path)?, allow, worker, force })
    }
}

impl Raw {
    /// Parses one option in the command-line form.
    pub(super) fn set(&mut self, option: &str) -> Result<(), ExportError> {
        match option.split_once('=') {
            None if option == "ro" => once("ro", &mut self.read_only, ()),
            Some(("offset", v)) => once("offset", &mut self.offset_bytes, size("offset", v)?),
            Some(("length", "auto")) => Ok(()),
            Some(("length", v)) => once("length", &mut self.length_bytes, length(v)?),
            Some(("store", "auto")) => Ok(()),
            Some(("store", v)) => once("store", &mut self.store, store(v)?),
            Some(("durability", v)) => once("durability", &mut self.durability, durability(v)?),
            Some(("sync", "auto")) => Ok(()),
            Some(("sync", v)) => once("sync", &mut self.sync, sync(v)?),
            Some(("trim", "auto")) => Ok(()),
            Some(("trim", v)) => once("trim", &mut self.trim, trim(v)?),
            None if option == "pin" => once("pin", &mut self.pin, ()),
            None if option == "huge" => once("huge", &mut self.huge, ()),
            None if option == "force" => once("force", &mut self.force, ()),
            Some(("allow", v)) => allow(v, &mut self.allow),
            Some(("worker", "auto")) => Ok(()),
            Some(("worker", v)) => once("worker", &mut self.worker, worker(v)?),
            _ => Err(ExportError::Option { option: option.to_owned() }),
        }
    }

    /// Whether it has the option `force`.
    pub(super) fn is_forced(&self) -> bool {
        self.force.is_some()
    }

    /// Whether the store is `null`.
    pub(super) fn is_null(&self) -> bool {
        self.store == Some(StoreKind::Null)
    }

    /// Checks the options against each other and returns the image.
    pub(super) fn image(self, path: &str) -> Result<Image, ExportError> {
        if let Some(error) = self.faults().into_iter().next() {
            return Err(error);
        }
        if self.is_null() {
            let length_bytes = self.length_bytes.ok_or(ExportError::NullSize)?;
            return Ok(Image::Null { length_bytes });
        }
        Ok(Image::File(OpenOptions {
            read_only: self.read_only.is_some(),
            offset_bytes: self.offset_bytes.unwrap_or(0),
            length_bytes: self.length_bytes,
            durability: self.durability.unwrap_or(Durability::Durable),
            access: match self.store {
                Some(StoreKind::File(access)) => access,
                Some(StoreKind::Null) | None => Access::Fitting,
            },
            sync: self.sync.unwrap_or_default(),
            trim: self.trim,
            pin: self.pin.is_some(),
            huge: self.huge.is_some(),
            ..OpenOptions::new(path)
        }))
    }

    /// Every option that has no effect beside the others, and every missing option.
    pub(super) fn faults(&self) -> Vec<ExportError> {
        let mut faults: Vec<ExportError> = Vec::new();
        let conflicts = self.conflicts();
        for (name, text) in self.given() {
            let takes_away = conflicts.iter().find(|(is_so, .., options)| *is_so && options.contains(&name));
            if let Some((_, with, remedy, _)) = takes_away {
                faults.push(ExportError::Meaningless { option: text.to_owned(), with, remedy });
            }
        }
        if self.is_null() && self.length_bytes.is_none() {
            faults.push(ExportError::NullSize);
        }
        faults
    }

    /// Rules of the form: if the condition holds, this setting makes these options
    /// meaningless, and this is the remedy.
    fn conflicts(&self) -> [(bool, &'static str, &'static str, &'static [&'static str]); 6] {
        const OUT: &str = "leave it out";
        const STORE: &str = "leave one of them out";
        let is = |access| self.store == Some(StoreKind::File(access));
        let null = self.is_null();
        let volatile = self.durability == Some(Durability::Volatile);
        [
            (null, "store=null", OUT, &["ro", "offset", "durability", "sync", "trim", "pin", "huge"]),
            (self.read_only.is_some(), "ro", OUT, &["sync", "trim"]),
            (volatile, "durability=volatile", STORE, &["sync"]),
            (is(Access::Mapped), "store=mmap", "leave it out, or give store=direct", &["sync"]),
            (is(Access::Cached), "store=file", "leave it out, or give store=direct", &["sync"]),
            (
                !is(Access::Mapped),
                match self.store {
                    Some(StoreKind::File(Access::Direct)) => "store=direct",
                    Some(StoreKind::File(Access::Cached)) => "store=file",
                    _ => "a store that may not be mapped",
                },
                "leave it out, or give store=mmap",
                &["pin", "huge"],
            ),
        ]
    }

    /// The given options that may be meaningless, by name and as written.
    fn given(&self) -> Vec<(&'static str, &'static str)> {
        let sync = match self.sync {
            Some(Sync::Each) => "sync=each",
            _ => "sync=group",
        };
        let trim = if self.trim == Some(true) { "trim=on" } else { "trim=off" };
        let rows = [
            ("ro", "ro", self.read_only.is_some()),
            ("offset", "offset", self.offset_bytes.is_some()),
            ("durability", "durability", self.durability.is_some()),
            ("sync", sync, self.sync.is_some()),
            ("trim", trim, self.trim.is_some()),
            ("pin", "pin", self.pin.is_some()),
            ("huge", "huge", self.huge.is_some()),
        ];
        rows.into_iter().filter(|row| row.2).map(|(name, text, _)| (name, text)).collect()
    }
}

fn once<T>(name: &'static str, place: &mut Option<T>, value: T) -> Result<(), ExportError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(ExportError::Twice(name)),
    }
}

fn size(option: &'static str, value: &str) -> Result<u64, ExportError> {
    parse_bytes(value).map_err(|e: SizeError| ExportError::Value {
        option,
        value: value.to_owned(),
        remedy: e.to_string(),
    })
}

fn length(value: &str) -> Result<u64, ExportError> {
    match size("length", value)? {
        0 => Err(bad("length", value, "give at least one sector")),
        bytes => Ok(bytes),
    }
}

fn store(value: &str) -> Result<StoreKind, ExportError> {
    match value {
        "direct" => Ok(StoreKind::File(Access::Direct)),
        "file" => Ok(StoreKind::File(Access::Cached)),
        "mmap" => Ok(StoreKind::File(Access::Mapped)),
        "null" => Ok(StoreKind::Null),
        _ => Err(bad(
            "store",
            value,
            "give direct, file, mmap or null (without it: mmap for a file in memory, else direct, else file)",
        )),
    }
}

fn durability(value: &str) -> Result<Durability, ExportError> {
    match value {
        "durable" => Ok(Durability::Durable),
        "volatile" => Ok(Durability::Volatile),
        _ => Err(bad("durability", value, "give durable or volatile")),
    }
}

fn sync(value: &str) -> Result<Sync, ExportError> {
    match value {
        "each" => Ok(Sync::Each),
        "group" => Ok(Sync::Group),
        _ => Err(bad("sync", value, "give each or group (without it: what fits the file)")),
    }
}

fn trim(value: &str) -> Result<bool, ExportError> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(bad("trim", value, "give on or off (without it: on for devices and for files with holes)")),
    }
}

fn worker(value: &str) -> Result<u16, ExportError> {
    let number = || value.parse().ok().filter(|worker| *worker < WORKERS_MAX);
    number().ok_or_else(|| bad("worker", value, "give the number of a worker, from 0, or auto"))
}

/// Adds an address to the list; `everybody` leaves it empty.
fn allow(value: &str, list: &mut Option<Vec<Mac>>) -> Result<(), ExportError> {
    let everybody = value == EVERYBODY;
    if list.as_ref().is_some_and(|macs| everybody || macs.is_empty()) {
        return Err(bad("allow", value, "give everybody, or one address each"));
    }
    let macs = list.get_or_insert_default();
    if !everybody {
        macs.push(value.parse().map_err(|e: MacError| bad("allow", value, &e.to_string()))?);
    }
    Ok(())
}

fn bad(option: &'static str, value: &str, remedy: &str) -> ExportError {
    ExportError::Value { option, value: value.to_owned(), remedy: remedy.to_owned() }
}

#[cfg(test)]
mod tests;
