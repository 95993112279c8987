//! The data path does not allocate.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use xblade::store::{self, Access, Completion, Durability, Full, Geometry, Op, OpenOptions, RamStore, Store};
use xblade::worker::{Counters, Tracer, WorkerCommand};
use xblade_sim::FakeStore;
use xblade_sim::store::Order;
use xblade_tests::frame::{ATA, Ask, MASK, QUERY, RESERVE, ata, mask, query, reserve};
use xblade_tests::{Address, ExportPlan, FakeTarget, Plan, Scratch, pattern};

/// The system allocator, with its calls counted while a worker turns. Allocations of the
/// far end of the rings and of the test itself do not count.
struct Counting;

thread_local! {
    static COUNTED: Cell<bool> = const { Cell::new(false) };
    static EVENTS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    if COUNTED.get() {
        EVENTS.set(EVENTS.get() + 1);
    }
}

// SAFETY: passes everything on unchanged to the system allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, bytes) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count();
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A turn of every worker, with its allocations and frees counted.
fn counted_round(target: &mut FakeTarget) {
    COUNTED.set(true);
    target.round();
    COUNTED.set(false);
}

/// Sends these requests repeatedly, in batches, until `total` have been answered. Returns
/// the number of allocations and frees in the turns of the workers. `pause_ns` passes
/// between two batches.
fn events(target: &mut FakeTarget, lanes: usize, requests: &[Vec<u8>], total: usize, pause_ns: u64) -> u64 {
    let before = EVENTS.get();
    let mut answered = 0;
    let mut requests = requests.iter().cycle();
    while answered < total {
        let now = target.clock.0.get();
        target.clock.0.set(now + pause_ns);
        for lane in 0..lanes {
            for _ in 0..24 {
                assert!(target.deliver(lane, requests.next().unwrap()), "room in the rings");
            }
        }
        for _ in 0..4 {
            counted_round(target);
            answered += (0..lanes).map(|lane| target.sent(lane).len()).sum::<usize>();
        }
    }
    EVENTS.get() - before
}

const VOLATILE: Address = (1, 0);
const DURABLE: Address = (1, 1);
const NULL: Address = (1, 2);

fn exports(scratch: &Scratch) -> Vec<ExportPlan> {
    let image = |name| scratch.file(name, &pattern(1, 0, 256));
    let open = |name, durability| {
        let options = OpenOptions { durability, access: Access::Mapped, ..OpenOptions::new(image(name)) };
        store::open(&options).unwrap().store
    };
    vec![
        ExportPlan::of(VOLATILE, open("volatile", Durability::Volatile)),
        ExportPlan::of(DURABLE, open("durable", Durability::Durable)),
        ExportPlan::new(NULL, RamStore::null(1 << 30)).owned_by(0),
    ]
}

/// Reads and writes of every count; one in eight to the durable export.
fn transfers() -> Vec<Vec<u8>> {
    let mut requests = Vec::new();
    for count in 1..=16u8 {
        for (to, times) in [(VOLATILE, 4), (NULL, 3), (DURABLE, 1)] {
            for at in 0..times {
                let (lba, data) = (at * 16 + u64::from(count), pattern(count, at, count.into()));
                requests.push(Ask::new(to, ATA, ata(0x24, lba, count, &[])).bytes());
                requests.push(Ask::new(to, ATA, ata(0x34, lba, count, &data)).bytes());
            }
        }
    }
    requests
}

/// Everything else: queries, lists, IDENTIFY, broadcasts, refusals, drops.
fn others() -> Vec<Vec<u8>> {
    let any = (0xffff, 0xff);
    let mut requests = vec![
        Ask::new(VOLATILE, ATA, ata(0xEC, 0, 1, &[])).bytes(),
        Ask::new(DURABLE, ATA, ata(0xE7, 0, 0, &[])).bytes(),
        Ask::new(NULL, ATA, ata(0x24, 1 << 40, 1, &[])).bytes(),
        Ask::new(NULL, ATA, ata(0x34, 0, 16, &[1; 100])).bytes(),
        Ask::new(any, ATA, ata(0x24, 0, 8, &[])).broadcast().bytes(),
        Ask::new(any, QUERY, query(0, b"")).broadcast().bytes(),
        Ask::new(VOLATILE, QUERY, query(4, &[7; 1024])).bytes(),
        Ask::new(VOLATILE, MASK, mask(1, 0, 1, &[(2, [9; 6])])).bytes(),
        Ask::new(VOLATILE, RESERVE, reserve(1, 0, &[])).bytes(),
        Ask::new(VOLATILE, 0xF1, []).bytes(),
        Ask::new((9, 9), ATA, ata(0x24, 0, 8, &[])).bytes(),
        vec![0xEE; 9000],
    ];
    requests.extend(transfers());
    requests
}

#[test]
fn ten_thousand_reads_and_writes_allocate_nothing() {
    let scratch = Scratch::new();
    let mut target = FakeTarget::new(Plan::new(exports(&scratch)));
    events(&mut target, 1, &transfers(), 1000, 0);
    assert_eq!(events(&mut target, 1, &transfers(), 10_000, 0), 0, "allocations and releases");
    assert_eq!(target.count(|counters| counters.other_faults + counters.media_faults), 0);
    assert!(target.count(|counters| counters.writes) > 4000);
    target.assert_at_rest();
}

#[test]
fn whatever_is_asked_allocates_nothing_with_several_workers_too() {
    let scratch = Scratch::new();
    let mut exports = exports(&scratch);
    for (export, worker) in exports.iter_mut().zip([0, 1, 1]) {
        export.worker = worker;
    }
    let plan = Plan { lanes: vec![0, 1], workers: 2, chunk_bytes: 2048, ..Plan::new(exports) };
    let mut target = FakeTarget::new(plan);
    events(&mut target, 2, &others(), 1000, 0);
    assert_eq!(events(&mut target, 2, &others(), 5000, 0), 0, "allocations and releases");
    assert!(target.count(|counters| counters.handed_over) > 1000);
    target.assert_at_rest();
}

#[test]
fn a_trace_allocates_nothing_whether_it_finds_room_or_not() {
    let scratch = Scratch::new();
    let mut target = FakeTarget::new(Plan::new(exports(&scratch)));
    let (to, told) = crossbeam_channel::bounded(2000);
    let missed = Arc::<AtomicU64>::default();
    target.order(WorkerCommand::Trace(Some(Tracer {
        every: 1,
        dropped: true,
        to,
        missed: Arc::clone(&missed),
    })));
    events(&mut target, 1, &others(), 1000, 0);
    assert_eq!(events(&mut target, 1, &others(), 5000, 0), 0, "allocations and releases");
    assert!(told.is_full() && missed.load(Ordering::Relaxed) > 3000);
    target.assert_at_rest();
}

/// Requests that overlap, identical concurrent writes, and copies of writes that have been
/// answered.
fn in_each_others_way() -> Vec<Vec<u8>> {
    let mut requests = Vec::new();
    for tag in 0..40u32 {
        let lba = u64::from(tag % 3) * 4;
        let write = |tag, seed| {
            let data = pattern(seed, 0, 8);
            Ask { tag, ..Ask::new(SLOW, ATA, ata(0x34, lba, 8, &data)) }.bytes()
        };
        // A write and its resends, more than may follow it; a read in between.
        requests.extend((0..7).map(|resend| write(1000 * tag + resend, tag as u8)));
        requests.push(Ask::new(SLOW, ATA, ata(0x24, lba + 2, 8, &[])).bytes());
        requests.push(write(1000 * tag + 99, 0xEE));
        // A request from a while ago arrives once more.
        if let Some(past) = tag.checked_sub(6) {
            requests.push(write(1000 * past, past as u8));
            requests.push(write(1000 * past + 99, 0xEE));
        }
    }
    requests
}

const SLOW: Address = (1, 3);

/// A store that completes operations in its own order. Its allocations are not the
/// worker's.
struct Uncounted(FakeStore);

impl Store for Uncounted {
    fn geometry(&self) -> Geometry {
        uncounted(|| self.0.geometry())
    }

    fn submit(&mut self, op: Op) -> Result<(), Full> {
        uncounted(|| self.0.submit(op))
    }

    fn complete(&mut self) -> Option<Completion> {
        uncounted(|| self.0.complete())
    }
}

fn uncounted<T>(act: impl FnOnce() -> T) -> T {
    let counted = COUNTED.replace(false);
    let result = act();
    COUNTED.set(counted);
    result
}

#[test]
fn requests_in_each_others_way_allocate_nothing() {
    let store = Uncounted(FakeStore::new(64, 1000, Order::Seeded(5)));
    store.0.set_block_bytes(4096);
    let mut target = FakeTarget::new(Plan::new(vec![ExportPlan::new(SLOW, store)]));
    // 17 batches go round: by then, answered requests are forgotten.
    let pause_ns = 300_000_000;
    // The rings in memory grow until they have held the largest burst.
    events(&mut target, 1, &in_each_others_way(), 5000, pause_ns);
    assert_eq!(
        events(&mut target, 1, &in_each_others_way(), 10_000, pause_ns),
        0,
        "allocations and releases"
    );
    let count = |pick: fn(&Counters) -> u64| target.count(pick);
    let counts = [count(|c| c.waited), count(|c| c.folded), count(|c| c.followers_released)];
    assert!(counts.iter().all(|count| *count > 1000), "{counts:?}");
    assert!(count(|c| c.repeated) > 500);
    assert_eq!(count(|c| c.tags_reused), 0);
    target.assert_at_rest();
}

#[test]
fn the_counter_counts() {
    let before = EVENTS.get();
    COUNTED.set(true);
    drop(std::hint::black_box(vec![1u8; 100]));
    COUNTED.set(false);
    assert!(EVENTS.get() >= before + 2);
}
