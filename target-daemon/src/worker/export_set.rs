//! Where requests are executed: the exports that a worker owns, and the
//! requests that their stores are working on.

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

/// Longest request that is not ATA: 255 mask directives behind two VLAN tags.
const SCRATCH_BYTES: usize = 22 + 10 + 4 + 255 * 8;

/// How often stores that do not answer are looked for.
const LOOK_EVERY_NS: u64 = 100_000_000;

/// Exports, and what is being done for them.
#[derive(Debug)]
pub struct ExportSet {
    /// By the index that the directory gives them; some are free. Dropped before
    /// `lanes`, whose memory the stores may be working on.
    runtimes: Vec<Option<ExportRuntime>>,
    /// The number of the next export.
    next_number: u32,
    /// Whether an export is being detached.
    some_leave: bool,
    /// Who keeps what initiators set, and the index of this worker.
    state_writer: Option<(u16, Sender<SaveRequest>)>,
    lanes: Arc<[SharedLane]>,
    directory: Arc<Directory>,
    buffer_count: u16,
    /// When the round began: close enough to now, and it costs nothing.
    now_ns: u64,
    /// When stores that do not answer were last looked for.
    looked_ns: u64,
    /// A request that is not ATA and lies in several pieces, in one piece.
    scratch: [u8; SCRATCH_BYTES],
}

impl ExportSet {
    /// A set of these exports, with room for `in_flight` requests to each.
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

    /// A round of the worker begins.
    pub fn set_time(&mut self, now_ns: u64) {
        self.now_ns = now_ns;
    }

    /// These sectors of an export will probably be read next.
    pub fn prefetch(&self, export: u16, sector: u64, sectors: u64) {
        if let Some(runtime) = self.runtime(export) {
            runtime.export.store.prefetch(sector, sectors);
        }
    }

    /// Executes a request. What needs the store comes out of
    /// [`Self::harvest`], the rest is done at once.
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
            // It has come by a directory that is not in force any more.
            stats.dropped(DropReason::Address);
            return Some(inbound.dropped(operation, DropReason::Address));
        };
        let now_ns = self.now_ns;
        let hash = match request.body {
            Body::Ata { ata, .. } => {
                answered.observe(&inbound, ata.command, now_ns);
                0
            }
            // Behind the request is room for the reply, with anything in it.
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

    /// Takes what the stores have finished and makes the replies.
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
                // A synchronous store has them finished for the next `complete`.
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

    /// Looks now and then for stores that do not answer.
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

    /// Whether a store has work of which no descriptor would tell the end.
    pub fn must_be_asked(&self) -> bool {
        self.runtimes
            .iter()
            .flatten()
            .any(|runtime| !runtime.is_quiet() && runtime.export.store.fd().is_none())
    }

    /// What becomes readable when stores have finished something.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.runtimes.iter().flatten().filter_map(|runtime| runtime.export.store.fd())
    }

    /// Looks at the size of every store.
    pub fn measure(&mut self) {
        self.runtimes.iter_mut().flatten().for_each(ExportRuntime::measure);
    }

    /// Requests that stores are working on, and those that wait for these.
    pub fn in_flight(&self) -> usize {
        self.runtimes.iter().flatten().map(ExportRuntime::in_flight).sum()
    }

    /// The exports that have requests under way, and how many.
    pub fn unfinished(&self) -> impl Iterator<Item = (aoe::Address, usize)> + '_ {
        let counts = self.runtimes.iter().flatten().map(|runtime| (runtime.address(), runtime.in_flight()));
        counts.filter(|(_, count)| *count > 0)
    }

    /// Takes a request in, and gives it to the store unless it has to wait.
    fn admit(&mut self, mut pending: Pending, stats: &mut Stats) -> Option<Finished> {
        let index = usize::from(pending.inbound.export);
        let runtime = self.runtimes.get_mut(index)?.as_mut()?;
        let span = pending.fingerprint.span(runtime.export.state.geometry);
        if let Some(span) = span.filter(|span| span.writes) {
            if let Some(leader) = runtime.requests.duplicate_in_flight(&pending.fingerprint, span) {
                stats.counters.folded += 1;
                runtime.tally.folded += 1;
                let oldest = runtime.requests.coalesce(leader, pending)?;
                stats.counters.followers_released += 1;
                return Some(oldest.unanswered());
            }
            match runtime.answered.writes.find(&pending.inbound, &pending.fingerprint, self.now_ns) {
                Found::New => {}
                Found::Copy(result) => {
                    stats.counters.repeated += 1;
                    runtime.tally.repeated += 1;
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
                runtime.tally.waited += 1;
                None
            }
            Err(SlabFull(pending)) => {
                // Silence: the initiator resends, by when there is room.
                stats.counters.slab_full += 1;
                Some(pending.unanswered())
            }
        }
    }

    /// Has a request done that has to wait for nobody, if its store does that at
    /// once: then it never enters the book.
    fn try_inline(&mut self, index: usize, pending: &mut Pending, span: Span) -> Option<Result<(), IoError>> {
        let runtime = self.runtimes.get_mut(index)?.as_mut()?;
        let lane = self.lanes.get(usize::from(pending.inbound.lane))?;
        // Who tells the end of its work by a descriptor does nothing at once.
        let never = pending.fingerprint.kind == Kind::Discard || runtime.export.store.fd().is_some();
        if never || !runtime.requests.is_clear(span) {
            return None;
        }
        let result = runtime.export.store.try_inline(&mut pending.op(INTERNAL_TOKEN, &lane.umem)?)?;
        runtime.used = true;
        pending.submitted_ns = self.now_ns;
        Some(result)
    }

    /// As [`Self::submit`], for a request that has waited: what it waited for may have
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

    /// Gives the operation of a request that may run to the store of export
    /// `index`.
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

    /// The followers of a leader that is not executed.
    fn release_coalesced(&mut self, index: usize, leader: u16, done: &mut Vec<Finished>) {
        while let Some(coalesced) = self.next_coalesced(index, leader) {
            done.push(coalesced.unanswered());
        }
    }

    fn next_coalesced(&mut self, index: usize, leader: u16) -> Option<Pending> {
        self.runtimes.get_mut(index)?.as_mut()?.requests.next_coalesced(leader)
    }

    /// The store of export `index` has finished something.
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

    /// A request to export `index` has been done, or has failed.
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

    /// As [`Self::conclude`], for a request that has been done.
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

    /// The reply to a request whose operation has ended so.
    fn conclude(&mut self, pending: Pending, result: Result<(), IoError>) -> Option<Finished> {
        if result == Err(IoError::Transient) {
            // It may succeed the next time; an error would be final.
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
