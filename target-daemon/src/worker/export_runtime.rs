//! An export at its worker: its store, what is under way for it, and what was
//! counted.

use std::os::fd::BorrowedFd;

use crossbeam_channel::Sender;

use super::answered::{AnsweredWrites, Observed};
use super::answered_sets::AnsweredSets;
use super::directory::Directory;
use super::identified::Identified;
use super::inflight::Pending;
use super::messages::{Finished, Inbound};
use super::request_table::RequestTable;
use super::save::PendingSaves;
use crate::observe::{Operation, Outcome, Tally};
use crate::plant::{Bug, planted};
use crate::shelf::{Export, Settings, Shelf};
use crate::store::{Geometry, IoError, IoVec, Kind, MemRegion, Op};
use crate::wire::aoe::Address;
use crate::wire::ata;
use crate::wire::ether::Mac;

/// The token of what is in no slab: a measurement that no request asked for. No
/// request has it, for the slab has a place less than 16 bits can count.
pub(super) const INTERNAL_TOKEN: u32 = u32::MAX;

/// An export, with all the memory that its worker needs for it.
#[derive(Debug)]
pub struct ExportRuntime {
    pub(super) export: Export,
    pub(super) requests: RequestTable,
    pub(super) answered: Answered,
    /// Its size is being looked at, for nobody who asked on the wire.
    pub(super) measuring: bool,
    /// Its store has done something at once in this turn.
    pub(super) used: bool,
    pub(super) tally: Tally,
    /// Who gets it when nothing is under way any more. Until then, what still
    /// comes for it gets no answer.
    pub(super) leaving: Option<Sender<Box<ExportRuntime>>>,
    /// Who wants to know its size when the look at it has ended.
    pub(super) wants_size: Option<Sender<u64>>,
    /// Where its state is kept.
    pub(super) key: String,
    /// The revision of its state that is on stable storage.
    pub(super) saved_revision: u64,
    /// Replies that wait for a later one.
    pub(super) pending_saves: PendingSaves,
    /// Unique among the exports that this worker has, or had.
    pub(super) number: u32,
}

/// What was answered for an export: it outlives the export, for copies of that may still
/// come.
#[derive(Debug)]
pub struct Answered {
    pub(super) writes: AnsweredWrites,
    pub(super) sets: AnsweredSets,
    pub(super) identified: Identified,
}

impl Answered {
    fn new() -> Self {
        Self { writes: AnsweredWrites::new(), sets: AnsweredSets::new(), identified: Identified::new() }
    }

    /// An ATA request has arrived.
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

/// What an export tells of itself.
#[derive(Clone, Debug)]
pub struct ExportSnapshot {
    /// Where it answers.
    pub address: Address,
    /// Whether writes are refused.
    pub read_only: bool,
    /// Its size.
    pub geometry: Geometry,
    /// Requests under way, and those that wait for these.
    pub in_flight: usize,
    /// The config string.
    pub config: Vec<u8>,
    /// The mask list.
    pub mask: Vec<Mac>,
    /// Who has reserved it.
    pub reservation: Vec<Mac>,
    /// What was counted.
    pub tally: Tally,
}

impl ExportRuntime {
    /// A runtime with room for `in_flight` requests. Allocates all memory, and registers
    /// the regions that buffers lie in with the store.
    pub fn new(mut export: Export, in_flight: u16, areas: &[MemRegion]) -> Self {
        export.store.register(areas);
        // What was restored is kept already.
        let (saved, export_key) = (export.state.revision(), export.key.clone());
        Self {
            export,
            requests: RequestTable::new(in_flight),
            answered: Answered::new(),
            measuring: false,
            used: false,
            tally: Tally::new(),
            leaving: None,
            wants_size: None,
            key: export_key,
            saved_revision: saved,
            pending_saves: PendingSaves::default(),
            number: 0,
        }
    }

    /// A runtime for each export.
    pub(super) fn row(shelf: Shelf, in_flight: u16, areas: &[MemRegion]) -> Vec<Option<Self>> {
        let numbered = |(number, export)| Some(Self { number, ..Self::new(export, in_flight, areas) });
        (0..).zip(shelf.into_exports()).map(numbered).collect()
    }

    /// What becomes readable when its store may have finished something.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.export.store.fd()
    }

    /// The fault since which its store takes no more writes.
    pub fn degraded(&self) -> Option<IoError> {
        self.export.store.degraded()
    }

    /// What was counted.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The same, which goes on counting from there.
    pub fn counting_from(self, tally: Tally) -> Self {
        Self { tally, ..self }
    }

    /// The same, with what was answered at its address before.
    pub fn remembering(self, answered: Answered) -> Self {
        if planted(Bug::ForgetsOnReopen) {
            return self;
        }
        Self { answered, ..self }
    }

    /// The export, when nothing is under way for it any more.
    pub fn into_export(self) -> Export {
        self.export
    }

    /// What was answered for it, when nothing is under way for it any more.
    pub fn take_answered(&mut self) -> Answered {
        std::mem::replace(&mut self.answered, Answered::new())
    }

    pub(super) fn address(&self) -> Address {
        self.export.state.settings.address
    }

    /// Requests to it that have not been answered.
    pub(super) fn in_flight(&self) -> usize {
        self.requests.len() + self.pending_saves.len()
    }

    /// Whether its store has nothing to do, and nothing to tell.
    pub(super) fn is_quiet(&self) -> bool {
        self.requests.len() == 0 && !self.measuring
    }

    /// Has its size looked at, unless the last look has not ended: a disk that
    /// hangs is not asked again and again.
    pub(super) fn measure(&mut self) {
        let op = Op { token: INTERNAL_TOKEN, kind: Kind::Measure, sector: 0, buffers: IoVec::EMPTY };
        self.measuring = self.measuring || self.export.store.submit(op).is_ok();
    }

    /// Whether a write may not be executed any more, for a newer one has been answered.
    pub(super) fn is_overtaken(&self, pending: &Pending, worker: u16, now_ns: u64) -> bool {
        let Pending { inbound, fingerprint, .. } = pending;
        self.answered.writes.is_overtaken(inbound, inbound.arrival(worker), fingerprint, now_ns)
    }

    /// Takes over the size that its store has found.
    pub(super) fn follow_size(&mut self, directory: &Directory) {
        if self.export.refresh() {
            directory.note_size(self.address(), self.export.state.geometry.sectors);
        }
        if let Some(to) = self.wants_size.take() {
            // Whoever asked may have stopped waiting.
            let _ = to.try_send(self.export.state.geometry.sectors);
        }
    }

    /// Counts a request that was dealt with.
    pub(super) fn count(&mut self, done: &Finished, now_ns: u64) {
        let Finished { operation, outcome, .. } = *done;
        self.tally.count(operation, outcome);
        if outcome == Outcome::Unanswered {
            return;
        }
        if let Some(arrived_ns) = done.frame.arrived_ns() {
            self.tally.response.record(operation, now_ns.saturating_sub(arrived_ns));
        }
        self.tally.service.record(operation, done.service_ns(now_ns));
        if let Some(ns) = done.store_ns(now_ns) {
            self.tally.store.record(operation, ns);
        }
        match (operation, outcome) {
            (Operation::Read, Outcome::Done) => self.tally.bytes_read += u64::from(done.bytes),
            (Operation::Write, Outcome::Done) => self.tally.bytes_written += u64::from(done.bytes),
            _ => {}
        }
    }

    /// Other settings, of the same export.
    pub(super) fn change(&mut self, settings: Settings) {
        self.export.state.settings = settings;
    }

    pub(super) fn snapshot(&self) -> ExportSnapshot {
        let state = &self.export.state;
        ExportSnapshot {
            address: self.address(),
            read_only: state.settings.read_only,
            geometry: state.geometry,
            in_flight: self.requests.len(),
            config: state.config().to_vec(),
            mask: state.mask().to_vec(),
            reservation: state.reservation().to_vec(),
            tally: self.tally.clone(),
        }
    }
}
