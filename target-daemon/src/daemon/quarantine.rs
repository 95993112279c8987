//! Which data hosts have used at an address, and which files take no more writes.
//!
//! A host knows a disk by its address alone. If the address came to mean other
//! data, the host would write what it has in mind of the old disk into the new one,
//! however long it was idle. So other data is refused at an address that was used,
//! unless the operator forces it ([`config::Export::force`]).
//!
//! A file whose sync has failed takes no more writes, whoever opens it, for as long
//! as this process runs, or until the operator says that it may.

use std::collections::BTreeMap;
use std::path::Path;

use log::warn;

use super::registry::ExportEntry;
use super::state_writer;
use super::worker_pool::WorkerPool;
use crate::config::{Export, Image};
use crate::control::ControlError;
use crate::shelf::Belongs;
use crate::store::{self, Data, Identity, IoError};
use crate::wire::aoe::Address;

/// What this process has seen.
#[derive(Debug, Default)]
pub struct Quarantine {
    used: BTreeMap<Address, Belongs>,
    failed: Vec<(Identity, IoError)>,
}

impl Quarantine {
    /// A sync of this file has failed.
    pub fn fail(&mut self, identity: &Identity, fault: IoError) {
        if !identity.is_empty() && self.fault_of(identity).is_none() {
            self.failed.push((identity.clone(), fault));
        }
    }

    /// The file takes writes again.
    pub fn recover(&mut self, identity: &Identity) {
        self.failed.retain(|(failed, _)| !failed.is_same(identity));
    }

    /// The fault after which a file takes no more writes.
    pub fn fault_of(&self, identity: &Identity) -> Option<IoError> {
        self.failed.iter().find(|(failed, _)| failed.is_same(identity)).map(|(_, fault)| *fault)
    }
}

/// The data that an export is configured to have, as its path leads now; `None`: it
/// cannot be opened.
pub fn data_of(export: &Export) -> Option<Data> {
    match &export.image {
        Image::File(options) => store::data(options),
        Image::Null { .. } => Some(Data { identity: Identity::null(), offset_bytes: 0 }),
    }
}

/// Why an export may not have its address: hosts have used other data there.
pub fn other_data(used: &Belongs, address: Address, folder: Option<&Path>) -> String {
    let kept = folder.map_or_else(String::new, |folder| {
        format!(" (kept in {})", folder.join(state_writer::used_file(address, "*")).display())
    });
    format!(
        "{address} had other data, {}{kept}, and hosts that have used it may still write to it: give the new data \
         another address; or have these hosts forget {address} (umount, aoe-flush), and force it: `force` behind the path, \
         force = true in the file, or --force",
        used.path
    )
}

/// The same for one that is about to be served for the first time, by what was kept.
///
/// # Errors
///
/// In words, with what to do.
pub fn check_kept(
    wanted: &Export,
    data: &Data,
    folder: Option<&Path>,
    interfaces: &[String],
) -> Result<(), String> {
    let Some(folder) = folder else { return Ok(()) };
    let used = state_writer::used(folder, wanted.address, interfaces)?;
    match used.iter().find(|used| !used.data.is_same(data)) {
        Some(used) => Err(other_data(used, wanted.address, Some(folder))),
        None => Ok(()),
    }
}

impl WorkerPool {
    /// The same for all exports.
    pub fn load_all_used(&mut self) {
        let all = self.registry.entries().map(|entry| (entry.wanted.address, entry.source.data.clone()));
        for (address, data) in all.collect::<Vec<_>>() {
            // What cannot be read was told of, or forced.
            let _ = self.load_used(address, &data);
        }
    }

    /// Notes which exports hosts have begun to use.
    pub fn note_used(&mut self) {
        let used: Vec<Address> = self.directory.used().collect();
        for address in used {
            self.note_use_of(address);
        }
    }

    /// Hosts use this export: its address belongs to its data from now on.
    pub fn note_use_of(&mut self, address: Address) {
        let Some(entry) = self.registry.get(address) else { return };
        let used = state_writer::belonging(&entry.wanted, &entry.source.data);
        let known = self.registry.quarantine.used.get(&address);
        if known.is_some_and(|known| known.path == used.path && known.data.is_same(&used.data)) {
            return;
        }
        // Of one that refuses writes only what another record says is corrected.
        let is_kept = !used.data.identity.is_null() && (known.is_some() || !entry.settings.read_only);
        if let Some(writer) = self.state_writer().filter(|_| is_kept) {
            writer.keep_used(used.clone());
        }
        self.registry.quarantine.used.insert(address, used);
    }

    /// A sync of the file of this export has failed.
    pub fn note_failed(&mut self, address: Address) {
        if let Some(identity) = self.registry.get(address).map(|entry| entry.source.data.identity.clone()) {
            self.registry.quarantine.fail(&identity, IoError::Media);
        }
    }

    /// Takes over what was kept of the data that hosts have used at this address.
    ///
    /// # Errors
    ///
    /// It cannot be read; in words, with what to do.
    pub fn load_used(&mut self, address: Address, data: &Data) -> Result<(), String> {
        if self.registry.quarantine.used.contains_key(&address) {
            return Ok(());
        }
        let mut kept = self.state_writer().map_or_else(|| Ok(Vec::new()), |writer| writer.used(address))?;
        let other = kept.iter().position(|used| !used.data.is_same(data)).unwrap_or(0);
        if other < kept.len() {
            self.registry.quarantine.used.insert(address, kept.swap_remove(other));
        }
        Ok(())
    }

    /// Refuses to give an address to other data than hosts have used at it.
    ///
    /// # Errors
    ///
    /// It would; with what to do.
    pub fn refuse_other_data(
        &mut self,
        export: &Export,
        data: &Data,
        force: bool,
    ) -> Result<(), ControlError> {
        let address = export.address;
        if self.is_leaving(address) {
            return Err(ControlError::Machine(format!(
                "{address} was removed, and requests to it are still under way: try again when its store has answered"
            )));
        }
        let served = self.registry.get(address).map(|entry| entry.source.data.clone());
        if served.as_ref().is_some_and(|served| served.is_same(data)) {
            return Ok(());
        }
        if served.is_some() && self.is_used(address) {
            self.note_use_of(address);
        }
        let folder = self.state_folder().map(Path::to_owned);
        let loaded = self.load_used(address, data);
        let why = match (loaded, self.registry.quarantine.used.get(&address)) {
            (Err(why), _) => why,
            (Ok(()), Some(used)) if !used.data.is_same(data) => other_data(used, address, folder.as_deref()),
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
        Err(ControlError::Request(format!("nothing was changed: {now}{why}")))
    }

    /// Refuses to close a file that has no name any more: what hosts have written to it
    /// is nowhere else.
    ///
    /// # Errors
    ///
    /// It would be lost; with what to do.
    pub fn refuse_nameless(&self, address: Address, force: bool) -> Result<(), ControlError> {
        let Some(entry) = self.registry.get(address) else { return Ok(()) };
        let looked = entry.source.file.as_ref().and_then(|file| self.watcher.look_now(address, file));
        let is_nameless = looked.unwrap_or(entry.replaced).is_some_and(|replaced| replaced.is_nameless);
        if !is_nameless || !entry.source.is_writable {
            return Ok(());
        }
        let rescue = rescue(entry);
        if force {
            warn!(
                "{address} is closed by force, though its file has no name any more: what hosts have written to it is gone"
            );
            return Ok(());
        }
        Err(ControlError::Machine(format!(
            "nothing was changed: the file of {address} has no name any more, and what hosts have written is lost when \
             it is closed: {rescue}; or give --force"
        )))
    }
}

/// How to save what is in a file without a name.
pub fn rescue(entry: &ExportEntry) -> String {
    let Some(file) = &entry.source.file else { return String::new() };
    let (address, pid, fd) = (entry.wanted.address, std::process::id(), file.descriptor());
    let path = file.path().display();
    format!(
        "stop writes to it (`xblade export read-only {address}`), and copy it (`cp /proc/{pid}/fd/{fd} {path}.saved`)"
    )
}
