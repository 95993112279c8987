//! Every store on files and devices, by its name on the command line, and how to wait for
//! it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use xblade::store::{self, Access, Completion, IoError, IoVec, Kind, Op, OpenOptions, Store};
use xblade_sim::WithRing;

/// The longest time that anything may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// One kind of store.
pub struct Row {
    pub name: &'static str,
    pub open: fn(&OpenOptions) -> WithRing,
    /// Its calls return at once, even if the medium blocks.
    pub asynchronous: bool,
    /// Not possible on a file that the kernel does not cache.
    pub mapped: bool,
}

pub const ROWS: &[Row] = &[
    Row { name: "direct", open: |options| open(options, Access::Direct), asynchronous: true, mapped: false },
    Row { name: "file", open: |options| open(options, Access::Cached), asynchronous: true, mapped: false },
    Row { name: "mmap", open: |options| open(options, Access::Mapped), asynchronous: false, mapped: true },
    // The fallback if the kernel has no io_uring.
    Row {
        name: "waiting",
        open: |options| open(options, Access::Descriptor),
        asynchronous: false,
        mapped: false,
    },
];

fn open(options: &OpenOptions, access: Access) -> WithRing {
    let options = OpenOptions { access, ..options.clone() };
    match store::open(&options) {
        Ok(opened) => WithRing::new(opened.store),
        Err(error) => panic!("{error}: {options:?}"),
    }
}

/// A store, and the memory of its operations.
pub struct Running {
    pub store: WithRing,
    under_way: Vec<(u32, Box<[u8]>)>,
    /// The longest time of one call of the store.
    pub slowest: Duration,
}

impl Running {
    pub fn new(store: WithRing) -> Self {
        Self { store, under_way: Vec::new(), slowest: Duration::ZERO }
    }

    /// Submits an operation on this memory. Returns its token.
    pub fn submit(&mut self, kind: Kind, sector: u64, data: &[u8]) -> u32 {
        static TOKEN: AtomicU32 = AtomicU32::new(1);
        let token = TOKEN.fetch_add(1, Ordering::Relaxed);
        let mut memory: Box<[u8]> = data.into();
        let mut buffers = IoVec::empty();
        for piece in memory.chunks_mut(2048) {
            // SAFETY: the memory is on the heap, and stays in `under_way`,
            // untouched, until the operation is complete.
            assert!(unsafe { buffers.push(piece) });
        }
        self.under_way.push((token, memory));
        self.timed(|store| store.submit(Op { token, kind, sector, buffers })).expect("room in the queue");
        self.timed(|store| store.kick());
        token
    }

    /// The next completion that is ready, with the memory of its operation.
    pub fn poll(&mut self) -> Option<(Completion, Box<[u8]>)> {
        self.timed(|store| store.kick());
        let completion = self.timed(|store| store.complete())?;
        let at = self.under_way.iter().position(|(token, _)| *token == completion.token);
        Some((completion, self.under_way.swap_remove(at.expect("one completion an operation")).1))
    }

    /// Waits for the next completion.
    pub fn wait(&mut self) -> (Completion, Box<[u8]>) {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(done) = self.poll() {
                return done;
            }
            assert!(Instant::now() < end, "no completion within {PATIENCE:?}");
            self.sleep(Duration::from_millis(5));
        }
    }

    /// Sleeps until the store is ready, if it is asynchronous. Returns whether it became ready.
    pub fn sleep(&mut self, limit: Duration) -> bool {
        self.store.wait(limit)
    }

    /// Runs one operation, with nothing else in flight.
    fn run(&mut self, kind: Kind, sector: u64, data: &[u8]) -> Result<Vec<u8>, IoError> {
        let token = self.submit(kind, sector, data);
        let (completion, memory) = self.wait();
        assert_eq!(completion.token, token);
        assert!(self.poll().is_none(), "one completion an operation");
        completion.result.map(|()| memory.into())
    }

    pub fn read(&mut self, sector: u64, bytes: usize) -> Result<Vec<u8>, IoError> {
        self.run(Kind::Read, sector, &vec![0xEE; bytes])
    }

    pub fn write(&mut self, sector: u64, data: &[u8]) -> Result<(), IoError> {
        self.run(Kind::Write, sector, data).map(drop)
    }

    pub fn flush(&mut self) -> Result<(), IoError> {
        self.run(Kind::Flush, 0, &[]).map(drop)
    }

    fn timed<T>(&mut self, call: impl FnOnce(&mut dyn Store) -> T) -> T {
        let start = Instant::now();
        let result = call(&mut self.store);
        self.slowest = self.slowest.max(start.elapsed());
        result
    }
}
