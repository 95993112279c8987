//! Protects data: which data hosts have used at an address, and which files refuse writes.
//!
//! A host knows a disk only by its address. If other data appeared at that address, the
//! host would write its cached blocks of the old disk to the new one, however long it was
//! idle. So other data is refused at an address that was used, unless the operator forces
//! it ([`config::Export::force`]).
//!
//! A file whose sync has failed refuses writes, even if it is reopened, as long as this
//! process runs or until the operator recovers it.

use std::collections::BTreeMap;
use std::path::Path;

use log::warn;

use super::failure::Failure;
use super::registry::{ExportEntry, ExportRegistry};
use super::state_writer::{self, StateWriter};
use super::worker_pool::WorkerPool;
use crate::config::Export;
use crate::shelf::Belongs;
use crate::store::{Data, Identity, IoError, Problem};
use crate::wire::aoe::Address;

/// The used addresses and the failed files that this process knows.
#[derive(Debug, Default)]
pub struct Quarantine {
    used: BTreeMap<Address, Belongs>,
    failed: Vec<(Identity, IoError)>,
}

impl Quarantine {
    /// Records that a sync of this file has failed.
    pub fn fail(&mut self, identity: &Identity, fault: IoError) {
        if !identity.is_empty() && self.fault_of(identity).is_none() {
            self.failed.push((identity.clone(), fault));
        }
    }

    /// Allows writes to the file again.
    pub fn recover(&mut self, identity: &Identity) {
        self.failed.retain(|(failed, _)| !failed.is_same(identity));
    }

    /// The error because of which a file refuses writes.
    pub fn fault_of(&self, identity: &Identity) -> Option<IoError> {
        self.failed.iter().find(|(failed, _)| failed.is_same(identity)).map(|(_, fault)| *fault)
    }
}

/// Why an export may not have its address: hosts have used other data there.
pub fn other_data(used: &Belongs, address: Address, folder: Option<&Path>) -> Problem {
    let kept = folder.map_or_else(String::new, |folder| {
        format!(" (kept in {})", folder.join(state_writer::used_file(address, "*")).display())
    });
    Problem::new(
        format!(
            "{address} had other data, {}{kept}, and hosts that have used it may still write to it",
            used.path
        ),
        format!(
            "give the new data another address; or have these hosts forget {address} (umount, aoe-flush), and force \
             it: `force` behind the path, force = true in the file, or --force"
        ),
    )
}

/// Checks an export that is about to be served for the first time against the saved
/// records.
///
/// # Errors
///
/// A message with the remedy.
pub fn check_kept(
    wanted: &Export,
    data: &Data,
    folder: Option<&Path>,
    interfaces: &[String],
) -> Result<(), Problem> {
    let Some(folder) = folder else { return Ok(()) };
    let used = state_writer::used(folder, wanted.address, interfaces)?;
    match used.iter().find(|used| !used.data.is_same(data)) {
        Some(used) => Err(other_data(used, wanted.address, Some(folder))),
        None => Ok(()),
    }
}

impl WorkerPool {
    /// Loads the saved records of all exports.
    pub fn load_all_used(&mut self) {
        let all = self.registry.entries.iter().map(|(address, entry)| (*address, entry.source.data.clone()));
        for (address, data) in all.collect::<Vec<_>>() {
            // What cannot be read was logged, or forced.
            let _ = self.load_used(address, &data);
        }
    }

    /// Records which exports hosts have begun to use.
    pub fn note_used(&mut self) {
        let used: Vec<Address> = self.directory.used().collect();
        for address in used {
            self.note_use_of(address);
        }
    }

    /// Records that hosts use this export: from now on its address belongs to its data.
    pub fn note_use_of(&mut self, address: Address) {
        let Some(entry) = self.registry.get(address) else { return };
        let used = state_writer::belonging(&entry.wanted, &entry.source.data);
        let known = self.registry.quarantine.used.get(&address);
        if known.is_some_and(|known| known.path == used.path && known.data.is_same(&used.data)) {
            return;
        }
        // For an export that refuses writes, only correct an existing record.
        let is_kept = used.data.identity.is_lasting() && (known.is_some() || !entry.settings.read_only);
        if let Some(writer) = self.state_writer.as_ref().filter(|_| is_kept) {
            writer.keep_used(used.clone());
        }
        self.registry.quarantine.used.insert(address, used);
    }

    /// Records that a sync of this export's file has failed.
    pub fn note_failed(&mut self, address: Address) {
        let ExportRegistry { entries, quarantine, .. } = &mut self.registry;
        if let Some(entry) = entries.get(&address) {
            quarantine.fail(&entry.source.data.identity, IoError::Media);
        }
    }

    /// Loads the saved record of the data that hosts have used at this address.
    ///
    /// # Errors
    ///
    /// It cannot be read: a message with the remedy.
    pub fn load_used(&mut self, address: Address, data: &Data) -> Result<(), Problem> {
        if self.registry.quarantine.used.contains_key(&address) {
            return Ok(());
        }
        let Some(writer) = &self.state_writer else { return Ok(()) };
        let mut kept = writer.used(address)?;
        let other = kept.iter().position(|used| !used.data.is_same(data)).unwrap_or(0);
        if other < kept.len() {
            self.registry.quarantine.used.insert(address, kept.swap_remove(other));
        }
        Ok(())
    }

    /// Refuses to assign an address to other data than hosts have used there.
    ///
    /// # Errors
    ///
    /// The data differs: a message with the remedy.
    pub fn refuse_other_data(&mut self, export: &Export, data: &Data, force: bool) -> Result<(), Failure> {
        let address = export.address;
        if self.is_leaving(address) {
            let text = format!(
                "{address} was removed, and requests to it are still under way: try again when its store has answered"
            );
            return Err(Failure::machine(text));
        }
        let served = self.registry.get(address).map(|entry| entry.source.data.clone());
        if served.as_ref().is_some_and(|served| served.is_same(data)) {
            return Ok(());
        }
        if served.is_some() && self.is_used(address) {
            self.note_use_of(address);
        }
        let loaded = self.load_used(address, data);
        let why = match (loaded, self.registry.quarantine.used.get(&address)) {
            (Err(why), _) => why,
            (Ok(()), Some(used)) if !used.data.is_same(data) => {
                other_data(used, address, self.state_writer.as_ref().map(StateWriter::folder))
            }
            (Ok(()), _) => return Ok(()),
        };
        if force {
            warn!("{address} is forced: {why}");
            return Ok(());
        }
        let now = if served.is_some() {
            format!("hosts use {address}, and would write to other data: ")
        } else {
            String::new()
        };
        Err(Failure::request(format!("{now}{why}")))
    }

    /// Refuses to close a file that has no name any more: the data written by hosts exists
    /// nowhere else.
    ///
    /// # Errors
    ///
    /// The data would be lost: a message with the remedy.
    pub fn refuse_nameless(&self, address: Address, force: bool) -> Result<(), Failure> {
        let Some(entry) = self.registry.get(address) else { return Ok(()) };
        let looked = entry.source.file.as_ref().and_then(|file| self.watcher.look_now(address, file));
        let is_nameless = looked.unwrap_or(entry.replaced).is_some_and(|replaced| replaced.is_nameless);
        if !is_nameless || !entry.source.is_writable {
            return Ok(());
        }
        if force {
            warn!(
                "{address} is closed by force, though its file has no name any more: what hosts have written to it is gone"
            );
            return Ok(());
        }
        let text = format!(
            "the file of {address} has no name any more, and what hosts have written is lost when it is closed: {}; or \
             give --force",
            rescue(entry)
        );
        Err(Failure::machine(text))
    }
}

/// How to save the contents of an unnamed file.
pub fn rescue(entry: &ExportEntry) -> String {
    let Some(file) = &entry.source.file else { return String::new() };
    let (address, pid, fd) = (entry.wanted.address, std::process::id(), file.descriptor());
    let path = file.path().display();
    format!(
        "stop writes to it (`xblade export read-only {address}`), and copy it (`cp /proc/{pid}/fd/{fd} {path}.saved`)"
    )
}
