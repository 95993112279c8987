//! Stores that go wrong at random: each request is answered once, with the
//! error of what befell it, and nothing is left behind.

use std::collections::HashMap;

use xblade::store::fake::Order;
use xblade::store::faulty::{FaultRecord, Faults, InjectedFault};
use xblade::store::{Faulty, IoError, Kind};
use xblade_tests::frame::{ATA, Ask, ata, ata_done};
use xblade_tests::{Address, ExportPlan, FakeTarget, Plan, pattern};

use crate::{DISK, SECOND, read, store, write};

const EXPORTS: [Address; 2] = [DISK, SECOND];
/// Of 16 sectors each, so that no two requests of a round overlap.
const REGIONS: u64 = 24;

/// What a sector may hold.
type Possible = Vec<Vec<u8>>;

/// A request, by its tag.
struct Sent {
    ask: Ask,
    export: usize,
    kind: Kind,
    sector: u64,
    data: Vec<u8>,
}

struct World {
    target: FakeTarget,
    faults: [Faults; 2],
    /// By export and sector.
    held: HashMap<(usize, u64), Possible>,
    /// Faults of earlier rounds.
    seen: [usize; 2],
    /// Sectors that were read and held what they could not.
    wrong: usize,
    seed: u64,
    round: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let order = if seed.is_multiple_of(2) { Order::Submitted } else { Order::Seeded(seed) };
        let [(a, a_faults), (b, b_faults)] =
            [seed, seed + 1000].map(|seed| Faulty::new(store(order, 64), seed));
        let target = FakeTarget::new(Plan {
            chunk_bytes: 2048,
            ..Plan::new(vec![ExportPlan::new(DISK, a), ExportPlan::new(SECOND, b)])
        });
        Self {
            target,
            faults: [a_faults, b_faults],
            held: HashMap::new(),
            seen: [0; 2],
            wrong: 0,
            seed,
            round: 0,
        }
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.seed >> 33) % below
    }

    /// A request for every region of both exports, a flush and an IDENTIFY, all
    /// under way at once. Writes are drawn, unless the round only reads.
    fn round(&mut self, only_reads: bool) {
        self.round += 1;
        let mut sent: HashMap<u32, Sent> = HashMap::new();
        for (export, address) in EXPORTS.into_iter().enumerate() {
            for region in 0..REGIONS {
                let (tag, sector) = (self.tag(sent.len()), region * 16);
                let writes = !only_reads && self.draw(2) == 0;
                let count = if writes { 1 + self.draw(16) } else { 16 };
                let data = if writes {
                    pattern(self.draw(255) as u8, tag.into(), count as usize)
                } else {
                    Vec::new()
                };
                let (kind, ask) = if writes {
                    (Kind::Write, write(address, tag, sector, &data))
                } else {
                    (Kind::Read, read(address, tag, sector, count as u8))
                };
                sent.insert(tag, Sent { ask, export, kind, sector, data });
            }
            for (kind, argument) in
                [(Kind::Flush, ata(0xE7, 0, 0, &[])), (Kind::Measure, ata(0xEC, 0, 1, &[]))]
            {
                let tag = self.tag(sent.len());
                let ask = Ask { tag, ..Ask::new(address, ATA, argument) };
                sent.insert(tag, Sent { ask, export, kind, sector: 0, data: Vec::new() });
            }
        }
        for sent in sent.values() {
            assert!(self.target.deliver(0, &sent.ask.bytes()));
        }
        self.target.assert_at_rest();
        let mut replies: HashMap<u32, Vec<u8>> = HashMap::new();
        for reply in self.target.sent(0) {
            let tag = u32::from_be_bytes(reply[20..24].try_into().unwrap());
            assert!(sent.contains_key(&tag), "an answer to nobody");
            assert!(replies.insert(tag, reply).is_none(), "answered twice");
        }
        let records: [Vec<FaultRecord>; 2] = [0, 1].map(|export| {
            let all = self.faults[export].records();
            all[self.seen[export]..].to_vec()
        });
        for (seen, records) in self.seen.iter_mut().zip(&records) {
            *seen += records.len();
        }
        for (tag, sent) in sent {
            let fits = |it: &&FaultRecord| it.kind == sent.kind && it.sector == sent.sector;
            let fault = records[sent.export].iter().find(fits).and_then(|it| it.fault);
            self.judge(&sent, fault, replies.get(&tag).map(Vec::as_slice));
        }
    }

    fn tag(&self, number: usize) -> u32 {
        (self.round as u32) << 16 | number as u32
    }

    fn judge(&mut self, sent: &Sent, fault: Option<IoError>, reply: Option<&[u8]>) {
        let failed =
            |error| sent.ask.reply(EXPORTS[sent.export], &ata_done(&sent.ask.argument, 0x41, error, &[]));
        let good =
            |data: &[u8]| sent.ask.reply(EXPORTS[sent.export], &ata_done(&sent.ask.argument, 0x40, 0, data));
        match (sent.kind, fault, reply) {
            // Nobody is told: the initiator sends it again.
            (kind, Some(IoError::Transient), reply) => {
                assert!(reply.is_none(), "{kind:?} at {}", sent.sector)
            }
            (Kind::Measure, _, reply) => {
                // Whatever befell it, the size is known.
                let reply = reply.expect("an answer");
                assert_eq!((reply[25], reply[27]), (0, 0x40));
            }
            (_, _, None) => panic!("{:?} of {} was never answered", sent.kind, sent.sector),
            (Kind::Read, Some(IoError::Media), Some(reply)) => assert_eq!(reply, failed(0x40)),
            (kind, Some(fault), Some(reply)) => {
                assert_eq!(reply, failed(0x04), "{kind:?} {fault:?}");
                if kind == Kind::Write {
                    self.may_hold(sent);
                }
            }
            (Kind::Read, None, Some(reply)) => self.check(sent, &reply[36..], good(&reply[36..]) == reply),
            (kind, None, Some(reply)) => {
                assert_eq!(reply, good(&[]), "{kind:?}");
                if kind == Kind::Write {
                    self.holds(sent);
                }
            }
        }
    }

    /// An acknowledged write.
    fn holds(&mut self, sent: &Sent) {
        for (sector, data) in (sent.sector..).zip(sent.data.chunks(512)) {
            self.held.insert((sent.export, sector), vec![data.to_vec()]);
        }
    }

    /// A failed one: each sector is old or new.
    fn may_hold(&mut self, sent: &Sent) {
        for (sector, data) in (sent.sector..).zip(sent.data.chunks(512)) {
            self.possible(sent.export, sector).push(data.to_vec());
        }
    }

    fn check(&mut self, sent: &Sent, data: &[u8], good: bool) {
        assert!(good && data.len() == 16 * 512, "a read of {}", sent.sector);
        for (sector, data) in (sent.sector..).zip(data.chunks(512)) {
            let possible = self.possible(sent.export, sector);
            self.wrong += usize::from(!possible.iter().any(|held| held == data));
        }
    }

    fn possible(&mut self, export: usize, sector: u64) -> &mut Possible {
        self.held.entry((export, sector)).or_insert_with(|| vec![vec![0; 512]])
    }
}

/// Rounds with these faults, switched while the workers run, and one without.
/// Returns how many sectors held what they could not, and what befell.
fn rounds(seed: u64, harms: &[InjectedFault]) -> (usize, usize) {
    let mut world = World::new(seed);
    for round in 0..6 {
        for faults in world.faults.clone() {
            faults.clear();
            if round % 3 != 2 {
                harms.iter().for_each(|harm| faults.set(*harm, 120));
            }
        }
        world.round(round == 5);
    }
    assert_eq!(world.target.count(|counters| counters.slab_full + counters.store_full), 0);
    (world.wrong, world.seen.iter().sum())
}

#[test]
fn under_random_faults_every_request_has_its_answer() {
    let harms = InjectedFault::ALL
        .map(|harm| if harm == InjectedFault::Lost { InjectedFault::Refused } else { harm });
    let mut records = 0;
    for seed in 1..=60 {
        let (wrong, seen) = rounds(seed, &harms);
        assert_eq!(wrong, 0, "seed {seed}");
        records += seen;
    }
    assert!(records > 1000, "only {records}");
}

#[test]
fn each_fault_alone() {
    for harm in InjectedFault::ALL.into_iter().filter(|harm| *harm != InjectedFault::Lost) {
        for seed in 1..=10 {
            let (wrong, seen) = rounds(seed, &[harm]);
            assert_eq!(wrong, 0, "{harm:?}, seed {seed}");
            assert!(seen > 0, "{harm:?}, seed {seed}");
        }
    }
}

/// The control: it shows that the model above would notice a lost write.
#[test]
fn a_write_that_is_lost_is_found_out() {
    let found = (1..=10).filter(|seed| rounds(*seed, &[InjectedFault::Lost]).0 > 0).count();
    assert!(found >= 9, "a lost write went unnoticed with {} seeds of 10", 10 - found);
}
