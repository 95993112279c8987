//! Whole workers over rings in memory, run turn by turn.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use xblade::ring::{HostKey, Lane};
use xblade::shelf::{Acl, Export, HostSettings, Rates, Segments, Settings};
use xblade::store::{self, Access, Durability, MemRegion, OpenOptions, RamStore, Ring, Store};
use xblade::wire::DropReason;
use xblade::wire::ether;
use xblade::wire::identify::{Names, Text};
use xblade::wire::vlan::Vlans;
use xblade::worker::{
    Clock, Counters, Directory, Owner, SharedLane, Sharing, Waker, Worker, WorkerChannels, WorkerCommand,
    WorkerConfig,
};
use xblade_sim::{FakeRings, FakeWire};

use crate::{Address, LARGE, LARGE_SECTORS, MAIN, Mac, READ_ONLY, SENTINEL, Stand, TARGET_MAC, THIN, Target};

/// More rounds than anything that terminates takes.
const ROUNDS_MAX: usize = 100_000;

/// The parts of a target. Every lane is an interface of its own, whose address is
/// [`TARGET_MAC`] with the lane's index added to the last byte.
pub struct Plan {
    /// The worker of each lane.
    pub lanes: Vec<u16>,
    /// Whether the lanes are sockets on one queue, which share chunks, fill and
    /// completion ring. Then each worker has one of them, and receives the frames for its
    /// own exports there.
    pub one_queue: bool,
    /// Number of workers.
    pub workers: u16,
    /// Whether each worker has an io_uring for its stores.
    pub rings: bool,
    /// Chunks in the UMEM of each lane.
    pub chunks: u32,
    /// Bytes per chunk: 2048 or 4096.
    pub chunk_bytes: u32,
    /// Entries in fill and tx ring.
    pub ring: u32,
    /// MTU of every interface.
    pub mtu: u32,
    /// The buffer count advertised.
    pub buffer_count: u16,
    /// Maximum number of requests in flight per export.
    pub in_flight: u16,
    /// How the workers share their time between hosts.
    pub sharing: Sharing,
    /// The access list; empty for all hosts.
    pub acl: Vec<Mac>,
    /// The exports.
    pub exports: Vec<ExportPlan>,
}

/// One export of a [`Plan`].
pub struct ExportPlan {
    /// The address.
    pub address: Address,
    /// The store.
    pub store: Box<dyn Store>,
    /// Whether writes are refused.
    pub read_only: bool,
    /// The durability it promises.
    pub durability: Durability,
    /// The segments that it is served on.
    pub segments: Segments,
    /// Its rate limits.
    pub rates: Rates,
    /// The worker that owns it.
    pub worker: u16,
}

impl ExportPlan {
    /// An export of this store, owned by worker 0, served in every VLAN.
    pub fn new(address: Address, store: impl Store + 'static) -> Self {
        Self::of(address, Box::new(store))
    }

    /// The same, of a store that was opened.
    pub fn of(address: Address, store: Box<dyn Store>) -> Self {
        let segments = Segments { vlans: Vlans::Any, interfaces: None };
        Self {
            address,
            store,
            read_only: false,
            durability: Durability::Durable,
            segments,
            rates: Rates::default(),
            worker: 0,
        }
    }

    /// Changes the owner to another worker.
    #[must_use]
    pub fn owned_by(self, worker: u16) -> Self {
        Self { worker, ..self }
    }
}

impl Plan {
    /// One worker with one lane, for jumbo frames.
    pub fn new(exports: Vec<ExportPlan>) -> Self {
        Self {
            lanes: vec![0],
            one_queue: false,
            workers: 1,
            rings: false,
            chunks: 1024,
            chunk_bytes: 4096,
            ring: 256,
            mtu: 9000,
            buffer_count: 64,
            in_flight: 64,
            sharing: Sharing::default(),
            acl: Vec::new(),
            exports,
        }
    }

    /// The exports of a stand, over the stores that the daemon would open, distributed
    /// over this many workers.
    pub fn of(stand: &Stand, workers: u16) -> Self {
        let open = |address, read_only| {
            let options =
                OpenOptions { read_only, access: Access::Mapped, ..OpenOptions::new(stand.image(address)) };
            store::open(&options).expect("an image").store
        };
        let mut exports = vec![
            ExportPlan::of(MAIN, open(MAIN, false)),
            ExportPlan { read_only: true, ..ExportPlan::of(READ_ONLY, open(READ_ONLY, true)) },
            ExportPlan::of(THIN, open(THIN, false)),
            ExportPlan {
                durability: Durability::Volatile,
                ..ExportPlan::new(LARGE, RamStore::null(LARGE_SECTORS))
            },
            ExportPlan::of(SENTINEL, open(SENTINEL, false)),
        ];
        for (export, worker) in exports.iter_mut().zip((0..workers).rev().cycle()) {
            export.worker = worker;
        }
        Self { workers, ..Self::new(exports) }
    }
}

/// A clock that stands still unless it is set.
#[derive(Debug, Default)]
pub struct TestClock(pub Cell<u64>);

impl Clock for TestClock {
    fn now_ns(&self) -> u64 {
        self.0.get()
    }
}

/// Workers, their rings, and the far ends of the rings.
pub struct FakeTarget {
    /// Each advances by calling its `turn`.
    pub workers: Vec<Worker<FakeRings>>,
    /// The far end of each lane.
    pub wires: Vec<FakeWire>,
    /// What wakes each worker.
    pub wakers: Vec<Waker>,
    /// The owners, failures and sizes of the exports.
    pub directory: Arc<Directory>,
    lanes: Arc<[SharedLane]>,
    /// The time.
    pub clock: TestClock,
    /// Replies by lane, oldest first.
    replies: Vec<VecDeque<Vec<u8>>>,
}

/// The lanes of a plan, each with its far end.
fn lanes(plan: &Plan) -> Vec<(Lane<FakeRings>, FakeWire)> {
    let several = |lanes| FakeRings::open_several(lanes, plan.chunks, plan.chunk_bytes, plan.ring);
    let queues = if plan.one_queue { vec![plan.lanes.len()] } else { vec![1; plan.lanes.len()] };
    queues.into_iter().flat_map(|lanes| several(lanes).expect("a possible shape")).collect()
}

/// A ring in which the memory of these lanes is registered.
fn ring(lanes: &[SharedLane]) -> Ring {
    let extents = lanes.iter().map(|lane| lane.umem.extent());
    let areas = extents.map(|(base, bytes)| MemRegion { base, bytes }).collect();
    Ring::open(areas).expect("a ring")
}

impl FakeTarget {
    /// Builds the workers of a plan.
    pub fn new(plan: Plan) -> Self {
        let (mut wires, mut shared) = (Vec::new(), Vec::new());
        let mut own: Vec<Vec<_>> = (0..plan.workers).map(|_| Vec::new()).collect();
        for (id, (&worker, (lane, wire))) in plan.lanes.iter().zip(lanes(&plan)).enumerate() {
            let place = SharedLane::new(lane.umem().clone(), (id, Arc::default(), 0), worker, true);
            place.update(ether::Mac(lane_mac(id)), plan.mtu);
            shared.push(place);
            own[usize::from(worker)].push((id as u16, lane));
            wires.push(wire);
        }
        let shared: Arc<[_]> = shared.into();
        let (shelves, directory) = distribute(plan.exports, plan.workers, &plan.acl);
        let chunks: Vec<_> = own.iter().map(|lanes| lanes.len() * plan.chunks as usize).collect();
        let ends = WorkerChannels::connect(&chunks).expect("an eventfd");
        let wakers = ends.iter().map(|(_, waker)| waker.clone()).collect();
        let workers =
            own.into_iter().zip(shelves).zip(ends).enumerate().map(|(index, ((lanes, exports), end))| {
                let parts = WorkerConfig {
                    index: index as u16,
                    lanes,
                    shared: Arc::clone(&shared),
                    exports,
                    directory: Arc::clone(&directory),
                    channels: end.0,
                    ring: plan.rings.then(|| ring(&shared)),
                    seed: 1 << 63 | 1,
                    sharing: plan.sharing,
                    buffer_count: plan.buffer_count,
                    in_flight: plan.in_flight,
                };
                Worker::new(parts)
            });
        let replies = wires.iter().map(|_| VecDeque::new()).collect();
        let workers = workers.collect();
        Self { workers, wires, wakers, directory, clock: TestClock::default(), lanes: shared, replies }
    }

    /// Enters a host into the tables of all lanes, as if it had sent for a while.
    pub fn enter_host(&self, host: Mac) {
        for lane in self.lanes.iter() {
            lane.hosts().add(HostKey::new(host, 0), self.clock.0.get()).expect("an entry");
        }
    }

    /// Makes all workers use this directory.
    pub fn publish(&mut self, directory: Directory) {
        self.directory = Arc::new(directory);
        for worker in &mut self.workers {
            worker.carry_out(WorkerCommand::Directory(Arc::clone(&self.directory)), &self.clock);
        }
    }

    /// Makes worker 0 carry out a command.
    pub fn order(&mut self, command: WorkerCommand) {
        self.workers[0].carry_out(command, &self.clock);
    }

    /// Delivers a frame to a lane; `false` if its rings had no room.
    pub fn deliver(&self, lane: usize, frame: &[u8]) -> bool {
        self.wires[lane].deliver(frame)
    }

    /// As [`Self::deliver`], with the XDP program's stamp.
    pub fn deliver_at(&self, lane: usize, frame: &[u8], arrived_ns: Option<u64>) -> bool {
        self.wires[lane].deliver_at(frame, arrived_ns)
    }

    /// Gives every worker a turn. Returns the amount of work done.
    pub fn round(&mut self) -> usize {
        self.workers.iter_mut().map(|worker| worker.turn(&self.clock)).sum()
    }

    /// Runs rounds until a whole round finds nothing to do and nothing is in flight that
    /// would complete by itself. Operations that the test has to release do not count.
    pub fn settle(&mut self) {
        let mut quiet = 0;
        for _ in 0..ROUNDS_MAX {
            quiet = if self.round() == 0 { quiet + 1 } else { 0 };
            self.collect();
            let busy = self.workers.iter().any(Worker::is_busy);
            if quiet > if busy { 200 } else { 1 } {
                return;
            }
        }
        panic!("the workers do not come to rest");
    }

    /// What a lane has sent, oldest first.
    pub fn sent(&mut self, lane: usize) -> Vec<Vec<u8>> {
        self.collect();
        self.replies[lane].drain(..).collect()
    }

    /// Sends a frame to a lane, and returns what that lane sends until everything is
    /// quiet.
    pub fn channels(&mut self, lane: usize, frame: &[u8]) -> Vec<Vec<u8>> {
        assert!(self.deliver(lane, frame), "room in the rings");
        self.settle();
        self.sent(lane)
    }

    /// The sum of a counter over all workers.
    pub fn count(&self, pick: impl Fn(&Counters) -> u64) -> u64 {
        self.workers.iter().map(|worker| pick(&worker.stats().counters)).sum()
    }

    /// The number of drops for this reason, by all workers.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.workers.iter().map(|worker| worker.stats().drops[reason as usize]).sum()
    }

    /// Asserts that nothing is in flight, that every chunk is accounted for, and that the
    /// counters of impossible events are zero.
    #[track_caller]
    pub fn assert_at_rest(&mut self) {
        self.settle();
        for (index, worker) in self.workers.iter().enumerate() {
            assert!(!worker.is_busy(), "worker {index} is busy");
            for lane in worker.lanes() {
                assert_eq!(lane.check(0), Ok(()), "worker {index}");
                let counters = lane.counters();
                assert_eq!((counters.bad_descriptors, counters.bad_completions), (0, 0), "worker {index}");
            }
            let counters = worker.stats().counters;
            let never = (counters.unsendable, counters.stale_completions, counters.imbalances);
            assert_eq!(never, (0, 0, 0), "worker {index}: unsendable, stale, imbalances");
        }
    }

    fn collect(&mut self) {
        for (wire, replies) in self.wires.iter().zip(&mut self.replies) {
            replies.extend(std::iter::from_fn(|| wire.sent()));
        }
    }
}

impl Target for FakeTarget {
    /// Sends to the first lane. Everything comes to rest before this returns, so replies
    /// are in the order of their requests for any number of workers.
    fn send(&mut self, frame: &[u8]) {
        assert!(self.deliver(0, frame), "room in the rings");
        self.settle();
    }

    fn next_reply(&mut self, _window: Duration) -> Option<Vec<u8>> {
        self.replies[0].pop_front()
    }

    fn drops(&self) -> Option<[u64; DropReason::NAMES.len()]> {
        Some(std::array::from_fn(|at| self.workers.iter().map(|worker| worker.stats().drops[at]).sum()))
    }
}

/// The address of a lane's interface.
fn lane_mac(lane: usize) -> Mac {
    let [a, b, c, d, e, f] = TARGET_MAC;
    [a, b, c, d, e, f + lane as u8]
}

/// The settings of an export for every host, served without a tag.
pub fn settings(at: Address) -> Settings {
    Settings {
        address: xblade::wire::aoe::Address { shelf: at.0, slot: at.1 },
        read_only: false,
        durability: Durability::Durable,
        names: Names { serial: Text::new("serial"), firmware: Text::new("1"), model: Text::new("xblade") },
        segments: Segments::default(),
        acl: Acl::default(),
        host_settings: HostSettings::Allow,
        rates: Rates::default(),
    }
}

fn distribute(exports: Vec<ExportPlan>, workers: u16, acl: &[Mac]) -> (Vec<Vec<Export>>, Arc<Directory>) {
    let mut shelves: Vec<_> = (0..workers).map(|_| Vec::new()).collect();
    let mut owners = Vec::new();
    let acl = Acl::new(acl.iter().copied().map(ether::Mac));
    for plan in exports {
        let (read_only, durability) = (plan.read_only, plan.durability);
        let (segments, acl, rates) = (plan.segments, acl.clone(), plan.rates);
        let usual = settings(plan.address);
        let settings = Settings { read_only, durability, segments, acl, rates, ..usual };
        let address = settings.address;
        shelves[usize::from(plan.worker)].push(Export::new(settings, plan.store));
        owners.push((address, plan.worker));
    }
    let place = |(address, worker): (_, u16)| {
        let mut exports = shelves[usize::from(worker)].iter();
        let export = exports.position(|e| e.state.settings.address == address).expect("inserted above");
        (address, Owner { worker, export: export as u16 })
    };
    let rows = owners.into_iter().map(place).collect();
    (shelves, Arc::new(Directory::new(rows)))
}
