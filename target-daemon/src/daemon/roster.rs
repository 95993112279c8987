//! Which exports are served, by whom, and those that come and go.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, TryRecvError, bounded};
use log::warn;

use super::exports::{Opened, Way};
use super::failure::Failure;
use super::past::Past;
use super::plan;
use super::team::{PATIENCE, Team};
use crate::config::{self, Image};
use crate::control::{ExportView, Refusal};
use crate::observe::{Operation, Outcome};
use crate::shelf::Settings;
use crate::wire::aoe::Address;
use crate::worker::{Clear, Directory, ExportSnapshot, Order, Owner, Seat, SharedLane, WithExports};

/// What the control thread knows of an export.
#[derive(Clone, Debug)]
pub struct Record {
    /// As it was asked for.
    pub wanted: config::Export,
    /// Who has it.
    pub owner: Owner,
    /// How its bytes are reached.
    pub way: Way,
    /// What its worker was told.
    pub settings: Settings,
}

impl Record {
    /// The record of an export.
    pub fn new(wanted: &config::Export, owner: Owner, way: Way, settings: Settings) -> Self {
        Self { wanted: wanted.clone(), owner, way, settings }
    }
}

/// All exports that are served.
#[derive(Debug)]
pub struct Roster {
    records: BTreeMap<Address, Record>,
    /// For each worker, which indices are taken: also by an export that leaves.
    taken: Vec<Vec<bool>>,
    /// Exports that their workers have not given back yet.
    leaving: Vec<Leaving>,
    /// Addresses that hosts may still write to, though their exports are gone.
    graves: Vec<Grave>,
    /// Workers that have not taken the newest directory yet.
    behind: Vec<usize>,
    /// What those had counted that are not served any more.
    pub past: Past,
}

/// An export that was used, and is gone.
#[derive(Debug)]
struct Grave {
    address: Address,
    data: (Option<PathBuf>, u64),
    since: Instant,
}

/// After this time without an answer a Linux host gives its disk up, and writes
/// no more of what it had in mind (`aoe_deadsecs`).
const FORGOTTEN: Duration = Duration::from_secs(180);

/// Where the data of an export lies.
fn data_of(image: &Image) -> (Option<PathBuf>, u64) {
    match image {
        Image::File(options) => (Some(options.path.clone()), options.offset_bytes),
        Image::Null { .. } => (None, 0),
    }
}

#[derive(Debug)]
struct Leaving {
    address: Address,
    owner: Owner,
    from: Receiver<Box<Seat>>,
}

impl Roster {
    /// Nothing is served by so many workers.
    pub fn new(workers: usize) -> Self {
        Self {
            records: BTreeMap::new(),
            taken: vec![Vec::new(); workers],
            leaving: Vec::new(),
            graves: Vec::new(),
            behind: Vec::new(),
            past: Past::default(),
        }
    }

    /// The workers have ended: what left them last is gone.
    pub fn close(&mut self) {
        for leaving in &self.leaving {
            if let Ok(seat) = leaving.from.try_recv() {
                self.past.bury(seat.tally());
            }
        }
    }

    /// An export is served now.
    pub fn enter(&mut self, record: Record) {
        self.mark(record.owner, true);
        self.records.insert(record.wanted.address, record);
    }

    /// All of them, by address.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.values()
    }

    /// The export with this address.
    pub fn get(&self, address: Address) -> Option<&Record> {
        self.records.get(&address)
    }

    /// For how long an address may not be given to this export: hosts that used
    /// other data at it would write to this. `None`: it may be now.
    pub fn is_haunted(&mut self, export: &config::Export) -> Option<Duration> {
        self.graves.retain(|grave| grave.since.elapsed() < FORGOTTEN);
        let data = data_of(&export.image);
        let grave = self.graves.iter().find(|grave| grave.address == export.address && grave.data != data)?;
        Some(FORGOTTEN.saturating_sub(grave.since.elapsed()))
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

    /// A free place at this worker, or else at the one with the fewest exports.
    fn free_place(&self, wanted: Option<u16>) -> Option<Owner> {
        let count = |row: &Vec<bool>| row.iter().filter(|taken| **taken).count();
        let may_have = |worker: usize| wanted.is_none_or(|wanted| usize::from(wanted) == worker);
        let rows = self.taken.iter().enumerate().filter(|(worker, _)| may_have(*worker));
        let (worker, row) = rows.min_by_key(|(_, row)| count(row))?;
        let index = row.iter().position(|taken| !taken).unwrap_or(row.len());
        Some(Owner { worker: worker as u16, export: u16::try_from(index).ok()? })
    }
}

impl Team {
    /// Refuses to give an address to other data than hosts have seen at it: what
    /// they still have to write would go there.
    ///
    /// # Errors
    ///
    /// It would; and for how long.
    pub fn refuse_other_data(&mut self, export: &config::Export) -> Result<(), Refusal> {
        let address = export.address;
        if self.is_leaving(address) {
            return Err(Refusal::Machine(format!(
                "{address} was removed, and requests to it are still under way: try again when its store has answered"
            )));
        }
        let there = self.roster.get(address).map(|record| data_of(&record.wanted.image));
        if there.is_some_and(|data| data != data_of(&export.image)) && self.is_used(address) {
            return Err(Refusal::Request(format!(
                "nothing was changed: hosts use {address}, and would write to other data: give the new data another \
                 address, or remove {address} first, and have the hosts forget it (aoe-flush)"
            )));
        }
        match self.roster.is_haunted(export) {
            None => Ok(()),
            Some(left) => Err(Refusal::Request(format!(
                "nothing was changed: {address} had other data, and hosts may still write to it: take another address, \
                 or try again in {} s",
                left.as_secs() + 1
            ))),
        }
    }

    /// Refuses a worker that there is not.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn refuse_no_worker(&self, export: &config::Export) -> Result<(), Refusal> {
        match export.worker.map(usize::from).filter(|worker| *worker >= self.members.len()) {
            None => Ok(()),
            Some(worker) => {
                let failure = plan::no_such_worker(export.address, worker, self.members.len());
                Err(Refusal::Request(format!("nothing was changed: {failure}")))
            }
        }
    }

    /// Serves one export more.
    ///
    /// # Errors
    ///
    /// Its worker does not answer: it is not served, and its store is closed.
    pub fn add(&mut self, wanted: &config::Export, opened: Opened) -> Result<(), Failure> {
        let Opened { export, way } = opened;
        let settings = export.state.settings.clone();
        let sectors = export.state.geometry.sectors;
        let owner = self
            .roster
            .free_place(wanted.worker)
            .ok_or_else(|| Failure::request("there are 65535 exports"))?;
        let areas = SharedLane::areas(&self.lanes);
        let seat = Seat::new(export, self.in_flight, &areas)
            .map_err(|e| Failure::machine("cannot make histograms", e))?;
        let seat = match self.roster.past.take(wanted.address) {
            Some(tally) => seat.counting_from(tally),
            None => seat,
        };
        let seat = match self.roster.past.take_answered(wanted.address) {
            Some(answered) => seat.remembering(answered),
            None => seat,
        };
        let member = self.members.get(usize::from(owner.worker));
        if !member.is_some_and(|member| member.insist(Order::TakeIn(owner.export, Box::new(seat)))) {
            let text = format!("worker {} does not answer: a store of it hangs", owner.worker);
            return Err(Failure::Machine(text.into()));
        }
        let directory = self.directory.with(wanted.address, owner);
        directory.note_size(wanted.address, sectors);
        self.roster.enter(Record::new(wanted, owner, way, settings));
        self.publish(directory);
        Ok(())
    }

    /// Stops serving an export. Returns whether its store is closed: if not,
    /// requests to it are still under way, and it is closed when they have ended.
    pub fn remove(&mut self, address: Address) -> bool {
        let used = self.is_used(address);
        let Some(record) = self.roster.records.remove(&address) else { return true };
        let owner = record.owner;
        if used {
            let data = data_of(&record.wanted.image);
            self.roster.graves.push(Grave { address, data, since: Instant::now() });
        }
        self.publish(self.directory.without(address));
        let (to, from) = bounded(1);
        if let Some(member) = self.members.get(usize::from(owner.worker)) {
            member.insist(Order::LetGo(owner.export, to));
        }
        match from.recv_timeout(PATIENCE) {
            Ok(mut seat) => {
                self.roster.mark(owner, false);
                self.roster.past.leave(address, seat.tally().clone());
                self.roster.past.keep_answered(address, seat.take_answered());
                close(seat)
            }
            Err(_) => {
                self.roster.leaving.push(Leaving { address, owner, from });
                false
            }
        }
    }

    /// Whether a host has asked anything of an export but who it is.
    pub fn is_used(&self, address: Address) -> bool {
        let Some(record) = self.roster.get(address) else { return false };
        // A worker that does not answer: who knows.
        self.ask(record.owner).is_none_or(|snapshot| {
            let asked = |operation| Outcome::ALL.iter().any(|o| snapshot.tally.requests(operation, *o) > 0);
            Operation::ALL.into_iter().filter(|operation| *operation != Operation::Query).any(asked)
        })
    }

    /// Closes the stores of exports that have left meanwhile, and tells workers
    /// that did not answer.
    pub fn see_off(&mut self) {
        self.roster.past.forget_answered();
        let directory = Arc::clone(&self.directory);
        let members = &self.members;
        self.roster.behind.retain(|index| {
            let order = Order::Directory(Arc::clone(&directory));
            !members.get(*index).is_none_or(|member| member.offer(order))
        });
        let mut gone = Vec::new();
        self.roster.leaving.retain_mut(|leaving| match leaving.from.try_recv() {
            Ok(seat) => {
                gone.push((leaving.owner, seat.tally().clone()));
                close(seat);
                false
            }
            Err(TryRecvError::Empty) => true,
            Err(TryRecvError::Disconnected) => {
                // Its worker did not even take the order.
                let (to, from) = bounded(1);
                leaving.from = from;
                if let Some(member) = members.get(usize::from(leaving.owner.worker)) {
                    member.offer(Order::LetGo(leaving.owner.export, to));
                }
                true
            }
        });
        for (owner, tally) in gone {
            self.roster.mark(owner, false);
            self.roster.past.bury(&tally);
        }
    }

    /// Whether an export with this address was removed, and requests to it are
    /// still under way.
    pub fn is_leaving(&self, address: Address) -> bool {
        self.roster.leaving.iter().any(|leaving| leaving.address == address)
    }

    /// Gives an export other settings, with the same store.
    pub fn change(&mut self, wanted: &config::Export, settings: Settings) {
        let Some(record) = self.roster.records.get_mut(&wanted.address) else { return };
        record.wanted = wanted.clone();
        record.settings = settings.clone();
        let owner = record.owner;
        if let Some(member) = self.members.get(usize::from(owner.worker)) {
            member.insist(Order::Change(owner.export, Box::new(settings)));
        }
        self.has_taken_effect();
    }

    /// Every worker goes by this directory from now on.
    fn publish(&mut self, directory: Directory) {
        self.directory = Arc::new(directory);
        self.roster.behind.clear();
        for (index, member) in self.members.iter().enumerate() {
            if !member.insist(Order::Directory(Arc::clone(&self.directory))) {
                warn!("worker {index} does not answer: it learns of the change when it does");
                self.roster.behind.push(index);
            }
        }
        self.has_taken_effect();
    }

    /// Waits until every worker that answers has carried out its orders: who
    /// asked for a change is told of it when the next frame sees it.
    fn has_taken_effect(&self) {
        self.snapshots(WithExports::No);
    }

    /// All exports, each asked for by itself: a worker serves in between.
    pub fn views(&self) -> Vec<ExportView> {
        let degraded = self.degraded();
        let stuck = self.stuck();
        let mut hung = Vec::new();
        let mut views = Vec::new();
        for record in self.roster.records() {
            let worker = record.owner.worker;
            let snapshot = if hung.contains(&worker) { None } else { self.ask(record.owner) };
            match snapshot {
                Some(snapshot) => {
                    let address = record.wanted.address;
                    views.push(view(record, snapshot, degraded.contains(&address), stuck.contains(&address)));
                }
                None => hung.push(worker),
            }
        }
        views
    }

    /// Has the size of one export looked at.
    ///
    /// # Errors
    ///
    /// Its store has not answered in time.
    pub fn measure_one(&self, address: Address) -> Result<u64, String> {
        let hung = || format!("{address}: its store does not answer: look at the disk");
        let record = self.roster.get(address).ok_or_else(hung)?;
        let (to, from) = bounded(1);
        let member = self.members.get(usize::from(record.owner.worker)).ok_or_else(hung)?;
        member.order(Order::MeasureOne(record.owner.export, to));
        from.recv_timeout(PATIENCE).map_err(|_| hung())
    }

    /// Takes the reservation or the mask list of an export away.
    ///
    /// # Errors
    ///
    /// That is not on stable storage yet.
    pub fn clear(&self, address: Address, what: Clear) -> Result<(), String> {
        let hung = || {
            format!(
                "{address}: this is in force, but cannot be kept now: look at the disk with the state folder"
            )
        };
        let record = self.roster.get(address).ok_or_else(hung)?;
        let (to, from) = bounded(1);
        let member = self.members.get(usize::from(record.owner.worker)).ok_or_else(hung)?;
        member.order(Order::Clear(record.owner.export, what, to));
        from.recv_timeout(PATIENCE).map_err(|_| hung())
    }

    fn ask(&self, owner: Owner) -> Option<ExportSnapshot> {
        let (to, from) = bounded(1);
        self.members.get(usize::from(owner.worker))?.order(Order::Export(owner.export, to));
        from.recv_timeout(PATIENCE).ok()?
    }
}

/// Closes a store, which may take long where a disk hangs: on a thread of its
/// own. Returns whether it is closed.
fn close(seat: Box<Seat>) -> bool {
    let (to, from) = bounded::<()>(1);
    let body = move || {
        drop(seat);
        drop(to);
    };
    // Without a thread the store is closed right here, with the closure.
    let _ = thread::Builder::new().name("closer".into()).spawn(body);
    from.recv_timeout(PATIENCE) == Err(crossbeam_channel::RecvTimeoutError::Disconnected)
}

fn view(record: &Record, snapshot: ExportSnapshot, degraded: bool, stuck: bool) -> ExportView {
    ExportView {
        address: record.wanted.address,
        path: match &record.wanted.image {
            Image::File(options) => Some(options.path.clone()),
            Image::Null { .. } => None,
        },
        way: record.way.told(snapshot.read_only),
        worker: record.owner.worker,
        read_only: snapshot.read_only,
        durability: record.settings.durability,
        geometry: snapshot.geometry,
        degraded,
        stuck,
        in_flight: snapshot.in_flight,
        config: snapshot.config,
        mask: snapshot.mask,
        reservation: snapshot.reservation,
        tally: snapshot.tally,
    }
}
