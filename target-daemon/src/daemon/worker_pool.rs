//! The worker threads, the assignment of lanes and exports to them, and requests to all of
//! them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use core_affinity::CoreId;
use crossbeam_channel::{Sender, bounded};
use log::{info, warn};

use super::exports::Opened;
use super::failure::{Context, Failure};
use super::host_settings::HostLog;
use super::interface::{Interface, PlacedLane, hosts, names_of, seed};
use super::plan;
use super::registry::{ExportEntry, ExportRegistry};
use super::state_writer::{self, StateWriter};
use super::watch::Watcher;
use crate::config::{self, Idle, Serve};
use crate::link::Owned;
use crate::privilege::{self, Role};
use crate::ring::{HostTable, XskRings};
use crate::shelf::Export;
use crate::store::{MemRegion, Ring};
use crate::wire::aoe::Address;
use crate::wire::ether::Mac;
use crate::worker::{
    self, Directory, IdlePolicy, Owner, SharedLane, Sharing, Snapshot, Tracer, Waker, Worker, WorkerChannels,
    WorkerCommand, WorkerConfig,
};

/// How long an adaptive worker spins after its last frame. Waking a sleeping worker costs
/// the next request a few microseconds; this is a few round trips of a host that waits for
/// each reply.
const SPIN: Duration = Duration::from_micros(50);

/// A worker that does not answer for this long is stuck in a store.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// How often a condition is polled while waiting for the workers.
const DRAIN_ROUND: Duration = Duration::from_millis(1);

/// Maximum wait for all workers to finish their requests in flight.
const DRAIN_LIMIT: Duration = Duration::from_secs(6);

/// All workers.
pub struct WorkerPool {
    pub(super) workers: Vec<WorkerHandle>,
    pub(super) lanes: Arc<[SharedLane]>,
    pub(super) directory: Arc<Directory>,
    pub(super) registry: ExportRegistry,
    /// Maximum number of requests in flight for each export.
    pub(super) in_flight: u16,
    pub(super) state_writer: Option<StateWriter>,
    pub(super) watcher: Watcher,
    pub(super) host_log: HostLog,
}

/// What was not finished when the workers were stopped.
#[derive(Clone, Copy, Debug)]
pub struct Left {
    /// Workers that did not exit because they are stuck in a store.
    pub workers: usize,
    /// Requests not finished by the stores of the workers that did exit.
    pub requests: usize,
}

pub(super) struct WorkerHandle {
    orders: Sender<WorkerCommand>,
    waker: Waker,
    thread: Option<JoinHandle<Snapshot>>,
}

impl WorkerPool {
    /// Assigns lanes and exports to workers and starts their threads.
    pub fn start(
        lanes: Vec<PlacedLane>,
        rings: Vec<Option<Ring>>,
        exports: Vec<Opened>,
        interfaces: &[Interface],
        options: &Serve,
    ) -> Result<Self, Failure> {
        let workers = plan::workers(options, interfaces.iter().map(|i| i.facts.queues));
        let cores = plan::cores(options)?;
        let hosts: Vec<_> =
            interfaces.iter().map(|one| hosts(one).map(Arc::new)).collect::<Result<_, _>>()?;
        let shared: Arc<[SharedLane]> = lanes.iter().map(|lane| share(lane, interfaces, &hosts)).collect();
        let (shelves, directory, registry) = distribute(exports, workers)?;
        let mut groups: Vec<Vec<(u16, _)>> = (0..workers).map(|_| Vec::new()).collect();
        let mut chunks = vec![0; workers];
        for (id, PlacedLane { lane, worker, .. }) in (0..).zip(lanes) {
            if let (Some(group), Some(chunks)) = (groups.get_mut(worker), chunks.get_mut(worker)) {
                *chunks += lane.umem().chunks() as usize;
                group.push((id, lane));
            }
        }
        let channels = WorkerChannels::connect(&chunks).context("cannot make an eventfd")?;
        let folder = options.service.state.as_deref();
        let inbox = state_writer::inbox();
        let mut pool = Self {
            workers: Vec::new(),
            lanes: Arc::clone(&shared),
            directory: Arc::clone(&directory),
            registry,
            in_flight: plan::in_flight(options),
            state_writer: None,
            watcher: Watcher::start()?,
            host_log: HostLog::new(),
        };
        let parts = groups.into_iter().zip(rings).zip(shelves).zip(channels).enumerate();
        for (index, (((lanes, ring), exports), (channels, waker))) in parts {
            let mut worker = Worker::new(WorkerConfig {
                index: index as u16,
                lanes,
                shared: Arc::clone(&shared),
                exports,
                directory: Arc::clone(&directory),
                channels,
                ring,
                seed: seed(),
                sharing: Sharing::default(),
                buffer_count: options.buffer_count,
                in_flight: pool.in_flight,
            });
            worker.set_change_log(pool.host_log.sender());
            if folder.is_some() {
                worker.set_state_writer(inbox.0.clone());
            }
            pool.workers.push(WorkerHandle::start(worker, waker, index, cores.get(index).copied(), options)?);
        }
        if let Some(folder) = folder {
            let workers = pool.workers.iter().map(|worker| (worker.orders.clone(), worker.waker.clone()));
            let writer = StateWriter::start(folder, names_of(interfaces), inbox, workers.collect())?;
            pool.state_writer = Some(writer);
        }
        Ok(pool)
    }

    /// The owner of each export.
    pub fn owners(&self) -> Vec<Owned> {
        let rows = self.directory.rows().iter();
        rows.map(|(address, owner)| Owned { shelf: address.shelf, slot: address.slot, worker: owner.worker })
            .collect()
    }

    /// Announces these exports to the hosts on an interface that may use them.
    pub fn announce(&self, interface: usize, options: &Serve, exports: &[config::Export]) {
        let Some(first) = self.lanes.iter().find(|lane| lane.interface == interface) else { return };
        let Some(worker) = self.workers.get(usize::from(first.worker)) else { return };
        let mut audience = Vec::new();
        for export in exports {
            let Some(entry) = self.registry.get(export.address) else { continue };
            let (segments, allowed) = (&entry.settings.segments, options.allowed(export));
            if !segments.is_served(first.ingress()) {
                continue;
            }
            let vlans: Vec<u16> = segments.vlans.ids().collect();
            // A broadcast has the window of hosts without limits of their own.
            let is_limited = |mac: &Mac| entry.settings.rates.of_host(*mac).next().is_some();
            let known = first.hosts().iter().map(|(_, key, _)| Mac(key.parts().0));
            let limited = known.filter(is_limited);
            let to: Vec<Mac> = match allowed.is_empty() {
                true => std::iter::once(Mac::BROADCAST).chain(limited).collect(),
                false => allowed.to_vec(),
            };
            audience.extend(to.iter().flat_map(|to| vlans.iter().map(|vlan| (export.address, *to, *vlan))));
        }
        worker.order(WorkerCommand::Announce { interface, audience });
    }

    /// Announces these exports on all interfaces.
    pub fn announce_all(&self, options: &Serve, exports: &[config::Export]) {
        let interfaces: BTreeSet<usize> = self.lanes.iter().map(|lane| lane.interface).collect();
        interfaces.into_iter().for_each(|interface| self.announce(interface, options, exports));
    }

    /// Applies a new MAC address or MTU of an interface.
    pub fn update(&self, interface: usize, mac: Mac, mtu: u32) {
        for lane in self.lanes.iter().filter(|lane| lane.interface == interface) {
            lane.update(mac, mtu);
        }
    }

    /// Applies whether an interface removes VLAN tags.
    pub fn set_strips_tags(&self, interface: usize, strips: bool) {
        for lane in self.lanes.iter().filter(|lane| lane.interface == interface) {
            lane.set_strips_tags(strips);
        }
    }

    /// Reads since the last call whose reply was not sent because it would exceed the
    /// MTU: at most one per lane, with the index of its interface.
    pub fn too_long_replies(&self) -> impl Iterator<Item = (usize, Address, u8)> + '_ {
        self.lanes.iter().filter_map(|lane| {
            lane.take_too_long().map(|(export, sectors)| (lane.interface, export, sectors))
        })
    }

    /// Requests the sizes of all stores. Returns whether every worker was asked: a worker
    /// with pending commands is skipped, so that commands do not pile up if a store does
    /// not answer.
    pub fn measure(&self) -> bool {
        let idle = self.workers.iter().filter(|worker| worker.orders.is_empty());
        idle.inspect(|worker| worker.order(WorkerCommand::Measure)).count() == self.workers.len()
    }

    /// Exports that refuse writes after an error.
    pub fn degraded(&self) -> Vec<Address> {
        self.directory.degraded().collect()
    }

    /// Exports whose stores do not answer.
    pub fn stuck(&self) -> Vec<Address> {
        self.directory.stuck().collect()
    }

    /// The number of turns of each worker.
    pub fn heartbeats(&self) -> Vec<u64> {
        self.workers.iter().map(|worker| worker.waker.heartbeats()).collect()
    }

    /// Waits until all workers have executed the commands sent so far, and what other
    /// workers request of them meanwhile, but at most for [`PATIENCE`]. Returns whether
    /// they have.
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

    /// Whether a worker has ended unexpectedly.
    pub fn has_lost_a_worker(&self) -> bool {
        self.workers.iter().any(|m| m.thread.as_ref().is_none_or(JoinHandle::is_finished))
    }

    /// Starts or stops the tracing of single requests and frames in all workers.
    pub fn trace(&self, tracer: Option<&Tracer>) {
        for worker in &self.workers {
            worker.order(WorkerCommand::Trace(tracer.cloned()));
        }
    }

    /// Drains and stops all workers. Returns their last snapshots, and what is unfinished
    /// because a store does not answer.
    pub fn stop(mut self) -> (Vec<Snapshot>, Left) {
        for worker in &self.workers {
            worker.order(WorkerCommand::Drain);
        }
        let deadline = Instant::now() + DRAIN_LIMIT;
        // Checked twice, because a worker that is idle now may still get a request from
        // another one.
        let drained = || {
            let snapshots = self.snapshots();
            snapshots.len() == self.workers.len() && snapshots.iter().all(|worker| worker.drained)
        };
        let mut is_quiet = drained() && drained();
        while !is_quiet && Instant::now() < deadline {
            thread::sleep(DRAIN_ROUND);
            is_quiet = drained() && drained();
        }
        if !is_quiet {
            warn!(
                "some requests were not finished within {DRAIN_LIMIT:?}: their initiators will resend them"
            );
        }
        // Only now, because draining workers may still have marked exports as used.
        self.note_used();
        if let Some(writer) = &mut self.state_writer {
            // It holds senders of the workers' inboxes, and a worker ends only when all of
            // them are dropped.
            writer.stop();
        }
        let workers = self.workers.len();
        let ended = self.join();
        let mut left = Left { workers: workers - ended.len(), requests: 0 };
        for (address, count) in ended.iter().flat_map(|snapshot| &snapshot.unfinished) {
            warn!("{address}: {count} request(s) not finished: their initiators will resend them");
            left.requests += count;
        }
        (ended, left)
    }

    /// Stops the workers and returns their last snapshots. A worker that is stuck in a
    /// store is left behind and ends with the process.
    fn join(&mut self) -> Vec<Snapshot> {
        for worker in &mut self.workers {
            // Dropping the sender ends a worker even if its inbox is full.
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

    /// Snapshots of all workers that answer.
    pub fn snapshots(&self) -> Vec<Snapshot> {
        let (to, from) = bounded(self.workers.len());
        for worker in &self.workers {
            worker.order(WorkerCommand::Report(to.clone()));
        }
        drop(to);
        let deadline = Instant::now() + PATIENCE;
        std::iter::from_fn(|| from.recv_deadline(deadline).ok()).collect()
    }
}

impl WorkerHandle {
    fn start(
        worker: Worker<XskRings>,
        waker: Waker,
        index: usize,
        core: Option<CoreId>,
        options: &Serve,
    ) -> Result<Self, Failure> {
        let (orders, inbox) = bounded(16);
        let idle = match options.idle {
            Idle::Adaptive => IdlePolicy::Adaptive { spin: SPIN },
            Idle::Spin => IdlePolicy::Spin,
        };
        let waiter = worker.waiter(&waker).context("cannot wait for the lanes")?;
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
            .context("cannot start a thread")?;
        Ok(Self { orders, waker, thread: Some(thread) })
    }

    /// As [`Self::order`], but waits for room. Returns `false` if the worker does not
    /// answer or has ended.
    pub(super) fn insist(&self, order: WorkerCommand) -> bool {
        self.waker.notify();
        let sent = self.orders.send_timeout(order, PATIENCE).is_ok();
        self.waker.notify();
        sent
    }

    /// As [`Self::order`]. Returns `false` if the command was not accepted.
    pub(super) fn offer(&self, order: WorkerCommand) -> bool {
        let sent = self.orders.try_send(order).is_ok();
        self.waker.notify();
        sent
    }

    pub(super) fn order(&self, order: WorkerCommand) {
        // Refused only by a worker that has ended or is stuck; both are reported where the
        // result is awaited.
        let _ = self.offer(order);
    }
}

/// The rings of the workers, for their stores; none without io_uring. Opened before privileges
/// are dropped: the system may refuse rings to others.
pub fn rings(
    lanes: &[PlacedLane],
    interfaces: &[Interface],
    options: &Serve,
) -> Result<Vec<Option<Ring>>, Failure> {
    let workers = plan::workers(options, interfaces.iter().map(|i| i.facts.queues));
    let extents = lanes.iter().map(|placed| placed.lane.umem().extent());
    let areas: Vec<_> = extents.map(|(base, bytes)| MemRegion { base, bytes }).collect();
    let ring = || Ring::open(areas.clone()).context("cannot make an io_uring");
    (0..workers).map(|_| Ring::is_missing().is_none().then(ring).transpose()).collect()
}

fn share(placed: &PlacedLane, interfaces: &[Interface], hosts: &[Arc<HostTable>]) -> SharedLane {
    let memory = placed.lane.umem();
    let multi_fragment = placed.lane.rings().multi_fragment();
    let hosts = hosts.get(placed.interface).cloned().unwrap_or_default();
    let shared = SharedLane::new(
        memory.clone(),
        (placed.interface, hosts, placed.at),
        placed.worker as u16,
        multi_fragment,
    );
    if let Some(interface) = interfaces.get(placed.interface) {
        shared.update(Mac(interface.facts.mac), interface.facts.mtu);
        shared.set_strips_tags(interface.facts.strips_tags);
    }
    shared
}

/// The exports of each worker, and the owner of each export.
type Distributed = (Vec<Vec<Export>>, Arc<Directory>, ExportRegistry);

/// Gives each export to the worker that it names, or to the next one in turn, and records
/// the owners.
fn distribute(exports: Vec<Opened>, workers: usize) -> Result<Distributed, Failure> {
    let mut shelves: Vec<Vec<Export>> = (0..workers).map(|_| Vec::new()).collect();
    let mut registry = ExportRegistry::default();
    for (at, Opened { wanted, export, info, source }) in exports.into_iter().enumerate() {
        let settings = export.state.settings.clone();
        let address = settings.address;
        let worker = plan::worker_of(&wanted, at, workers);
        let shelf = shelves.get_mut(worker).ok_or_else(|| plan::no_such_worker(address, worker, workers))?;
        let owner = Owner { worker: worker as u16, export: shelf.len() as u16 };
        shelf.push(export);
        let entry = ExportEntry { wanted, owner, info, source, replaced: None, settings };
        registry.entries.insert(address, entry);
    }
    let rows = registry.entries.iter().map(|(address, entry)| (*address, entry.owner));
    let directory = Directory::new(rows.collect());
    for export in shelves.iter().flatten() {
        directory.note_size(export.state.settings.address, export.state.geometry.sectors);
    }
    Ok((shelves, Arc::new(directory), registry))
}
