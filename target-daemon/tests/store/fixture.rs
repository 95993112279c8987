//! The test fixture: operations on slices, scratch directories, file systems and loop
//! devices. `Drop` removes everything that was set up.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

pub use crate::media::*;
use xblade::store::{
    self, Access, Completion, Durability, IoError, IoVec, Kind, Op, OpenOptions, Opened, Store,
};
use xblade_sim::WithRing;

/// The most bytes that a frame carries.
const REQUEST_BYTES_MAX: usize = 8192;

/// Runs one operation on `memory`, split into pieces at `cuts`.
pub fn run(
    store: &mut dyn Store,
    kind: Kind,
    sector: u64,
    memory: &mut [u8],
    cuts: &[usize],
) -> Result<(), IoError> {
    static TOKEN: AtomicU32 = AtomicU32::new(1);
    let token = TOKEN.fetch_add(1, Ordering::Relaxed);
    let mut buffers = IoVec::empty();
    let mut rest = memory;
    for cut in cuts {
        let (piece, later) = rest.split_at_mut(*cut);
        rest = later;
        // SAFETY: the memory is borrowed until the operation has ended below.
        assert!(unsafe { buffers.push(piece) });
    }
    // SAFETY: as above.
    assert!(unsafe { buffers.push(rest) });
    store.submit(Op { token, kind, sector, buffers }).expect("room in the queue");
    let completion = next(store);
    assert_eq!(completion.token, token);
    assert!(store.complete().is_none(), "one completion an operation");
    completion.result
}

/// Waits for the next completion.
pub fn next(store: &mut dyn Store) -> Completion {
    let started = Instant::now();
    loop {
        store.kick();
        if let Some(completion) = store.complete() {
            return completion;
        }
        assert!(started.elapsed() < Duration::from_secs(10), "nothing has finished for 10 s");
        thread::sleep(Duration::from_micros(50));
    }
}

pub fn read(store: &mut dyn Store, sector: u64, bytes: usize) -> Result<Vec<u8>, IoError> {
    let mut memory = vec![0xEE; bytes];
    for (at, part) in memory.chunks_mut(REQUEST_BYTES_MAX).enumerate() {
        run(store, Kind::Read, sector + (at * REQUEST_BYTES_MAX / 512) as u64, part, &[])?;
    }
    Ok(memory)
}

pub fn write(store: &mut dyn Store, sector: u64, data: &[u8]) -> Result<(), IoError> {
    for (at, part) in data.to_vec().chunks_mut(REQUEST_BYTES_MAX).enumerate() {
        run(store, Kind::Write, sector + (at * REQUEST_BYTES_MAX / 512) as u64, part, &[])?;
    }
    Ok(())
}

pub fn flush(store: &mut dyn Store) -> Result<(), IoError> {
    run(store, Kind::Flush, 0, &mut [], &[])
}

/// Discards ranges of sectors, given as first sector and count.
pub fn discard(store: &mut dyn Store, ranges: &[(u64, u16)]) -> Result<(), IoError> {
    let entries = ranges.iter().map(|(sector, count)| (sector | u64::from(*count) << 48).to_le_bytes());
    let mut block: Vec<u8> = entries.flatten().collect();
    block.resize(block.len().next_multiple_of(512), 0);
    run(store, Kind::Discard, 0, &mut block, &[13])
}

/// Measures the size in sectors now.
pub fn measure(store: &mut dyn Store) -> u64 {
    run(store, Kind::Measure, 0, &mut [], &[]).unwrap();
    store.geometry().sectors
}

/// Bytes that differ in every sector, and of which none is zero.
pub fn pattern(seed: u8, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|index| (seed as usize + index / 512 * 7 + index * 31) as u8 | 1).collect()
}

/// The access that this process tests (see `access`).
pub fn access() -> Access {
    match std::env::var("XBLADE_TEST_ACCESS").as_deref() {
        Ok("descriptor") => Access::Descriptor,
        Ok("cached") => Access::Cached,
        Ok("direct") => Access::Direct,
        _ => Access::Mapped,
    }
}

/// A store on this path, durable or volatile.
pub fn by(durable: bool, path: &Path) -> Box<dyn Store> {
    open(&if durable { OpenOptions::new(path) } else { volatile(path) })
}

pub fn volatile(path: &Path) -> OpenOptions {
    OpenOptions { durability: Durability::Volatile, ..OpenOptions::new(path) }
}

pub fn read_only(path: &Path) -> OpenOptions {
    OpenOptions { read_only: true, ..OpenOptions::new(path) }
}

pub fn extent(path: &Path, offset_bytes: u64, length_bytes: Option<u64>) -> OpenOptions {
    OpenOptions { offset_bytes, length_bytes, ..OpenOptions::new(path) }
}

/// With the access that this process tests.
pub fn open(options: &OpenOptions) -> Box<dyn Store> {
    Box::new(WithRing::new(opened(options).store))
}

/// The texts of the warnings for the operator.
pub fn warnings(options: &OpenOptions) -> Vec<String> {
    opened(options).warnings.into_iter().map(|warning| warning.text).collect()
}

pub fn opened(options: &OpenOptions) -> Opened {
    store::open(&OpenOptions { access: access(), ..options.clone() })
        .unwrap_or_else(|error| panic!("{error}: {options:?}"))
}

/// The error message of an open that must fail.
pub fn refusal(options: &OpenOptions) -> String {
    match store::open(options) {
        Ok(_) => panic!("was opened: {options:?}"),
        Err(error) => error.to_string(),
    }
}

/// Held by tests that start processes, and by tests that mount: between `fork` and `exec` a
/// child has a copy of every descriptor, and so for a moment keeps the file systems and
/// devices of other tests busy.
pub type Alone = MutexGuard<'static, ()>;

pub fn alone() -> Alone {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the lock if the user is root. Otherwise reports that the test is skipped.
pub fn root(test: &str) -> Option<Alone> {
    // SAFETY: no arguments, cannot fail.
    if unsafe { libc::geteuid() } == 0 {
        return Some(alone());
    }
    eprintln!("\n*** SKIPPED: {test} needs root ***\n");
    let strict = std::env::var_os("XBLADE_TESTS_STRICT").is_some_and(|value| value == "1");
    assert!(!strict, "XBLADE_TESTS_STRICT=1, and {test} needs root");
    None
}

/// A scratch directory of one test.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("xblade-store-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    pub fn sparse(&self, name: &str, bytes: u64) -> PathBuf {
        truncate_new(&self.path(name), bytes);
        self.path(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub fn truncate_new(path: &Path, bytes: u64) {
    fs::File::create(path).unwrap().set_len(bytes).unwrap();
}

pub fn truncate(path: &Path, bytes: u64) {
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(bytes).unwrap();
}

pub fn size(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}
