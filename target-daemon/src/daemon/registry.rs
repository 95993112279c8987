//! The registry of served exports and their owners, and how exports are added and changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Sender, bounded};
use log::warn;

use super::exports::{Opened, Source, StoreInfo};
use super::failure::Failure;
use super::plan;
use super::quarantine::Quarantine;
use super::removal::Leaving;
use super::segments;
use super::worker_pool::{PATIENCE, WorkerPool};
use crate::config;
use crate::control::snapshot::Export;
use crate::link::Facts;
use crate::observe::Tally;
use crate::shelf::Settings;
use crate::store::{Durability, Replaced};
use crate::wire::aoe::Address;
use crate::worker::{Answered, Directory, ExportRuntime, ExportSnapshot, Owner, SharedLane, WorkerCommand};

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
    /// Set if its path no longer leads to that data.
    pub replaced: Option<Replaced>,
    /// The settings last sent to its worker.
    pub settings: Settings,
}

/// All served exports.
#[derive(Debug, Default)]
pub struct ExportRegistry {
    /// The served exports.
    pub entries: BTreeMap<Address, ExportEntry>,
    /// Removed exports whose stores are not closed yet.
    pub leaving: Vec<Leaving>,
    /// The data that hosts have used at each address, and the files whose sync has
    /// failed.
    pub quarantine: Quarantine,
    /// Workers that have not yet received the newest directory.
    pub behind: Vec<usize>,
    /// Counters of the exports removed by the change in progress: new ones at the same
    /// addresses continue from them.
    pub left: BTreeMap<Address, Tally>,
    /// Requests answered recently at addresses whose exports were removed. Duplicates may
    /// still arrive, and a returning export recognizes them.
    pub answered: BTreeMap<Address, (Instant, Answered)>,
}

impl ExportRegistry {
    /// The export with this address.
    pub fn get(&self, address: Address) -> Option<&ExportEntry> {
        self.entries.get(&address)
    }
}

impl WorkerPool {
    /// Refuses an export that names a nonexistent worker.
    pub fn refuse_no_worker(&self, export: &config::Export) -> Result<(), Failure> {
        let workers = self.workers.len();
        match export.worker.map(usize::from) {
            Some(worker) if worker >= workers => Err(plan::no_such_worker(export.address, worker, workers)),
            _ => Ok(()),
        }
    }

    /// A free index at the worker `wanted`, or, if that is `None`, at the one with the
    /// fewest exports.
    fn free_place(&self, wanted: Option<u16>) -> Option<Owner> {
        let served = self.registry.entries.values().map(|entry| entry.owner);
        let owners: Vec<Owner> =
            served.chain(self.registry.leaving.iter().filter_map(Leaving::owner)).collect();
        let taken = |worker: u16| -> BTreeSet<u16> {
            owners.iter().filter(|owner| owner.worker == worker).map(|owner| owner.export).collect()
        };
        let workers =
            (0..self.workers.len() as u16).filter(|worker| wanted.is_none_or(|wanted| wanted == *worker));
        let (worker, taken) =
            workers.map(|worker| (worker, taken(worker))).min_by_key(|(_, taken)| taken.len())?;
        let export = (0..=u16::MAX).find(|index| !taken.contains(index))?;
        Some(Owner { worker, export })
    }

    /// The exports that are not served on an interface because frames arrive there without
    /// their VLAN tags.
    pub fn hidden_on(&self, interface: usize) -> Vec<String> {
        let lane = self.lanes.iter().find(|lane| lane.interface == interface);
        let Some(ingress) = lane.map(SharedLane::ingress) else { return Vec::new() };
        let all = self.registry.entries.iter();
        all.filter(|(_, entry)| {
            let segments = &entry.settings.segments;
            segments.has(ingress.interface) && !segments.is_served(ingress)
        })
        .map(|(address, _)| address.to_string())
        .collect()
    }

    /// Logs what the exports on an interface need to know of VLANs there.
    pub fn tell_of_segments(&self, interface: usize, facts: &Facts) {
        let all = self.registry.entries.values().map(|entry| &entry.settings.segments);
        segments::warn(interface as u16, facts, all);
    }

    /// Serves another export.
    ///
    /// # Errors
    ///
    /// Its worker does not answer. The export is then not served, and its store is
    /// closed.
    pub fn add(&mut self, opened: Opened) -> Result<(), Failure> {
        let Opened { wanted, mut export, info, source } = opened;
        let address = wanted.address;
        let settings = export.state.settings.clone();
        let fault = self.registry.quarantine.fault_of(&source.data.identity).filter(|_| !settings.read_only);
        if let Some(fault) = fault {
            export.store.degrade(fault);
        }
        let sectors = export.state.geometry.sectors;
        let owner =
            self.free_place(wanted.worker).ok_or_else(|| Failure::request("there are 65535 exports"))?;
        let mut runtime = ExportRuntime::new(export, self.in_flight);
        if let Some(tally) = self.registry.left.remove(&address) {
            runtime = runtime.counting_from(tally);
        }
        if let Some((_, answered)) = self.registry.answered.remove(&address) {
            runtime = runtime.remembering(answered);
        }
        let worker = self.workers.get(usize::from(owner.worker));
        if !worker.is_some_and(|worker| worker.insist(WorkerCommand::Attach(owner.export, Box::new(runtime))))
        {
            let text = format!("worker {} does not answer: a store of it hangs", owner.worker);
            return Err(Failure::machine(text));
        }
        let directory = self.directory.with(address, owner);
        directory.note_size(address, sectors);
        if fault.is_some() {
            directory.mark_degraded(address);
        }
        let entry = ExportEntry { wanted, owner, info, source, replaced: None, settings };
        self.registry.entries.insert(address, entry);
        self.publish(directory);
        Ok(())
    }

    /// Whether a host has sent this export any request other than a config query.
    pub fn is_used(&self, address: Address) -> bool {
        let Some(entry) = self.registry.get(address) else { return false };
        // If the worker does not answer, assume that it is used.
        self.snapshot_of(entry.owner).is_none_or(|snapshot| snapshot.tally.is_used())
    }

    /// Changes the settings of an export, and keeps its store.
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
    pub(super) fn publish(&mut self, directory: Directory) {
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
    /// confirmed to the caller only once it applies to the next frame.
    fn has_taken_effect(&self) {
        self.snapshots();
    }

    /// The snapshots of all exports for clients. They are requested one by one, so that a
    /// worker serves frames in between.
    pub fn exports(&self) -> Vec<Export> {
        let (degraded, stuck) = (self.degraded(), self.stuck());
        let mut hung = Vec::new();
        let mut exports = Vec::new();
        for (address, entry) in &self.registry.entries {
            let worker = entry.owner.worker;
            let snapshot = if hung.contains(&worker) { None } else { self.snapshot_of(entry.owner) };
            let Some(snapshot) = snapshot else {
                hung.push(worker);
                continue;
            };
            let durability = match entry.settings.durability {
                Durability::Durable => "durable",
                Durability::Volatile => "volatile",
            };
            exports.push(Export {
                path: path_of(&entry.wanted),
                way: entry.info.describe(snapshot.read_only),
                worker,
                durability: durability.to_owned(),
                limits: (&entry.settings.rates).into(),
                host_settings: entry.wanted.host_settings.unwrap_or_default().word().to_owned(),
                degraded: degraded.contains(address),
                stuck: stuck.contains(address),
                replaced: entry.replaced.is_some(),
                ..Export::from(&snapshot)
            });
        }
        exports
    }

    pub(super) fn snapshot_of(&self, owner: Owner) -> Option<ExportSnapshot> {
        self.ask(owner, WorkerCommand::Export).flatten()
    }

    /// Sends a command about an export, and waits for the answer of its worker.
    pub fn ask<T>(&self, owner: Owner, command: impl FnOnce(u16, Sender<T>) -> WorkerCommand) -> Option<T> {
        let (to, from) = bounded(1);
        self.workers.get(usize::from(owner.worker))?.order(command(owner.export, to));
        from.recv_timeout(PATIENCE).ok()
    }
}

/// The path of the export's file, as text.
pub fn path_of(export: &config::Export) -> Option<String> {
    Some(export.store.path()?.to_string_lossy().into_owned())
}
