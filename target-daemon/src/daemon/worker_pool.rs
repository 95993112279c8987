//! The workers: who owns which lane and export, their threads, and what is
//! asked of all of them.

use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded};
use log::{info, warn};

use super::exports::Opened;
use super::failure::Failure;
use super::interface::{Interface, PlacedLane, names_of};
use super::plan;
use super::registry::{ExportEntry, ExportRegistry};
use super::state_writer::StateWriter;
use super::watch::Watcher;
use crate::config::{self, Idle, Serve};
use crate::link::{Counter, Owned};
use crate::observe::{Latency, Report, Section};
use crate::privilege::{self, Role};
use crate::shelf::Shelf;
use crate::wire::aoe::Address;
use crate::wire::ether::Mac;
use crate::worker::{
    self, Directory, IdlePolicy, Owner, SharedLane, Snapshot, Tracer, Waker, WithExports, Worker,
    WorkerChannels, WorkerCommand, WorkerConfig,
};

/// An adaptive worker spins this long after its last frame. A sleeping worker
/// costs its next request a wake-up of a few microseconds; this is some round
/// trips of a host that waits for each answer.
const SPIN: Duration = Duration::from_micros(50);

/// A worker that does not answer for this long is stuck in a store.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// How often they are asked whether they have.
const DRAIN_ROUND: Duration = Duration::from_millis(1);

/// Longest wait for all workers to finish what is under way.
const DRAIN_LIMIT: Duration = Duration::from_secs(6);

/// All workers.
pub struct WorkerPool {
    pub(super) workers: Vec<WorkerHandle>,
    pub(super) lanes: Arc<[SharedLane]>,
    pub(super) directory: Arc<Directory>,
    pub(super) registry: ExportRegistry,
    /// Requests that may be under way for each export.
    pub(super) in_flight: u16,
    state_writer: Option<StateWriter>,
    pub(super) watcher: Watcher,
}

/// What was not finished when the workers were stopped.
#[derive(Clone, Copy, Debug)]
pub struct Left {
    /// Workers that did not end: they wait in a store.
    pub workers: usize,
    /// Requests that stores have not finished, of the workers that did end.
    pub requests: usize,
}

pub(super) struct WorkerHandle {
    orders: Sender<WorkerCommand>,
    waker: Waker,
    thread: Option<JoinHandle<Snapshot>>,
}

impl WorkerPool {
    /// Spreads lanes and exports over workers and starts their threads.
    pub fn start(
        lanes: Vec<PlacedLane>,
        exports: Vec<Opened>,
        interfaces: &[Interface],
        options: &Serve,
    ) -> Result<Self, Failure> {
        let workers = plan::workers(options, interfaces.iter().map(|i| i.facts.queues));
        let cores = plan::cores(options)?;
        let shared: Arc<[SharedLane]> = lanes.iter().map(|lane| share(lane, interfaces)).collect();
        let (shelves, directory, registry) = distribute(exports, workers, options)?;
        let mut groups: Vec<Vec<(u16, _)>> = (0..workers).map(|_| Vec::new()).collect();
        for (id, lane) in lanes.into_iter().enumerate() {
            if let Some(group) = groups.get_mut(lane.worker) {
                group.push((id as u16, lane.lane));
            }
        }
        let chunks: Vec<usize> = groups
            .iter()
            .map(|group| group.iter().map(|(_, lane)| lane.umem().chunks() as usize).sum())
            .collect();
        let exchange =
            WorkerChannels::connect(&chunks).map_err(|e| Failure::machine("cannot make an eventfd", e))?;
        let writer = options.service.state.0.as_deref();
        let writer = writer.map(|folder| StateWriter::new(folder, names_of(interfaces)));
        let mut pool = Self {
            workers: Vec::new(),
            lanes: Arc::clone(&shared),
            directory: Arc::clone(&directory),
            registry,
            in_flight: plan::in_flight(options),
            state_writer: writer.transpose()?,
            watcher: Watcher::start()?,
        };
        let seats = groups.into_iter().zip(shelves).zip(exchange).enumerate();
        for (index, ((lanes, shelf), (exchange, waker))) in seats {
            let parts = WorkerConfig {
                index: index as u16,
                lanes,
                shared: Arc::clone(&shared),
                shelf,
                directory: Arc::clone(&directory),
                channels: exchange,
                buffer_count: options.buffer_count,
                in_flight: pool.in_flight,
            };
            let mut worker = Worker::new(parts);
            if let Some(writer) = &pool.state_writer {
                worker.set_state_writer(writer.inbox());
            }
            pool.workers.push(WorkerHandle::start(worker, waker, index, cores.get(index).copied(), options)?);
        }
        let inboxes = pool.workers.iter().map(|worker| (worker.orders.clone(), worker.waker.clone()));
        let inboxes = inboxes.collect();
        pool.state_writer.as_mut().map_or(Ok(()), |writer| writer.start(inboxes))?;
        Ok(pool)
    }

    /// Who keeps what hosts set, and the data that they use.
    pub(super) fn state_writer(&self) -> Option<&StateWriter> {
        self.state_writer.as_ref()
    }

    /// Where that is kept.
    pub(super) fn state_folder(&self) -> Option<&Path> {
        self.state_writer.as_ref().map(StateWriter::folder)
    }

    /// Which worker has which export.
    pub fn owners(&self) -> Vec<Owned> {
        let rows = self.directory.rows().iter();
        rows.map(|(address, owner)| Owned { shelf: address.shelf, slot: address.slot, worker: owner.worker })
            .collect()
    }

    /// Tells the hosts on an interface about the exports that they may use.
    pub fn announce(&self, interface: usize, options: &Serve) {
        self.announce_some(interface, options, &options.exports);
    }

    /// Tells them about these exports.
    pub fn announce_some(&self, interface: usize, options: &Serve, exports: &[config::Export]) {
        let audience = exports.iter().flat_map(|export| {
            let allowed = options.allowed(export);
            let to = if allowed.is_empty() { &[Mac::BROADCAST][..] } else { allowed };
            to.iter().map(|to| (export.address, *to))
        });
        let audience: Vec<(Address, Mac)> = audience.collect();
        let first = self.lanes.iter().find(|lane| lane.interface == interface);
        let worker = first.and_then(|lane| self.workers.get(usize::from(lane.worker)));
        if let Some(worker) = worker {
            worker.order(WorkerCommand::Announce { interface, audience });
        }
    }

    /// An interface has another address or MTU.
    pub fn update(&self, interface: usize, mac: Mac, mtu: u32) {
        for lane in self.lanes.iter().filter(|lane| lane.interface == interface) {
            lane.update(mac, mtu);
        }
    }

    /// Reads that got no reply since the last call because that would be longer than
    /// the MTU: one of each lane, by its interface.
    pub fn too_long_replies(&self) -> impl Iterator<Item = (usize, Address, u8)> + '_ {
        self.lanes.iter().filter_map(|lane| {
            lane.take_too_long().map(|(export, sectors)| (lane.interface, export, sectors))
        })
    }

    /// Has the sizes of all stores looked at. Returns whether every worker was
    /// asked: one that still has orders to carry out is not, so that nothing
    /// piles up where a store does not answer.
    pub fn measure(&self) -> bool {
        let idle = self.workers.iter().filter(|worker| worker.orders.is_empty());
        idle.inspect(|worker| worker.order(WorkerCommand::Measure)).count() == self.workers.len()
    }

    /// The size of every export in sectors, as it was last seen.
    pub fn sizes(&self) -> Vec<(Address, u64)> {
        self.directory.sizes().collect()
    }

    /// Exports that take no more writes after a fault.
    pub fn degraded(&self) -> Vec<Address> {
        self.directory.degraded().collect()
    }

    /// Exports whose stores do not answer.
    pub fn stuck(&self) -> Vec<Address> {
        self.directory.stuck().collect()
    }

    /// How often each worker has turned.
    pub fn heartbeats(&self) -> Vec<u64> {
        self.workers.iter().map(|worker| worker.waker.heartbeats()).collect()
    }

    /// Whether all have done what was asked of them so far, and what others
    /// asked of them meanwhile; waits for that a while.
    pub fn has_settled(&self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        // Twice: an announcement may be made by one worker and sent by another.
        (0..2).all(|_| {
            let before = self.heartbeats();
            let settled = || {
                let turned = self.heartbeats().iter().zip(&before).all(|(now, before)| *now > before + 1);
                turned && self.workers.iter().all(|worker| worker.orders.is_empty())
            };
            while !settled() && Instant::now() < deadline {
                self.workers.iter().for_each(|worker| worker.waker.notify());
                thread::sleep(DRAIN_ROUND);
            }
            settled()
        })
    }

    /// Whether a worker has ended though nobody asked it to.
    pub fn has_lost_a_worker(&self) -> bool {
        self.workers.iter().any(|m| m.thread.as_ref().is_none_or(JoinHandle::is_finished))
    }

    /// Has all workers tell of single requests and frames, or no more.
    pub fn trace(&self, tracer: Option<&Tracer>) {
        for worker in &self.workers {
            worker.order(WorkerCommand::Trace(tracer.cloned()));
        }
    }

    /// What all workers have counted so far.
    pub fn report(&self, interfaces: &[Interface]) -> String {
        report(self.snapshots(WithExports::Yes), interfaces, self.registry.past.service())
    }

    /// Drains and ends all workers; returns their last report, and what a store
    /// that does not answer has left behind.
    pub fn stop(mut self, interfaces: &[Interface]) -> (String, Left) {
        for worker in &self.workers {
            worker.order(WorkerCommand::Drain);
        }
        let deadline = Instant::now() + DRAIN_LIMIT;
        // In two rounds, because a worker that is idle now may still get a
        // request from another one.
        let mut quiet = 0;
        while quiet < 2 && Instant::now() < deadline {
            let snapshots = self.snapshots(WithExports::No);
            let drained = snapshots.len() == self.workers.len() && snapshots.iter().all(|s| s.drained);
            quiet = if drained { quiet + 1 } else { 0 };
            if !drained {
                thread::sleep(DRAIN_ROUND);
            }
        }
        if quiet < 2 {
            warn!(
                "some requests were not finished within {DRAIN_LIMIT:?}: their initiators will resend them"
            );
        }
        if let Some(writer) = &mut self.state_writer {
            // It has the workers' inboxes, whose end is theirs.
            writer.stop();
        }
        let workers = self.workers.len();
        let ended = self.join();
        let mut left = Left { workers: workers - ended.len(), requests: 0 };
        for (address, count) in ended.iter().flat_map(|snapshot| &snapshot.unfinished) {
            warn!("{address}: {count} request(s) not finished: their initiators will resend them");
            left.requests += count;
        }
        self.registry.close();
        (report(ended, interfaces, self.registry.past.service()), left)
    }

    /// Ends the workers and returns their last snapshots. A worker that is
    /// stuck in a store is left behind: it ends with the process.
    fn join(&mut self) -> Vec<Snapshot> {
        for worker in &mut self.workers {
            // The end of its orders ends a worker, also when its inbox is full.
            worker.orders = bounded(0).0;
            worker.waker.notify();
        }
        let deadline = Instant::now() + PATIENCE;
        let threads: Vec<_> = self.workers.iter_mut().filter_map(|m| m.thread.take()).collect();
        while Instant::now() < deadline && !threads.iter().all(JoinHandle::is_finished) {
            thread::sleep(DRAIN_ROUND);
        }
        let ended = threads.into_iter().filter(JoinHandle::is_finished);
        ended.filter_map(|thread| thread.join().ok()).collect()
    }

    /// What the workers have counted; without those that do not answer.
    pub fn snapshots(&self, exports: WithExports) -> Vec<Snapshot> {
        let (to, from) = bounded(self.workers.len());
        for worker in &self.workers {
            worker.order(WorkerCommand::Report(to.clone(), exports));
        }
        drop(to);
        let deadline = Instant::now() + PATIENCE;
        std::iter::from_fn(|| from.recv_deadline(deadline).ok()).collect()
    }
}

impl WorkerHandle {
    fn start(
        worker: Worker<crate::ring::XskRings>,
        waker: Waker,
        index: usize,
        core: Option<core_affinity::CoreId>,
        options: &Serve,
    ) -> Result<Self, Failure> {
        let (orders, inbox) = bounded(16);
        let idle = match options.idle {
            Idle::Adaptive => IdlePolicy::Adaptive { spin: SPIN },
            Idle::Spin => IdlePolicy::Spin,
        };
        let waiter = worker.waiter(&waker).map_err(|e| Failure::machine("cannot wait for the lanes", e))?;
        let body = move || {
            if let Some(core) = core {
                if core_affinity::set_for_current(core) {
                    info!("worker {index} runs on core {}", core.id);
                } else {
                    warn!("worker {index} could not be pinned to core {}", core.id);
                }
            }
            privilege::enter(Role::Worker);
            worker::run(worker, &inbox, &waiter, idle)
        };
        let thread = thread::Builder::new()
            .name(format!("worker-{index}"))
            .spawn(body)
            .map_err(|e| Failure::machine("cannot start a thread", e))?;
        Ok(Self { orders, waker, thread: Some(thread) })
    }

    /// As [`Self::order`], but waits for room: `false` if the worker does not
    /// answer, or has ended.
    pub(super) fn insist(&self, order: WorkerCommand) -> bool {
        self.waker.notify();
        let sent = self.orders.send_timeout(order, PATIENCE).is_ok();
        self.waker.notify();
        sent
    }

    /// As [`Self::order`]: `false` if it was not taken.
    pub(super) fn offer(&self, order: WorkerCommand) -> bool {
        let sent = self.orders.try_send(order).is_ok();
        self.waker.notify();
        sent
    }

    pub(super) fn order(&self, order: WorkerCommand) {
        // Refused only by a worker that has ended or is stuck; both are
        // reported by whoever waits for the answer.
        let _ = self.offer(order);
    }
}

fn share(placed: &PlacedLane, interfaces: &[Interface]) -> SharedLane {
    let memory = placed.lane.umem();
    let multi_fragment = placed.lane.rings().multi_fragment();
    let shared = SharedLane::new(memory.clone(), placed.interface, placed.worker as u16, multi_fragment);
    if let Some(interface) = interfaces.get(placed.interface) {
        shared.update(Mac(interface.facts.mac), interface.facts.mtu);
    }
    shared
}

/// Gives each export to the worker that was named for it, or to the next one,
/// and notes who has which.
fn distribute(
    exports: Vec<Opened>,
    workers: usize,
    options: &Serve,
) -> Result<(Vec<Shelf>, Arc<Directory>, ExportRegistry), Failure> {
    let mut shelves: Vec<Shelf> = (0..workers).map(|_| Shelf::default()).collect();
    let mut ways = Vec::new();
    for (at, Opened { export, info, source }) in exports.into_iter().enumerate() {
        let address = export.state.settings.address;
        ways.push((address, (info, source)));
        let wanted = options.exports.iter().find(|wanted| wanted.address == address);
        let worker = plan::worker_of(wanted, at, workers);
        let shelf = shelves.get_mut(worker).ok_or_else(|| plan::no_such_worker(address, worker, workers))?;
        shelf.insert(export).map_err(Failure::request)?;
    }
    let mut registry = ExportRegistry::new(workers);
    let mut rows = Vec::new();
    for (worker, shelf) in shelves.iter().enumerate() {
        for (index, export) in shelf.iter().enumerate() {
            let owner = Owner { worker: worker as u16, export: index as u16 };
            let settings = &export.state.settings;
            rows.push((settings.address, owner));
            let wanted = options.exports.iter().find(|wanted| wanted.address == settings.address);
            let info = ways.iter().find(|(address, _)| *address == settings.address);
            if let (Some(wanted), Some((_, (info, source)))) = (wanted, info) {
                registry.enter(ExportEntry::new(wanted, owner, *info, source.clone(), settings.clone()));
            }
        }
    }
    let directory = Directory::new(rows);
    for export in shelves.iter().flat_map(Shelf::iter) {
        directory.note_size(export.state.settings.address, export.state.geometry.sectors);
    }
    Ok((shelves, Arc::new(directory), registry))
}

/// `past`: service times of exports that are gone; the workers still count their
/// requests.
fn report(snapshots: Vec<Snapshot>, interfaces: &[Interface], past: Option<&Latency>) -> String {
    let mut latency = Latency::new();
    if let Some(past) = past {
        latency.merge(past);
    }
    let mut sections: Vec<Section> = interfaces.iter().map(kernel_section).collect();
    for snapshot in snapshots {
        for export in &snapshot.exports {
            latency.merge(&export.tally.service);
        }
        let mut counters = snapshot.stats.counters.rows();
        counters.extend(snapshot.stats.drop_rows());
        sections.extend(snapshot.lanes);
        sections.push(Section { name: format!("worker {}", snapshot.worker), counters });
    }
    Report { sections, latency }.to_string()
}

fn kernel_section(interface: &Interface) -> Section {
    let counts = interface.program.as_ref().and_then(|p| p.counters().ok()).unwrap_or_default();
    let counters = Counter::ALL.iter().map(|c| c.name()).zip(counts).collect();
    Section { name: format!("interface {} (XDP program)", interface.facts.name), counters }
}
