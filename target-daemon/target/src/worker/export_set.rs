//! The exports that a worker owns. Passes received requests to them, and collects what
//! their stores have completed.

use std::sync::Arc;

use crossbeam_channel::Sender;

use super::directory::Directory;
use super::execute::{Context, Surroundings};
use super::export_runtime::{ExportRuntime, ExportSnapshot};
use super::host_changes::HostChange;
use super::hosts::Busy;
use super::lanes::SharedLane;
use super::messages::{Finished, Inbound};
use super::save::{Cleared, SaveAck, SaveRequest};
use super::stats::Stats;
use crate::command;
use crate::observe::Operation;
use crate::ring::BATCH;
use crate::shelf::{Export, HostSetting, Settings};
use crate::store::{KernelWork, Ring};
use crate::wire::{DropReason, aoe};

/// Maximum number of requests that have waited for a limit executed in a turn. A synchronous
/// store has room for their completions.
const LIMITED_MAX: usize = BATCH;

/// Interval between checks for stores that do not respond.
const LOOK_EVERY_NS: u64 = 100_000_000;

/// The exports of a worker and their requests in flight.
#[derive(Debug)]
pub struct ExportSet {
    /// Indexed as in the directory; `None` is a free index. Declared before `lanes` so
    /// that the stores are dropped first: they may still access the lanes' memory.
    runtimes: Vec<Option<ExportRuntime>>,
    /// The exports that the next harvest visits. All others have nothing to do, or wait for the
    /// ring.
    active: Vec<u16>,
    /// The exports with requests that wait for a limit, and when the first of these may run.
    limited: Vec<u16>,
    ready_ns: u64,
    /// Executes the calls of the stores. Declared after them: they keep the memory of calls in
    /// flight.
    pub ring: Option<Ring>,
    busy: Busy,
    /// The number of the next export.
    next_number: u32,
    /// Whether an export is being detached.
    some_leave: bool,
    surroundings: Surroundings,
    /// When the stores were last checked for being stuck.
    looked_ns: u64,
    /// Buffer to make a non-ATA request in several pieces contiguous.
    scratch: [u8; command::REQUEST_LEN_MAX],
}

/// The context of the exports. A macro, because it must borrow only some fields of the
/// set.
macro_rules! context {
    ($set:expr, $stats:expr) => {
        Context { surroundings: &$set.surroundings, stats: $stats }
    };
}

impl ExportSet {
    /// A set of these exports, with room for `in_flight` requests each.
    pub fn new(
        exports: Vec<Export>,
        lanes: Arc<[SharedLane]>,
        directory: Arc<Directory>,
        ring: Option<Ring>,
        buffer_count: u16,
        (in_flight, busy): (u16, Busy),
    ) -> Self {
        let mut runtimes = ExportRuntime::row(exports, in_flight);
        runtimes.iter_mut().flatten().for_each(|runtime| runtime.join(ring.as_ref(), &busy));
        Self {
            next_number: runtimes.len() as u32,
            active: Vec::with_capacity(runtimes.len()),
            limited: Vec::with_capacity(runtimes.len()),
            ready_ns: u64::MAX,
            runtimes,
            ring,
            busy,
            some_leave: false,
            surroundings: Surroundings {
                lanes,
                directory,
                state_writer: None,
                change_log: None,
                buffer_count,
                now_ns: 0,
            },
            looked_ns: 0,
            scratch: [0; command::REQUEST_LEN_MAX],
        }
    }

    fn runtime(&self, index: u16) -> Option<&ExportRuntime> {
        self.runtimes.get(usize::from(index))?.as_ref()
    }

    /// The export at an index.
    pub fn runtime_mut(&mut self, index: u16) -> Option<&mut ExportRuntime> {
        self.runtimes.get_mut(usize::from(index))?.as_mut()
    }

    /// Sets the current time, at the start of a pass.
    pub fn set_time(&mut self, now_ns: u64) {
        self.surroundings.now_ns = now_ns;
    }

    /// Sets the exports of all workers.
    pub fn set_directory(&mut self, directory: Arc<Directory>) {
        self.surroundings.directory = directory;
    }

    /// Sets the state writer; `worker` is the index of this worker.
    pub fn set_state_writer(&mut self, worker: u16, writer: Sender<SaveRequest>) {
        self.surroundings.state_writer = Some((worker, writer));
    }

    /// Sets where changes by hosts are logged.
    pub fn set_change_log(&mut self, log: Sender<HostChange>) {
        self.surroundings.change_log = Some(log);
    }

    /// Prefetches sectors of an export that will probably be read next.
    pub fn prefetch(&self, export: u16, sector: u64, sectors: u64) {
        if let Some(runtime) = self.runtime(export) {
            runtime.export.store.prefetch(sector, sectors);
        }
    }

    /// Executes a request. Requests that need the store finish in [`Self::harvest`]; all
    /// others finish at once.
    pub fn execute(&mut self, inbound: Inbound, done: &mut Vec<Finished>, stats: &mut Stats) {
        let runtime = self.runtimes.get_mut(usize::from(inbound.export)).and_then(Option::as_mut);
        let (Some(runtime), Some(lane)) = (runtime, self.surroundings.lanes.get(usize::from(inbound.lane)))
        else {
            // The request was dispatched by an outdated directory.
            stats.dropped(DropReason::Address);
            return done.push(inbound.dropped(Operation::Other, DropReason::Address));
        };
        let index = inbound.export;
        runtime.execute(inbound, lane, &mut self.scratch, done, &mut context!(self, stats));
        if runtime.used || !runtime.is_quiet() {
            activate(&mut self.active, runtime, index);
        }
        if let Some(limiter) = &mut runtime.limiter
            && !limiter.is_empty()
        {
            self.ready_ns = self.ready_ns.min(limiter.ready_ns());
            if !std::mem::replace(&mut limiter.is_listed, true) {
                self.limited.push(index);
            }
        }
    }

    /// Executes requests that have waited for a limit, some in each turn. Returns their number.
    pub fn run_limited(&mut self, done: &mut Vec<Finished>, stats: &mut Stats) -> usize {
        if self.surroundings.now_ns < self.ready_ns {
            return 0;
        }
        let mut run = 0;
        self.ready_ns = u64::MAX;
        // If there are more than a turn has time for, others are first in the next one.
        if !self.limited.is_empty() {
            self.limited.rotate_left(1);
        }
        self.limited.retain(|index| {
            let Some(runtime) = self.runtimes.get_mut(usize::from(*index)).and_then(Option::as_mut) else {
                return false;
            };
            run += runtime.run_limited(LIMITED_MAX - run, done, &mut context!(self, stats));
            if runtime.used || !runtime.is_quiet() {
                activate(&mut self.active, runtime, *index);
            }
            let Some(limiter) = &mut runtime.limiter else { return false };
            self.ready_ns = self.ready_ns.min(limiter.ready_ns());
            limiter.is_listed = !limiter.is_empty();
            limiter.is_listed
        });
        self.harvest(done, stats);
        run
    }

    /// When the first request that waits for a limit may run.
    pub fn ready_ns(&self) -> u64 {
        self.ready_ns
    }

    /// Lets everything run that waits for a limit, and whatever comes.
    pub fn lift_limits(&mut self) {
        self.runtimes
            .iter_mut()
            .flatten()
            .filter_map(|runtime| runtime.limiter.as_mut())
            .for_each(|l| l.lift());
        self.ready_ns = 0;
    }

    /// Collects what the stores have completed and makes the replies.
    pub fn harvest(&mut self, done: &mut Vec<Finished>, stats: &mut Stats) {
        self.visit(done, stats);
        // Then what the results have led to: replies, a sync, the rest of a short transfer.
        // Waiting for the next turn would delay every write of a group by one turn.
        if self.exchange() {
            self.visit(done, stats);
            self.exchange();
        }
        self.look_for_stuck(stats);
    }

    /// Visits the active exports, and moves the calls of their stores to the ring.
    fn visit(&mut self, done: &mut Vec<Finished>, stats: &mut Stats) {
        self.active.retain(|index| {
            let Some(runtime) = self.runtimes.get_mut(usize::from(*index)).and_then(Option::as_mut) else {
                return false;
            };
            runtime.harvest(done, &mut context!(self, stats));
            let is_quiet = runtime.is_quiet();
            runtime.is_active = match (&mut self.ring, runtime.export.store.calls()) {
                (Some(ring), Some(calls)) => {
                    ring.take(*index, calls);
                    calls.is_queued()
                }
                // Nothing reports when this store has finished something.
                _ => !is_quiet,
            };
            runtime.is_active
        });
    }

    /// Submits calls and delivers results. Returns whether there were any.
    fn exchange(&mut self) -> bool {
        let Some(ring) = &mut self.ring else { return false };
        ring.exchange(|index, call, result| {
            let Some(runtime) = self.runtimes.get_mut(usize::from(index)).and_then(Option::as_mut) else {
                return;
            };
            if let Some(calls) = runtime.export.store.calls() {
                calls.deliver(call, result);
                activate(&mut self.active, runtime, index);
            }
        })
    }

    /// Makes the next harvest check the exports, regardless of when the last check was.
    pub fn look_at_once(&mut self) {
        self.looked_ns = 0;
    }

    /// Periodically checks for stores that do not respond, and marks exports that hosts use.
    fn look_for_stuck(&mut self, stats: &mut Stats) {
        let Surroundings { now_ns, directory, .. } = &self.surroundings;
        if now_ns.saturating_sub(self.looked_ns) < LOOK_EVERY_NS {
            return;
        }
        self.looked_ns = *now_ns;
        for (index, runtime) in (0..).zip(&mut self.runtimes) {
            let Some(runtime) = runtime else { continue };
            if !runtime.is_quiet() {
                // A sync that waits for a write that hangs does so only for a while.
                activate(&mut self.active, runtime, index);
            }
            let (new, change) = runtime.requests.look(*now_ns);
            stats.counters.stuck_operations += new;
            if let Some(stuck) = change {
                directory.mark_stuck(runtime.address(), stuck);
            }
            if runtime.tally.is_used() {
                directory.mark_used(runtime.address());
            }
        }
    }

    /// Whether any store must be polled: it has work in flight, but nothing signals that it
    /// has finished.
    pub fn must_be_asked(&self) -> bool {
        !self.active.is_empty()
    }

    /// What the kernel does for the stores.
    pub fn kernel_work(&self) -> KernelWork {
        self.ring.as_ref().map_or(KernelWork::None, Ring::kernel_work)
    }

    /// Starts a size check of every store.
    pub fn measure(&mut self) {
        for index in 0..self.runtimes.len() as u16 {
            self.measure_one(index, None);
        }
    }

    /// Starts a size check of one store, and sends the size to `to`.
    pub fn measure_one(&mut self, index: u16, to: Option<Sender<u64>>) {
        let Some(runtime) = self.runtimes.get_mut(usize::from(index)).and_then(Option::as_mut) else {
            return;
        };
        runtime.measure();
        if to.is_some() {
            runtime.wants_size = to;
        }
        activate(&mut self.active, runtime, index);
    }

    /// Number of requests not yet answered.
    pub fn in_flight(&self) -> usize {
        self.runtimes.iter().flatten().map(ExportRuntime::in_flight).sum()
    }

    /// The exports with unanswered requests, and the number of these requests.
    pub fn unfinished(&self) -> impl Iterator<Item = (aoe::Address, usize)> + '_ {
        let counts = self.runtimes.iter().flatten().map(|runtime| (runtime.address(), runtime.in_flight()));
        counts.filter(|(_, count)| *count > 0)
    }

    /// Clears what hosts can set; sends to `to` when the change is on stable storage.
    pub fn clear(&mut self, index: u16, what: HostSetting, to: Sender<Cleared>, stats: &mut Stats) {
        if let Some(Some(runtime)) = self.runtimes.get_mut(usize::from(index)) {
            runtime.clear(index, what, to, &context!(self, stats));
        }
    }

    /// Handles a saved state.
    pub fn saved(&mut self, saved: SaveAck, done: &mut Vec<Finished>, stats: &mut Stats) {
        if let Some(Some(runtime)) = self.runtimes.get_mut(usize::from(saved.export)) {
            runtime.saved(saved, done, &context!(self, stats));
        }
    }

    /// Adds an export at a free index.
    pub fn attach(&mut self, index: u16, runtime: ExportRuntime) {
        let index = usize::from(index);
        if self.runtimes.len() <= index {
            self.runtimes.resize_with(index + 1, || None);
            self.active.reserve(self.runtimes.len());
            self.limited.reserve(self.runtimes.len());
        }
        let number = self.next_number;
        self.next_number += 1;
        if let Some(free) = self.runtimes.get_mut(index) {
            *free = Some(ExportRuntime { number, ..runtime });
            free.iter_mut().for_each(|runtime| runtime.join(self.ring.as_ref(), &self.busy));
        }
    }

    /// Removes an export and sends it to `to`, once nothing is in flight for it.
    pub fn detach(&mut self, index: u16, to: Sender<Box<ExportRuntime>>) {
        let Some(runtime) = self.runtimes.get_mut(usize::from(index)).and_then(Option::as_mut) else {
            return;
        };
        runtime.leaving = Some(to);
        if let Some(limiter) = &mut runtime.limiter {
            limiter.lift();
            self.ready_ns = 0;
        }
        self.some_leave = true;
    }

    /// Changes the settings of an export.
    pub fn change(&mut self, index: u16, settings: Settings) {
        let Some(runtime) = self.runtimes.get_mut(usize::from(index)).and_then(Option::as_mut) else {
            return;
        };
        runtime.export.state.settings = settings;
        runtime.limit(&self.busy);
        self.ready_ns = 0;
    }

    /// A snapshot of an export.
    pub fn snapshot(&self, index: u16) -> Option<ExportSnapshot> {
        self.runtime(index).map(ExportRuntime::snapshot)
    }

    /// Snapshots of all exports.
    pub fn snapshots(&self) -> impl Iterator<Item = ExportSnapshot> + '_ {
        self.runtimes.iter().flatten().map(ExportRuntime::snapshot)
    }

    /// Counts a finished request to one of the exports.
    pub fn count(&mut self, done: &Finished, now_ns: u64) {
        if let Some(runtime) = self.runtime_mut(done.export) {
            runtime.count(done, now_ns);
        }
    }

    /// Sends detached exports that have nothing in flight to their receivers. Requests
    /// that still wait for a save get no reply.
    pub fn reap_detached(&mut self, done: &mut Vec<Finished>) {
        if !std::mem::take(&mut self.some_leave) {
            return;
        }
        for entry in &mut self.runtimes {
            let Some(ExportRuntime { leaving: Some(to), .. }) = entry else { continue };
            let to = to.clone();
            let Some(mut runtime) = entry.take_if(|runtime| runtime.is_quiet() && runtime.limited() == 0)
            else {
                self.some_leave = true;
                continue;
            };
            while let Some(unanswered) = runtime.saves.any() {
                // There was no reply, so there is no service time.
                runtime.count(&unanswered, 0);
                done.push(unanswered);
            }
            // If the receiver is gone, the store is closed here.
            let _ = to.try_send(Box::new(runtime));
        }
    }
}

/// Makes the next harvest visit an export.
fn activate(active: &mut Vec<u16>, runtime: &mut ExportRuntime, index: u16) {
    if !std::mem::replace(&mut runtime.is_active, true) {
        active.push(index);
    }
}
