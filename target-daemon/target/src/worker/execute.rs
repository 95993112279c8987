//! How an export executes a request: from the parsed request to the store, and from the
//! store's completion to the reply.
//!
//! ```text
//! execute ──► admit ──► try_inline ──────────────────► ended ──► answer ──► conclude ──► reply
//!   │           │          └─ no ──► submit ─► store ─► harvest ──┘    (`answer` records writes)
//!   │           ├─ copy of a request in flight: waits, and gets the same reply
//!   │           ├─ copy of an answered write: conclude
//!   │           └─ late write, or table full: no reply, the host resends
//!   └─ no store needed: reply; a change is saved first
//! ```

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
use super::save::SaveRequest;
use super::stats::Stats;
use crate::command::{self, Action};
use crate::observe::{Operation, Outcome};
use crate::plant::{Bug, planted};
use crate::store::{Completion, Full, IoError, Kind, Span};
use crate::wire::query::Advert;
use crate::wire::{Body, DropReason, Reply, Request, aoe, ata};

/// What an export needs from its worker to execute a request.
pub(super) struct Context<'a> {
    /// Every lane of every worker.
    pub lanes: &'a [SharedLane],
    /// The exports of all workers.
    pub directory: &'a Directory,
    /// The state writer, and the index of this worker.
    pub state_writer: Option<&'a (u16, Sender<SaveRequest>)>,
    /// The buffer count in replies to queries.
    pub buffer_count: u16,
    /// When the pass began.
    pub now_ns: u64,
    /// The counters of the worker.
    pub stats: &'a mut Stats,
}

impl<'a> Context<'a> {
    /// What replies to queries advertise.
    fn advert(&self, lane: &SharedLane) -> Advert {
        Advert {
            buffer_count: self.buffer_count,
            firmware: super::FIRMWARE,
            sectors_per_frame: lane.sectors_per_frame(),
        }
    }

    /// The lane of a request. `None` cannot occur: the request is then counted as
    /// `unsendable`, and the caller returns it without a reply, so that its frame is not
    /// lost.
    fn lane_of(&mut self, inbound: &Inbound) -> Option<&'a SharedLane> {
        let lane = self.lanes.get(usize::from(inbound.lane));
        self.stats.counters.unsendable += u64::from(lane.is_none());
        lane
    }
}

impl ExportRuntime {
    /// Executes a request. If it needs the store, it finishes in [`Self::harvest`]. A
    /// non-ATA request that spans several pieces is copied to `scratch`.
    pub(super) fn execute(
        &mut self,
        inbound: Inbound,
        lane: &SharedLane,
        scratch: &mut [u8; command::REQUEST_LEN_MAX],
        context: &mut Context<'_>,
    ) -> Option<Finished> {
        let head = head_of(&inbound, lane, scratch);
        let request = match Request::parse(&inbound.header, head, inbound.request_len as usize) {
            Ok(request) => request,
            Err(reason) => {
                context.stats.dropped(reason);
                return Some(inbound.dropped(Operation::Other, reason));
            }
        };
        let (operation, persists) = (operation_of(&request.body), command::persists(&request.body));
        let Self { export, answered, leaving: None, .. } = self else {
            // The request was dispatched by an outdated directory.
            context.stats.dropped(DropReason::Address);
            return Some(inbound.dropped(operation, DropReason::Address));
        };
        let now_ns = context.now_ns;
        let hash = match request.body {
            Body::Ata { ata, .. } => {
                answered.observe(&inbound, ata.command, now_ns);
                0
            }
            // Only the request: the room for the reply after it has undefined content.
            _ if persists => XxHash3_64::oneshot(
                head.get(inbound.header.argument_offset()..inbound.request_len as usize).unwrap_or(&[]),
            ),
            _ => 0,
        };
        let known = match persists {
            true => answered.sets.find(&inbound, inbound.arrival(lane.worker), hash, now_ns),
            false => Known::New,
        };
        let address = export.state.settings.address;
        let advert = context.advert(lane);
        let action = match known {
            Known::New => command::execute(&request, &mut export.state, advert, lane.reply_limit()),
            Known::CopyOfDone => {
                context.stats.counters.repeated += 1;
                command::in_force(&request, &export.state, advert)
            }
            Known::TooLate => {
                context.stats.counters.late_sets += 1;
                return Some(inbound.unanswered(operation));
            }
        };
        match action {
            Action::Ignore(reason) => {
                if let (DropReason::ReplyTooLong, Body::Ata { ata, .. }) = (reason, &request.body) {
                    lane.note_too_long(address, ata.count.max(1));
                }
                context.stats.dropped(reason);
                Some(inbound.dropped(operation, reason))
            }
            Action::Reply(reply) => {
                let index = inbound.export;
                if persists && known == Known::New {
                    let arrival = inbound.arrival(lane.worker);
                    answered.sets.record(&inbound, arrival, hash, reply.is_error(), now_ns);
                }
                let asked = if let Body::Ata { ata, .. } = request.body { Some(ata) } else { None };
                let done = Finished { asked, ..reply_to(inbound, operation, reply, address, lane) };
                if persists { self.reply_when_saved(index, done, context) } else { Some(done) }
            }
            Action::Store { ata, kind } => self.operate(inbound, ata, kind, operation, lane, context),
        }
    }

    /// Executes a request that needs the store.
    fn operate(
        &mut self,
        inbound: Inbound,
        ata: ata::Request,
        kind: Kind,
        operation: Operation,
        lane: &SharedLane,
        context: &mut Context<'_>,
    ) -> Option<Finished> {
        let sector = if matches!(kind, Kind::Read | Kind::Write) { ata.lba() } else { 0 };
        let bytes = match kind {
            Kind::Flush | Kind::Measure => 0,
            _ => u32::from(ata.count) * ata::SECTOR_LEN as u32,
        };
        let payload_offset = (inbound.header.argument_offset() + ata::HEADER_LEN) as u16;
        let fingerprint = Fingerprint::of(kind, sector, bytes, &inbound.frame, payload_offset, &lane.umem);
        let pending = Pending { inbound, ata, fingerprint, payload_offset, operation, submitted_ns: 0 };
        self.admit(pending, lane, context)
    }

    /// Collects what the store has completed and makes the replies.
    pub(super) fn harvest(&mut self, done: &mut Vec<Finished>, context: &mut Context<'_>) {
        self.used = false;
        self.export.store.kick();
        while let Some(completion) = self.export.store.complete() {
            self.complete(completion, done, context);
            // Within the loop: a synchronous store completes these at once, and the next
            // `complete` returns them.
            while let Some(entry) = self.requests.next_ready() {
                if let Some(refused) = self.submit_waiting(entry, context) {
                    done.push(refused);
                    self.release_coalesced(entry, done);
                }
            }
        }
    }

    /// Admits a request, and submits it to the store unless it has to wait.
    fn admit(
        &mut self,
        mut pending: Pending,
        lane: &SharedLane,
        context: &mut Context<'_>,
    ) -> Option<Finished> {
        let counters = &mut context.stats.counters;
        let span = pending.fingerprint.span(self.export.state.geometry);
        if let Some(span) = span.filter(|span| span.writes) {
            if let Some(leader) = self.requests.duplicate_in_flight(&pending.fingerprint, span) {
                counters.folded += 1;
                self.tally.counters.folded += 1;
                let oldest = self.requests.coalesce(leader, pending)?;
                counters.followers_released += 1;
                return Some(oldest.unanswered());
            }
            match self.answered.writes.find(&pending.inbound, &pending.fingerprint, context.now_ns) {
                Found::New => {}
                Found::Copy(result) => {
                    counters.repeated += 1;
                    self.tally.counters.repeated += 1;
                    return Some(self.conclude(pending, result, lane));
                }
                Found::TagReused => counters.tags_reused += 1,
            }
            if self.is_overtaken(&pending, lane.worker, context.now_ns) {
                counters.late_writes += 1;
                return Some(pending.unanswered());
            }
        }
        if let Some(result) = span.and_then(|span| self.try_inline(&mut pending, span, lane, context.now_ns))
        {
            return Some(self.ended(pending, result, lane, context));
        }
        match self.requests.admit(pending, span) {
            Ok(Admitted::Runs(entry)) => self.submit(entry, lane, context),
            Ok(Admitted::Waits) => {
                context.stats.counters.waited += 1;
                self.tally.counters.waited += 1;
                None
            }
            Err(SlabFull(pending)) => {
                // No reply: by the time the initiator resends, there will be room.
                context.stats.counters.slab_full += 1;
                Some(pending.unanswered())
            }
        }
    }

    /// Executes a request inline, if no conflicting request is in flight and the store
    /// can do so. Such a request never enters the request table.
    fn try_inline(
        &mut self,
        pending: &mut Pending,
        span: Span,
        lane: &SharedLane,
        now_ns: u64,
    ) -> Option<Result<(), IoError>> {
        // Stores that use the worker's ring never complete inline.
        let never = pending.fingerprint.kind == Kind::Discard || self.export.store.calls().is_some();
        if never || !self.requests.is_clear(span) {
            return None;
        }
        let result = self.export.store.try_inline(&mut pending.op(INTERNAL_TOKEN, &lane.umem)?)?;
        self.used = true;
        pending.submitted_ns = now_ns;
        Some(result)
    }

    /// As [`Self::submit`], for a request that had to wait. Drops a write if a newer one
    /// has been answered meanwhile: that may be the one it waited for.
    fn submit_waiting(&mut self, entry: u16, context: &mut Context<'_>) -> Option<Finished> {
        let pending = self.requests.get(entry)?;
        let Some(lane) = context.lane_of(&pending.inbound) else {
            return self.requests.give_up(entry, None).map(Pending::unanswered);
        };
        let late = self.is_overtaken(pending, lane.worker, context.now_ns) && !planted(Bug::NoSecondLook);
        if !pending.fingerprint.kind.writes() || !late {
            return self.submit(entry, lane, context);
        }
        context.stats.counters.late_writes += 1;
        self.requests.give_up(entry, None).map(Pending::unanswered)
    }

    /// Submits a request that may run to the store. Returns it if the store is full.
    fn submit(&mut self, entry: u16, lane: &SharedLane, context: &mut Context<'_>) -> Option<Finished> {
        let op = self.requests.begin(entry, &lane.umem, context.now_ns);
        let refused = match op.map(|op| self.export.store.submit(op)) {
            Some(Ok(())) => return None,
            Some(Err(Full(op))) => Some(op),
            None => None,
        };
        context.stats.counters.store_full += 1;
        self.requests.give_up(entry, refused).map(Pending::unanswered)
    }

    /// Drops the writes coalesced with a leader that is not executed.
    fn release_coalesced(&mut self, leader: u16, done: &mut Vec<Finished>) {
        while let Some(coalesced) = self.requests.next_coalesced(leader) {
            done.push(coalesced.unanswered());
        }
    }

    /// Handles a completion from the store.
    fn complete(&mut self, completion: Completion, done: &mut Vec<Finished>, context: &mut Context<'_>) {
        let Completion { token, result } = completion;
        if token == INTERNAL_TOKEN && std::mem::take(&mut self.measuring) {
            return self.follow_size(context.directory);
        }
        let Some(pending) = self.requests.complete(token) else {
            context.stats.counters.stale_completions += 1;
            return;
        };
        if pending.fingerprint.kind == Kind::Measure {
            self.follow_size(context.directory);
        }
        done.push(match context.lane_of(&pending.inbound) {
            Some(lane) => self.ended(pending, result, lane, context),
            None => pending.unanswered(),
        });
        while let Some(coalesced) = self.requests.next_coalesced(token as u16) {
            done.push(match context.lane_of(&coalesced.inbound) {
                Some(lane) => self.answer(coalesced, result, lane, context),
                None => coalesced.unanswered(),
            });
        }
    }

    /// Handles the result of an executed request.
    fn ended(
        &mut self,
        pending: Pending,
        result: Result<(), IoError>,
        lane: &SharedLane,
        context: &mut Context<'_>,
    ) -> Finished {
        context.stats.completed(pending.fingerprint.kind, result);
        if result.is_err() && self.export.store.degraded().is_some() {
            context.directory.mark_degraded(self.address());
        }
        self.answer(pending, result, lane, context)
    }

    /// As [`Self::conclude`], but first records a write as answered.
    fn answer(
        &mut self,
        pending: Pending,
        result: Result<(), IoError>,
        lane: &SharedLane,
        context: &mut Context<'_>,
    ) -> Finished {
        let Pending { inbound, fingerprint, .. } = &pending;
        if fingerprint.kind.writes() && result != Err(IoError::Transient) {
            let arrival = inbound.arrival(lane.worker);
            match self.answered.writes.record(inbound, arrival, fingerprint, result, context.now_ns) {
                Recorded::Kept => {}
                Recorded::TagReused => context.stats.counters.tags_reused += 1,
                Recorded::NoPlace => context.stats.counters.not_remembered += 1,
            }
        }
        self.conclude(pending, result, lane)
    }

    /// Makes the reply to a request with this result.
    fn conclude(&self, pending: Pending, result: Result<(), IoError>, lane: &SharedLane) -> Finished {
        if result == Err(IoError::Transient) {
            // A retry may succeed, but the host would treat an error as final.
            return pending.unanswered();
        }
        let state = &self.export.state;
        let Pending { ata, fingerprint, operation, submitted_ns, .. } = pending;
        let reply = command::finish(&ata, fingerprint.kind, result, state);
        let done = reply_to(pending.inbound, operation, reply, state.settings.address, lane);
        Finished { asked: Some(ata), bytes: fingerprint.bytes, submitted_ns, ..done }
    }
}

/// The bytes of a request to parse: its first piece, if that is all or the request is an
/// ATA request, else a copy of all pieces in `scratch`.
fn head_of<'a>(inbound: &'a Inbound, lane: &'a SharedLane, scratch: &'a mut [u8]) -> &'a [u8] {
    if inbound.header.command == aoe::Command::Ata || inbound.frame.pieces() == 1 {
        return lane.umem.piece(&inbound.frame, 0);
    }
    let n = lane.umem.copy_out(&inbound.frame, scratch);
    scratch.get(..n).unwrap_or(&[])
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
