//! Random requests, good and bad, on random lanes, done in a random order by
//! workers and stores with little room. In the end everything is at rest, every
//! request was answered once at most, and every read has returned what the last
//! acknowledged write put there.
//!
//! Requests that overlap are never under way together: their order is the
//! store's business, and `FakeStore` has none.

use std::collections::HashMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample;
use xblade::store::FakeStore;
use xblade::store::fake::Order;
use xblade_tests::frame::{ATA, Ask, MASK, QUERY, RESERVE, SHELF_ANY, SLOT_ANY, ata_done, query};
use xblade_tests::{Address, BROADCAST, ExportPlan, FakeTarget, Plan, pattern};

use crate::{DISK, SECOND, read, store, write};

/// Where requests do not overlap: 16 sectors each.
const REGIONS: usize = 30;
const LANES: usize = 3;

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    /// A read or a write of a region that is free, on a lane.
    Transfer { lane: usize, export: usize, region: usize, count: u8, write: bool, seed: u8, vlan: bool },
    /// Any frame at all.
    Noise { lane: usize, frame: Vec<u8> },
    /// A request that is well-formed up to its argument.
    Odd { lane: usize, command: u8, any: bool, argument: Vec<u8> },
    /// A worker turns.
    Turn(usize),
    /// A store finishes one of what it has.
    Release { export: usize, which: usize },
    /// A link goes down or up.
    Link { lane: usize, down: bool },
}

fn steps() -> impl Strategy<Value = Step> {
    let lane = 0..LANES;
    let transfer = (lane.clone(), 0..2usize, 0..REGIONS, 1..=16u8, any::<(bool, u8, bool)>()).prop_map(
        |(lane, export, region, count, (write, seed, vlan))| Step::Transfer {
            lane,
            export,
            region,
            count,
            write,
            seed,
            vlan,
        },
    );
    prop_oneof![
        20 => transfer,
        1 => (lane.clone(), vec(any::<u8>(), 0..9000)).prop_map(|(lane, frame)| Step::Noise { lane, frame }),
        2 => (lane.clone(), 0..6u8, any::<bool>(), vec(any::<u8>(), 0..2500))
            .prop_map(|(lane, command, any, argument)| Step::Odd { lane, command, any, argument }),
        6 => (0..2usize).prop_map(Step::Turn),
        4 => (0..2usize, any::<usize>()).prop_map(|(export, which)| Step::Release { export, which }),
        1 => (lane, any::<bool>()).prop_map(|(lane, down)| Step::Link { lane, down }),
    ]
}

/// How much room there is.
#[derive(Clone, Copy, Debug)]
struct Shape {
    chunks: u32,
    chunk_bytes: u32,
    in_flight: u16,
    capacity: usize,
}

/// Short of chunks, of places in the slab, of places in the store; and of
/// nothing.
const SHAPES: [Shape; 4] = [
    Shape { chunks: 32, chunk_bytes: 2048, in_flight: 64, capacity: 64 },
    Shape { chunks: 128, chunk_bytes: 4096, in_flight: 4, capacity: 64 },
    Shape { chunks: 128, chunk_bytes: 2048, in_flight: 64, capacity: 3 },
    Shape { chunks: 1024, chunk_bytes: 2048, in_flight: 64, capacity: 64 },
];

/// In an order of the test's choice, of the store's choice, or at once.
fn orders() -> impl Strategy<Value = Order> {
    prop_oneof![Just(Order::Manual), (1..u64::MAX).prop_map(Order::Seeded), Just(Order::Submitted)]
}

/// What a region may hold: one thing, or one of several after a write that
/// nobody acknowledged.
type Possible = Vec<Vec<u8>>;

struct Sent {
    ask: Ask,
    lane: usize,
    region: (usize, usize),
    data: Option<Vec<u8>>,
    answers: usize,
}

struct World {
    target: FakeTarget,
    stores: [FakeStore; 2],
    regions: HashMap<(usize, usize), Possible>,
    sent: HashMap<u32, Sent>,
    next_tag: u32,
}

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
        Self { target, stores, regions: HashMap::new(), sent: HashMap::new(), next_tag: 1 << 16 }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Transfer { lane, export, region, count, write, seed, vlan } => {
                self.transfer(lane, (export, region), count, write.then_some(seed), vlan);
            }
            Step::Noise { lane, mut frame } => {
                // Not by chance a good one to one of our addresses.
                if let Some(byte) = frame.first_mut() {
                    *byte |= 1;
                }
                self.target.deliver(lane, &frame);
            }
            Step::Odd { lane, command, any, argument } => self.odd(lane, command, any, argument),
            Step::Turn(worker) => {
                self.target.workers[worker].turn(&self.target.clock);
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

    fn transfer(&mut self, lane: usize, region: (usize, usize), count: u8, seed: Option<u8>, vlan: bool) {
        if self.sent.values().any(|sent| sent.region == region) {
            return;
        }
        let lba = region.1 as u64 * 16;
        let data = seed.map(|seed| pattern(seed, self.next_tag.into(), count.into()));
        let mut ask = match &data {
            Some(data) => write(EXPORTS[region.0], self.next_tag, lba, data),
            None => read(EXPORTS[region.0], self.next_tag, lba, count),
        };
        ask.dst[5] += lane as u8;
        if vlan {
            ask.vlan = vec![0x81, 0, 0, 7];
        }
        self.next_tag += 1;
        if self.target.deliver(lane, &ask.bytes()) {
            self.sent.insert(ask.tag, Sent { ask, lane, region, data, answers: 0 });
        }
    }

    /// Anything that changes no data and no list.
    fn odd(&mut self, lane: usize, command: u8, any: bool, mut argument: Vec<u8>) {
        let to = if any { (SHELF_ANY, SLOT_ANY) } else { DISK };
        let set =
            |argument: &mut Vec<u8>, at: usize, value: u8| argument.get_mut(at).map(|byte| *byte = value);
        match command {
            ATA if !any => _ = set(&mut argument, 3, 0x24),
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

    /// Everything that is under way comes to its end; then the books balance.
    fn come_to_rest(&mut self) {
        self.target.wires.iter().for_each(|wire| wire.set_down(false));
        loop {
            self.target.settle();
            if self.stores.iter().all(|store| store.pending().is_empty()) {
                break;
            }
            self.stores.iter().for_each(crate::release_all);
        }
        for lane in 0..LANES {
            for reply in self.target.sent(lane) {
                self.judge(lane, &reply);
            }
        }
        for (_, sent) in std::mem::take(&mut self.sent) {
            self.remember(sent);
        }
        self.target.assert_at_rest();
    }

    /// A reply: to nobody in particular (tag 0), or to a request that has not
    /// been answered before, on its lane, with the right data.
    fn judge(&mut self, lane: usize, reply: &[u8]) {
        assert!(reply.len() >= 60);
        let at = if reply[12..14] == [0x81, 0] { 18 } else { 14 };
        let tag = u32::from_be_bytes(reply[at + 6..at + 10].try_into().unwrap());
        if tag == 0 {
            return;
        }
        let sent = self.sent.get_mut(&tag).expect("a tag that was sent");
        sent.answers += 1;
        assert_eq!((sent.answers, sent.lane), (1, lane), "one answer, on its lane");
        let ask = &sent.ask;
        let good = |data: &[u8]| ask.reply(EXPORTS[sent.region.0], &ata_done(&ask.argument, 0x40, 0, data));
        if sent.data.is_some() {
            assert_eq!(reply, good(&[]));
            return;
        }
        let bytes = usize::from(ask.argument[2]) * 512;
        let nothing = vec![vec![0; 16 * 512]];
        let possible = self.regions.get(&sent.region).unwrap_or(&nothing);
        assert!(possible.iter().any(|held| reply == good(&held[..bytes])), "a read of {:?}", sent.region);
    }

    fn remember(&mut self, sent: Sent) {
        let Some(data) = sent.data else { return };
        let held = self.regions.entry(sent.region).or_insert_with(|| vec![vec![0; 16 * 512]]);
        let mut after = held.clone();
        after.iter_mut().for_each(|held| held[..data.len()].copy_from_slice(&data));
        match sent.answers {
            0 => held.extend(after),
            _ => *held = after,
        }
    }

    /// Reads everything back, with nothing else under way.
    fn read_back(&mut self) {
        for region in 0..REGIONS {
            for export in 0..2 {
                self.transfer(region % LANES, (export, region), 16, None, false);
                self.come_to_rest();
            }
        }
        assert!(self.target.count(|counters| counters.reads) >= REGIONS as u64 * 2);
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
        let mut world = World::new(order, shape);
        for phase in phases {
            phase.into_iter().for_each(|step| world.step(step));
            world.come_to_rest();
        }
        world.read_back();
    }
}

#[test]
fn queries_have_no_room_to_hide_in() {
    // The model above ignores frames without a tag: there are such.
    let mut world = World::new(Order::Submitted, SHAPES[0]);
    world.odd(0, QUERY, true, query(0, b""));
    world.target.settle();
    assert_eq!(world.target.sent(0).len(), 2);
}
