//! The record of what was done, so that exactly that can be taken back. It lies
//! where a boot clears it, as it clears the NIC.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::error::SteerError;
use crate::link::{FlowMatch, FlowRule};

/// A rule of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Noted {
    /// Which frames.
    pub matches: FlowMatch,
    /// Where to.
    pub queue: u32,
    /// Where in the table; `None` from before the driver said it.
    pub location: Option<u32>,
}

impl Noted {
    /// Whether this rule of the NIC is the one that was noted.
    pub fn is(&self, rule: &FlowRule) -> bool {
        let place = self.location.is_none_or(|location| location == rule.location);
        place && rule.matches == self.matches && rule.queue == Some(self.queue)
    }
}

/// All that was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Rules were off, and were switched on for ours.
    pub switched_on: bool,
    /// Our rules.
    pub rules: Vec<Noted>,
    /// What they were made for, when all of them were: queues and hosts.
    pub wished: Option<(Vec<u32>, Vec<[u8; 6]>)>,
}

/// Where the record of one interface lies.
pub struct Journal {
    directory: PathBuf,
    path: PathBuf,
}

impl Journal {
    /// That of `interface`, in this directory.
    pub fn of(directory: &Path, interface: &str) -> Self {
        // A name of an interface has no slash in it; a wrong one may.
        let name = format!("steer-{}.json", interface.replace('/', "_"));
        Self { directory: directory.to_owned(), path: directory.join(name) }
    }

    /// Keeps other runs out until the answer is dropped.
    pub fn lock(&self) -> Result<File, SteerError> {
        let locked = fs::create_dir_all(&self.directory).and_then(|()| {
            let directory = File::open(&self.directory)?;
            directory.lock()?;
            Ok(directory)
        });
        locked.map_err(|source| SteerError::Journal { what: "lock", path: self.directory.clone(), source })
    }

    /// What was done; nothing, where there is no record.
    pub fn load(&self) -> Result<Record, SteerError> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Record::default()),
            Err(source) => return Err(self.fault("read", source)),
        };
        read(&text).ok_or_else(|| {
            let what =
                "it is not a record of `xblade steer` (see `ethtool -n` for the rules, then remove the file)";
            self.fault("read", io::Error::new(io::ErrorKind::InvalidData, what))
        })
    }

    /// Puts a record in the place of the last, whole or not at all.
    pub fn store(&self, record: &Record) -> Result<(), SteerError> {
        if *record == Record::default() {
            return match fs::remove_file(&self.path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => Err(self.fault("remove", source)),
                _ => Ok(()),
            };
        }
        let beside = self.path.with_extension("new");
        let written = File::create(&beside).and_then(|mut file| {
            file.write_all(written(record).as_bytes())?;
            fs::rename(&beside, &self.path)
        });
        written.map_err(|source| self.fault("write", source))
    }

    fn fault(&self, what: &'static str, source: io::Error) -> SteerError {
        SteerError::Journal { what, path: self.path.clone(), source }
    }
}

fn written(record: &Record) -> String {
    let rule = |noted: &Noted| {
        let FlowMatch::Ether { destination, source, ether_type } = noted.matches else { return Value::Null };
        json!({
            "destination": destination, "source": source, "ether-type": ether_type,
            "queue": noted.queue, "location": noted.location,
        })
    };
    let rules: Vec<Value> = record.rules.iter().map(rule).collect();
    let wished = record.wished.as_ref().map(|(queues, hosts)| json!({ "queues": queues, "hosts": hosts }));
    let whole = json!({ "switched-on": record.switched_on, "rules": rules, "wished": wished });
    format!("{whole:#}\n")
}

fn read(text: &str) -> Option<Record> {
    let whole: Value = serde_json::from_str(text).ok()?;
    let rules = whole.get("rules")?.as_array()?.iter().map(noted).collect::<Option<_>>()?;
    let wished = optional(whole.get("wished")?, |value| {
        let list = |name: &str| value.get(name)?.as_array();
        let queues = list("queues")?.iter().map(number).collect::<Option<_>>()?;
        Some((queues, list("hosts")?.iter().map(mac).collect::<Option<_>>()?))
    });
    Some(Record { switched_on: whole.get("switched-on")?.as_bool()?, rules, wished: wished? })
}

fn noted(value: &Value) -> Option<Noted> {
    let matches = FlowMatch::Ether {
        destination: optional(value.get("destination")?, mac)?,
        source: optional(value.get("source")?, mac)?,
        ether_type: optional(value.get("ether-type")?, number)?,
    };
    let location = optional(value.get("location")?, number)?;
    Some(Noted { matches, queue: number(value.get("queue")?)?, location })
}

fn optional<T>(value: &Value, read: impl Fn(&Value) -> Option<T>) -> Option<Option<T>> {
    if value.is_null() { Some(None) } else { read(value).map(Some) }
}

fn number<T: TryFrom<u64>>(value: &Value) -> Option<T> {
    T::try_from(value.as_u64()?).ok()
}

fn mac(value: &Value) -> Option<[u8; 6]> {
    let bytes: Option<Vec<u8>> = value.as_array()?.iter().map(number).collect();
    bytes?.try_into().ok()
}
