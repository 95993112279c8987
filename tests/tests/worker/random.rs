//! Random requests, valid and invalid, on random lanes, executed in random order by
//! workers and stores with little room. They overlap freely, are resent by their hosts,
//! and are duplicated by the network. At the end everything is at rest, no request was
//! answered more often than it was delivered, and some order of all requests explains
//! every sector that was read.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample;
use proptest::strategy::ValueTree;
use xblade_sim::FakeStore;
use xblade_sim::store::Order;
use xblade_tests::frame::{ATA, Ask, MASK, QUERY, RESERVE, SHELF_ANY, SLOT_ANY, ata_done, query};
use xblade_tests::{Address, BROADCAST, ExportPlan, FakeTarget, Plan, pattern};

use crate::{DISK, SECOND, read, store, write};

/// Requests start below this sector, so that they overlap often.
const FIRST_MAX: u64 = 48;
const LANES: usize = 3;

/// One event.
#[derive(Clone, Debug)]
enum Step {
    /// A read or a write, on a lane.
    Transfer { lane: usize, export: usize, lba: u64, count: u8, write: bool, seed: u8, vlan: bool },
    /// A host resends one of its last requests with a new tag.
    Resend { which: usize, lane: usize },
    /// The network delivers one of them again.
    Copy { which: usize },
    /// An arbitrary frame.
    Noise { lane: usize, frame: Vec<u8> },
    /// A request that is well-formed up to its argument.
    Odd { lane: usize, command: u8, any: bool, argument: Vec<u8> },
    /// A worker has a turn.
    Turn(usize),
    /// A store completes one of its operations.
    Release { export: usize, which: usize },
    /// A link goes down or up.
    Link { lane: usize, down: bool },
}

fn steps() -> impl Strategy<Value = Step> {
    let lane = 0..LANES;
    let transfer = (lane.clone(), 0..2usize, 0..FIRST_MAX, 1..=16u8, any::<(bool, u8, bool)>()).prop_map(
        |(lane, export, lba, count, (write, seed, vlan))| Step::Transfer {
            lane,
            export,
            lba,
            count,
            write,
            seed,
            vlan,
        },
    );
    prop_oneof![
        20 => transfer,
        3 => (any::<usize>(), lane.clone()).prop_map(|(which, lane)| Step::Resend { which, lane }),
        3 => any::<usize>().prop_map(|which| Step::Copy { which }),
        1 => (lane.clone(), vec(any::<u8>(), 0..9000)).prop_map(|(lane, frame)| Step::Noise { lane, frame }),
        2 => (lane.clone(), 0..6u8, any::<bool>(), vec(any::<u8>(), 0..2500))
            .prop_map(|(lane, command, any, argument)| Step::Odd { lane, command, any, argument }),
        6 => (0..2usize).prop_map(Step::Turn),
        4 => (0..2usize, any::<usize>()).prop_map(|(export, which)| Step::Release { export, which }),
        1 => (lane, any::<bool>()).prop_map(|(lane, down)| Step::Link { lane, down }),
    ]
}

/// The sizes of everything that can be full.
#[derive(Clone, Copy, Debug)]
struct Shape {
    chunks: u32,
    chunk_bytes: u32,
    in_flight: u16,
    capacity: usize,
}

/// Short of chunks, of slab entries, of store capacity; and of nothing.
const SHAPES: [Shape; 4] = [
    Shape { chunks: 32, chunk_bytes: 2048, in_flight: 64, capacity: 64 },
    Shape { chunks: 128, chunk_bytes: 4096, in_flight: 4, capacity: 64 },
    Shape { chunks: 128, chunk_bytes: 2048, in_flight: 64, capacity: 3 },
    Shape { chunks: 1024, chunk_bytes: 2048, in_flight: 64, capacity: 64 },
];

/// In an order chosen by the test or by the store, or at once.
fn orders() -> impl Strategy<Value = Order> {
    prop_oneof![Just(Order::Manual), (1..u64::MAX).prop_map(Order::Seeded), Just(Order::Submitted)]
}

/// A transfer that was sent.
struct Sent {
    ask: Ask,
    lane: usize,
    export: usize,
    lba: u64,
    count: u8,
    /// The data of a write.
    data: Option<Vec<u8>>,
    sent_at: usize,
    /// From here on it has no more effect: it was answered, or everything is at rest.
    ended_at: Option<usize>,
    deliveries: usize,
    answers: usize,
}

struct World {
    target: FakeTarget,
    stores: [FakeStore; 2],
    /// By tag, from `FIRST_TAG` on.
    sent: Vec<Sent>,
    /// Counts all events.
    now: usize,
}

const FIRST_TAG: u32 = 1 << 16;

/// Resends and duplicates are of one of this many last requests.
const RECENT: usize = 12;

const EXPORTS: [Address; 2] = [DISK, SECOND];

impl World {
    fn new(order: Order, shape: Shape) -> Self {
        let stores = [store(order, shape.capacity), store(order, shape.capacity)];
        let exports = vec![
            ExportPlan::new(DISK, stores[0].clone()),
            ExportPlan::new(SECOND, stores[1].clone()).owned_by(1),
        ];
        let target = FakeTarget::new(Plan {
            lanes: vec![0, 1, 0],
            workers: 2,
            chunks: shape.chunks,
            chunk_bytes: shape.chunk_bytes,
            ring: 64,
            in_flight: shape.in_flight,
            ..Plan::new(exports)
        });
        Self { target, stores, sent: Vec::new(), now: 0 }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Transfer { lane, export, lba, count, write, seed, vlan } => {
                let data = write.then(|| pattern(seed, self.sent.len() as u64, count.into()));
                self.transfer(lane, export, lba, count, data, vlan);
            }
            Step::Resend { which, lane } => {
                let Some(Sent { export, lba, count, data, .. }) = self.recent(which) else { return };
                let (export, lba, count, data) = (*export, *lba, *count, data.clone());
                self.transfer(lane, export, lba, count, data, false);
            }
            Step::Copy { which } => {
                let Some(sent) = self.recent(which) else { return };
                let (lane, bytes, tag) = (sent.lane, sent.ask.bytes(), sent.ask.tag);
                if self.target.deliver(lane, &bytes) {
                    let sent = &mut self.sent[(tag - FIRST_TAG) as usize];
                    sent.deliveries += 1;
                    if sent.answers == 0 {
                        // It may not have been executed yet, and be executed now.
                        sent.ended_at = None;
                    }
                }
            }
            Step::Noise { lane, mut frame } => {
                // Must not be valid for one of our addresses by chance.
                if let Some(byte) = frame.first_mut() {
                    *byte |= 1;
                }
                self.target.deliver(lane, &frame);
            }
            Step::Odd { lane, command, any, argument } => self.odd(lane, command, any, argument),
            Step::Turn(worker) => {
                self.target.workers[worker].turn(&self.target.clock);
                self.judge_all();
            }
            Step::Release { export, which } => {
                let pending = self.stores[export].pending();
                if let Some(token) = pending.get(which % pending.len().max(1)) {
                    self.stores[export].release(*token);
                }
            }
            Step::Link { lane, down } => self.target.wires[lane].set_down(down),
        }
    }

    fn recent(&self, which: usize) -> Option<&Sent> {
        self.sent.iter().rev().take(RECENT).nth(which % RECENT)
    }

    fn transfer(
        &mut self,
        lane: usize,
        export: usize,
        lba: u64,
        count: u8,
        data: Option<Vec<u8>>,
        vlan: bool,
    ) {
        let tag = FIRST_TAG + self.sent.len() as u32;
        let mut ask = match &data {
            Some(data) => write(EXPORTS[export], tag, lba, data),
            None => read(EXPORTS[export], tag, lba, count),
        };
        ask.dst[5] += lane as u8;
        if vlan {
            ask.vlan = vec![0x81, 0, 0, 7];
        }
        if self.target.deliver(lane, &ask.bytes()) {
            self.now += 1;
            let (sent_at, ended_at) = (self.now, None);
            let (deliveries, answers) = (1, 0);
            self.sent.push(Sent {
                ask,
                lane,
                export,
                lba,
                count,
                data,
                sent_at,
                ended_at,
                deliveries,
                answers,
            });
        }
    }

    /// A request that changes neither data nor lists.
    fn odd(&mut self, lane: usize, command: u8, any: bool, mut argument: Vec<u8>) {
        let to = if any { (SHELF_ANY, SLOT_ANY) } else { DISK };
        let set =
            |argument: &mut Vec<u8>, at: usize, value: u8| argument.get_mut(at).map(|byte| *byte = value);
        match command {
            // After an IDENTIFY, a host without ordered tags may have booted: copies of its
            // writes are new ones.
            ATA if !any || argument.get(3) == Some(&0xEC) => _ = set(&mut argument, 3, 0x24),
            MASK => _ = set(&mut argument, 1, 0),
            RESERVE => _ = set(&mut argument, 0, 0),
            _ => {}
        }
        let mut ask = Ask { tag: 0, ..Ask::new(to, command, argument) };
        ask.dst[5] += lane as u8;
        if any {
            ask.dst = BROADCAST;
        }
        self.target.deliver(lane, &ask.bytes());
    }

    /// Finishes everything in flight, then checks all chunk counts.
    fn come_to_rest(&mut self) {
        self.target.wires.iter().for_each(|wire| wire.set_down(false));
        loop {
            self.target.settle();
            if self.stores.iter().all(|store| store.pending().is_empty()) {
                break;
            }
            self.stores.iter().for_each(crate::release_all);
        }
        self.judge_all();
        self.now += 1;
        for sent in &mut self.sent {
            sent.ended_at.get_or_insert(self.now);
        }
        self.target.assert_at_rest();
    }

    fn judge_all(&mut self) {
        for lane in 0..LANES {
            for reply in self.target.sent(lane) {
                self.judge(lane, &reply);
            }
        }
    }

    /// Checks a reply: to an untracked request (tag 0), or to a transfer, on its lane and
    /// with the right data.
    fn judge(&mut self, lane: usize, reply: &[u8]) {
        assert!(reply.len() >= 60);
        let at = if reply[12..14] == [0x81, 0] { 18 } else { 14 };
        let tag = u32::from_be_bytes(reply[at + 6..at + 10].try_into().unwrap());
        if tag == 0 {
            return;
        }
        self.now += 1;
        let now = self.now;
        let sent = self.sent.get_mut((tag - FIRST_TAG) as usize).expect("a tag that was sent");
        sent.answers += 1;
        sent.ended_at.get_or_insert(now);
        assert!(sent.answers <= sent.deliveries, "no more answers than requests");
        assert_eq!(sent.lane, lane);
        let bytes = if sent.data.is_some() { 0 } else { usize::from(sent.count) * 512 };
        let data = &reply[at + 22..][..bytes];
        let good = sent.ask.reply(EXPORTS[sent.export], &ata_done(&sent.ask.argument, 0x40, 0, data));
        assert_eq!(reply, good);
        let sent = &self.sent[(tag - FIRST_TAG) as usize];
        for (sector, held) in (sent.lba..).zip(data.chunks(512)) {
            let first = if sent.answers == 1 { sent.sent_at } else { 0 };
            assert!(self.may_hold(sent.export, sector, held, first), "sector {sector} of {}", sent.export);
        }
    }

    /// Whether a read that began at `from` may find this in a sector: some write wrote
    /// it, and no later write is certain to have completed by then.
    fn may_hold(&self, export: usize, sector: u64, held: &[u8], from: usize) -> bool {
        let there = |sent: &&Sent| {
            sent.export == export && (sent.lba..sent.lba + u64::from(sent.count)).contains(&sector)
        };
        let writes = || self.sent.iter().filter(there).filter(|sent| sent.data.is_some());
        // An unanswered write may not have been executed, so it rules out no other.
        let done: Vec<_> = writes()
            .filter(|sent| sent.answers > 0 && sent.ended_at.is_some_and(|end| end < from))
            .map(|sent| sent.sent_at)
            .collect();
        let over =
            |ended_at: Option<usize>| ended_at.is_some_and(|end| done.iter().any(|start| end < *start));
        let of =
            |sent: &Sent| sent.data.as_ref().unwrap()[(sector - sent.lba) as usize * 512..][..512] == *held;
        let nothing = done.is_empty() && held.iter().all(|byte| *byte == 0);
        nothing || writes().any(|sent| of(sent) && !over(sent.ended_at))
    }

    /// Reads everything back, with nothing else in flight.
    fn read_back(&mut self) {
        let before = self.target.count(|counters| counters.reads);
        for lba in (0..FIRST_MAX + 16).step_by(16) {
            for export in 0..2 {
                self.transfer(lba as usize % LANES, export, lba, 16, None, false);
                self.come_to_rest();
            }
        }
        assert_eq!(self.target.count(|counters| counters.reads) - before, FIRST_MAX / 8 + 2);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_but_replies(
        phases in vec(vec(steps(), 0..250), 1..4),
        order in orders(),
        shape in sample::select(&SHAPES[..]),
    ) {
        play(phases, order, shape);
    }
}

fn play(phases: Vec<Vec<Step>>, order: Order, shape: Shape) {
    let mut world = World::new(order, shape);
    for phase in phases {
        phase.into_iter().for_each(|step| world.step(step));
        world.come_to_rest();
    }
    world.read_back();
}

/// As many random runs as above, for tests that expect one of them to fail.
pub fn many() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for _ in 0..256 {
        let phases = vec(vec(steps(), 0..250), 1..4);
        let tree = (phases, orders(), sample::select(&SHAPES[..])).new_tree(&mut runner).unwrap();
        let (phases, order, shape) = tree.current();
        play(phases, order, shape);
    }
}

#[test]
fn queries_have_no_room_to_hide_in() {
    // Frames without a tag, which the model above ignores, do occur.
    let mut world = World::new(Order::Submitted, SHAPES[0]);
    world.odd(0, QUERY, true, query(0, b""));
    world.target.settle();
    assert_eq!(world.target.sent(0).len(), 2);
}
