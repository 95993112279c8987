//! The registry of served exports and their owners, and how exports are added and removed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, TryRecvError, bounded};
use log::{error, info, warn};

use super::closing::{Closing, LastSync, Removed};
use super::exports::{Opened, Source, StoreInfo};
use super::failure::Failure;
use super::plan;
use super::quarantine::Quarantine;
use super::removed::RemovedExports;
use super::worker_pool::{PATIENCE, WorkerPool};
use crate::config;
use crate::control::ControlError;
use crate::control::snapshot::Export;
use crate::shelf::Settings;
use crate::store::{Durability, Replaced};
use crate::wire::aoe::Address;
use crate::worker::{
    Clear, Directory, ExportRuntime, ExportSnapshot, Owner, SharedLane, WithExports, WorkerCommand,
};

/// What the control thread knows about an export.
#[derive(Clone, Debug)]
pub struct ExportEntry {
    /// Its configuration.
    pub wanted: config::Export,
    /// Its worker.
    pub owner: Owner,
    /// How its bytes are accessed.
    pub info: StoreInfo,
    /// Where its data is.
    pub source: Source,
    /// Set if its path does not lead to that data any more.
    pub replaced: Option<Replaced>,
    /// The settings last sent to its worker.
    pub settings: Settings,
}

impl ExportEntry {
    /// Creates the entry of an export.
    pub fn new(
        wanted: &config::Export,
        owner: Owner,
        info: StoreInfo,
        source: Source,
        settings: Settings,
    ) -> Self {
        Self { wanted: wanted.clone(), owner, info, source, replaced: None, settings }
    }
}

/// All served exports.
#[derive(Debug)]
pub struct ExportRegistry {
    entries: BTreeMap<Address, ExportEntry>,
    /// For each worker, the indices in use, including those of exports that are leaving.
    taken: Vec<Vec<bool>>,
    /// Exports that their workers have not returned yet.
    leaving: Vec<Leaving>,
    /// Exports that were returned and whose stores are being closed.
    pub(super) closing: Vec<Closing>,
    /// The data that hosts have used at each address, and the failed files.
    pub quarantine: Quarantine,
    /// Workers that have not taken the newest directory yet.
    behind: Vec<usize>,
    /// Counts of exports that were removed.
    pub past: RemovedExports,
}

#[derive(Debug)]
struct Leaving {
    address: Address,
    owner: Owner,
    from: Receiver<Box<ExportRuntime>>,
    last: LastSync,
}

impl ExportRegistry {
    /// No exports yet, on this number of workers.
    pub fn new(workers: usize) -> Self {
        Self {
            entries: BTreeMap::new(),
            taken: vec![Vec::new(); workers],
            leaving: Vec::new(),
            closing: Vec::new(),
            quarantine: Quarantine::default(),
            behind: Vec::new(),
            past: RemovedExports::default(),
        }
    }

    /// Adds the counts of exports that were still leaving when the workers ended.
    pub fn close(&mut self) {
        for leaving in &self.leaving {
            if let Ok(runtime) = leaving.from.try_recv() {
                self.past.add(runtime.tally());
            }
        }
    }

    /// Adds a served export.
    pub fn enter(&mut self, entry: ExportEntry) {
        self.mark(entry.owner, true);
        self.entries.insert(entry.wanted.address, entry);
    }

    /// All served exports, by address.
    pub fn entries(&self) -> impl Iterator<Item = &ExportEntry> {
        self.entries.values()
    }

    /// Records where the path of an export leads. Returns the previous state if it has
    /// changed.
    pub fn note_replaced(
        &mut self,
        address: Address,
        replaced: Option<Replaced>,
    ) -> Option<Option<Replaced>> {
        let entry = self.entries.get_mut(&address)?;
        let before = std::mem::replace(&mut entry.replaced, replaced);
        (before != replaced).then_some(before)
    }

    /// Whether the store of a removed export is still being closed.
    pub fn is_closing(&self, address: Address) -> bool {
        self.closing.iter().any(|closing| closing.address == address)
    }

    /// The export with this address.
    pub fn get(&self, address: Address) -> Option<&ExportEntry> {
        self.entries.get(&address)
    }

    fn mark(&mut self, owner: Owner, taken: bool) {
        let Some(row) = self.taken.get_mut(usize::from(owner.worker)) else { return };
        let index = usize::from(owner.export);
        if row.len() <= index {
            row.resize(index + 1, false);
        }
        if let Some(place) = row.get_mut(index) {
            *place = taken;
        }
    }

    /// A free index of this worker, or otherwise of the one with the fewest exports.
    fn free_place(&self, wanted: Option<u16>) -> Option<Owner> {
        let count = |row: &Vec<bool>| row.iter().filter(|taken| **taken).count();
        let may_have = |worker: usize| wanted.is_none_or(|wanted| usize::from(wanted) == worker);
        let rows = self.taken.iter().enumerate().filter(|(worker, _)| may_have(*worker));
        let (worker, row) = rows.min_by_key(|(_, row)| count(row))?;
        let index = row.iter().position(|taken| !taken).unwrap_or(row.len());
        Some(Owner { worker: worker as u16, export: u16::try_from(index).ok()? })
    }
}

impl WorkerPool {
    /// Refuses a nonexistent worker.
    ///
    /// # Errors
    ///
    /// There is no such worker.
    pub fn refuse_no_worker(&self, export: &config::Export) -> Result<(), ControlError> {
        match export.worker.map(usize::from).filter(|worker| *worker >= self.workers.len()) {
            None => Ok(()),
            Some(worker) => {
                let failure = plan::no_such_worker(export.address, worker, self.workers.len());
                Err(ControlError::Request(format!("nothing was changed: {failure}")))
            }
        }
    }

    /// Serves another export.
    ///
    /// # Errors
    ///
    /// Its worker does not answer: it is not served, and its store is closed.
    pub fn add(&mut self, wanted: &config::Export, opened: Opened) -> Result<(), Failure> {
        let Opened { mut export, info, source } = opened;
        let fault = self.registry.quarantine.fault_of(&source.data.identity);
        let fault = fault.filter(|_| !export.state.settings.read_only);
        if let Some(fault) = fault {
            export.store.degrade(fault);
        }
        let settings = export.state.settings.clone();
        let sectors = export.state.geometry.sectors;
        let owner = self
            .registry
            .free_place(wanted.worker)
            .ok_or_else(|| Failure::request("there are 65535 exports"))?;
        let areas = SharedLane::areas(&self.lanes);
        let runtime = ExportRuntime::new(export, self.in_flight, &areas);
        let runtime = match self.registry.past.take(wanted.address) {
            Some(tally) => runtime.counting_from(tally),
            None => runtime,
        };
        let runtime = match self.registry.past.take_answered(wanted.address) {
            Some(answered) => runtime.remembering(answered),
            None => runtime,
        };
        let worker = self.workers.get(usize::from(owner.worker));
        if !worker.is_some_and(|worker| worker.insist(WorkerCommand::Attach(owner.export, Box::new(runtime))))
        {
            let text = format!("worker {} does not answer: a store of it hangs", owner.worker);
            return Err(Failure::Machine(text.into()));
        }
        let directory = self.directory.with(wanted.address, owner);
        directory.note_size(wanted.address, sectors);
        if fault.is_some() {
            directory.mark_degraded(wanted.address);
        }
        self.registry.enter(ExportEntry::new(wanted, owner, info, source, settings));
        self.publish(directory);
        Ok(())
    }

    /// Stops serving an export. With `sync`, the data written by hosts is made stable
    /// before the store is closed.
    pub fn remove(&mut self, address: Address, sync: bool) -> Removed {
        if self.is_used(address) {
            self.note_use_of(address);
        }
        let Some(entry) = self.registry.entries.remove(&address) else { return Removed::Closed };
        let owner = entry.owner;
        let file = entry.source.file.filter(|_| sync && entry.source.is_writable);
        let last = LastSync { identity: entry.source.data.identity, file };
        self.publish(self.directory.without(address));
        let (to, from) = bounded(1);
        if let Some(worker) = self.workers.get(usize::from(owner.worker)) {
            worker.insist(WorkerCommand::Detach(owner.export, to));
        }
        match from.recv_timeout(PATIENCE) {
            Ok(mut runtime) => {
                self.registry.mark(owner, false);
                self.registry.past.leave(address, runtime.tally().clone());
                self.registry.past.keep_answered(address, runtime.take_answered());
                let closing = self.registry.close_store(address, runtime, last);
                self.registry.when_closed(closing, PATIENCE)
            }
            Err(_) => {
                self.registry.leaving.push(Leaving { address, owner, from, last });
                Removed::Later
            }
        }
    }

    /// Whether a host has sent this export any request other than a config query.
    pub fn is_used(&self, address: Address) -> bool {
        let Some(entry) = self.registry.get(address) else { return false };
        // If the worker does not answer, assume that it is used.
        self.request(entry.owner).is_none_or(|snapshot| snapshot.tally.is_used())
    }

    /// Closes the stores of exports that their workers have returned since the last call,
    /// and resends to workers that did not answer. Returns the outcome for the stores that
    /// have closed.
    pub fn reap_detached(&mut self) -> Vec<(Address, Removed)> {
        self.registry.past.forget_answered();
        let directory = Arc::clone(&self.directory);
        let workers = &self.workers;
        self.registry.behind.retain(|index| {
            let order = WorkerCommand::Directory(Arc::clone(&directory));
            !workers.get(*index).is_none_or(|worker| worker.offer(order))
        });
        let mut gone = Vec::new();
        self.registry.leaving.retain_mut(|leaving| match leaving.from.try_recv() {
            Ok(mut runtime) => {
                self.registry.past.keep_answered(leaving.address, runtime.take_answered());
                let last =
                    LastSync { identity: leaving.last.identity.clone(), file: leaving.last.file.take() };
                gone.push((leaving.address, leaving.owner, runtime, last));
                false
            }
            Err(TryRecvError::Empty) => true,
            Err(TryRecvError::Disconnected) => {
                // Its worker did not even receive the command.
                let (to, from) = bounded(1);
                leaving.from = from;
                if let Some(worker) = workers.get(usize::from(leaving.owner.worker)) {
                    worker.offer(WorkerCommand::Detach(leaving.owner.export, to));
                }
                true
            }
        });
        for (address, owner, runtime, last) in gone {
            self.registry.mark(owner, false);
            self.registry.past.add(runtime.tally());
            let closing = self.registry.close_store(address, runtime, last);
            self.registry.closing.push(closing);
        }
        let closing = std::mem::take(&mut self.registry.closing);
        let ended = closing.into_iter().map(|closing| {
            let address = closing.address;
            (address, self.registry.when_closed(closing, Duration::ZERO))
        });
        let ended: Vec<_> = ended.filter(|(_, removed)| *removed != Removed::Later).collect();
        for (address, removed) in &ended {
            match removed {
                Removed::Unsynced(why) => error!("{address}: {why}"),
                _ => info!("{address} is closed"),
            }
        }
        ended
    }

    /// Whether an export with this address was removed and requests to it are still in
    /// flight.
    pub fn is_leaving(&self, address: Address) -> bool {
        self.registry.leaving.iter().any(|leaving| leaving.address == address)
            || self.registry.is_closing(address)
    }

    /// Changes the settings of an export, with the same store.
    pub fn change(&mut self, wanted: &config::Export, settings: Settings) {
        let Some(entry) = self.registry.entries.get_mut(&wanted.address) else { return };
        entry.wanted = wanted.clone();
        entry.settings = settings.clone();
        let owner = entry.owner;
        if let Some(worker) = self.workers.get(usize::from(owner.worker)) {
            worker.insist(WorkerCommand::Change(owner.export, Box::new(settings)));
        }
        self.has_taken_effect();
    }

    /// Sends a new directory to every worker.
    fn publish(&mut self, directory: Directory) {
        self.directory = Arc::new(directory);
        self.registry.behind.clear();
        for (index, worker) in self.workers.iter().enumerate() {
            if !worker.insist(WorkerCommand::Directory(Arc::clone(&self.directory))) {
                warn!("worker {index} does not answer: it learns of the change when it does");
                self.registry.behind.push(index);
            }
        }
        self.has_taken_effect();
    }

    /// Waits until every worker that answers has executed its commands: a change is
    /// confirmed to the caller only when the next frame sees it.
    fn has_taken_effect(&self) {
        self.snapshots(WithExports::No);
    }

    /// What clients can read of all exports, requested one by one so that a worker serves
    /// frames in between.
    pub fn exports(&self) -> Vec<Export> {
        let (degraded, stuck) = (self.degraded(), self.stuck());
        let mut hung = Vec::new();
        let mut exports = Vec::new();
        for entry in self.registry.entries() {
            let worker = entry.owner.worker;
            let snapshot = if hung.contains(&worker) { None } else { self.request(entry.owner) };
            let Some(snapshot) = snapshot else {
                hung.push(worker);
                continue;
            };
            let address = entry.wanted.address;
            let durability = match entry.settings.durability {
                Durability::Durable => "durable",
                Durability::Volatile => "volatile",
            };
            exports.push(Export {
                path: path_of(&entry.wanted),
                way: entry.info.describe(snapshot.read_only),
                worker,
                durability: durability.to_owned(),
                degraded: degraded.contains(&address),
                stuck: stuck.contains(&address),
                replaced: entry.replaced.is_some(),
                ..Export::from(&snapshot)
            });
        }
        exports
    }

    /// Measures one export.
    ///
    /// # Errors
    ///
    /// Its store has not answered in time.
    pub fn measure_one(&self, address: Address) -> Result<u64, String> {
        let hung = || format!("{address}: its store does not answer: look at the disk");
        let entry = self.registry.get(address).ok_or_else(hung)?;
        let (to, from) = bounded(1);
        let worker = self.workers.get(usize::from(entry.owner.worker)).ok_or_else(hung)?;
        worker.order(WorkerCommand::MeasureOne(entry.owner.export, to));
        from.recv_timeout(PATIENCE).map_err(|_| hung())
    }

    /// Clears the reservation or the mask list of an export.
    ///
    /// # Errors
    ///
    /// The change is not on stable storage yet.
    pub fn clear(&self, address: Address, what: Clear) -> Result<(), String> {
        let hung = || {
            format!(
                "{address}: this is in force, but cannot be kept now: look at the disk with the state folder"
            )
        };
        let entry = self.registry.get(address).ok_or_else(hung)?;
        let (to, from) = bounded(1);
        let worker = self.workers.get(usize::from(entry.owner.worker)).ok_or_else(hung)?;
        worker.order(WorkerCommand::Clear(entry.owner.export, what, to));
        from.recv_timeout(PATIENCE).map_err(|_| hung())
    }

    fn request(&self, owner: Owner) -> Option<ExportSnapshot> {
        let (to, from) = bounded(1);
        self.workers.get(usize::from(owner.worker))?.order(WorkerCommand::Export(owner.export, to));
        from.recv_timeout(PATIENCE).ok()?
    }
}

/// The path of a file, as text.
pub fn path_of(export: &config::Export) -> Option<String> {
    Some(export.store.path()?.to_string_lossy().into_owned())
}
