//! How an export executes a request: from the parsed request to the store, and from the
//! store's completion to the reply.
//!
//! ```text
//! execute ──► admit ──► try_inline ──────────────────► ended ──► answer ──► conclude ──► reply
//!   │           │          └─ no ──► submit ─► store ─► harvest ──┘    (`answer` records writes)
//!   │           ├─ over a limit: waits, and is then admitted as if it had just arrived
//!   │           ├─ copy of a request in flight: waits, and gets the same reply
//!   │           ├─ copy of an answered write: conclude
//!   │           └─ late write, or table full: no reply, the host resends
//!   └─ no store needed: reply; a change is saved first
//! ```

use std::ops::Deref;
use std::sync::Arc;

use crossbeam_channel::Sender;
use twox_hash::XxHash3_64;

use super::answered::{Found, Recorded};
use super::answered_sets::Known;
use super::directory::Directory;
use super::export_runtime::{ExportRuntime, INTERNAL_TOKEN};
use super::fingerprint::Fingerprint;
use super::host_changes::{ChangeOutcome, Excerpt, HostChange};
use super::inflight::{Pending, SlabFull, Task};
use super::lanes::SharedLane;
use super::limiter;
use super::messages::{Finished, Inbound};
use super::request_table::Admitted;
use super::save::SaveRequest;
use super::stats::Stats;
use crate::command::{self, Action, Verdict};
use crate::observe::{Operation, Outcome};
use crate::plant::{Bug, planted};
use crate::ring::Frame;
use crate::shelf::Rates;
use crate::store::{Completion, Full, IoError, Kind, Span};
use crate::wire::ether::Mac;
use crate::wire::query::Advert;
use crate::wire::{self, Body, DropReason, Reply, Request, aoe, ata};

/// What an export needs from its worker to execute a request.
pub(super) struct Context<'a> {
    /// What changes only between passes.
    pub surroundings: &'a Surroundings,
    /// The counters of the worker.
    pub stats: &'a mut Stats,
}

/// The worker of an export, as the export sees it.
#[derive(Debug)]
pub(super) struct Surroundings {
    /// Every lane of every worker.
    pub lanes: Arc<[SharedLane]>,
    /// The exports of all workers.
    pub directory: Arc<Directory>,
    /// The state writer, and the index of this worker.
    pub state_writer: Option<(u16, Sender<SaveRequest>)>,
    /// Where changes by hosts are logged.
    pub change_log: Option<Sender<HostChange>>,
    /// The buffer count in replies to queries.
    pub buffer_count: u16,
    /// When the pass began. Close enough to the current time, and costs no clock read.
    pub now_ns: u64,
}

impl Deref for Context<'_> {
    type Target = Surroundings;

    fn deref(&self) -> &Surroundings {
        self.surroundings
    }
}

impl<'a> Context<'a> {
    /// What replies to queries of a host advertise.
    fn advert(&self, rates: &Rates, host: Mac, lane: &SharedLane) -> Advert {
        let sectors_per_frame = lane.sectors_per_frame();
        let buffer_count = rates.buffer_count(host, self.buffer_count, sectors_per_frame);
        Advert { buffer_count, firmware: super::FIRMWARE, sectors_per_frame }
    }

    /// The lane of a request. `None` cannot occur: the request is then counted as
    /// `unsendable`, and the caller returns it without a reply, so that its frame is not
    /// lost.
    fn lane_of(&mut self, inbound: &Inbound) -> Option<&'a SharedLane> {
        let lane = self.surroundings.lanes.get(usize::from(inbound.lane));
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
        done: &mut Vec<Finished>,
        context: &mut Context<'_>,
    ) {
        match inbound.ata {
            Some(ata) if self.leaving.is_none() => {
                self.execute_ata::<true>(inbound, ata, lane, done, context);
            }
            _ => done.extend(self.execute_other(inbound, lane, scratch, context)),
        }
    }

    /// Executes an ATA request, which is new, or has waited for a limit. A function of its own
    /// for each, so that new ones are not copied for a call.
    #[inline(always)]
    fn execute_ata<const IS_NEW: bool>(
        &mut self,
        mut inbound: Inbound,
        ata: ata::Request,
        lane: &SharedLane,
        done: &mut Vec<Finished>,
        context: &mut Context<'_>,
    ) {
        let payload_offset = inbound.header.argument_offset() + ata::HEADER_LEN;
        let payload_len = (inbound.request_len as usize).saturating_sub(payload_offset);
        let (state, advertised) = (&self.export.state, lane.sectors_per_frame());
        let (limit, ingress) = (lane.reply_limit(), lane.ingress());
        let verdict =
            command::execute_ata(&inbound.header, &ata, payload_len, state, advertised, limit, ingress);
        // A host that may not use the export says nothing about those that may.
        if IS_NEW && !matches!(verdict, Verdict::Ignore(reason) if reason.is_foreign()) {
            self.answered.observe(&inbound, ata.command, context.now_ns);
        }
        let Verdict::Store(kind) = verdict else {
            return done.push(self.answer_at_once(inbound, verdict.action(ata), lane, context));
        };
        let mut task = Task::new(ata, kind, payload_offset, &inbound.frame, &lane.umem);
        let span = task.fingerprint.span(self.export.state.geometry);
        if let Some(span) = span.filter(|span| span.writes)
            && let Some(obstacle) = self.obstacle_to(&inbound, &task, span, lane, context)
        {
            return done.extend(self.not_executed(inbound, task, obstacle, lane, context));
        }
        if self.limiter.is_some() {
            match self.limit_rate(inbound, &task, IS_NEW, context) {
                Ok(may_run) => inbound = may_run,
                Err(dropped) => return done.extend(dropped),
            }
        }
        if let Some(span) = span
            && let Some(result) = self.try_inline(&mut inbound.frame, &mut task, span, lane, context.now_ns)
        {
            let reply_len = self.ended(&mut inbound, &task, result, lane, context);
            return done.push(inbound.answered(&task, reply_len));
        }
        self.enter(Pending { inbound, task }, span, lane, done, context);
    }

    /// Returns a request that may run now, which counts from now on. Otherwise it waits, and
    /// one that is dropped instead is returned.
    #[inline(never)]
    fn limit_rate(
        &mut self,
        inbound: Inbound,
        task: &Task,
        is_new: bool,
        context: &mut Context<'_>,
    ) -> Result<Inbound, Option<Finished>> {
        let bytes = match task.fingerprint.kind {
            Kind::Measure => return Ok(inbound),
            Kind::Read | Kind::Write => task.fingerprint.bytes,
            Kind::Discard | Kind::Flush => 0,
        };
        let Some(limiter) = &mut self.limiter else { return Ok(inbound) };
        if !is_new {
            limiter.count(inbound.host, bytes, context.now_ns);
            return Ok(inbound);
        }
        let counters = &mut context.stats.counters;
        match limiter.admit(inbound, bytes, context.surroundings.now_ns) {
            limiter::Admitted::Runs(inbound) => Ok(inbound),
            limiter::Admitted::Waits => {
                self.tally.counters.limited += 1;
                Err(None)
            }
            limiter::Admitted::Replaces(other) => {
                counters.limited_too_long += 1;
                self.tally.counters.limited_ns += context.now_ns.saturating_sub(other.received_ns);
                Err(Some(not_run(other)))
            }
            limiter::Admitted::OverShare(inbound) => {
                counters.over_share += 1;
                Err(Some(not_run(inbound)))
            }
        }
    }

    /// Executes requests that have waited for a limit, at most this many. Returns their number.
    pub(super) fn run_limited(
        &mut self,
        most: usize,
        done: &mut Vec<Finished>,
        context: &mut Context<'_>,
    ) -> usize {
        let mut run = 0;
        while run < most
            && let Some(next) = self.limiter.as_mut().and_then(|limiter| limiter.next(context.now_ns))
        {
            run += 1;
            let (Ok(inbound) | Err(inbound)) = &next;
            self.tally.counters.limited_ns += context.now_ns.saturating_sub(inbound.received_ns);
            match next {
                Ok(inbound) => match (inbound.ata, context.lane_of(&inbound)) {
                    (Some(ata), Some(lane)) => self.execute_ata::<false>(inbound, ata, lane, done, context),
                    _ => done.push(not_run(inbound)),
                },
                Err(inbound) => {
                    context.stats.counters.limited_too_long += 1;
                    done.push(not_run(inbound));
                }
            }
        }
        run
    }

    /// Answers an ATA request that does not need the store, if at all.
    #[inline(never)]
    fn answer_at_once(
        &self,
        inbound: Inbound,
        action: Action<'_>,
        lane: &SharedLane,
        context: &mut Context<'_>,
    ) -> Finished {
        let asked = inbound.ata;
        let operation = asked.map_or(Operation::Ata, |ata| operation_of(ata.command));
        let reason = match action {
            Action::Reply(reply) => {
                return Finished { asked, ..reply_to(inbound, operation, reply, self.address(), lane) };
            }
            Action::Ignore(reason) => reason,
            // Cannot happen: the caller handles this.
            Action::Store { .. } => DropReason::TooShort,
        };
        if let (DropReason::ReplyTooLong, Some(ata)) = (reason, asked) {
            lane.note_too_long(self.address(), ata.count.max(1));
        }
        context.stats.dropped(reason);
        inbound.dropped(operation, reason)
    }

    /// Executes a request that is no ATA request, or not a complete one, or that comes after
    /// the export has begun to leave.
    #[inline(never)]
    fn execute_other(
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
        let (operation, asked) = (operation_of_body(&request.body), Excerpt::asked(&request.body));
        let sets = asked.is_some();
        let Self { export, answered, leaving: None, .. } = self else {
            // The request was dispatched by an outdated directory.
            context.stats.dropped(DropReason::Address);
            return Some(inbound.dropped(operation, DropReason::Address));
        };
        let now_ns = context.now_ns;
        let hash = match sets {
            // Only the request: the room for the reply after it has undefined content.
            true => XxHash3_64::oneshot(
                head.get(inbound.header.argument_offset()..inbound.request_len as usize).unwrap_or(&[]),
            ),
            false => 0,
        };
        let ingress = lane.ingress();
        let known = match sets && export.state.admit(&inbound.header.ether, ingress).is_ok() {
            true => answered.sets.find(&inbound, inbound.arrival(lane.worker), hash, now_ns),
            // Or not from a host that may set anything: then it is no copy, and is dropped below.
            false => Known::New,
        };
        let address = export.state.settings.address;
        let revision = export.state.revision();
        let before = asked.map(|(setting, _)| Excerpt::of(setting, &export.state));
        let advert = context.advert(&export.state.settings.rates, inbound.header.ether.src, lane);
        let action = match known {
            Known::New => command::execute(&request, &mut export.state, advert, lane.reply_limit(), ingress),
            Known::CopyOfDone => {
                context.stats.counters.repeated += 1;
                answered.sets.renew(&inbound, now_ns);
                command::in_force(&request, &export.state, advert)
            }
            Known::TooLate => {
                context.stats.counters.late_sets += 1;
                return Some(inbound.unanswered(operation));
            }
        };
        match action {
            // Only ATA requests need the store.
            Action::Ignore(_) | Action::Store { .. } => {
                let reason = if let Action::Ignore(reason) = action { reason } else { DropReason::TooShort };
                context.stats.dropped(reason);
                Some(inbound.dropped(operation, reason))
            }
            Action::Reply(reply) => {
                let (index, source, is_error) = (inbound.export, inbound.header.ether.src, reply.is_error());
                if sets && known == Known::New {
                    let arrival = inbound.arrival(lane.worker);
                    answered.sets.record(&inbound, arrival, hash, is_error, now_ns);
                }
                let done = reply_to(inbound, operation, reply, address, lane);
                let Some(((setting, asked), old)) = asked.zip(before) else { return Some(done) };
                let rule = export.state.settings.host_settings;
                let change = |outcome, new| HostChange { address, source, setting, outcome, rule, old, new };
                if export.state.revision() != revision {
                    let new = Excerpt::of(setting, &export.state);
                    self.note_change(&change(ChangeOutcome::Changed, new), context);
                } else if is_error {
                    self.note_change(&change(ChangeOutcome::Refused, asked), context);
                }
                self.reply_when_saved(index, (source, setting), done, context)
            }
        }
    }

    /// Counts a request to change something, and has it logged.
    fn note_change(&mut self, change: &HostChange, context: &Context<'_>) {
        context.directory.note_host_change(change.address);
        if self.answered.changes.count(change, context.now_ns)
            && let Some(log) = &context.change_log
        {
            // If there is no room, the log has only the number.
            let _ = log.try_send(*change);
        }
    }

    /// Collects what the store has completed and makes the replies.
    pub(super) fn harvest(&mut self, done: &mut Vec<Finished>, context: &mut Context<'_>) {
        self.used = false;
        let mut has_submitted = true;
        while std::mem::take(&mut has_submitted) {
            self.export.store.kick();
            while let Some(completion) = self.export.store.complete() {
                self.complete(completion, done, context);
                // Within the loop: a synchronous store completes these at once, and the next
                // `complete` returns them.
                while let Some(entry) = self.requests.next_ready() {
                    // It may need only a sync, which a kick begins.
                    has_submitted = true;
                    if let Some(refused) = self.submit_waiting(entry, context) {
                        done.push(refused);
                        self.release_coalesced(entry, done);
                    }
                }
            }
        }
    }

    /// Looks for a reason not to execute a write.
    #[inline]
    fn obstacle_to(
        &mut self,
        inbound: &Inbound,
        task: &Task,
        span: Span,
        lane: &SharedLane,
        context: &mut Context<'_>,
    ) -> Option<Obstacle> {
        if let Some(leader) = self.requests.duplicate_in_flight(&task.fingerprint, span) {
            return Some(Obstacle::InFlight(leader));
        }
        match self.answered.writes.find(inbound, &task.fingerprint, context.now_ns) {
            Found::New => {}
            Found::Copy(result) => return Some(Obstacle::Answered(result)),
            Found::TagReused => context.stats.counters.tags_reused += 1,
        }
        self.is_overtaken(inbound, task, lane.worker, context.now_ns).then_some(Obstacle::Late)
    }

    /// Handles a write that is not executed.
    #[inline(never)]
    fn not_executed(
        &mut self,
        mut inbound: Inbound,
        task: Task,
        obstacle: Obstacle,
        lane: &SharedLane,
        context: &mut Context<'_>,
    ) -> Option<Finished> {
        let counters = &mut context.stats.counters;
        match obstacle {
            Obstacle::InFlight(leader) => {
                counters.folded += 1;
                self.tally.counters.folded += 1;
                let oldest = self.requests.coalesce(leader, Pending { inbound, task })?;
                counters.followers_released += 1;
                Some(oldest.unanswered())
            }
            Obstacle::Answered(result) => {
                counters.repeated += 1;
                self.tally.counters.repeated += 1;
                self.answered.writes.renew(&inbound, context.now_ns);
                let reply_len = self.conclude(&mut inbound, &task, result, lane);
                Some(inbound.answered(&task, reply_len))
            }
            Obstacle::Late => {
                counters.late_writes += 1;
                Some(Pending { inbound, task }.unanswered())
            }
        }
    }

    /// Enters a request into the request table, and submits it to the store unless it has to
    /// wait.
    #[inline(never)]
    fn enter(
        &mut self,
        pending: Pending,
        span: Option<Span>,
        lane: &SharedLane,
        done: &mut Vec<Finished>,
        context: &mut Context<'_>,
    ) {
        match self.requests.admit(pending, span) {
            Ok(Admitted::Runs(entry)) => done.extend(self.submit(entry, lane, context)),
            Ok(Admitted::Waits) => {
                context.stats.counters.waited += 1;
                self.tally.counters.waited += 1;
            }
            Err(SlabFull(pending)) => {
                // No reply: by the time the initiator resends, there will be room.
                context.stats.counters.slab_full += 1;
                done.push(pending.unanswered());
            }
        }
    }

    /// Executes a request inline, if no conflicting request is in flight and the store
    /// can do so. Such a request never enters the request table.
    #[inline(always)]
    fn try_inline(
        &mut self,
        frame: &mut Frame,
        task: &mut Task,
        span: Span,
        lane: &SharedLane,
        now_ns: u64,
    ) -> Option<Result<(), IoError>> {
        // Stores that use the worker's ring never complete inline.
        let never = task.fingerprint.kind == Kind::Discard || self.uses_ring;
        if never || !self.requests.is_clear(span) {
            return None;
        }
        let mut op = task.op(INTERNAL_TOKEN);
        if !task.lend(frame, &mut op.buffers, &lane.umem) {
            return None;
        }
        let result = self.export.store.try_inline(&mut op)?;
        self.used = true;
        task.submitted_ns = now_ns;
        Some(result)
    }

    /// As [`Self::submit`], for a request that had to wait. Drops a write if a newer one
    /// has been answered meanwhile: that may be the one it waited for.
    fn submit_waiting(&mut self, entry: u16, context: &mut Context<'_>) -> Option<Finished> {
        let pending = self.requests.get(entry)?;
        let Some(lane) = context.lane_of(&pending.inbound) else {
            return self.requests.give_up(entry, None).map(Pending::unanswered);
        };
        let Pending { inbound, task } = pending;
        let late =
            self.is_overtaken(inbound, task, lane.worker, context.now_ns) && !planted(Bug::NoSecondLook);
        if !task.fingerprint.kind.writes() || !late {
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
            return self.follow_size(&context.directory);
        }
        let Some(pending) = self.requests.complete(token) else {
            context.stats.counters.stale_completions += 1;
            return;
        };
        if pending.task.fingerprint.kind == Kind::Measure {
            self.follow_size(&context.directory);
        }
        done.push(match context.lane_of(&pending.inbound) {
            Some(lane) => {
                let Pending { mut inbound, task } = pending;
                let reply_len = self.ended(&mut inbound, &task, result, lane, context);
                inbound.answered(&task, reply_len)
            }
            None => pending.unanswered(),
        });
        while let Some(coalesced) = self.requests.next_coalesced(token as u16) {
            done.push(match context.lane_of(&coalesced.inbound) {
                Some(lane) => {
                    let Pending { mut inbound, task } = coalesced;
                    let reply_len = self.answer(&mut inbound, &task, result, lane, context);
                    inbound.answered(&task, reply_len)
                }
                None => coalesced.unanswered(),
            });
        }
    }

    /// Handles the result of an executed request. Returns what [`Self::conclude`] does.
    #[inline(always)]
    fn ended(
        &mut self,
        inbound: &mut Inbound,
        task: &Task,
        result: Result<(), IoError>,
        lane: &SharedLane,
        context: &mut Context<'_>,
    ) -> (Option<u32>, Outcome) {
        context.stats.completed(task.fingerprint.kind, result);
        if result.is_err() && self.export.store.degraded().is_some() {
            context.directory.mark_degraded(self.address());
        }
        self.answer(inbound, task, result, lane, context)
    }

    /// As [`Self::conclude`], but first records a write as answered.
    #[inline(always)]
    fn answer(
        &mut self,
        inbound: &mut Inbound,
        task: &Task,
        result: Result<(), IoError>,
        lane: &SharedLane,
        context: &mut Context<'_>,
    ) -> (Option<u32>, Outcome) {
        if task.fingerprint.kind.writes() && result != Err(IoError::Transient) {
            self.record(inbound, &task.fingerprint, result, lane, context);
        }
        self.conclude(inbound, task, result, lane)
    }

    /// Records a write as answered.
    #[inline(never)]
    fn record(
        &mut self,
        inbound: &Inbound,
        fingerprint: &Fingerprint,
        result: Result<(), IoError>,
        lane: &SharedLane,
        context: &mut Context<'_>,
    ) {
        let arrival = inbound.arrival(lane.worker);
        match self.answered.writes.record(inbound, arrival, fingerprint, result, context.now_ns) {
            Recorded::Kept => {}
            Recorded::TagReused => context.stats.counters.tags_reused += 1,
            Recorded::NoPlace => context.stats.counters.not_remembered += 1,
        }
    }

    /// Writes the reply to a request with this result. Returns its length, if there is one,
    /// and how the request ended.
    #[inline(always)]
    fn conclude(
        &self,
        inbound: &mut Inbound,
        task: &Task,
        result: Result<(), IoError>,
        lane: &SharedLane,
    ) -> (Option<u32>, Outcome) {
        match (result, task.fingerprint.kind) {
            (Ok(()), kind @ (Kind::Read | Kind::Write)) => {
                let (reply, bytes) = command::success(&task.ata, kind);
                let Inbound { frame, header, .. } = inbound;
                let first = lane.umem.piece_mut(frame, 0);
                let len = wire::emit_ata(&reply, bytes, header, lane.mac(), self.address(), first);
                (len.map(|len| len as u32), if len.is_some() { Outcome::Done } else { Outcome::Unanswered })
            }
            // A retry may succeed, but the host would treat an error as final.
            (Err(IoError::Transient), _) => (None, Outcome::Unanswered),
            _ => self.finish(inbound, task, result, lane),
        }
    }

    /// As [`Self::conclude`], for any but the usual results.
    #[inline(never)]
    fn finish(
        &self,
        inbound: &mut Inbound,
        task: &Task,
        result: Result<(), IoError>,
        lane: &SharedLane,
    ) -> (Option<u32>, Outcome) {
        let reply = command::finish(&task.ata, task.fingerprint.kind, result, &self.export.state);
        write_reply(inbound, &reply, self.address(), lane)
    }
}

/// Ends a request that has waited for a limit without a reply: its host resends it.
fn not_run(inbound: Inbound) -> Finished {
    let asked = inbound.ata;
    let operation = asked.map_or(Operation::Ata, |ata| operation_of(ata.command));
    Finished { asked, ..inbound.unanswered(operation) }
}

/// Why a write is not executed.
enum Obstacle {
    /// The same write is in flight, with this index.
    InFlight(u16),
    /// It was answered with this result.
    Answered(Result<(), IoError>),
    /// A newer write was answered, or may have been.
    Late,
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

/// Writes the reply over the request, and finishes it.
#[inline(never)]
fn reply_to(
    mut inbound: Inbound,
    operation: Operation,
    reply: Reply<'_>,
    from: aoe::Address,
    lane: &SharedLane,
) -> Finished {
    let (len, outcome) = write_reply(&mut inbound, &reply, from, lane);
    inbound.done(operation, outcome, len)
}

/// Writes the reply over the request. Returns its length, and how the request ended.
#[inline(always)]
fn write_reply(
    inbound: &mut Inbound,
    reply: &Reply<'_>,
    from: aoe::Address,
    lane: &SharedLane,
) -> (Option<u32>, Outcome) {
    let Inbound { frame, header, .. } = inbound;
    match reply.emit(header, lane.mac(), from, lane.umem.piece_mut(frame, 0)) {
        Some(len) => (Some(len as u32), if reply.is_error() { Outcome::Failed } else { Outcome::Done }),
        None => (None, Outcome::Unanswered),
    }
}

fn operation_of_body(body: &Body<'_>) -> Operation {
    match body {
        Body::Ata { ata, .. } => operation_of(ata.command),
        Body::Query(_) => Operation::Query,
        Body::Mask(_) | Body::Reserve(_) | Body::Unknown(_) => Operation::Other,
    }
}

fn operation_of(command: ata::Command) -> Operation {
    match command.direction() {
        ata::Direction::Read => Operation::Read,
        ata::Direction::Write if command == ata::Command::DataSetManagement => Operation::Discard,
        ata::Direction::Write => Operation::Write,
        ata::Direction::None => match command {
            ata::Command::FlushCache | ata::Command::FlushCacheExt => Operation::Flush,
            _ => Operation::Ata,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_counted_by_what_they_do() {
        for (code, expected) in [
            (0x20, Operation::Read),
            (0x24, Operation::Read),
            (0x30, Operation::Write),
            (0x34, Operation::Write),
            (0x06, Operation::Discard),
            (0xe7, Operation::Flush),
            (0xea, Operation::Flush),
            (0xe5, Operation::Ata),
            (0xec, Operation::Ata),
        ] {
            assert_eq!(operation_of(code.into()), expected, "{code:#x}");
        }
    }
}
