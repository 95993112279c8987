//! An export at its worker: its store, its requests in flight, its counters.

use crossbeam_channel::Sender;

use super::answered::{AnsweredWrites, Observed};
use super::answered_sets::AnsweredSets;
use super::directory::Directory;
use super::host_changes::HostChanges;
use super::hosts::Busy;
use super::identified::Identified;
use super::inflight::Task;
use super::limiter::Limiter;
use super::messages::{Finished, Inbound};
use super::request_table::RequestTable;
use super::save::Saves;
use crate::observe::{Cell, Operation, Outcome, Tally};
use crate::plant::{Bug, planted};
use crate::shelf::Export;
use crate::store::{Geometry, IoError, IoVec, Kind, Op, Ring};
use crate::wire::aoe::Address;
use crate::wire::ata;
use crate::wire::ether::Mac;

/// The token of operations that are not in the slab: size checks that no request
/// triggered, and inline operations. No request has this token: its lower half would be
/// slab index 65535, and the slab has fewer than 65536 entries.
pub(super) const INTERNAL_TOKEN: u32 = u32::MAX;

/// An export with all the memory that its worker needs to serve it.
#[derive(Debug)]
pub struct ExportRuntime {
    pub(super) export: Export,
    pub(super) requests: RequestTable,
    /// Its rate limits, if it has any.
    pub(super) limiter: Option<Box<Limiter>>,
    pub(super) answered: Answered,
    /// A size check that no request triggered is in flight.
    pub(super) measuring: bool,
    /// The store uses the ring of the worker.
    pub(super) uses_ring: bool,
    /// The store has completed something inline in this turn.
    pub(super) used: bool,
    /// It is on the list of exports that the next harvest visits.
    pub(super) is_active: bool,
    pub(super) tally: Tally,
    /// Where to send the runtime once nothing is in flight. Until then, new requests get
    /// no reply.
    pub(super) leaving: Option<Sender<Box<ExportRuntime>>>,
    /// Where to send the size once the size check has completed.
    pub(super) wants_size: Option<Sender<u64>>,
    /// Identifies the saved state.
    pub(super) key: String,
    /// What is saved of its state, and what waits for that.
    pub(super) saves: Saves,
    /// Unique among all exports that this worker has ever had.
    pub(super) number: u32,
}

/// What an export has answered. It outlives the export, because duplicates may still
/// arrive.
#[derive(Debug)]
pub struct Answered {
    pub(super) writes: AnsweredWrites,
    pub(super) sets: AnsweredSets,
    pub(super) identified: Identified,
    pub(super) changes: HostChanges,
}

impl Answered {
    fn new() -> Self {
        Self {
            writes: AnsweredWrites::new(),
            sets: AnsweredSets::new(),
            identified: Identified::new(),
            changes: HostChanges::default(),
        }
    }

    /// Handles an arriving ATA request.
    #[inline]
    pub(super) fn observe(&mut self, inbound: &Inbound, command: ata::Command, now_ns: u64) {
        let kind = match command {
            ata::Command::Identify if !self.identified.is_copy(inbound, now_ns) => Observed::Identify,
            _ if command.direction() == ata::Direction::Read => Observed::Read,
            _ => Observed::Other,
        };
        if self.writes.observe(inbound, kind, now_ns) {
            self.sets.forget(inbound.header.ether.src);
        }
    }
}

/// A snapshot of an export.
#[derive(Clone, Debug)]
pub struct ExportSnapshot {
    /// Address of the export.
    pub address: Address,
    /// Whether writes are refused.
    pub read_only: bool,
    /// Size and sector properties.
    pub geometry: Geometry,
    /// Requests in flight, including those that wait for others.
    pub in_flight: usize,
    /// Requests that wait for a limit.
    pub waiting: usize,
    /// The config string.
    pub config: Vec<u8>,
    /// The mask list.
    pub mask: Vec<Mac>,
    /// The holders of the reservation.
    pub reservation: Vec<Mac>,
    /// Who has changed these.
    pub changes: HostChanges,
    /// The counters.
    pub tally: Tally,
}

impl ExportRuntime {
    /// A runtime with room for `in_flight` requests. Allocates all memory.
    pub fn new(mut export: Export, in_flight: u16) -> Self {
        // A restored state is already saved.
        let (saves, export_key) = (Saves::new(&export.state), export.key.clone());
        Self {
            uses_ring: export.store.calls().is_some(),
            export,
            requests: RequestTable::new(in_flight),
            limiter: None,
            answered: Answered::new(),
            measuring: false,
            used: false,
            is_active: false,
            tally: Tally::new(),
            leaving: None,
            wants_size: None,
            key: export_key,
            saves,
            number: 0,
        }
    }

    /// One runtime per export.
    pub(super) fn row(exports: Vec<Export>, in_flight: u16) -> Vec<Option<Self>> {
        let numbered = |(number, export)| Some(Self { number, ..Self::new(export, in_flight) });
        (0..).zip(exports).map(numbered).collect()
    }

    /// Announces the ring of its worker to the store, and what counts requests to the table.
    pub(super) fn join(&mut self, ring: Option<&Ring>, busy: &Busy) {
        self.requests.count_in(busy.clone());
        self.limit(busy);
        if let Some(ring) = ring {
            self.export.store.join(ring.registered());
        }
    }

    /// Applies the rate limits of the settings.
    pub(super) fn limit(&mut self, busy: &Busy) {
        let rates = &self.export.state.settings.rates;
        match &mut self.limiter {
            // Without limits it lets everything run that waits.
            Some(limiter) => limiter.change(rates),
            None if rates.is_unlimited() => {}
            None => {
                let limiter = Limiter::new(rates.clone(), self.requests.size(), busy.clone());
                self.limiter = Some(Box::new(limiter));
            }
        }
    }

    /// Number of requests that wait for a limit.
    pub(super) fn limited(&self) -> usize {
        self.limiter.as_ref().map_or(0, |limiter| limiter.len())
    }

    /// The failure after which the store accepts no more writes.
    pub fn degraded(&self) -> Option<IoError> {
        self.export.store.degraded()
    }

    /// The counters.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Continues counting from `tally`.
    pub fn counting_from(self, tally: Tally) -> Self {
        Self { tally, ..self }
    }

    /// Adopts the record of what was answered at its address before.
    pub fn remembering(self, answered: Answered) -> Self {
        if planted(Bug::ForgetsOnReopen) {
            return self;
        }
        Self { answered, ..self }
    }

    /// Returns the export. Call only when nothing is in flight.
    pub fn into_export(self) -> Export {
        self.export
    }

    /// Takes the record of what it has answered. Call only when nothing is in flight.
    pub fn take_answered(&mut self) -> Answered {
        std::mem::replace(&mut self.answered, Answered::new())
    }

    pub(super) fn address(&self) -> Address {
        self.export.state.settings.address
    }

    /// Number of requests not yet answered.
    pub(super) fn in_flight(&self) -> usize {
        self.requests.len() + self.saves.len() + self.limited()
    }

    /// Whether the store has nothing in flight.
    pub(super) fn is_quiet(&self) -> bool {
        self.requests.len() == 0 && !self.measuring
    }

    /// Starts a size check, unless one is still in flight: they must not accumulate on a
    /// hanging disk.
    pub(super) fn measure(&mut self) {
        let op = Op { token: INTERNAL_TOKEN, kind: Kind::Measure, sector: 0, buffers: IoVec::empty() };
        self.measuring = self.measuring || self.export.store.submit(op).is_ok();
    }

    /// Whether a write must not be executed because a newer one has been answered.
    pub(super) fn is_overtaken(&self, inbound: &Inbound, task: &Task, worker: u16, now_ns: u64) -> bool {
        self.answered.writes.is_overtaken(inbound, inbound.arrival(worker), &task.fingerprint, now_ns)
    }

    /// Adopts the size that the store reports.
    pub(super) fn follow_size(&mut self, directory: &Directory) {
        if self.export.refresh() {
            directory.note_size(self.address(), self.export.state.geometry.sectors);
        }
        if let Some(to) = self.wants_size.take() {
            // The receiver may have given up.
            let _ = to.try_send(self.export.state.geometry.sectors);
        }
    }

    /// Counts a finished request.
    #[inline]
    pub(super) fn count(&mut self, done: &Finished, now_ns: u64) {
        let Finished { operation, outcome, .. } = *done;
        self.tally.count(operation, outcome);
        if outcome == Outcome::Unanswered {
            return;
        }
        if let Some(arrived_ns) = done.frame.arrived_ns() {
            self.tally.response.record(operation, now_ns.saturating_sub(arrived_ns));
        }
        let cell = Cell::of(operation, done.service_ns(now_ns));
        self.tally.service.add(cell);
        // What was executed inline was submitted when it was received.
        let at_once = done.submitted_ns <= done.received_ns;
        match done.store_ns(now_ns) {
            Some(_) if at_once => self.tally.store.add(cell),
            Some(ns) => self.tally.store.record(operation, ns),
            None => {}
        }
        match (operation, outcome) {
            (Operation::Read, Outcome::Done) => self.tally.counters.bytes_read += u64::from(done.bytes),
            (Operation::Write, Outcome::Done) => self.tally.counters.bytes_written += u64::from(done.bytes),
            _ => {}
        }
    }

    pub(super) fn snapshot(&self) -> ExportSnapshot {
        let state = &self.export.state;
        ExportSnapshot {
            address: self.address(),
            read_only: state.settings.read_only,
            geometry: state.geometry,
            in_flight: self.requests.len(),
            waiting: self.limited(),
            config: state.config().to_vec(),
            mask: state.mask().to_vec(),
            reservation: state.reservation().to_vec(),
            changes: self.answered.changes.clone(),
            tally: self.tally.clone(),
        }
    }
}
