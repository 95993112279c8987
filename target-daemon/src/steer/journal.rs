//! The journal records what was done, so that exactly this can be reverted. It is kept
//! where a reboot clears it, because a reboot also clears the NIC.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::error::SteerError;
use crate::link::{FlowMatch, FlowRule};

/// A rule inserted by xblade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Noted {
    /// The frames that it matches.
    pub matches: FlowMatch,
    /// Its queue.
    pub queue: u32,
    /// Its location in the table; `None` until the driver has reported it.
    pub location: Option<u32>,
}

impl Noted {
    /// Whether this rule of the NIC is the recorded one.
    pub fn is(&self, rule: &FlowRule) -> bool {
        let place = self.location.is_none_or(|location| location == rule.location);
        place && rule.matches == self.matches && rule.queue == Some(self.queue)
    }
}

/// Everything that was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Rules were disabled, and were enabled for ours.
    pub switched_on: bool,
    /// Our rules.
    pub rules: Vec<Noted>,
    /// The request that they fulfil, once all of them are inserted: queues and hosts.
    pub wished: Option<(Vec<u32>, Vec<[u8; 6]>)>,
}

/// The journal file of one interface.
pub struct Journal {
    directory: PathBuf,
    path: PathBuf,
}

impl Journal {
    /// The journal of `interface` in this directory.
    pub fn of(directory: &Path, interface: &str) -> Self {
        // An interface name contains no slash, but a wrong argument may.
        let name = format!("steer-{}.json", interface.replace('/', "_"));
        Self { directory: directory.to_owned(), path: directory.join(name) }
    }

    /// Excludes other runs until the returned lock is dropped.
    pub fn lock(&self) -> Result<File, SteerError> {
        let locked = open_directory(&self.directory).and_then(|directory| {
            directory.lock()?;
            Ok(directory)
        });
        locked.map_err(|source| SteerError::Journal { what: "lock", path: self.directory.clone(), source })
    }

    /// Loads the record; the default one if there is none.
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

    /// Replaces the record atomically.
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

/// Opens the directory, and creates it if it does not exist. Refuses one in which another
/// user may plant files or links: `revert` would follow them.
fn open_directory(path: &Path) -> io::Result<File> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW;
    let directory = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let facts = directory.metadata()?;
    if facts.uid() != rustix::process::geteuid().as_raw() || facts.mode() & 0o022 != 0 {
        let what = format!(
            "it belongs to user {} with mode {:o}, and must belong to the caller and be writable by no one else: \
             remove it",
            facts.uid(),
            facts.mode() & 0o7777
        );
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
    }
    Ok(directory)
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
