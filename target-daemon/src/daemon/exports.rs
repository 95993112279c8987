//! Opens the stores of the configured exports and names them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use log::{error, info, log, warn};

use super::failure::{Failure, chain};
use super::interface::{Interface, facts_of, names_of};
use super::quarantine;
use super::rates::HostRates;
use super::segments;
use super::state_writer;
use crate::config::{self, EXPORTS_MAX, Serve};
use crate::privilege;
use crate::shelf::{Acl, Export, HostSettings, Settings};
use crate::store::disk::Persist;
use crate::store::{
    self, Access, Data, Durability, Handed, OpenError, OpenErrorKind, OpenFile, Problem, SECTOR_BYTES,
    StoreSpec,
};
use crate::text;
use crate::wire::aoe::Address;
use crate::wire::identify::{Names, Text};

/// An export with an open store.
#[derive(Debug)]
pub struct Opened {
    /// As it was requested.
    pub wanted: config::Export,
    /// The export.
    pub export: Export,
    /// How its bytes are accessed and its writes made stable.
    pub info: StoreInfo,
    /// The location of its data.
    pub source: Source,
}

/// The location of an export's data.
#[derive(Clone, Debug)]
pub struct Source {
    /// The identity of the data.
    pub data: Data,
    /// The file or device, if there is one.
    pub file: Option<OpenFile>,
    /// Whether hosts may have written to it, even if writes are refused now.
    pub is_writable: bool,
    /// A caller has opened it, who may open more than this process.
    pub is_handed: bool,
}

/// The open file of a store that is to be opened.
#[derive(Debug)]
pub struct Held {
    file: Handed,
    path: PathBuf,
    by_caller: bool,
    /// Its path leads to it, as far as this process can see.
    is_there: bool,
}

impl Held {
    /// A file that a caller has opened for this export.
    pub fn by_caller(file: Handed, wanted: &config::Export) -> Self {
        let path = wanted.store.label().to_owned();
        Self { file, path, by_caller: true, is_there: true }
    }

    /// The file of an export that is served, to serve it again. `is_there`: its path leads to
    /// it.
    pub fn served(source: &Source, is_there: bool) -> Option<Self> {
        let file = source.file.as_ref()?;
        let path = file.path().to_owned();
        Some(Self { file: file.hand_on(), path, by_caller: source.is_handed, is_there })
    }
}

/// An export that is not served because hosts have used other data at its address.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The export.
    pub wanted: config::Export,
    /// The reason, with a remedy.
    pub why: Problem,
}

/// How the bytes of a store are accessed and writes made stable.
#[derive(Clone, Copy, Debug)]
pub struct StoreInfo {
    access: &'static str,
    stable: &'static str,
}

impl StoreInfo {
    fn of(opened: &store::Opened, store: &StoreSpec) -> Self {
        let access = match opened.access {
            None => store.engine().name,
            Some(Access::Direct) => "direct",
            Some(Access::Cached) => "through the page cache",
            Some(Access::Mapped) => "mapped",
            Some(Access::Descriptor | Access::Fitting) => "through the page cache, blocking",
        };
        let stable = match opened.stable {
            Persist::OnFlush => "",
            Persist::PerWrite => ", each write made stable",
            Persist::Group => ", one sync for a group of writes",
        };
        Self { access, stable }
    }

    /// A description; it omits the writes if there are none.
    pub fn describe(self, read_only: bool) -> String {
        format!("{}{}", self.access, if read_only { "" } else { self.stable })
    }
}

/// Opens and locks every store. If one of them fails, none stays open. An export at whose
/// address hosts have used other data is left out and logged.
///
/// # Errors
///
/// One cannot be opened, or nothing is left to serve.
pub fn open(
    options: &Serve,
    host_rates: &HostRates,
    interfaces: &[Interface],
) -> Result<(Vec<Opened>, Vec<Refused>), Failure> {
    let mut addresses = BTreeSet::new();
    if let Some(config::Export { address, .. }) =
        options.exports.iter().find(|export| !addresses.insert(export.address))
    {
        return Err(Failure::request(format!("{address} is given twice: give each export its own address")));
    }
    check_count(options.exports.len())?;
    let (mut opened, mut refused) = (Vec::new(), Vec::new());
    let (folder, names) = (options.service.state.as_deref(), names_of(interfaces));
    for wanted in &options.exports {
        let one = open_one(wanted, options, host_rates, interfaces, &HeldFiles::new())?;
        let kept = quarantine::check_kept(wanted, &one.source.data, folder, &names);
        match kept {
            Err(why) if wanted.force => warn!("{} is forced: {why}", wanted.address),
            Err(why) => {
                error!("{} is NOT SERVED: {why}", wanted.address);
                refused.push(Refused { wanted: wanted.clone(), why });
                continue;
            }
            Ok(()) => {}
        }
        opened.push(one);
    }
    match (opened.is_empty(), refused.first()) {
        (true, Some(Refused { why, .. })) => Err(Failure::machine(why.clone())),
        _ => Ok((opened, refused)),
    }
}

/// Refuses more exports than the XDP program has room for.
pub fn check_count(exports: usize) -> Result<(), Failure> {
    if exports <= EXPORTS_MAX {
        return Ok(());
    }
    Err(Failure::request(format!(
        "{exports} exports are more than xblade serves, {EXPORTS_MAX}: remove others first, or start another xblade for \
         them on an interface of its own"
    )))
}

/// The hosts that may use an export.
pub fn acl(options: &Serve, export: &config::Export) -> Acl {
    Acl::new(options.allowed(export).iter().copied())
}

/// Whether hosts may set config string, mask list and reservation of an export.
pub fn host_settings(options: &Serve, export: &config::Export) -> HostSettings {
    match options.host_settings(export) {
        config::HostSettings::Allow => HostSettings::Allow,
        config::HostSettings::Volatile => HostSettings::Volatile,
        config::HostSettings::Refuse => HostSettings::Refuse,
    }
}

/// The files that are open already, by the addresses of their exports.
pub type HeldFiles = BTreeMap<Address, Held>;

/// Checks whether the store of an export could be opened, as far as that is visible without
/// opening it.
pub fn examine(wanted: &config::Export, held: &HeldFiles) -> Result<(), Failure> {
    let file = file_of(wanted, held)?;
    wanted.store.examine(file.map(|held| &held.file)).map_err(failure)
}

/// The open file to use for an export, if it is not to be opened by its path: that of a caller,
/// or that of the export as it was, if this process may no longer open it.
fn file_of<'a>(wanted: &config::Export, held: &'a HeldFiles) -> Result<Option<&'a Held>, Failure> {
    let Some(path) = wanted.store.path() else { return Ok(None) };
    let held = held.get(&wanted.address).filter(|held| held.path == path);
    if held.is_some_and(|held| held.by_caller) {
        return Ok(held);
    }
    let refused = privilege::may_open(path).map_err(Failure::request).err();
    let Some(held) = held.filter(|held| held.is_there) else { return refused.map_or(Ok(None), Err) };
    let is_denied =
        |error: OpenError| matches!(error.kind, OpenErrorKind::Unreadable | OpenErrorKind::Unwritable);
    // Also if only writing is denied: what is opened now could not be made writable later.
    let mut writable = wanted.store.clone();
    writable.set_read_only(false);
    let is_denied = refused.is_some() || writable.examine(None).is_err_and(is_denied);
    Ok(is_denied.then_some(held))
}

/// The data that an export would serve; `None` if there is none.
pub fn data(wanted: &config::Export, held: &HeldFiles) -> Option<Data> {
    match file_of(wanted, held) {
        Ok(Some(held)) => Some(held.file.data(wanted.store.offset_bytes())),
        Ok(None) => wanted.store.data(),
        Err(_) => None,
    }
}

/// Checks whether these exports could be served together with the others, each with the
/// access that it will probably get.
pub fn examine_together(wanted: &[&config::Export], all: &Serve) -> Result<(), Failure> {
    let others: Vec<_> = all.exports.iter().map(|other| (other.address, other.store.expected())).collect();
    for export in wanted {
        let Some(ours) = export.store.expected() else { continue };
        let others = others.iter().filter(|(address, _)| *address != export.address);
        for theirs in others.filter_map(|(_, theirs)| theirs.as_ref()) {
            ours.check_beside(theirs).map_err(|error| in_the_way(export.address, error, all))?;
        }
    }
    Ok(())
}

/// The failure to open this export: with the addresses of both if another export is in its
/// way.
pub fn in_the_way(address: Address, error: OpenError, all: &Serve) -> Failure {
    let OpenErrorKind::Beside(beside) = &error.kind else { return failure(error) };
    let is_it = |export: &&config::Export| {
        export.address != address && export.store.file().as_ref() == Some(&beside.other)
    };
    let Some(theirs) = all.exports.iter().find(is_it) else { return failure(error) };
    let name = |address: Address, path: &Path| format!("{address} ({})", path.display());
    Failure::request(beside.problem(&name(address, &beside.path), &name(theirs.address, &beside.other.path)))
}

/// Opens and locks one store, and restores the saved state of the export.
pub fn open_one(
    wanted: &config::Export,
    all: &Serve,
    host_rates: &HostRates,
    interfaces: &[Interface],
    held: &HeldFiles,
) -> Result<Opened, Failure> {
    open_by(wanted, all, host_rates, interfaces, file_of(wanted, held)?)
}

/// Opens the store that an export has had until now, through the file that is open still.
pub fn open_again(
    wanted: &config::Export,
    all: &Serve,
    host_rates: &HostRates,
    interfaces: &[Interface],
    held: &HeldFiles,
) -> Result<Opened, Failure> {
    open_by(wanted, all, host_rates, interfaces, held.get(&wanted.address))
}

fn open_by(
    wanted: &config::Export,
    all: &Serve,
    host_rates: &HostRates,
    interfaces: &[Interface],
    held: Option<&Held>,
) -> Result<Opened, Failure> {
    let (address, acl) = (wanted.address, acl(all, wanted));
    let segments = segments::of(wanted, &facts_of(interfaces))?;
    let folder = all.service.state.as_deref();
    let opened =
        wanted.store.open(held.map(|held| &held.file)).map_err(|error| match twin(&error, wanted, all) {
            Some(other) => Failure::request(exported_twice(wanted, other)),
            None => in_the_way(address, error, all),
        })?;
    for warning in &opened.warnings {
        log!(warning.level, "{address}: {}", warning.text);
    }
    let (read_only, durability) = (wanted.store.read_only(), wanted.store.durability());
    let info = StoreInfo::of(&opened, &wanted.store);
    let is_handed = held.is_some_and(|held| held.by_caller);
    let source = Source { data: opened.data, file: opened.file, is_writable: !read_only, is_handed };
    let (store, told) = (opened.store, info.describe(read_only));
    let host_settings = host_settings(all, wanted);
    let names = names(wanted);
    let rates = host_rates.of(wanted);
    let settings = Settings { address, read_only, durability, names, segments, acl, host_settings, rates };
    let geometry = store.geometry();
    let sectors = geometry.sectors;
    let mode = match (read_only, durability) {
        (true, _) => "read-only",
        (false, Durability::Durable) => "durable",
        (false, Durability::Volatile) => "VOLATILE: a power cut may lose acknowledged writes",
    };
    info!(
        "{address}: {}, {sectors} sectors ({:.1} MiB), {mode}{}",
        wanted.store.path().map_or(told.clone(), |path| format!("{} ({told})", path.display())),
        (sectors * SECTOR_BYTES) as f64 / 1048576.0,
        if geometry.discards { ", with TRIM" } else { "" }
    );
    let mut export = Export::new(settings, store);
    if let Some(folder) = folder {
        state_writer::restore(&mut export, wanted, &source.data, folder)?;
    }
    Ok(Opened { wanted: wanted.clone(), export, info, source })
}

/// The other export with the same bytes, if one of ours has them locked.
fn twin<'a>(error: &OpenError, wanted: &config::Export, all: &'a Serve) -> Option<&'a config::Export> {
    let OpenErrorKind::LockedByUs = error.kind else { return None };
    let others = all.exports.iter().filter(|other| other.address != wanted.address);
    others.into_iter().find(|other| wanted.store.in_conflict(&other.store))
}

fn exported_twice(ours: &config::Export, theirs: &config::Export) -> Problem {
    let (path, other) = (ours.store.label().display(), theirs.store.label().display());
    let name = if ours.store.label() == theirs.store.label() { String::new() } else { format!(" ({other})") };
    Problem::new(
        format!("{path}: is exported already, at {}{name}", theirs.address),
        "give another file, make both read-only, or give them an offset and length so that they do not overlap",
    )
}

/// Classifies an error: a bad request (exit code 2), or something on this machine that is
/// missing or wrong (exit code 3).
pub fn failure(error: OpenError) -> Failure {
    use OpenErrorKind::{Beside, LockedByUs, Machine, Option, Unreadable, Unwritable};
    match error.kind {
        Option | LockedByUs | Beside(_) => Failure::request(error),
        Machine => Failure::machine(error),
        Unreadable | Unwritable => match privilege::user_now() {
            Some(user) => Failure::machine(format!(
                "{}; or add it by `xblade export add` as one who may open it; or run xblade, which is the user {user} now, \
                 with --user root",
                chain(&error)
            )),
            None => Failure::machine(error),
        },
    }
}

/// The strings in IDENTIFY DEVICE. The serial number survives a restart and differs between
/// machines and between images.
fn names(export: &config::Export) -> Names {
    let (address, path) = (export.address, export.store.label());
    let machine = text::read(Path::new("/etc/machine-id")).unwrap_or_default();
    // The path as given: a link to a device may point to another one tomorrow.
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let parts =
        [machine.as_bytes(), path.as_os_str().as_encoded_bytes(), &export.store.offset_bytes().to_le_bytes()];
    let hash = parts
        .into_iter()
        .flatten()
        .fold(FNV_OFFSET, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME));
    Names {
        serial: Text::new(&format!("{address}:{:08x}", hash >> 32 ^ hash & 0xffff_ffff)),
        firmware: Text::new(env!("CARGO_PKG_VERSION")),
        model: Text::new(export.store.model()),
    }
}

// FNV-1a: a hash that is the same in every release, unlike that of std.
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_given_once() {
        let exports = ["0.1=/no/a", "7.1=/no/b", "0.1=/no/c"].map(|text| text.parse().unwrap()).to_vec();
        let refused = open(&Serve { exports, ..Serve::default() }, &HostRates::default(), &[]).err().unwrap();
        assert!(refused.to_string().contains("0.1 is given twice"), "{refused}");
    }
}
