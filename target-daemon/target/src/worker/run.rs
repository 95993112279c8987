//! A worker's thread: runs turns until the command to drain, then finishes what is in flight.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use nix::time::{ClockId, clock_gettime};

use super::announce::Announcement;
use super::directory::Directory;
use super::export_runtime::{ExportRuntime, ExportSnapshot};
use super::host_changes::HostChange;
use super::idle::{IdlePolicy, Rest, Sources, Waiter, Waker};
use super::save::{Cleared, SaveAck, SaveRequest};
use super::stats::{Stats, lane_rows};
use super::trace::Tracer;
use super::{Clock, Worker};
use crate::observe::Count;
use crate::ring::Rings;
use crate::shelf::{HostSetting, Settings};
use crate::store::Ring;
use crate::wire::aoe::Address;

/// How long a draining worker waits for requests in flight.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// How long a draining worker waits for a link to accept finished replies. A link that is
/// up accepts them at once.
const UNSENT_LIMIT: Duration = Duration::from_millis(500);

/// All chunks are counted before one in this many sleeps. That takes a microsecond per
/// thousand chunks.
const AUDIT_EVERY: u64 = 64;

/// Duration of a sleep while the link does not accept what we send.
const UNSENT_SLEEP: Duration = Duration::from_millis(1);

/// A command from the control thread to a worker.
#[derive(Debug)]
pub enum WorkerCommand {
    /// Send a snapshot, without the exports.
    Report(Sender<Snapshot>),
    /// Announce exports on an interface.
    Announce {
        /// Index of the interface.
        interface: usize,
        /// What to announce: to broadcast, or to a host on the export's list.
        audience: Vec<Announcement>,
    },
    /// Check the sizes of all stores.
    Measure,
    /// Check the size of the export at this index, and send it in sectors.
    MeasureOne(u16, Sender<u64>),
    /// Send a snapshot of the export at this index; `None` if there is no such export.
    Export(u16, Sender<Option<ExportSnapshot>>),
    /// Replace the directory: exports were added or removed.
    Directory(Arc<Directory>),
    /// Add an export at a free index.
    Attach(u16, Box<ExportRuntime>),
    /// Remove the export at this index once nothing is in flight for it. Every worker
    /// must have a directory without it first.
    Detach(u16, Sender<Box<ExportRuntime>>),
    /// Clear what hosts can set on the export at this index, and send when the change is
    /// on stable storage.
    Clear(u16, HostSetting, Sender<Cleared>),
    /// A state is on stable storage.
    Saved(SaveAck),
    /// Start tracing requests and frames, or stop.
    Trace(Option<Tracer>),
    /// Change the settings of the export at this index.
    Change(u16, Box<Settings>),
    /// Receive nothing more, finish what is in flight.
    Drain,
}

/// State and counters of a worker.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Index of the worker.
    pub worker: u16,
    /// Its counters.
    pub stats: Stats,
    /// Time since its thread started; includes `stats.idle`.
    pub elapsed: Duration,
    /// Its exports; empty except in the last snapshot.
    pub exports: Vec<ExportSnapshot>,
    /// Its lanes.
    pub lanes: Vec<LaneSnapshot>,
    /// Whether it is draining and has nothing in flight that is worth waiting for.
    pub drained: bool,
    /// Exports whose store has unfinished requests, and their number.
    pub unfinished: Vec<(Address, usize)>,
}

/// Position, free chunks and counters of a lane.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LaneSnapshot {
    /// Index among all lanes.
    pub id: u16,
    /// Index of its interface.
    pub interface: usize,
    /// Chunks in its UMEM.
    pub chunks: u32,
    /// Free chunks, excluding those that the kernel has.
    pub free: u32,
    /// Its counters.
    pub counters: Vec<Count>,
}

/// Runs a worker on this thread until the command channel is closed. Returns its last
/// snapshot.
pub fn run<R: Rings>(
    mut worker: Worker<R>,
    orders: &Receiver<WorkerCommand>,
    waiter: &Waiter,
    idle: IdlePolicy,
) -> Snapshot {
    let mut sources = waiter.sources();
    let clock = Monotonic;
    let started = Instant::now();
    let mut last_work = started;
    // The part of the time since the last work that `stats.idle` already includes. Only
    // turns without work read the clock for this.
    let mut counted = Duration::ZERO;
    let mut draining_since: Option<Instant> = None;
    loop {
        let work = if draining_since.is_none() { worker.turn(&clock) } else { worker.drain(&clock) };
        if work > 0 {
            last_work = Instant::now();
            counted = Duration::ZERO;
        }
        waiter.heartbeat();
        match orders.try_recv() {
            Ok(WorkerCommand::Report(to)) => {
                let drained = draining_since.is_some_and(|since| worker.has_drained(since.elapsed()));
                // If the receiver is gone, nothing is lost.
                let _ = to.send(worker.snapshot(drained, started.elapsed()));
            }
            Ok(WorkerCommand::Drain) => draining_since = Some(Instant::now()),
            Ok(order) => worker.carry_out(order, &clock),
            // The control thread has dropped its sender: every worker has drained.
            Err(crossbeam_channel::TryRecvError::Disconnected) => break,
            Err(crossbeam_channel::TryRecvError::Empty) if work == 0 => {
                let quiet = last_work.elapsed();
                let slept = worker.rest(quiet, idle, (waiter, &mut sources), orders);
                let quiet = if slept { last_work.elapsed() } else { quiet };
                worker.stats.idle += quiet.saturating_sub(counted);
                counted = quiet;
            }
            Err(crossbeam_channel::TryRecvError::Empty) => {}
        }
    }
    let exports = worker.exports.snapshots().collect();
    Snapshot { exports, ..worker.snapshot(true, started.elapsed()) }
}

/// CLOCK_MONOTONIC, which the XDP program also uses for its stamps.
struct Monotonic;

impl Clock for Monotonic {
    fn now_ns(&self) -> u64 {
        now_ns()
    }
}

/// The clock of the workers' threads.
pub fn now_ns() -> u64 {
    // Through the C library: in the sandbox rustix does not find the vDSO, and makes a system
    // call each time.
    let Ok(now) = clock_gettime(ClockId::CLOCK_MONOTONIC) else { return 0 };
    now.tv_sec().cast_unsigned() * 1_000_000_000 + now.tv_nsec().cast_unsigned()
}

impl<R: Rings> Worker<R> {
    /// Executes a command between two turns. `Report` and `Drain` are for [`run`].
    pub fn carry_out(&mut self, order: WorkerCommand, clock: &impl Clock) {
        let exports = &mut self.exports;
        match order {
            WorkerCommand::Announce { interface, audience } => self.announce(interface, &audience, clock),
            WorkerCommand::Measure => exports.measure(),
            WorkerCommand::MeasureOne(index, to) => exports.measure_one(index, Some(to)),
            WorkerCommand::Export(index, to) => {
                let _ = to.send(exports.snapshot(index));
            }
            WorkerCommand::Directory(directory) => {
                exports.set_directory(Arc::clone(&directory));
                self.directory = directory;
            }
            WorkerCommand::Attach(index, runtime) => exports.attach(index, *runtime),
            WorkerCommand::Detach(index, to) => exports.detach(index, to),
            WorkerCommand::Change(index, settings) => exports.change(index, *settings),
            WorkerCommand::Clear(index, what, to) => exports.clear(index, what, to, &mut self.stats),
            WorkerCommand::Saved(saved) => exports.saved(saved, &mut self.done, &mut self.stats),
            WorkerCommand::Trace(tracer) => self.tracing.set(tracer),
            WorkerCommand::Report(..) | WorkerCommand::Drain => {}
        }
    }

    /// From now on, sends changes made by initiators to this state writer, and
    /// acknowledges them only once they are saved. Without a state writer they are lost
    /// when the worker exits.
    pub fn set_state_writer(&mut self, writer: Sender<SaveRequest>) {
        self.exports.set_state_writer(self.index, writer);
    }

    /// From now on, sends what hosts change, and try to, to this log: some of it, if it is
    /// much.
    pub fn set_change_log(&mut self, log: Sender<HostChange>) {
        self.exports.set_change_log(log);
    }

    /// A snapshot of an export.
    pub fn export(&self, index: u16) -> Option<ExportSnapshot> {
        self.exports.snapshot(index)
    }

    /// A turn of a draining worker: receives nothing from its lanes. Returns the amount
    /// of work done.
    pub fn drain(&mut self, clock: &impl Clock) -> usize {
        self.reclaim();
        self.last_pass(clock);
        self.work(clock)
    }

    /// When the next request that waits for a limit may run. Nothing else wakes the worker for
    /// it.
    pub fn ready_ns(&self) -> Option<u64> {
        Some(self.exports.ready_ns()).filter(|ns| *ns < u64::MAX)
    }

    /// Whether nothing is in flight that is worth waiting for, after draining for this
    /// long.
    fn has_drained(&self, elapsed: Duration) -> bool {
        let limit = if self.is_serving() { DRAIN_LIMIT } else { UNSENT_LIMIT };
        !self.is_busy() || elapsed > limit
    }

    /// A waiter that the worker's waker, lanes and stores wake up.
    ///
    /// # Errors
    ///
    /// No descriptor is left.
    pub fn waiter(&self, waker: &Waker) -> io::Result<Waiter> {
        Waiter::new(
            waker,
            self.exports.ring.as_ref().map(Ring::fd),
            self.lanes.iter().filter_map(|own| own.lane.fd()),
        )
    }

    /// Spins, yields, or sleeps until something happens. Returns whether it slept.
    fn rest(
        &mut self,
        quiet: Duration,
        idle: IdlePolicy,
        (waiter, sources): (&Waiter, &mut Sources<'_>),
        orders: &Receiver<WorkerCommand>,
    ) -> bool {
        match idle.rest(quiet, self.exports.kernel_work(), self.exports.must_be_asked()) {
            Rest::Spin => {
                std::hint::spin_loop();
                return false;
            }
            Rest::Yield => {
                std::thread::yield_now();
                return false;
            }
            Rest::Sleep => {}
        }
        if self.stats.counters.sleeps.is_multiple_of(AUDIT_EVERY) {
            self.audit();
        }
        if self.held.is_empty() {
            for own in &mut self.lanes {
                own.hosts.reset(self.held.ring_share(own.hosts.unknown(), own.lane.ring_size()).into());
            }
        }
        // What is held may wait for the link as well.
        let unsent = self.has_waiting() || self.lanes.iter().any(|own| own.unsent > 0);
        let limit = if unsent { UNSENT_SLEEP } else { Duration::MAX };
        let limit = match self.ready_ns() {
            Some(ns) => limit.min(Duration::from_nanos(ns.saturating_sub(now_ns()))),
            None => limit,
        };
        self.stats.counters.sleeps += 1;
        let has_results = self.exports.ring.as_mut().is_some_and(Ring::arm);
        waiter.sleep(sources, limit, || has_results || !orders.is_empty() || !self.channels.is_empty());
        if let Some(ring) = &mut self.exports.ring {
            ring.disarm();
        }
        true
    }

    /// Checks that every chunk is free or with the kernel, if nothing is in flight.
    fn audit(&mut self) {
        if self.away == 0 && !self.has_waiting() && self.exports.in_flight() == 0 {
            let wrong = self.lanes.iter().filter(|own| own.lane.check(0).is_err()).count();
            self.stats.counters.imbalances += wrong as u64;
        }
    }

    fn snapshot(&self, drained: bool, elapsed: Duration) -> Snapshot {
        let lanes = self.lanes.iter().map(|own| LaneSnapshot {
            id: own.id,
            interface: self.shared.get(usize::from(own.id)).map_or(0, |lane| lane.interface),
            chunks: own.lane.umem().chunks(),
            free: own.lane.chunks_free(),
            counters: lane_rows(own.lane.counters(), own.lane.statistics().unwrap_or_default()),
        });
        let unfinished = self.exports.unfinished().collect();
        Snapshot {
            worker: self.index,
            stats: self.stats.clone(),
            elapsed,
            exports: Vec::new(),
            lanes: lanes.collect(),
            drained,
            unfinished,
        }
    }
}
