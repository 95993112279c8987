//! The event loop. A worker polls its lanes and owns its exports.
//!
//! ```text
//!             ┌────────────────────── one turn ───────────────────────┐
//! lanes ──► receive ──► owner here? ──yes──► ExportSet ─────► store   │
//!    ▲        │             └─no─► channels ─► owner's ExportSet │     │
//!    │        └ drop, counted                                   ▼     │
//!    └── send ◄── finish ◄──────────── channels ◄─────────── harvest  │
//!             └───────────────────────────────────────────────────────┘
//! ```
//!
//! Each export belongs to one worker, which alone orders its requests. Each frame belongs
//! to the lane that received it: only that lane's worker extends, truncates, sends or
//! releases it. If another worker owns the export, the request travels there and back as
//! a message, in a frame that already has room for the reply. A request to a broadcast
//! address is copied for each export.
//!
//! The caller passes in the time, and the rings are a type parameter. With `FakeRings`
//! the whole worker therefore runs deterministically and without root.
//!
//! Where to look:
//! - `run`, `idle`, `asleep`: the thread, its commands, spinning and sleeping;
//! - `export_set`, `export_runtime`: executing requests;
//! - `request_table`, `inflight`, `coalesced`: requests in flight;
//! - `pass`, `answered`, `answered_sets`, `tag_order`, `identified`, `fingerprint`:
//!   duplicate and late requests;
//! - `channels`, `messages`, `directory`, `lanes`: what workers share and exchange;
//! - `save`, `saving`, `announce`: saving state, announcing exports;
//! - `stats`, `trace`: observation.

mod announce;
mod answered;
mod answered_sets;
mod asleep;
mod request_table;
mod fingerprint;
mod execute;
mod export_set;
mod directory;
mod channels;
mod coalesced;
mod identified;
mod idle;
mod inflight;
mod messages;
mod save;
mod saving;
mod lanes;
mod pass;
mod run;
mod export_runtime;
mod stats;
mod tag_order;
mod trace;

use std::sync::Arc;

pub use channels::WorkerChannels;
pub use directory::{Directory, Owner};
pub use export_runtime::{Answered, ExportRuntime, ExportSnapshot};
pub use idle::{IdlePolicy, Waiter, Waker};
pub use lanes::SharedLane;
pub use run::{LaneSnapshot, Snapshot, WorkerCommand, run};
pub use save::{Clear, SaveAck, SaveRequest};
pub use stats::{Counters, Stats, lane_rows};
pub use tag_order::HORIZON_NS;
pub use trace::{CAPTURE_MAX, TraceOutcome, Traced, Tracer};

use self::export_set::ExportSet;
use self::messages::{Finished, Inbound};
use self::pass::Pass;
use self::trace::Tracing;
use crate::command;
use crate::ring::{BATCH, Frame, Lane, NoChunks, Rings, TxFull};
use crate::shelf::Export;
use crate::store::Ring;
use crate::wire::aoe::Header;
use crate::wire::{DropReason, ReadHint};

/// The firmware version in query replies.
pub const FIRMWARE: u16 = 1;

/// The parts from which a worker is built.
pub struct WorkerConfig<R: Rings> {
    /// Index of the worker.
    pub index: u16,
    /// Its lanes, with their index among all lanes.
    pub lanes: Vec<(u16, Lane<R>)>,
    /// Every lane of every worker.
    pub shared: Arc<[SharedLane]>,
    /// The worker's exports. The position of each is its index in the directory.
    pub exports: Vec<Export>,
    /// Exports of all workers.
    pub directory: Arc<Directory>,
    /// This worker's ends of the channels.
    pub channels: WorkerChannels,
    /// Executes the calls of its stores; `None` without io_uring.
    pub ring: Option<Ring>,
    /// The buffer count in query replies.
    pub buffer_count: u16,
    /// Maximum number of requests in flight per export.
    pub in_flight: u16,
}

/// A monotonic clock.
pub trait Clock {
    /// Nanoseconds since an arbitrary start.
    fn now_ns(&self) -> u64;
}

/// A worker: one thread's share of the lanes and exports.
pub struct Worker<R: Rings> {
    index: u16,
    lanes: Vec<LaneState<R>>,
    shared: Arc<[SharedLane]>,
    directory: Arc<Directory>,
    channels: WorkerChannels,
    exports: ExportSet,
    /// Received in this turn; empty between turns.
    batch: Vec<Frame>,
    /// Finished in this turn; empty between turns.
    done: Vec<Finished>,
    /// Number of requests from this worker's lanes that other workers are executing.
    away: usize,
    pass: Pass,
    stats: Stats,
    tracing: Tracing,
}

struct LaneState<R: Rings> {
    id: u16,
    lane: Lane<R>,
    /// Descriptors of this pass that have not been received yet.
    left: usize,
    /// Number of frame pieces that the kernel had not yet taken at the last kick.
    unsent: u32,
}

impl<R: Rings> Worker<R> {
    /// Builds a worker. Allocates all its memory.
    pub fn new(parts: WorkerConfig<R>) -> Self {
        let own = |(id, lane)| LaneState { id, lane, left: 0, unsent: 0 };
        Self {
            index: parts.index,
            batch: Vec::with_capacity(BATCH),
            done: Vec::with_capacity(done_max(&parts)),
            exports: ExportSet::new(
                parts.exports,
                Arc::clone(&parts.shared),
                Arc::clone(&parts.directory),
                parts.ring,
                parts.buffer_count,
                parts.in_flight,
            ),
            lanes: parts.lanes.into_iter().map(own).collect(),
            shared: parts.shared,
            directory: parts.directory,
            channels: parts.channels,
            away: 0,
            pass: Pass::default(),
            stats: Stats::default(),
            tracing: Tracing::default(),
        }
    }

    /// Polls everything once, without waiting. Returns the amount of work done.
    pub fn turn(&mut self, clock: &impl Clock) -> usize {
        self.reclaim();
        self.begin_pass(clock);
        let received = self.receive(clock);
        received + self.settle(clock)
    }

    /// The part of a turn that receives no new frames: finishes what is in flight.
    pub fn settle(&mut self, clock: &impl Clock) -> usize {
        let taken = self.take_over();
        self.exports.harvest(&mut self.done, &mut self.stats);
        let mut finished = self.finish(clock);
        // After `finish`, which counts the requests of these exports.
        self.exports.reap_detached(&mut self.done);
        finished += self.finish(clock);
        // Before `send`: the refill determines whether the kernel needs a wakeup.
        self.refill();
        self.send();
        taken + finished
    }

    /// Whether requests are in flight, here or at other workers, or replies are unsent.
    pub fn is_busy(&self) -> bool {
        self.is_serving() || self.lanes.iter().any(|own| own.unsent > 0)
    }

    /// Whether a request is in flight that has no reply yet.
    fn is_serving(&self) -> bool {
        self.away > 0 || self.exports.in_flight() > 0 || !self.channels.is_empty()
    }

    /// The counters.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The lanes of this worker.
    pub fn lanes(&self) -> impl Iterator<Item = &Lane<R>> {
        self.lanes.iter().map(|own| &own.lane)
    }

    fn reclaim(&mut self) {
        for own in &mut self.lanes {
            own.lane.reclaim();
        }
    }

    fn receive(&mut self, clock: &impl Clock) -> usize {
        let mut received = 0;
        let mut batch = std::mem::take(&mut self.batch);
        for at in 0..self.lanes.len() {
            let Some(own) = self.lanes.get_mut(at) else { break };
            if own.left == 0 {
                continue;
            }
            let taken = own.lane.receive_up_to(own.left, &mut batch);
            own.left = if taken == 0 { 0 } else { own.left.saturating_sub(taken) };
            received += taken;
            let now_ns = clock.now_ns();
            let mut frames = batch.drain(..);
            while let Some(frame) = frames.next() {
                self.prefetch(at, frames.as_slice().first());
                self.admit(at, frame, now_ns);
            }
            drop(frames);
            // Before the next lane: a synchronous store only has room for the completions
            // of one or two batches.
            self.exports.harvest(&mut self.done, &mut self.stats);
        }
        self.batch = batch;
        received
    }

    /// Prefetches what the next frame will read while the current one is processed.
    fn prefetch(&self, at: usize, next: Option<&Frame>) {
        let hint =
            self.lanes.get(at).zip(next).and_then(|(own, next)| ReadHint::at(own.lane.umem().piece(next, 0)));
        if let Some(hint) = hint
            && let Some(owner) = self.directory.owner(hint.address)
            && owner.worker == self.index
        {
            self.exports.prefetch(owner.export, hint.sector, hint.count.into());
        }
    }

    /// Passes a received frame to the owners of the exports that it addresses.
    fn admit(&mut self, at: usize, frame: Frame, now_ns: u64) {
        let header = match self.check(at, &frame) {
            Ok(header) => header,
            Err(reason) => return self.drop_frame(at, frame, reason),
        };
        let [first, second] = {
            let mut owners = self.directory.find(&header);
            [owners.next(), owners.next()]
        };
        match (first, second) {
            (None, _) => self.drop_frame(at, frame, DropReason::Address),
            (Some(owner), None) => self.dispatch(at, frame, header, owner, now_ns),
            (Some(_), Some(_)) => self.admit_to_all(at, frame, header, now_ns),
        }
    }

    /// Passes a frame to several exports: the frame itself to the last one, a copy to
    /// each of the others.
    fn admit_to_all(&mut self, at: usize, frame: Frame, header: Header, now_ns: u64) {
        let directory = Arc::clone(&self.directory);
        let mut owners = directory.find(&header).peekable();
        while let Some(owner) = owners.next() {
            if owners.peek().is_none() {
                return self.dispatch(at, frame, header, owner, now_ns);
            }
            if let Some(Ok(copy)) = self.lanes.get_mut(at).map(|own| own.lane.duplicate(&frame)) {
                self.dispatch(at, copy, header, owner, now_ns);
            } else {
                self.stats.counters.no_chunks += 1;
            }
        }
    }

    fn check(&self, at: usize, frame: &Frame) -> Result<Header, DropReason> {
        let own = self.lanes.get(at).ok_or(DropReason::Destination)?;
        let shared = self.shared.get(usize::from(own.id)).ok_or(DropReason::Destination)?;
        let header = Header::parse(own.lane.umem().piece(frame, 0))?;
        header.check_link(shared.mac())?;
        Ok(header)
    }

    /// Makes room for the reply, which only this lane can do, and passes the request to
    /// the owner of its export.
    fn dispatch(&mut self, at: usize, mut frame: Frame, header: Header, owner: Owner, now_ns: u64) {
        let Some(own) = self.lanes.get_mut(at) else { return };
        let request_len = frame.len();
        let first = own.lane.umem().piece(&frame, 0);
        let sectors = self.shared.get(usize::from(own.id)).map_or(0, |shared| shared.reply_limit().now);
        let room = command::reply_len_max(&header, first, sectors).max(request_len);
        if room > request_len {
            own.lane.move_to_hot_chunk(&mut frame);
            if own.lane.resize(&mut frame, room) == Err(NoChunks) {
                self.stats.counters.no_chunks += 1;
                return own.lane.release(frame);
            }
        }
        if frame.arrived_ns().is_some_and(|ns| ns > now_ns) {
            // A stamp in the future is not from the XDP program.
            frame.set_arrived(None);
        }
        let inbound = Inbound {
            frame,
            header,
            lane: own.id,
            export: owner.export,
            request_len: request_len as u32,
            received_ns: now_ns,
            since_ns: self.pass.since_ns(owner.worker == self.index),
        };
        if owner.worker == self.index {
            self.done.extend(self.exports.execute(inbound, &mut self.stats));
            return;
        }
        match self.channels.hand_over(owner.worker, inbound) {
            Ok(()) => {
                self.stats.counters.handed_over += 1;
                self.away += 1;
            }
            Err(inbound) => {
                self.stats.counters.hand_over_full += 1;
                own.lane.release(inbound.frame);
            }
        }
    }

    /// Executes requests that other workers received for this worker's exports, and sends
    /// the replies to requests of its own lanes that other workers have finished.
    fn take_over(&mut self) -> usize {
        if self.channels.is_empty() {
            self.pass.inbound = 0;
            return 0;
        }
        let mut taken = 0;
        while taken < self.pass.inbound.min(BATCH)
            && let Some(inbound) = self.channels.next_inbound()
        {
            self.done.extend(self.exports.execute(inbound, &mut self.stats));
            taken += 1;
        }
        self.pass.inbound = if taken == 0 { 0 } else { self.pass.inbound - taken };
        let mut back = 0;
        while back < BATCH
            && let Some(done) = self.channels.next_finished()
        {
            self.away -= 1;
            self.reply(done);
            back += 1;
        }
        taken + back
    }

    fn finish(&mut self, clock: &impl Clock) -> usize {
        if self.done.is_empty() {
            return 0;
        }
        let now_ns = clock.now_ns();
        let mut finished = std::mem::take(&mut self.done);
        let n = finished.len();
        for done in finished.drain(..) {
            self.exports.count(&done, now_ns);
            let lane = self.shared.get(usize::from(done.lane));
            if let Some(lane) = lane {
                self.tracing.done(&done, &lane.umem, now_ns);
            }
            let worker = lane.map_or(self.index, |lane| lane.worker);
            if worker == self.index {
                self.reply(done);
            } else {
                // Fails only if that worker has exited. Its memory is gone then, too.
                let _ = self.channels.give_back(worker, done);
            }
        }
        self.done = finished;
        n
    }

    /// Sends a reply, or releases the frame of a request that gets none.
    fn reply(&mut self, done: Finished) {
        let Some(own) = self.lanes.iter_mut().find(|own| own.id == done.lane) else { return };
        let mut frame = done.frame;
        let Some(len) = done.reply_len else { return own.lane.release(frame) };
        if own.lane.resize(&mut frame, len as usize).is_err() {
            self.stats.counters.unsendable += 1;
            return own.lane.release(frame);
        }
        match own.lane.transmit(frame) {
            Ok(()) => self.stats.counters.replies += 1,
            Err(TxFull(frame)) => {
                self.stats.counters.tx_full += 1;
                own.lane.release(frame);
            }
        }
    }

    fn send(&mut self) {
        for own in &mut self.lanes {
            match own.lane.flush() {
                Ok(unsent) => own.unsent = unsent,
                Err(_) => {
                    // Retrying is pointless: the interface is gone.
                    own.unsent = 0;
                    self.stats.counters.kick_errors += 1;
                }
            }
        }
    }

    fn refill(&mut self) {
        for own in &mut self.lanes {
            own.lane.refill();
        }
    }

    fn drop_frame(&mut self, at: usize, frame: Frame, reason: DropReason) {
        self.stats.dropped(reason);
        if let Some(own) = self.lanes.get_mut(at) {
            self.tracing.dropped(own.id, own.lane.umem(), &frame, reason);
            own.lane.release(frame);
        }
    }
}

/// Maximum number of requests finished in one turn: each occupies at least one chunk of a
/// UMEM.
fn done_max<R: Rings>(parts: &WorkerConfig<R>) -> usize {
    let mut memories: Vec<_> =
        parts.shared.iter().map(|lane| (lane.umem.extent(), lane.umem.chunks())).collect();
    memories.sort_unstable();
    memories.dedup();
    memories.iter().map(|(_, chunks)| *chunks as usize).sum()
}

#[cfg(test)]
mod tests;
