//! A worker's thread: turns until told to stop, then the end of what is under
//! way.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};
use rustix::time::{ClockId, clock_gettime};

use super::directory::Directory;
use super::export_runtime::{ExportRuntime, ExportSnapshot};
use super::export_set::Clear;
use super::idle::{EpollWaiter, IdlePolicy, Waker};
use super::save::SaveAck;
use super::stats::Stats;
use super::trace::Tracer;
use super::{Clock, Worker};
use crate::observe::Section;
use crate::ring::Rings;
use crate::shelf::Settings;
use crate::wire::aoe::Address;
use crate::wire::ether::Mac;

/// How long a worker that was told to stop waits for what is under way.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// How long it waits for a link to take the replies that are ready: one that is
/// up takes them at once.
const UNSENT_LIMIT: Duration = Duration::from_millis(500);

/// Chunks are counted before one sleep of so many: it takes a microsecond for
/// each thousand.
const AUDIT_EVERY: u64 = 64;

/// Sleep while the link does not take what we want to send.
const UNSENT_SLEEP: Duration = Duration::from_millis(1);

/// What the control thread asks of a worker.
#[derive(Debug)]
pub enum WorkerCommand {
    /// Send a snapshot, with or without the exports. With them it takes a moment,
    /// in which nothing is served.
    Report(Sender<Snapshot>, WithExports),
    /// Announce exports on an interface.
    Announce {
        /// Index of the interface.
        interface: usize,
        /// Which, and to whom: everybody, or one of those on its list.
        audience: Vec<(Address, Mac)>,
    },
    /// Look at the sizes of all stores.
    Measure,
    /// Look at the size of the export at this index, and tell it in sectors.
    MeasureOne(u16, Sender<u64>),
    /// Tell of the export at this index; nothing, if there is none.
    Export(u16, Sender<Option<ExportSnapshot>>),
    /// Other exports have come, or some have gone.
    Directory(Arc<Directory>),
    /// Take an export in, at an index that is free.
    Attach(u16, Box<ExportRuntime>),
    /// Give up the export at this index, as soon as nothing is under way for it.
    /// First every worker has a directory without it.
    Detach(u16, Sender<Box<ExportRuntime>>),
    /// Take a reservation or mask list of the export at this index away, and tell
    /// when that is on stable storage.
    Clear(u16, Clear, Sender<()>),
    /// A state is on stable storage.
    Saved(SaveAck),
    /// Tell of single requests and frames, or no more.
    Trace(Option<Tracer>),
    /// The export at this index has other settings from now on.
    Change(u16, Box<Settings>),
    /// Receive nothing more, finish what is under way.
    Drain,
}

/// Whether a snapshot is to have the exports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WithExports {
    /// It is.
    Yes,
    /// It is not.
    No,
}

/// What a worker has counted.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Index of the worker.
    pub worker: u16,
    /// Its counters.
    pub stats: Stats,
    /// Since its thread runs: `stats.idle` is a part of it.
    pub elapsed: Duration,
    /// Its exports, if they were asked for.
    pub exports: Vec<ExportSnapshot>,
    /// What its lanes have counted.
    pub lanes: Vec<Section>,
    /// Which lanes these are.
    pub places: Vec<LanePlace>,
    /// Whether nothing is under way here that is worth waiting for.
    pub drained: bool,
    /// Exports whose stores have not finished so many requests.
    pub unfinished: Vec<(Address, usize)>,
}

/// Which lane it is, and what it has left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LanePlace {
    /// Its index among all lanes.
    pub id: u16,
    /// Index of its interface.
    pub interface: usize,
    /// Chunks in its UMEM.
    pub chunks: u32,
    /// Those that are free: with the kernel they are not.
    pub free: u32,
}

/// Runs a worker on this thread until it is told to stop, or its orders end.
/// Returns its last snapshot.
pub fn run<R: Rings>(
    mut worker: Worker<R>,
    orders: &Receiver<WorkerCommand>,
    waiter: &EpollWaiter,
    idle: IdlePolicy,
) -> Snapshot {
    let clock = Monotonic;
    let started = Instant::now();
    let mut last_work = started;
    // How much of the time since the last work is in `stats.idle` already. The clock
    // is read for it only when there was nothing to do.
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
            Ok(WorkerCommand::Report(to, exports)) => {
                let drained = draining_since.is_some_and(|since| worker.has_drained(since.elapsed()));
                // Nobody waits for it any more: nothing is lost.
                let _ = to.send(worker.snapshot(drained, exports, started.elapsed()));
            }
            Ok(WorkerCommand::Drain) => draining_since = Some(Instant::now()),
            Ok(order) => worker.carry_out(order, waiter, &clock),
            // Nobody has orders for us any more: every worker has drained.
            Err(crossbeam_channel::TryRecvError::Disconnected) => break,
            Err(crossbeam_channel::TryRecvError::Empty) if work == 0 => {
                let quiet = last_work.elapsed();
                let slept = worker.rest(quiet, idle, waiter, orders);
                let quiet = if slept { last_work.elapsed() } else { quiet };
                worker.stats.idle += quiet.saturating_sub(counted);
                counted = quiet;
            }
            Err(crossbeam_channel::TryRecvError::Empty) => {}
        }
    }
    worker.snapshot(true, WithExports::Yes, started.elapsed())
}

/// CLOCK_MONOTONIC, by which the XDP program stamps frames, too.
struct Monotonic;

impl Clock for Monotonic {
    fn now_ns(&self) -> u64 {
        let now = clock_gettime(ClockId::Monotonic);
        now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
    }
}

impl<R: Rings> Worker<R> {
    /// Orders that are carried out at once.
    fn carry_out(&mut self, order: WorkerCommand, waiter: &EpollWaiter, clock: &impl Clock) {
        match order {
            WorkerCommand::Announce { interface, audience } => self.announce(interface, &audience, clock),
            WorkerCommand::Measure => self.measure(),
            WorkerCommand::MeasureOne(index, to) => self.exports.measure_one(index, to),
            WorkerCommand::Export(index, to) => {
                let _ = to.send(self.export(index));
            }
            WorkerCommand::Directory(directory) => self.set_directory(directory),
            WorkerCommand::Attach(index, runtime) => {
                waiter.add_store(runtime.fd());
                self.attach(index, *runtime);
            }
            WorkerCommand::Detach(index, to) => self.detach(index, to),
            WorkerCommand::Change(index, settings) => self.change(index, *settings),
            WorkerCommand::Clear(index, what, to) => self.clear(index, what, to),
            WorkerCommand::Saved(saved) => self.saved(saved),
            WorkerCommand::Trace(tracer) => self.trace(tracer),
            WorkerCommand::Report(..) | WorkerCommand::Drain => {}
        }
    }

    /// A turn of a worker that ends: takes nothing new from the wire. Returns
    /// how much there was to do.
    pub fn drain(&mut self, clock: &impl Clock) -> usize {
        self.reclaim();
        self.last_pass(clock);
        self.settle(clock)
    }

    /// Whether nothing is under way that is worth waiting for, after draining
    /// for some time.
    fn has_drained(&self, elapsed: Duration) -> bool {
        let limit = if self.is_serving() { DRAIN_LIMIT } else { UNSENT_LIMIT };
        !self.is_busy() || elapsed > limit
    }

    /// What this worker sleeps in: its wake fd, its lanes and its stores wake it.
    ///
    /// # Errors
    ///
    /// Those of `epoll`.
    pub fn waiter(&self, waker: &Waker) -> io::Result<EpollWaiter> {
        EpollWaiter::new(waker, self.lanes.iter().filter_map(|own| own.lane.fd()), self.exports.fds())
    }

    /// Spins, or sleeps until something happens: true.
    fn rest(
        &mut self,
        quiet: Duration,
        idle: IdlePolicy,
        waiter: &EpollWaiter,
        orders: &Receiver<WorkerCommand>,
    ) -> bool {
        let IdlePolicy::Adaptive { spin } = idle else {
            std::hint::spin_loop();
            return false;
        };
        if quiet < spin || self.exports.must_be_asked() {
            std::hint::spin_loop();
            return false;
        }
        if self.stats.counters.sleeps.is_multiple_of(AUDIT_EVERY) {
            self.audit();
        }
        let unsent = self.lanes.iter().any(|own| own.unsent > 0);
        let limit = if unsent { UNSENT_SLEEP } else { Duration::MAX };
        self.stats.counters.sleeps += 1;
        waiter.sleep(limit, || !orders.is_empty() || !self.channels.is_empty());
        true
    }

    /// When nothing is under way, every chunk must be at home or with the
    /// kernel.
    fn audit(&mut self) {
        if self.away == 0 && self.exports.in_flight() == 0 {
            let wrong = self.lanes.iter().filter(|own| own.lane.check(0).is_err()).count();
            self.stats.counters.imbalances += wrong as u64;
        }
    }

    fn snapshot(&self, drained: bool, exports: WithExports, elapsed: Duration) -> Snapshot {
        let lanes = self.lanes.iter().map(|own| {
            let interface = self.shared.get(usize::from(own.id)).map_or(0, |lane| lane.interface);
            let (counters, kernel) = (own.lane.counters(), own.lane.statistics().unwrap_or_default());
            Section {
                name: format!("lane {} (interface {interface}, worker {})", own.id, self.index),
                counters: vec![
                    ("received", counters.received),
                    ("unstamped", counters.unstamped),
                    ("transmitted", counters.transmitted),
                    ("too_long", counters.too_long),
                    ("bad_descriptors", counters.bad_descriptors),
                    ("bad_completions", counters.bad_completions),
                    ("kernel_rx_dropped", kernel.rx_dropped),
                    ("kernel_rx_ring_full", kernel.rx_ring_full),
                    ("kernel_fill_ring_empty", kernel.fill_ring_empty),
                    ("kernel_rx_invalid", kernel.rx_invalid),
                    ("kernel_tx_invalid", kernel.tx_invalid),
                ],
            }
        });
        let places = self.lanes.iter().map(|own| LanePlace {
            id: own.id,
            interface: self.shared.get(usize::from(own.id)).map_or(0, |lane| lane.interface),
            chunks: own.lane.umem().chunks(),
            free: own.lane.chunks_free(),
        });
        let places = places.collect();
        let unfinished = self.exports.unfinished().collect();
        Snapshot {
            worker: self.index,
            stats: self.stats.clone(),
            elapsed,
            exports: if exports == WithExports::Yes {
                self.exports.snapshots().collect()
            } else {
                Vec::new()
            },
            lanes: lanes.collect(),
            places,
            drained,
            unfinished,
        }
    }
}
