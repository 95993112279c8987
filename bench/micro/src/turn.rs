//! A worker on in-memory rings: from 64 requests in the rx ring to 64 replies in the tx
//! ring.

use std::cell::Cell;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use xblade_ring::HostKey;
use xblade_sim::{FakeRings, FakeWire};
use xblade_store::{Access, Durability, OpenOptions, RamStore, SECTOR_BYTES, Store, open};
use xblade_target::shelf::Export;
use xblade_target::worker::{
    Clock, Directory, Owner, SharedLane, Sharing, Worker, WorkerChannels, WorkerConfig,
};
use xblade_wire::Request;
use xblade_wire::ata::Command::{ReadSectorsExt, WriteSectorsExt};

use crate::frames::{self, ADVERT, EXPORT, HOST, MTU, PAYLOAD_OFFSET, TARGET};
use crate::{BATCH, Case};

/// Sectors of a request: 4 KiB.
const COUNT: u8 = 8;
/// Size of the export in requests.
const PLACES: u64 = 4096;
/// The content of an in-memory store and of writes. Not 0, because a mapped store does
/// extra work for a read that ends with a zero.
const CONTENT: u8 = 0xA5;
/// The number of pieces, of at most a chunk each, in a request or reply with data.
const PIECES: usize = 2;

/// One worker with one lane and one export, for jumbo frames in chunks of a page, as in
/// the daemon.
pub struct Turn {
    worker: Worker<FakeRings>,
    wire: FakeWire,
    clock: Steps,
    /// Builds a request with this tag, for this sector.
    ask: fn(u32, u64) -> Request<'static>,
    /// The number of turns per batch; each handles a limited number of pieces.
    turns: usize,
    /// The length of each reply in bytes; `None` if there are no replies.
    reply_len: Option<usize>,
    next: u32,
}

impl Turn {
    /// Broadcasts for an export that is not here.
    pub fn for_another() -> Self {
        Self::new(null(), |_, _| frames::for_another(), 1, None)
    }

    /// Reads from a store.
    pub fn reads(store: Box<dyn Store>) -> Self {
        let data = usize::from(COUNT) * SECTOR_BYTES as usize;
        let ask = |tag, sector| frames::transfer(ReadSectorsExt, tag, sector, COUNT);
        Self::new(store, ask, 1, Some(PAYLOAD_OFFSET + data))
    }

    /// Volatile writes to a store.
    pub fn writes(store: Box<dyn Store>) -> Self {
        let ask = |tag, sector| frames::transfer(WriteSectorsExt, tag, sector, COUNT);
        Self::new(store, ask, PIECES, Some(60))
    }

    fn new(
        store: Box<dyn Store>,
        ask: fn(u32, u64) -> Request<'static>,
        turns: usize,
        reply_len: Option<usize>,
    ) -> Self {
        let (worker, wire) = worker(store);
        Self { worker, wire, clock: Steps::default(), ask, turns, reply_len, next: 0 }
    }
}

impl Case for Turn {
    /// No tag is used twice, and no sector twice in a batch.
    fn prepare(&mut self) {
        for _ in 0..BATCH {
            // An odd factor, so that every place is used, and neighbours are far apart.
            let place = u64::from(self.next).wrapping_mul(1_367) % PLACES;
            let request = (self.ask)(linux_tag(self.next), place * u64::from(COUNT));
            let arrived_ns = Some(self.clock.now_ns());
            assert!(self.wire.deliver_at(&frames::frame(&request, CONTENT), arrived_ns), "room in the rings");
            self.next = self.next.wrapping_add(1);
        }
    }

    fn run(&mut self) {
        for _ in 0..self.turns {
            self.worker.turn(&self.clock);
        }
    }

    fn finish(&mut self) {
        assert!(!self.worker.is_busy(), "after {} turns", self.turns);
        let counters = self.worker.stats().counters;
        assert_eq!(counters.waited + counters.folded + counters.repeated + counters.tags_reused, 0);
        let replies: Vec<_> = std::iter::from_fn(|| self.wire.sent()).collect();
        assert_eq!(replies.len(), if self.reply_len.is_some() { BATCH } else { 0 });
        for reply in replies {
            assert_eq!(Some(reply.len()), self.reply_len);
            assert_eq!((reply[14], reply[27]), (0x18, 0x40), "a response, and good");
        }
    }
}

/// The tag of the request with this number from a Linux host: a counter above a clock.
fn linux_tag(number: u32) -> u32 {
    (number & 0x7fff) << 16 | (number / 256) & 0xffff
}

/// A clock that advances by a microsecond each time it is read.
#[derive(Default)]
struct Steps(Cell<u64>);

impl Clock for Steps {
    fn now_ns(&self) -> u64 {
        self.0.set(self.0.get() + 1_000);
        self.0.get()
    }
}

fn worker(store: Box<dyn Store>) -> (Worker<FakeRings>, FakeWire) {
    const CHUNKS: u32 = 1024;
    let (lane, wire) = FakeRings::open(CHUNKS, 4096, 256).expect("a possible shape");
    let shared = SharedLane::new(lane.umem().clone(), (0, Arc::default(), 0), 0, true);
    shared.update(TARGET, MTU);
    // As after the first 200 ms of a host.
    shared.hosts().add(HostKey::new(HOST.0, 0), 0).expect("an entry");
    let exports = vec![Export::new(frames::settings(), store)];
    let mut ends = WorkerChannels::connect(&[CHUNKS as usize]).expect("an eventfd");
    let (exchange, _) = ends.pop().expect("one end");
    let parts = WorkerConfig {
        index: 0,
        lanes: vec![(0, lane)],
        shared: Arc::new([shared]),
        exports,
        directory: Arc::new(Directory::new(vec![(EXPORT, Owner { worker: 0, export: 0 })])),
        channels: exchange,
        ring: None,
        seed: 1 << 63 | 1,
        sharing: Sharing::default(),
        buffer_count: ADVERT.buffer_count,
        in_flight: 64,
    };
    (Worker::new(parts), wire)
}

/// A store without contents.
pub fn null() -> Box<dyn Store> {
    Box::new(RamStore::null(PLACES * u64::from(COUNT)))
}

/// The store for a file in memory with volatile writes: it copies from and to a mapping.
pub fn memory() -> Box<dyn Store> {
    let path = format!("/dev/shm/xblade-micro-{}", std::process::id());
    fs::write(&path, vec![CONTENT; (PLACES * u64::from(COUNT) * SECTOR_BYTES) as usize])
        .unwrap_or_else(|error| panic!("{path}: {error}"));
    let options = OpenOptions {
        durability: Durability::Volatile,
        access: Access::Mapped,
        ..OpenOptions::new(Path::new(&path))
    };
    let opened = open(&options);
    // The file stays as long as the store has it open.
    let _ = fs::remove_file(&path);
    opened.expect("a file that was made just now").store
}
