//! The event loop. A worker polls its lanes and owns its exports.
//!
//! ```text
//!             ┌────────────────────── one turn ───────────────────────┐
//! lanes ──► receive ──► owner here? ──yes──► ExportSet ─────► store   │
//!    ▲        │  └─ held ─┘ └─no─► channels ─► owner's ExportSet │     │
//!    │        └ drop, counted                                   ▼     │
//!    └── send ◄── finish ◄──────────── channels ◄─────────── harvest  │
//!             └───────────────────────────────────────────────────────┘
//! ```
//!
//! Each export belongs to one worker, which alone orders its requests. Each frame belongs
//! to the lane that received it: only that lane's worker extends, truncates, sends or
//! releases it. If another worker owns the export, the request travels there and back as
//! a message, in a frame that already has room for the reply. A request to a broadcast
//! address is copied for each export, a few in each turn. If more requests of several hosts
//! wait than are executed at once, they are held, and the hosts take turns.
//!
//! The caller passes in the time, and the rings are a type parameter. With `FakeRings`
//! the whole worker therefore runs deterministically and without root.
//!
//! Where to look:
//! - `run`, `idle`, `asleep`: the thread, its commands, spinning and sleeping;
//! - `export_set`, `export_runtime`: executing requests;
//! - `request_table`, `inflight`, `coalesced`: requests in flight;
//! - `hosts`, `held`, `fan_out`, `limiter`: sharing a worker between hosts, rate limits;
//! - `pass`, `answered`, `answered_sets`, `tag_order`, `identified`, `fingerprint`:
//!   duplicate and late requests;
//! - `channels`, `messages`, `directory`, `lanes`: what workers share and exchange;
//! - `save`, `saving`, `host_changes`, `announce`: saving what hosts set, counting and
//!   logging it, announcing exports;
//! - `stats`, `trace`: observation.

mod announce;
mod answered;
mod answered_sets;
mod asleep;
mod request_table;
mod fingerprint;
mod execute;
mod export_set;
mod host_changes;
mod directory;
mod channels;
mod coalesced;
mod fan_out;
mod held;
mod hosts;
mod identified;
mod idle;
mod inflight;
mod messages;
mod save;
mod saving;
mod lanes;
mod limiter;
mod pass;
mod run;
mod export_runtime;
mod stats;
mod tag_order;
mod trace;

use std::sync::Arc;

pub use announce::Announcement;
pub use channels::WorkerChannels;
pub use directory::{Directory, Owner};
pub use export_runtime::{Answered, ExportRuntime, ExportSnapshot};
pub use host_changes::{ChangeOutcome, Changes, Excerpt, HostChange, HostChanges, LastChange};
pub use idle::{IdlePolicy, Waiter, Waker};
pub use lanes::SharedLane;
pub use run::{LaneSnapshot, Snapshot, WorkerCommand, now_ns, run};
pub use save::{Cleared, SaveAck, SaveRequest};
pub use stats::{Counters, Stats, lane_rows};
pub use tag_order::HORIZON_NS;
pub use trace::{CAPTURE_MAX, TraceOutcome, Traced, Tracer};

use self::export_set::ExportSet;
use self::fan_out::{FanOut, FanOuts};
use self::held::{Held, HeldRequests};
use self::hosts::{Busy, HostFinder};
use self::messages::{Finished, Inbound};
use self::pass::Pass;
use self::trace::Tracing;
use crate::command;
use crate::ring::{BATCH, Candidates, FRAGMENTS_MAX, Frame, Lane, NoChunks, Rings, TxFull};
use crate::shelf::Export;
use crate::store::Ring;
use crate::wire::aoe::{Command, Header, Role};
use crate::wire::ether::{Ether, Mac, Tags};
use crate::wire::{DropReason, ata};

/// How a worker shares its time between hosts.
#[derive(Clone, Copy, Debug)]
pub struct Sharing {
    /// Up to this number, requests that wait are executed in the order of their arrival,
    /// without regard to their hosts.
    pub in_order_max: usize,
    /// Maximum number of held requests executed in a turn.
    pub turn_max: usize,
}

impl Default for Sharing {
    /// What waits in order takes less than a millisecond.
    fn default() -> Self {
        Self { in_order_max: 4 * BATCH, turn_max: BATCH }
    }
}

/// Batches that are received in one turn while requests are held.
const HELD_BATCHES: usize = 4;

/// Only one host is active if the frames received for this long are all from one.
const SEVERAL_NS: u64 = 10_000_000;

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
    /// A number that hosts do not know.
    pub seed: u64,
    /// How it shares its time between hosts.
    pub sharing: Sharing,
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
    /// The headers of these, and one more.
    heads: Vec<Head>,
    /// Finished in this turn; empty between turns.
    done: Vec<Finished>,
    /// Number of requests from this worker's lanes that other workers are executing.
    away: usize,
    sharing: Sharing,
    held: HeldRequests,
    fan_outs: FanOuts,
    candidates: Candidates,
    busy: Busy,
    /// When requests of several hosts were received last.
    several_ns: u64,
    /// Requests finished in the last turn.
    settled: usize,
    pass: Pass,
    stats: Stats,
    tracing: Tracing,
}

/// The headers of a received frame.
#[derive(Clone, Copy, Debug)]
struct Head {
    header: Header,
    /// The ATA header, if it is a complete ATA request.
    ata: Option<ata::Request>,
    to: Addressee,
    /// The number of its host.
    host: u16,
}

/// Where a received frame goes.
#[derive(Clone, Copy, Debug)]
enum Addressee {
    /// To this export.
    One(Owner),
    /// To several exports, or to none.
    Several,
    /// Nowhere: it is dropped.
    None(DropReason),
}

impl Head {
    /// Of a frame that is dropped.
    const NONE: Self = Self {
        header: Header {
            ether: Ether { dst: Mac([0; 6]), src: Mac([0; 6]), tags: Tags::NONE },
            role: Role::Request,
            shelf: 0,
            slot: 0,
            command: Command::Ata,
            tag: 0,
        },
        ata: None,
        to: Addressee::None(DropReason::TooShort),
        host: 0,
    };

    /// Parses the headers in the first piece of a frame.
    #[inline]
    fn parse(&mut self, first: &[u8], mac: Mac, directory: &Directory) -> Result<(), DropReason> {
        self.header = Header::parse(first)?;
        self.header.check_link(mac)?;
        self.to = directory.addressee(&self.header);
        self.ata = ata::Request::behind(&self.header, first);
        Ok(())
    }
}

struct LaneState<R: Rings> {
    id: u16,
    lane: Lane<R>,
    hosts: HostFinder,
    /// Descriptors of this pass that have not been received yet.
    left: usize,
    /// Number of frame pieces that the kernel had not yet taken at the last kick.
    unsent: u32,
}

impl<R: Rings> LaneState<R> {
    /// Whether so few chunks are free, or so many with the kernel for sending, that hosts may
    /// have only their share of them.
    fn is_short_of_room(&self) -> bool {
        self.lane.has_fewer_free(self.lane.umem().chunks() / 4) || self.is_sending_much()
    }

    /// Whether a request may be executed of a host that has this many chunks in use: as many
    /// are left for others.
    fn has_room_for(&self, busy: u32) -> bool {
        let free = self.lane.chunks_free();
        let needed = (self.lane.umem().chunks() / 8).min(FRAGMENTS_MAX as u32);
        // Without anything under way, waiting would not free any.
        (busy == 0 || busy < free && free >= needed) && !self.is_sending_much()
    }

    fn is_sending_much(&self) -> bool {
        self.lane.sending() > self.lane.ring_size() / 2
    }
}

/// Where a request comes from.
#[derive(Clone, Copy)]
struct Origin {
    /// Position of the lane that received it, among those of the worker.
    at: usize,
    /// When it was received.
    received_ns: u64,
    /// Lower bound of its arrival time, if it has no stamp.
    since_ns: u64,
    /// Whether others that arrived later may have been executed before it.
    held: bool,
}

impl<R: Rings> Worker<R> {
    /// Builds a worker. Allocates all its memory.
    pub fn new(parts: WorkerConfig<R>) -> Self {
        let hosts = hosts::count(parts.shared.iter().map(|lane| lane.interface + 1).max().unwrap_or(0));
        let busy = Busy::new(hosts);
        let capacity = parts.lanes.iter().map(|(_, lane)| lane.ring_size()).sum();
        let own = |(id, lane): (u16, Lane<R>)| {
            let hosts = parts.shared.get(usize::from(id)).map(SharedLane::host_finder);
            let hosts = hosts.unwrap_or_else(|| HostFinder::new(Arc::default(), 0, 0));
            LaneState { id, lane, hosts, left: 0, unsent: 0 }
        };
        Self {
            sharing: parts.sharing,
            held: HeldRequests::new(capacity, hosts),
            fan_outs: FanOuts::new(),
            candidates: Candidates::new(parts.seed),
            busy: busy.clone(),
            several_ns: 0,
            settled: 0,
            index: parts.index,
            batch: Vec::with_capacity(BATCH),
            heads: vec![Head::NONE; BATCH + 1],
            done: Vec::with_capacity(done_max(&parts)),
            exports: ExportSet::new(
                parts.exports,
                Arc::clone(&parts.shared),
                Arc::clone(&parts.directory),
                parts.ring,
                parts.buffer_count,
                (parts.in_flight, busy),
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
        received + self.work(clock)
    }

    /// Executes what has been received, as far as a turn goes, and finishes what is in flight.
    fn work(&mut self, clock: &impl Clock) -> usize {
        let run = self.run_held() + self.exports.run_limited(&mut self.done, &mut self.stats);
        let visited = self.run_fan_outs(run + self.settled);
        self.settled = self.settle(clock);
        run + visited + self.settled
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
        self.away > 0 || self.has_waiting() || self.exports.in_flight() > 0 || !self.channels.is_empty()
    }

    /// Whether received requests have not been passed on yet.
    fn has_waiting(&self) -> bool {
        !self.held.is_empty() || self.fan_outs.len() > 0
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
        let (mut batch, mut heads) = (std::mem::take(&mut self.batch), std::mem::take(&mut self.heads));
        for at in 0..self.lanes.len() {
            for _ in 0..HELD_BATCHES {
                let Some(own) = self.lanes.get_mut(at) else { break };
                if own.left == 0 {
                    break;
                }
                let taken = own.lane.receive_up_to(own.left, &mut batch);
                own.left = if taken == 0 { 0 } else { own.left.saturating_sub(taken) };
                received += taken;
                let now_ns = clock.now_ns();
                self.parse(at, &batch, &mut heads, now_ns);
                if self.holds(at, now_ns) {
                    let received = batch.drain(..).zip(&heads);
                    received.for_each(|(frame, head)| self.hold(at, frame, head, now_ns));
                    continue;
                }
                for (frame, head) in batch.drain(..).zip(heads.array_windows()) {
                    let [head, next] = head;
                    self.prefetch(next);
                    self.admit(at, frame, head, now_ns);
                }
                // Before the next lane: a synchronous store only has room for the completions
                // of one or two batches.
                self.exports.harvest(&mut self.done, &mut self.stats);
                break;
            }
        }
        (self.batch, self.heads) = (batch, heads);
        received
    }

    /// Parses the headers of a batch. All at once, so that the data of each request can be
    /// prefetched while the one before it is executed.
    fn parse(&mut self, at: usize, batch: &[Frame], heads: &mut [Head], now_ns: u64) {
        let Some(own) = self.lanes.get_mut(at) else { return };
        let Some(shared) = self.shared.get(usize::from(own.id)) else { return };
        let (umem, mac) = (own.lane.umem(), shared.mac());
        let (held, ring_size) = (&self.held, own.lane.ring_size());
        let share = |host| u64::from(held.ring_share(host, ring_size));
        for (frame, head) in batch.iter().zip(&mut *heads) {
            if let Err(reason) = head.parse(umem.piece(frame, 0), mac, &self.directory) {
                *head = Head { to: Addressee::None(reason), ..Head::NONE };
                continue;
            }
            let ether = &head.header.ether;
            head.host = own.hosts.find_last(ether).unwrap_or_else(|| {
                let (host, differs) = own.hosts.find(ether, &mut self.candidates, share, now_ns);
                self.several_ns = if differs { now_ns } else { self.several_ns };
                host
            });
            own.hosts.count(frame.len());
        }
        own.hosts.note_received(share, now_ns);
        if let Some(after) = heads.get_mut(batch.len()) {
            *after = Head::NONE;
        }
    }

    /// Whether to hold what this lane receives, so that no host waits for all requests of
    /// another.
    fn holds(&self, at: usize, now_ns: u64) -> bool {
        let is_crowded = || {
            self.pass.waiting > self.sharing.in_order_max
                && now_ns.saturating_sub(self.several_ns) < SEVERAL_NS
        };
        !self.held.is_empty() || is_crowded() || self.lanes.get(at).is_some_and(LaneState::is_short_of_room)
    }

    /// Holds a received request until its host's turn.
    fn hold(&mut self, at: usize, frame: Frame, head: &Head, now_ns: u64) {
        let Addressee::One(owner) = head.to else { return self.admit(at, frame, head, now_ns) };
        let held = self.held.of(head.host);
        let free = self.lanes.get(at).map_or(0, |own| own.lane.chunks_free());
        let since_ns = self.pass.since_ns(owner.worker == self.index);
        let refused = match held == 0 || held + self.busy.of(head.host) < free {
            true => {
                let held = Held { frame, head: *head, at, received_ns: now_ns, since_ns };
                self.held.push(held).map_err(|held| held.frame)
            }
            // No more chunks than are left for others.
            false => Err(frame),
        };
        if let Err(frame) = refused {
            self.stats.counters.over_share += 1;
            self.release(at, frame);
        }
    }

    /// Executes held requests, as many as a turn may. Returns their number.
    fn run_held(&mut self) -> usize {
        let mut run = 0;
        while run < self.sharing.turn_max {
            let Self { held, lanes, busy, .. } = self;
            let may_run =
                |next: &Held| lanes.get(next.at).is_none_or(|own| own.has_room_for(busy.of(next.head.host)));
            let Some(Held { frame, head, at, received_ns, since_ns }) = held.pop(may_run) else { break };
            // Its export may have moved since.
            let to = self.directory.addressee(&head.header);
            for own in lanes {
                own.hosts.allow(head.host, held.ring_share(head.host, own.lane.ring_size()).into());
            }
            match to {
                Addressee::One(owner) => {
                    let origin = Origin { at, received_ns, since_ns, held: true };
                    self.dispatch_other(origin, frame, &head, owner);
                }
                Addressee::Several => self.fan_out(at, frame, &head, received_ns),
                Addressee::None(reason) => self.drop_frame(at, frame, reason),
            }
            run += 1;
        }
        if run > 0 {
            self.exports.harvest(&mut self.done, &mut self.stats);
        }
        run
    }

    /// Visits the next exports of requests to several, in a turn that has executed this many
    /// other requests. Returns the number of exports visited.
    fn run_fan_outs(&mut self, others: usize) -> usize {
        if self.fan_outs.len() == 0 {
            return 0;
        }
        let directory = Arc::clone(&self.directory);
        let mut visited = 0;
        for _ in 0..FanOuts::steps(others) {
            let Some((mut request, to)) = self.fan_outs.next(&directory) else {
                visited += 1;
                continue;
            };
            let FanOut { at, received_ns, since_ns, .. } = request;
            let Some((address, owner)) = to else {
                if !request.found {
                    self.stats.dropped(DropReason::Address);
                }
                self.release(at, request.frame);
                visited += 1;
                continue;
            };
            // Without a free chunk it waits for a later turn.
            let copy = self.lanes.get_mut(at).map(|own| own.lane.duplicate(&request.frame));
            let Some(Ok(copy)) = copy else {
                self.fan_outs.push_back(request);
                break;
            };
            let origin = Origin { at, received_ns, since_ns, held: true };
            self.dispatch_other(origin, copy, &request.head, owner);
            request.visited = Some(address);
            self.fan_outs.push_back(request);
            visited += 1;
        }
        self.exports.harvest(&mut self.done, &mut self.stats);
        visited
    }

    fn release(&mut self, at: usize, frame: Frame) {
        if let Some(own) = self.lanes.get_mut(at) {
            own.lane.release(frame);
        }
    }

    /// Prefetches the sectors of the next request while the current one is executed.
    #[inline]
    fn prefetch(&self, next: &Head) {
        if let Head { ata: Some(ata), to: Addressee::One(owner), .. } = next
            && ata.command.direction() != ata::Direction::None
            && owner.worker == self.index
        {
            self.exports.prefetch(owner.export, ata.lba(), ata.count.into());
        }
    }

    /// Passes a received frame to the owner of the export that it addresses.
    #[inline]
    fn admit(&mut self, at: usize, frame: Frame, head: &Head, now_ns: u64) {
        match head.to {
            Addressee::One(owner) => {
                let since_ns = self.pass.since_ns(owner.worker == self.index);
                let origin = Origin { at, received_ns: now_ns, since_ns, held: false };
                self.dispatch(origin, frame, head, owner);
            }
            Addressee::Several => self.fan_out(at, frame, head, now_ns),
            Addressee::None(reason) => self.drop_frame(at, frame, reason),
        }
    }

    /// Begins a request to several exports.
    #[cold]
    fn fan_out(&mut self, at: usize, frame: Frame, head: &Head, now_ns: u64) {
        let since_ns = self.pass.since_ns(false);
        let request =
            FanOut { frame, head: *head, at, received_ns: now_ns, since_ns, visited: None, found: false };
        if let Err(frame) = self.fan_outs.push(request) {
            self.stats.counters.over_share += 1;
            self.release(at, frame);
        }
    }

    /// As [`Self::dispatch`], for all but the usual requests.
    #[inline(never)]
    fn dispatch_other(&mut self, origin: Origin, frame: Frame, head: &Head, owner: Owner) {
        self.dispatch(origin, frame, head, owner);
    }

    /// Makes room for the reply, which only this lane can do, and passes the request to
    /// the owner of its export.
    #[inline(always)]
    fn dispatch(&mut self, origin: Origin, mut frame: Frame, head: &Head, owner: Owner) {
        let Some(own) = self.lanes.get_mut(origin.at) else { return };
        let request_len = frame.len();
        let sectors = self.shared.get(usize::from(own.id)).map_or(0, |shared| shared.reply_limit().now);
        let room = command::reply_len_max(&head.header, head.ata.as_ref(), sectors);
        if room > request_len && own.lane.make_room(&mut frame, room) == Err(NoChunks) {
            self.stats.counters.no_chunks += 1;
            return own.lane.release(frame);
        }
        if frame.arrived_ns().is_some_and(|ns| ns > origin.received_ns) {
            // A stamp in the future is not from the XDP program.
            frame.set_arrived(None);
        }
        let (lane, is_own) = (own.id, owner.worker == self.index);
        // Made where it is used: it would be copied.
        let inbound = |from_afar| Inbound {
            frame,
            header: head.header,
            ata: head.ata,
            lane,
            host: head.host,
            held: origin.held,
            from_afar,
            export: owner.export,
            request_len: request_len as u32,
            received_ns: origin.received_ns,
            since_ns: origin.since_ns,
        };
        if is_own {
            self.exports.execute(inbound(false), &mut self.done, &mut self.stats);
        } else {
            self.hand_over(origin.at, inbound(true), owner.worker);
        }
    }

    /// Passes a request to the worker that owns its export.
    #[inline(never)]
    fn hand_over(&mut self, at: usize, inbound: Inbound, owner: u16) {
        self.busy.add(inbound.host, &inbound.frame);
        match self.channels.hand_over(owner, inbound) {
            Ok(()) => {
                self.stats.counters.handed_over += 1;
                self.away += 1;
            }
            Err(inbound) => {
                self.stats.counters.hand_over_full += 1;
                self.busy.remove(inbound.host, &inbound.frame);
                self.release(at, inbound.frame);
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
            self.exports.execute(inbound, &mut self.done, &mut self.stats);
            taken += 1;
        }
        self.pass.inbound = if taken == 0 { 0 } else { self.pass.inbound - taken };
        let mut back = 0;
        while back < BATCH
            && let Some(done) = self.channels.next_finished()
        {
            self.away -= 1;
            self.busy.remove(done.host, &done.frame);
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
            let Some(lane) = self.shared.get(usize::from(done.lane)) else { continue };
            self.tracing.done(&done, &lane.umem, now_ns);
            if lane.worker == self.index {
                self.reply(done);
            } else {
                // Fails only if that worker has exited. Its memory is gone then, too.
                let _ = self.channels.give_back(lane.worker, done);
            }
        }
        self.done = finished;
        n
    }

    /// Sends a reply, or releases the frame of a request that gets none.
    #[inline(always)]
    fn reply(&mut self, mut done: Finished) {
        let Some(own) = self.lanes.iter_mut().find(|own| own.id == done.lane) else { return };
        let Some(len) = done.reply_len else { return own.lane.release(done.frame) };
        if own.lane.resize(&mut done.frame, len as usize).is_err() {
            self.stats.counters.unsendable += 1;
            return own.lane.release(done.frame);
        }
        match own.lane.transmit(done.frame) {
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
