//! The exports that a worker owns, and the execution of their requests: from a received
//! request to the store, and from the store's completion to the reply.

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use crossbeam_channel::Sender;
use twox_hash::XxHash3_64;

use super::answered::{Found, Recorded};
use super::answered_sets::Known;
use super::directory::Directory;
use super::export_runtime::{ExportRuntime, INTERNAL_TOKEN};
use super::fingerprint::Fingerprint;
use super::inflight::{Pending, SlabFull};
use super::lanes::SharedLane;
use super::messages::{Finished, Inbound};
use super::request_table::Admitted;
use super::save::{SaveRequest, sets};
use super::stats::Stats;
use crate::command::{self, Action};
use crate::observe::{Operation, Outcome};
use crate::plant::{Bug, planted};
use crate::shelf::Shelf;
use crate::store::{Completion, Full, IoError, Kind, Span};
use crate::wire::query::Advert;
use crate::wire::{Body, DropReason, Reply, Request, aoe, ata};

mod saving;
mod attaching;

pub use saving::Clear;

/// Maximum length of a non-ATA request: 255 mask directives after two VLAN tags.
const SCRATCH_BYTES: usize = 22 + 10 + 4 + 255 * 8;

/// Interval between checks for stores that do not respond.
const LOOK_EVERY_NS: u64 = 100_000_000;

/// The exports of a worker and their requests in flight.
#[derive(Debug)]
pub struct ExportSet {
    /// By the index that the directory assigns; some are free. Declared before `lanes` to
    /// be dropped first: the stores may be working on the lanes' memory.
    runtimes: Vec<Option<ExportRuntime>>,
    /// The number of the next export.
    next_number: u32,
    /// Whether an export is being detached.
    some_leave: bool,
    /// The state writer, and the index of this worker.
    state_writer: Option<(u16, Sender<SaveRequest>)>,
    lanes: Arc<[SharedLane]>,
    directory: Arc<Directory>,
    buffer_count: u16,
    /// When the pass began: close enough to the current time, and free.
    now_ns: u64,
    /// When the stores were last checked for being stuck.
    looked_ns: u64,
    /// Buffer to make a non-ATA request in several pieces contiguous.
    scratch: [u8; SCRATCH_BYTES],
}

impl ExportSet {
    /// A set of these exports, with room for `in_flight` requests each.
    pub fn new(
        shelf: Shelf,
        lanes: Arc<[SharedLane]>,
        directory: Arc<Directory>,
        buffer_count: u16,
        in_flight: u16,
    ) -> Self {
        let areas = SharedLane::areas(&lanes);
        let runtimes = ExportRuntime::row(shelf, in_flight, &areas);
        Self {
            next_number: runtimes.len() as u32,
            runtimes,
            some_leave: false,
            state_writer: None,
            lanes,
            directory,
            buffer_count,
            now_ns: 0,
            looked_ns: 0,
            scratch: [0; SCRATCH_BYTES],
        }
    }

    fn runtime(&self, index: u16) -> Option<&ExportRuntime> {
        self.runtimes.get(usize::from(index))?.as_ref()
    }

    /// Sets the current time, at the start of a pass.
    pub fn set_time(&mut self, now_ns: u64) {
        self.now_ns = now_ns;
    }

    /// Prefetches sectors of an export that will probably be read next.
    pub fn prefetch(&self, export: u16, sector: u64, sectors: u64) {
        if let Some(runtime) = self.runtime(export) {
            runtime.export.store.prefetch(sector, sectors);
        }
    }

    /// Executes a request. Requests that need the store finish in [`Self::harvest`]; all
    /// others finish at once.
    pub fn execute(&mut self, inbound: Inbound, stats: &mut Stats) -> Option<Finished> {
        let lane = self.lanes.get(usize::from(inbound.lane))?;
        let first = lane.umem.piece(&inbound.frame, 0);
        let head = if inbound.header.command != aoe::Command::Ata && inbound.frame.pieces() > 1 {
            let n = lane.umem.copy_out(&inbound.frame, &mut self.scratch);
            self.scratch.get(..n).unwrap_or(first)
        } else {
            first
        };
        let request = match Request::parse(&inbound.header, head, inbound.request_len as usize) {
            Ok(request) => request,
            Err(reason) => {
                stats.dropped(reason);
                return Some(inbound.dropped(Operation::Other, reason));
            }
        };
        let (operation, sets) = (operation_of(&request.body), sets(&request.body));
        let runtime = self.runtimes.get_mut(usize::from(inbound.export)).and_then(Option::as_mut);
        let Some(ExportRuntime { export, answered, leaving: None, .. }) = runtime else {
            // The directory that led here is no longer current.
            stats.dropped(DropReason::Address);
            return Some(inbound.dropped(operation, DropReason::Address));
        };
        let now_ns = self.now_ns;
        let hash = match request.body {
            Body::Ata { ata, .. } => {
                answered.observe(&inbound, ata.command, now_ns);
                0
            }
            // After the request there is room for the reply, with undefined content.
            _ if sets => XxHash3_64::oneshot(
                head.get(inbound.header.argument_offset()..inbound.request_len as usize).unwrap_or(&[]),
            ),
            _ => 0,
        };
        let known = match sets {
            true => answered.sets.find(&inbound, inbound.arrival(lane.worker), hash, now_ns),
            false => Known::New,
        };
        let address = export.state.settings.address;
        let advert = Advert {
            buffer_count: self.buffer_count,
            firmware: super::FIRMWARE,
            sectors_per_frame: lane.sectors_per_frame(),
        };
        let action = match known {
            Known::New => command::execute(&request, &mut export.state, advert, lane.reply_limit()),
            Known::CopyOfDone => {
                stats.counters.repeated += 1;
                command::in_force(&request, &export.state, advert)
            }
            Known::TooLate => {
                stats.counters.late_sets += 1;
                return Some(inbound.unanswered(operation));
            }
        };
        let (ata, kind, sector, payload_offset) = match action {
            Action::Ignore(reason) => {
                if let (DropReason::ReplyTooLong, Body::Ata { ata, .. }) = (reason, &request.body) {
                    lane.note_too_long(address, ata.count.max(1));
                }
                stats.dropped(reason);
                return Some(inbound.dropped(operation, reason));
            }
            Action::Reply(reply) => {
                let index = inbound.export;
                if sets && known == Known::New {
                    let arrival = inbound.arrival(lane.worker);
                    answered.sets.record(&inbound, arrival, hash, reply.is_error(), now_ns);
                }
                let asked = if let Body::Ata { ata, .. } = request.body { Some(ata) } else { None };
                let done = Finished { asked, ..reply_to(inbound, operation, reply, address, lane) };
                return if sets { self.reply_when_saved(index, done) } else { Some(done) };
            }
            Action::Read { ata, sector, .. } => {
                (ata, Kind::Read, sector, inbound.header.argument_offset() + ata::HEADER_LEN)
            }
            Action::Write { ata, sector, payload_offset, .. } => (ata, Kind::Write, sector, payload_offset),
            Action::Discard { ata, payload_offset, .. } => (ata, Kind::Discard, 0, payload_offset),
            Action::Flush { ata } => (ata, Kind::Flush, 0, 0),
            Action::Identify { ata } => (ata, Kind::Measure, 0, 0),
        };
        let bytes = match kind {
            Kind::Flush | Kind::Measure => 0,
            _ => u32::from(ata.count) * ata::SECTOR_LEN as u32,
        };
        let payload_offset = payload_offset as u16;
        let fingerprint = Fingerprint::of(kind, sector, bytes, &inbound.frame, payload_offset, &lane.umem);
        self.admit(Pending { inbound, ata, fingerprint, payload_offset, operation, submitted_ns: 0 }, stats)
    }

    /// Collects what the stores have completed and makes the replies.
    pub fn harvest(&mut self, done: &mut Vec<Finished>, stats: &mut Stats) {
        for index in 0..self.runtimes.len() {
            let Some(Some(runtime)) = self.runtimes.get_mut(index) else { continue };
            let used = std::mem::take(&mut runtime.used);
            if !used && runtime.is_quiet() {
                continue;
            }
            runtime.export.store.kick();
            while let Some(completion) = self.completion(index) {
                self.complete(index, completion, done, stats);
                // A synchronous store has completed them by the next `complete`.
                while let Some(next) = self.next_ready(index) {
                    if let Some(refused) = self.submit_waiting(index, next, stats) {
                        done.push(refused);
                        self.release_coalesced(index, next, done);
                    }
                }
            }
        }
        self.look_for_stuck(stats);
    }

    fn completion(&mut self, index: usize) -> Option<Completion> {
        self.runtimes.get_mut(index)?.as_mut()?.export.store.complete()
    }

    fn next_ready(&mut self, index: usize) -> Option<u16> {
        self.runtimes.get_mut(index)?.as_mut()?.requests.next_ready()
    }

    /// Periodically checks for stores that do not respond.
    fn look_for_stuck(&mut self, stats: &mut Stats) {
        if self.now_ns.saturating_sub(self.looked_ns) < LOOK_EVERY_NS {
            return;
        }
        self.looked_ns = self.now_ns;
        for runtime in self.runtimes.iter_mut().flatten() {
            let (new, change) = runtime.requests.look(self.now_ns);
            stats.counters.stuck_operations += new;
            if let Some(stuck) = change {
                self.directory.mark_stuck(runtime.address(), stuck);
            }
            if runtime.tally.is_used() {
                self.directory.mark_used(runtime.address());
            }
        }
    }

    /// Whether a store must be polled: it has work in flight but no descriptor to signal
    /// completion.
    pub fn must_be_asked(&self) -> bool {
        self.runtimes
            .iter()
            .flatten()
            .any(|runtime| !runtime.is_quiet() && runtime.export.store.fd().is_none())
    }

    /// The descriptors that become readable when stores have completed something.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.runtimes.iter().flatten().filter_map(|runtime| runtime.export.store.fd())
    }

    /// Starts a size check of every store.
    pub fn measure(&mut self) {
        self.runtimes.iter_mut().flatten().for_each(ExportRuntime::measure);
    }

    /// Number of requests not yet answered.
    pub fn in_flight(&self) -> usize {
        self.runtimes.iter().flatten().map(ExportRuntime::in_flight).sum()
    }

    /// The exports with requests not yet answered, and the number of these.
    pub fn unfinished(&self) -> impl Iterator<Item = (aoe::Address, usize)> + '_ {
        let counts = self.runtimes.iter().flatten().map(|runtime| (runtime.address(), runtime.in_flight()));
        counts.filter(|(_, count)| *count > 0)
    }

    /// Admits a request, and submits it to the store unless it has to wait.
    fn admit(&mut self, mut pending: Pending, stats: &mut Stats) -> Option<Finished> {
        let index = usize::from(pending.inbound.export);
        let runtime = self.runtimes.get_mut(index)?.as_mut()?;
        let span = pending.fingerprint.span(runtime.export.state.geometry);
        if let Some(span) = span.filter(|span| span.writes) {
            if let Some(leader) = runtime.requests.duplicate_in_flight(&pending.fingerprint, span) {
                stats.counters.folded += 1;
                runtime.tally.counters.folded += 1;
                let oldest = runtime.requests.coalesce(leader, pending)?;
                stats.counters.followers_released += 1;
                return Some(oldest.unanswered());
            }
            match runtime.answered.writes.find(&pending.inbound, &pending.fingerprint, self.now_ns) {
                Found::New => {}
                Found::Copy(result) => {
                    stats.counters.repeated += 1;
                    runtime.tally.counters.repeated += 1;
                    return self.conclude(pending, result);
                }
                Found::TagReused => stats.counters.tags_reused += 1,
            }
            let worker = self.lanes.get(usize::from(pending.inbound.lane))?.worker;
            if runtime.is_overtaken(&pending, worker, self.now_ns) {
                stats.counters.late_writes += 1;
                return Some(pending.unanswered());
            }
        }
        if let Some(result) = span.and_then(|span| self.try_inline(index, &mut pending, span)) {
            return self.ended(index, pending, result, stats);
        }
        let runtime = self.runtimes.get_mut(index)?.as_mut()?;
        match runtime.requests.admit(pending, span) {
            Ok(Admitted::Runs(entry)) => self.submit(index, entry, stats),
            Ok(Admitted::Waits) => {
                stats.counters.waited += 1;
                runtime.tally.counters.waited += 1;
                None
            }
            Err(SlabFull(pending)) => {
                // No reply: by the time the initiator resends, there is room.
                stats.counters.slab_full += 1;
                Some(pending.unanswered())
            }
        }
    }

    /// Executes a request inline, if no other request overlaps it and its store can. It
    /// then never enters the request table.
    fn try_inline(&mut self, index: usize, pending: &mut Pending, span: Span) -> Option<Result<(), IoError>> {
        let runtime = self.runtimes.get_mut(index)?.as_mut()?;
        let lane = self.lanes.get(usize::from(pending.inbound.lane))?;
        // Stores that signal completion through an fd never complete inline.
        let never = pending.fingerprint.kind == Kind::Discard || runtime.export.store.fd().is_some();
        if never || !runtime.requests.is_clear(span) {
            return None;
        }
        let result = runtime.export.store.try_inline(&mut pending.op(INTERNAL_TOKEN, &lane.umem)?)?;
        runtime.used = true;
        pending.submitted_ns = self.now_ns;
        Some(result)
    }

    /// As [`Self::submit`], for a request that had to wait: what it waited for may have
    /// been a newer write.
    fn submit_waiting(&mut self, index: usize, entry: u16, stats: &mut Stats) -> Option<Finished> {
        let now_ns = self.now_ns;
        let runtime = self.runtimes.get_mut(index)?.as_mut()?;
        let pending = runtime.requests.get(entry)?;
        let worker = self.lanes.get(usize::from(pending.inbound.lane))?.worker;
        let late = runtime.is_overtaken(pending, worker, now_ns) && !planted(Bug::NoSecondLook);
        if !pending.fingerprint.kind.writes() || !late {
            return self.submit(index, entry, stats);
        }
        stats.counters.late_writes += 1;
        Some(runtime.requests.give_up(entry, None)?.unanswered())
    }

    /// Submits a request that may run to the store of export `index`.
    fn submit(&mut self, index: usize, entry: u16, stats: &mut Stats) -> Option<Finished> {
        let runtime = self.runtimes.get_mut(index)?.as_mut()?;
        let lane = self.lanes.get(usize::from(runtime.requests.get(entry)?.inbound.lane))?;
        let lent = runtime.requests.begin(entry, &lane.umem, self.now_ns);
        let refused = match lent.map(|op| runtime.export.store.submit(op)) {
            Some(Ok(())) => return None,
            Some(Err(Full(op))) => Some(op),
            None => None,
        };
        stats.counters.store_full += 1;
        Some(runtime.requests.give_up(entry, refused)?.unanswered())
    }

    /// Drops the writes coalesced with a leader that is not executed.
    fn release_coalesced(&mut self, index: usize, leader: u16, done: &mut Vec<Finished>) {
        while let Some(coalesced) = self.next_coalesced(index, leader) {
            done.push(coalesced.unanswered());
        }
    }

    fn next_coalesced(&mut self, index: usize, leader: u16) -> Option<Pending> {
        self.runtimes.get_mut(index)?.as_mut()?.requests.next_coalesced(leader)
    }

    /// Handles a completion from the store of export `index`.
    fn complete(
        &mut self,
        index: usize,
        completion: Completion,
        done: &mut Vec<Finished>,
        stats: &mut Stats,
    ) {
        let Some(Some(runtime)) = self.runtimes.get_mut(index) else { return };
        let Completion { token, result } = completion;
        if token == INTERNAL_TOKEN && std::mem::take(&mut runtime.measuring) {
            return runtime.follow_size(&self.directory);
        }
        let Some(pending) = runtime.requests.complete(token) else {
            stats.counters.stale_completions += 1;
            return;
        };
        if pending.fingerprint.kind == Kind::Measure {
            runtime.follow_size(&self.directory);
        }
        done.extend(self.ended(index, pending, result, stats));
        while let Some(coalesced) = self.next_coalesced(index, token as u16) {
            done.extend(self.answer(coalesced, result, stats));
        }
    }

    /// Handles the result of an executed request to export `index`.
    fn ended(
        &mut self,
        index: usize,
        pending: Pending,
        result: Result<(), IoError>,
        stats: &mut Stats,
    ) -> Option<Finished> {
        stats.completed(pending.fingerprint.kind, result);
        if result.is_err()
            && let Some(Some(runtime)) = self.runtimes.get(index)
            && runtime.export.store.degraded().is_some()
        {
            self.directory.mark_degraded(runtime.address());
        }
        self.answer(pending, result, stats)
    }

    /// As [`Self::conclude`], but first records a write as answered.
    fn answer(
        &mut self,
        pending: Pending,
        result: Result<(), IoError>,
        stats: &mut Stats,
    ) -> Option<Finished> {
        let Pending { inbound, fingerprint, .. } = &pending;
        if fingerprint.kind.writes() && result != Err(IoError::Transient) {
            let arrival = inbound.arrival(self.lanes.get(usize::from(inbound.lane))?.worker);
            let runtime = self.runtimes.get_mut(usize::from(inbound.export))?.as_mut()?;
            match runtime.answered.writes.record(inbound, arrival, fingerprint, result, self.now_ns) {
                Recorded::Kept => {}
                Recorded::TagReused => stats.counters.tags_reused += 1,
                Recorded::NoPlace => stats.counters.not_remembered += 1,
            }
        }
        self.conclude(pending, result)
    }

    /// Makes the reply to a request with this result.
    fn conclude(&mut self, pending: Pending, result: Result<(), IoError>) -> Option<Finished> {
        if result == Err(IoError::Transient) {
            // It may succeed next time; an error would be final.
            return Some(pending.unanswered());
        }
        let state = &self.runtime(pending.inbound.export)?.export.state;
        let lane = self.lanes.get(usize::from(pending.inbound.lane))?;
        let Pending { ata, fingerprint, operation, submitted_ns, .. } = pending;
        let reply = command::finish(&ata, fingerprint.kind, result, state);
        let done = reply_to(pending.inbound, operation, reply, state.settings.address, lane);
        Some(Finished { asked: Some(ata), bytes: fingerprint.bytes, submitted_ns, ..done })
    }
}

/// Writes the reply over the request.
fn reply_to(
    mut inbound: Inbound,
    operation: Operation,
    reply: Reply<'_>,
    from: aoe::Address,
    lane: &SharedLane,
) -> Finished {
    let header = inbound.header;
    let first = lane.umem.piece_mut(&mut inbound.frame, 0);
    let len = reply.emit(&header, lane.mac(), from, first);
    let outcome = if reply.is_error() { Outcome::Failed } else { Outcome::Done };
    inbound.done(operation, outcome, len.map(|len| len as u32))
}

fn operation_of(body: &Body<'_>) -> Operation {
    let Body::Ata { ata, .. } = body else {
        return if matches!(body, Body::Query(_)) { Operation::Query } else { Operation::Other };
    };
    match ata.command.direction() {
        ata::Direction::Read => Operation::Read,
        ata::Direction::Write if ata.command == ata::Command::DataSetManagement => Operation::Discard,
        ata::Direction::Write => Operation::Write,
        ata::Direction::None => match ata.command {
            ata::Command::FlushCache | ata::Command::FlushCacheExt => Operation::Flush,
            _ => Operation::Ata,
        },
    }
}
