//! The initiators, their requests in flight, and everything they have done.
//!
//! All of it runs in one thread, so that the moments of the history and the tags on the
//! network are in true order.

use std::time::{Duration, Instant};

use super::case::Tags;
use super::wire::{Way, Wire};
use crate::crash::random::Random;
use crate::frame::{ATA, Ask, ata};
use crate::sim::checker::{self, Executed, Moment, Read, Write};
use crate::sim::value::{self, SECTOR, Value};
use crate::{Address, Mac};

/// Sectors of each export.
pub const SECTORS: u64 = 2048;
/// The sectors of a place, where one trial happens.
pub const PLACE_SECTORS: u64 = 32;
/// The sectors of each export and host to which the background load goes.
const BACKGROUND_SECTORS: u64 = 64;

/// When a request is resent.
const RESEND: Duration = Duration::from_millis(100);
/// How often it is sent before it counts as never answered.
const RESENDS_MAX: u32 = 12;
/// The background load: requests in flight, and the time between them.
const BACKGROUND_WINDOW: usize = 3;
const BACKGROUND_EVERY_US: std::ops::Range<u64> = 200..3000;

const WRITE_EXT: u8 = 0x34;
const READ_EXT: u8 = 0x24;

/// The shelf of the exports; their slots count from 0.
pub const SHELF: u16 = 7;

/// An operation, by its number.
pub type OpId = usize;

/// Sectors of an export, as seen by a host.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// Index of the host in [`Tags::ALL`].
    pub host: usize,
    /// Index of the export.
    pub export: usize,
    /// First sector.
    pub lba: u64,
    /// Sectors.
    pub count: u8,
}

/// The outcome of an operation.
#[derive(Debug)]
struct Op {
    extent: Extent,
    is_write: bool,
    begin: Moment,
    /// 0 if not answered.
    end: Moment,
    copies: u32,
    /// The values found by a read.
    values: Vec<Value>,
}

/// A request in flight. Only its newest tag is awaited, as in Linux.
struct Flight {
    op: OpId,
    tag: u32,
    sent: Instant,
    is_background: bool,
}

/// All initiators on one wire.
pub struct Hosts {
    /// The wire on which they send.
    pub wire: Wire,
    /// Whether there is background load.
    pub is_loaded: bool,
    /// Whether this thread keeps its core while it waits.
    pub spins: bool,
    /// The sending hosts: indices in [`Tags::ALL`].
    senders: Vec<usize>,
    sectors_max: u8,
    seed: u64,
    random: Random,
    began: Instant,
    /// Jiffies at the start, and per second.
    jiffies: (u32, u32),
    /// The tag counters of each host and export.
    counters: Vec<Vec<u32>>,
    now: Moment,
    ops: Vec<Op>,
    flights: Vec<Flight>,
    next_background: Instant,
    /// The number of resends.
    pub resends: u64,
}

impl Hosts {
    /// Hosts with these kinds of tags, for this number of exports, with `sectors_max`
    /// sectors per request, a power of two.
    pub fn new(wire: Wire, tags: &[Tags], exports: usize, sectors_max: u8, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let hz = [100, 250, 1000][random.within(0..3) as usize];
        let jiffies = (random.draw() as u32, hz);
        let counters = Tags::ALL.map(|_| (0..exports).map(|_| random.draw() as u32).collect()).to_vec();
        Self {
            wire,
            is_loaded: false,
            spins: false,
            senders: tags.iter().map(|tags| *tags as usize).collect(),
            sectors_max,
            seed,
            random,
            began: Instant::now(),
            jiffies,
            counters,
            now: 0,
            ops: Vec::new(),
            flights: Vec::new(),
            next_background: Instant::now(),
            resends: 0,
        }
    }

    /// The hosts: indices in [`Tags::ALL`].
    pub fn senders(&self) -> &[usize] {
        &self.senders
    }

    /// Jiffies per second, in the tags that contain them.
    pub fn hz(&self) -> u32 {
        self.jiffies.1
    }

    /// Sends a write.
    pub fn write(&mut self, way: Way, extent: Extent) -> OpId {
        self.begin(way, extent, true, false)
    }

    /// Sends a read.
    pub fn read(&mut self, way: Way, extent: Extent) -> OpId {
        self.begin(way, extent, false, false)
    }

    /// Resends a request with a new tag.
    pub fn resend(&mut self, way: Way, op: OpId) {
        let tag = self.send(way, op);
        self.resends += 1;
        let sent = Instant::now();
        match self.flights.iter_mut().find(|flight| flight.op == op) {
            Some(flight) => (flight.tag, flight.sent) = (tag, sent),
            // It had been given up.
            None => self.flights.push(Flight { op, tag, sent, is_background: false }),
        }
    }

    /// Whether it has been answered.
    pub fn is_done(&self, op: OpId) -> bool {
        self.ops[op].end > 0
    }

    /// The values found by a read.
    pub fn values(&self, op: OpId) -> &[Value] {
        &self.ops[op].values
    }

    /// Takes frames until this moment, or until that operation is done.
    pub fn wait(&mut self, until: Instant, op: Option<OpId>) {
        while !op.is_some_and(|op| self.is_done(op)) {
            self.load();
            let next = if self.is_loaded { until.min(self.next_background) } else { until };
            match self.wire.receive(next, self.spins).expect("links that are up") {
                Some(frame) => self.take(&frame),
                None if Instant::now() >= until => return,
                None => {}
            }
        }
    }

    /// Waits until an operation is done, and resends it as often as needed. Returns false
    /// if it is never answered.
    pub fn until_done(&mut self, way: Way, op: OpId) -> bool {
        for _ in 0..RESENDS_MAX {
            self.wait(Instant::now() + RESEND, Some(op));
            if self.is_done(op) {
                return true;
            }
            self.resend(way, op);
        }
        self.flights.retain(|flight| flight.op != op);
        false
    }

    /// Waits until everything in flight is answered.
    pub fn settle(&mut self) {
        self.is_loaded = false;
        while let Some(flight) = self.flights.first() {
            let op = flight.op;
            assert!(self.until_done(Way::New, op), "the target does not answer any more");
        }
    }

    /// Reads everything that was written, and reports every sector whose history cannot be
    /// explained.
    pub fn explain(&mut self) -> Vec<String> {
        self.settle();
        let mut wrong = Vec::new();
        for export in 0..self.counters[0].len() {
            for lba in (0..SECTORS).step_by(usize::from(self.sectors_max)) {
                let count = self.sectors_max;
                let of = |op: &Op| op.is_write && op.extent.export == export && op.touches(lba, count.into());
                if self.ops.iter().any(of) {
                    let extent = Extent { host: self.senders[0], export, lba, count };
                    let op = self.read(Way::New, extent);
                    assert!(self.until_done(Way::New, op), "a read is not answered");
                }
            }
            self.judge(export, &mut wrong);
        }
        wrong
    }

    fn judge(&self, export: usize, wrong: &mut Vec<String>) {
        let mut writes = vec![Vec::new(); SECTORS as usize];
        let mut reads = vec![Vec::new(); SECTORS as usize];
        for (number, op) in self.ops.iter().enumerate().filter(|(_, op)| op.extent.export == export) {
            let executed = match (op.end, op.copies) {
                (0, _) => Executed::Open,
                (_, 1) => Executed::Once,
                _ => Executed::Often,
            };
            for (at, lba) in (op.extent.lba..).take(usize::from(op.extent.count)).enumerate() {
                if op.is_write {
                    let value = number as Value + 1;
                    writes[lba as usize].push(Write { value, begin: op.begin, end: op.end, executed });
                } else if let Some(value) = op.values.get(at) {
                    let (value, begin, end) = (*value, op.begin, op.end);
                    reads[lba as usize].push(Read { value, begin, end, op: number as u32 });
                }
            }
        }
        for (lba, (writes, reads)) in writes.iter().zip(&reads).enumerate() {
            if let Err(fault) = checker::check(writes, reads) {
                wrong.push(format!("export {export}, sector {lba}: {fault:?}"));
            }
        }
    }

    fn begin(&mut self, way: Way, extent: Extent, is_write: bool, is_background: bool) -> OpId {
        let op = self.ops.len();
        let begin = self.tick();
        self.ops.push(Op { extent, is_write, begin, end: 0, copies: 0, values: Vec::new() });
        let tag = self.send(way, op);
        self.flights.push(Flight { op, tag, sent: Instant::now(), is_background });
        op
    }

    fn send(&mut self, way: Way, op: OpId) -> u32 {
        self.ops[op].copies += 1;
        let Op { extent: Extent { host, export, lba, count }, is_write, .. } = self.ops[op];
        let argument = if is_write {
            ata(WRITE_EXT, lba, count, &value::data(self.seed, op as u32, lba, count))
        } else {
            ata(READ_EXT, lba, count, &[])
        };
        let tag = self.next_tag(host, export);
        let interface = self.wire.interface(way);
        let ask = Ask { tag, dst: target(interface), ..Ask::new(address(export), ATA, argument) };
        self.wire.send(way, ask.from(mac(host, interface)).bytes());
        tag
    }

    fn next_tag(&mut self, host: usize, export: usize) -> u32 {
        let counter = &mut self.counters[host][export];
        *counter = counter.wrapping_add(1);
        match Tags::ALL[host] {
            Tags::Plain => *counter,
            // As the driver makes them: 15 counted bits above 16 bits of jiffies.
            Tags::Linux => {
                let (first, hz) = self.jiffies;
                let passed = (self.began.elapsed().as_millis() * u128::from(hz) / 1000) as u32;
                (*counter & 0x7fff) << 16 | first.wrapping_add(passed) & 0xffff
            }
        }
    }

    /// Keeps up the load, on the way that was used last.
    fn load(&mut self) {
        let now = Instant::now();
        if !self.is_loaded || now < self.next_background {
            return;
        }
        self.next_background = now + Duration::from_micros(self.random.within(BACKGROUND_EVERY_US));
        let way = self.wire.way();
        let is_late = |flight: &&Flight| flight.is_background && now - flight.sent > RESEND;
        if let Some(op) = self.flights.iter().find(is_late).map(|flight| flight.op) {
            self.resend(way, op);
            return;
        }
        if self.flights.iter().filter(|flight| flight.is_background).count() < BACKGROUND_WINDOW {
            let count = self.random.within(1..5).min(self.sectors_max.into());
            let host = self.senders[self.random.within(0..self.senders.len() as u64) as usize];
            let lba = background(host) + self.random.within(0..BACKGROUND_SECTORS - count);
            let export = self.random.within(0..self.counters[host].len() as u64) as usize;
            let is_write = self.random.within(0..5) < 3;
            self.begin(way, Extent { host, export, lba, count: count as u8 }, is_write, true);
        }
    }

    fn take(&mut self, frame: &[u8]) {
        let Some(reply) = Reply::parse(frame) else { return };
        let is_its = |flight: &Flight| {
            let Extent { host, export, .. } = self.ops[flight.op].extent;
            flight.tag == reply.tag && export == reply.export && reply.to[..5] == mac(host, 0)[..5]
        };
        let Some(at) = self.flights.iter().position(is_its) else { return };
        assert!(reply.is_success, "an error: {frame:02x?}");
        let op = self.flights.swap_remove(at).op;
        let end = self.tick();
        let Op { extent, is_write, .. } = self.ops[op];
        if !is_write {
            let sectors = reply.data.chunks_exact(SECTOR).take(usize::from(extent.count));
            let parse =
                |(lba, bytes)| value::parse(self.seed, lba, bytes).unwrap_or_else(|wrong| panic!("{wrong}"));
            self.ops[op].values = (extent.lba..).zip(sectors).map(parse).collect();
            assert_eq!(self.ops[op].values.len(), usize::from(extent.count), "a reply that is too short");
        }
        self.ops[op].end = end;
    }

    fn tick(&mut self) -> Moment {
        self.now += 1;
        self.now
    }
}

impl Op {
    fn touches(&self, lba: u64, count: u64) -> bool {
        self.extent.lba < lba + count && lba < self.extent.lba + u64::from(self.extent.count)
    }
}

/// The value of the sectors written by this write.
pub fn value_of(op: OpId) -> Value {
    op as Value + 1
}

/// The first sector of this host's background load.
pub fn background(host: usize) -> u64 {
    host as u64 * BACKGROUND_SECTORS
}

/// A place for a trial of this host.
pub fn place(host: usize, random: &mut Random) -> u64 {
    let first = Tags::ALL.len() as u64 * BACKGROUND_SECTORS / PLACE_SECTORS;
    let all = SECTORS / PLACE_SECTORS - first;
    // Hosts do not share sectors.
    let hosts = Tags::ALL.len() as u64;
    (first + random.within(0..all / hosts) * hosts + host as u64) * PLACE_SECTORS
}

/// The interface of the target with this index.
pub fn target(interface: usize) -> Mac {
    [2, 0, 0, 0, 1, interface as u8]
}

fn mac(host: usize, interface: usize) -> Mac {
    [2, 0, 0, 0, 2 + host as u8, interface as u8]
}

fn address(export: usize) -> Address {
    (SHELF, export as u8)
}

/// The relevant parts of a reply.
struct Reply<'a> {
    to: &'a [u8],
    export: usize,
    tag: u32,
    is_success: bool,
    data: &'a [u8],
}

impl<'a> Reply<'a> {
    fn parse(frame: &'a [u8]) -> Option<Self> {
        let (header, data) = frame.split_at_checked(36)?;
        let is_reply = header[14] & 0x08 != 0 && header[16..18] == SHELF.to_be_bytes() && header[19] == ATA;
        is_reply.then(|| Self {
            to: &header[..6],
            export: usize::from(header[18]),
            tag: u32::from_be_bytes(header[20..24].try_into().unwrap()),
            is_success: header[14] & 0x04 == 0 && header[27] & 0x61 == 0x40 && header[25] == 0,
            data,
        })
    }
}
