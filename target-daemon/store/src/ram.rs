//! The stores without a file. A RAM disk has its sectors in memory of this process, all of it
//! taken when it is opened, and forgets everything when it is closed. The null store discards
//! every write, and reads return zeros: it measures the cost of the protocol by itself.

use std::fs;
use std::path::Path;

use memmap2::{Advice, MmapMut, MmapOptions};
use rustix::io::Errno;

use super::completion_queue::CompletionQueue;
use super::engine::Engine;
use super::select::Opened;
use super::size::{exactly, in_largest_unit};
use super::{
    Completion, Data, Full, Geometry, Identity, IoError, Kind, Op, OpResult, OpenError, SECTOR_BYTES, Store,
    Warning, ranges,
};

pub(super) const NULL: Engine = Engine {
    name: "null",
    help: "nothing",
    access: None,
    model: Some("xblade null (discards writes)"),
    data: |_| Some(Data { identity: Identity::null(), offset_bytes: 0 }),
    open: |spec, _| Ok(Opened::without_file(RamStore::null(spec.length() / SECTOR_BYTES), Identity::null())),
};

pub(super) const RAM: Engine = Engine {
    name: "ram",
    help: "memory without a file",
    access: None,
    model: Some("xblade ram (forgets everything)"),
    // Each time it is opened it has other data: zeros.
    data: |_| Some(Data { identity: Identity::ram(), offset_bytes: 0 }),
    open: |spec, _| {
        let mut opened = Opened::without_file(RamStore::new(spec.length())?, Identity::ram());
        opened.warnings.push(Warning::new(FORGETS.to_owned()));
        Ok(opened)
    },
};

const FORGETS: &str =
    "store=ram forgets everything when it is closed: at the end of xblade, and when it is removed";

/// A store without a file.
#[derive(Debug)]
pub struct RamStore {
    /// All of its sectors; `None` for the null store.
    memory: Option<MmapMut>,
    geometry: Geometry,
    completed: CompletionQueue,
}

impl RamStore {
    /// A null store that reports a size of `sectors`.
    pub fn null(sectors: u64) -> Self {
        Self { memory: None, geometry: Geometry::new(sectors, 4096), completed: CompletionQueue::new() }
    }

    /// A RAM disk.
    fn new(bytes: u64) -> Result<Self, OpenError> {
        let refused = |source| {
            let size = exactly(bytes).unwrap_or_else(|| format!("{bytes}B"));
            let free = free().and_then(in_largest_unit);
            let free = free.map_or_else(String::new, |free| format!(", and {free} are free on this machine"));
            let what = format!("cannot have the memory for length={size}{free}");
            OpenError::new(Path::new("store=ram"), what, "give a smaller length, or a file").because(source)
        };
        // More than there is would end this process when it is used.
        if free().is_some_and(|free| free < bytes) {
            return Err(refused(Errno::NOMEM.into()));
        }
        let len = usize::try_from(bytes).unwrap_or(usize::MAX);
        let memory = MmapOptions::new().len(len).map_anon().map_err(refused)?;
        memory.advise(Advice::PopulateWrite).map_err(refused)?;
        let mut store = Self::null(bytes / SECTOR_BYTES);
        store.geometry.discards = true;
        Ok(Self { memory: Some(memory), ..store })
    }

    fn execute(&mut self, op: &mut Op) -> OpResult {
        let (at, len) = (op.range_in(self.geometry)? as usize, op.buffers.len());
        let Some(memory) = &mut self.memory else {
            if op.kind == Kind::Read {
                op.buffers.zero();
            }
            return Ok(());
        };
        match op.kind {
            Kind::Read => _ = op.buffers.fill(part(memory, at, len)?),
            Kind::Write => _ = op.buffers.copy_to(part(memory, at, len)?),
            Kind::Discard => {
                for range in ranges(&op.buffers) {
                    part(memory, range.at as usize, range.bytes as usize)?.fill(0);
                }
            }
            Kind::Flush | Kind::Measure => {}
        }
        Ok(())
    }
}

fn part(memory: &mut [u8], at: usize, len: usize) -> Result<&mut [u8], IoError> {
    memory.get_mut(at..at.saturating_add(len)).ok_or(IoError::Range)
}

impl Store for RamStore {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn submit(&mut self, op: Op) -> Result<(), Full> {
        let mut op = self.completed.admit(op)?;
        let result = self.execute(&mut op);
        self.completed.push(op.token, result);
        Ok(())
    }

    fn try_inline(&mut self, op: &mut Op) -> Option<OpResult> {
        Some(self.execute(op))
    }

    fn complete(&mut self) -> Option<Completion> {
        self.completed.pop()
    }
}

/// The memory that this machine has free, in bytes, if it can be read.
fn free() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kib| kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::completion_queue::QUEUE_MAX;
    use crate::{Durability, IoVec, OPTIONS, Options, StoreSpec};

    fn spec(length: &str) -> StoreSpec {
        let mut options = Options::default();
        for (key, text) in [("store", "ram"), ("length", length)] {
            let option = OPTIONS.iter().find(|option| option.key == key).unwrap();
            assert!(options.add(option, option.parse(text).unwrap().unwrap()));
        }
        assert_eq!(options.conflicts(), []);
        StoreSpec::new("x", options)
    }

    fn execute(store: &mut dyn Store, kind: Kind, sector: u64, memory: &mut [u8]) -> Result<(), IoError> {
        let mut buffers = IoVec::empty();
        for piece in memory.chunks_mut(700) {
            // SAFETY: the memory outlives the operation, which ends below.
            assert!(unsafe { buffers.push(piece) });
        }
        store.submit(Op { token: 7, kind, sector, buffers }).unwrap();
        store.complete().unwrap().result
    }

    #[test]
    fn it_keeps_what_is_written_and_forgets_what_is_trimmed() {
        let mut opened = spec("8").open(None).unwrap();
        let store = opened.store.as_mut();
        assert_eq!((store.geometry().sectors, store.geometry().discards), (8, true));
        let read = |store: &mut dyn Store, sector| {
            let mut memory = [9; 512];
            execute(store, Kind::Read, sector, &mut memory).map(|()| memory)
        };
        assert_eq!(execute(store, Kind::Write, 2, &mut [5; 2048]), Ok(()));
        for (sector, byte) in [(1, 0), (2, 5), (5, 5), (6, 0)] {
            assert_eq!(read(store, sector), Ok([byte; 512]), "sector {sector}");
        }
        // Three sectors from sector 3 on.
        let mut range = [0; 512];
        (range[0], range[6]) = (3, 3);
        assert_eq!(execute(store, Kind::Discard, 0, &mut range), Ok(()));
        for (sector, byte) in [(2, 5), (3, 0), (5, 0)] {
            assert_eq!(read(store, sector), Ok([byte; 512]), "sector {sector}");
        }
        range[0] = 6;
        assert_eq!(execute(store, Kind::Discard, 0, &mut range), Err(IoError::Range));
        assert_eq!(execute(store, Kind::Write, 7, &mut [5; 1024]), Err(IoError::Range));
        assert_eq!(read(store, u64::MAX), Err(IoError::Range));
        assert_eq!(execute(store, Kind::Flush, 0, &mut []), Ok(()));
    }

    #[test]
    fn it_is_volatile_and_other_data_each_time() {
        let spec = spec("1MiB");
        let opened = spec.open(None).unwrap();
        assert_eq!((spec.durability(), spec.path(), spec.read_only()), (Durability::Volatile, None, false));
        assert_eq!(opened.warnings, [Warning::new(FORGETS.to_owned())]);
        assert!(!opened.data.identity.is_lasting());
        assert!(
            !opened.data.is_same(&spec.data().unwrap())
                && !opened.data.is_same(&spec.open(None).unwrap().data)
        );
    }

    #[test]
    fn memory_that_is_not_there_is_refused_in_one_line() {
        let error = spec("100000TiB").open(None).err().unwrap().problem;
        assert!(error.what.starts_with("store=ram: cannot have the memory for length=100000TiB"), "{error}");
        assert_eq!(error.remedy, "give a smaller length, or a file");
    }

    fn submit(store: &mut RamStore, kind: Kind, sector: u64, memory: &mut [u8]) -> Completion {
        let mut buffers = IoVec::empty();
        // SAFETY: the memory outlives the operation, which ends below.
        assert!(unsafe { buffers.push(memory) });
        store.submit(Op { token: 7, kind, sector, buffers }).unwrap();
        store.complete().unwrap()
    }

    #[test]
    fn the_null_store_reads_zeros_and_keeps_to_its_size() {
        let mut store = RamStore::null(10);
        let rows = [
            (Kind::Write, 0, Ok(()), 9),
            (Kind::Read, 8, Ok(()), 0),
            (Kind::Read, 9, Err(IoError::Range), 9),
            (Kind::Write, 9, Err(IoError::Range), 9),
            (Kind::Read, u64::MAX, Err(IoError::Range), 9),
            (Kind::Flush, u64::MAX, Ok(()), 9),
        ];
        for (kind, sector, result, after) in rows {
            let mut memory = [9; 1024];
            let completion = submit(&mut store, kind, sector, &mut memory);
            assert_eq!(completion, Completion { token: 7, result }, "{kind:?} at {sector}");
            assert_eq!(memory, [after; 1024], "{kind:?} at {sector}");
        }
        assert_eq!(submit(&mut store, Kind::Read, 0, &mut [0; 100]).result, Err(IoError::Range));
    }

    #[test]
    fn a_full_queue_gives_the_operation_back() {
        let mut store = RamStore::null(1);
        let flush = |token| Op { token, kind: Kind::Flush, sector: 0, buffers: IoVec::empty() };
        for token in 0..QUEUE_MAX as u32 {
            store.submit(flush(token)).unwrap();
        }
        let Full(op) = store.submit(flush(1000)).unwrap_err();
        assert_eq!(op.token, 1000);
        for token in 0..QUEUE_MAX as u32 {
            assert_eq!(store.complete().unwrap().token, token);
        }
        assert!(store.complete().is_none());
    }
}
