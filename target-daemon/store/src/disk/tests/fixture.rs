//! A store on a scripted engine: a test decides when and how each call ends.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use memmap2::MmapMut;

use crate::disk::{DiskLayout, DiskStore, IoEngine, IoRequest, IoResult, IoSlice, Persist, QueueFull, SYNC};
use crate::{Completion, Full, Geometry, IoError, IoVec, Kind, Op, Store};

/// Memory of each operation, by token.
const FRAME_BYTES: usize = 64 * 1024;

/// The most operations of a test.
const OPS_MAX: usize = 3000;

/// Where the export starts on the disk.
pub const OFFSET: u64 = 8192;

#[derive(Debug)]
struct Script {
    block: u64,
    bytes: Vec<u8>,
    end: u64,
    /// Pushed and not ended.
    calls: Vec<(u32, IoRequest)>,
    outcomes: VecDeque<(u32, IoResult)>,
}

#[derive(Debug)]
pub struct Scripted(Arc<Mutex<Script>>);

/// A store, the engine under it, and the memory of its operations.
pub struct Rig {
    pub store: DiskStore<Scripted>,
    script: Arc<Mutex<Script>>,
    memory: MmapMut,
    next: u32,
}

impl Rig {
    /// A store of `sectors` sectors, each filled with its number.
    pub fn new(sectors: u64, block: u32, stable: Persist) -> Self {
        Self::with(sectors, block, stable, None)
    }

    pub fn with(sectors: u64, block: u32, stable: Persist, length_bytes: Option<u64>) -> Self {
        let disk = OFFSET + sectors * 512;
        let bytes = (0..disk).map(|at| (at / 512) as u8).collect();
        let script =
            Script { block: block.into(), bytes, end: disk, calls: Vec::new(), outcomes: VecDeque::new() };
        let script = Arc::new(Mutex::new(script));
        let geometry = Geometry { block_bytes: block, discards: true, ..Geometry::new(sectors, block) };
        let layout =
            DiskLayout { offset_bytes: OFFSET, length_bytes, geometry, read_only: false, persist: stable };
        let store = DiskStore::new(Scripted(Arc::clone(&script)), layout).unwrap();
        Self { store, script, memory: MmapMut::map_anon(OPS_MAX * FRAME_BYTES).unwrap(), next: 0 }
    }

    /// Submits an operation on memory that starts `skew` bytes into a page and is split at
    /// `cut`, unless that is 0. Returns its token.
    pub fn submit(
        &mut self,
        kind: Kind,
        sector: u64,
        data: &[u8],
        skew: usize,
        cut: usize,
    ) -> Result<u32, Full> {
        let token = self.next;
        let frame = self.frame(token, skew, data.len());
        frame.copy_from_slice(data);
        let mut buffers = IoVec::empty();
        let (first, second) = frame.split_at_mut(cut);
        for piece in [first, second].into_iter().filter(|piece| !piece.is_empty()) {
            // SAFETY: the memory belongs to the rig until its end, and is read only after
            // the operation has completed.
            assert!(unsafe { buffers.push(piece) });
        }
        self.store.submit(Op { token, kind, sector, buffers })?;
        self.next += 1;
        Ok(token)
    }

    pub fn write(&mut self, sector: u64, data: &[u8]) -> u32 {
        self.submit(Kind::Write, sector, data, 0, 0).unwrap()
    }

    pub fn read(&mut self, sector: u64, sectors: usize) -> u32 {
        self.submit(Kind::Read, sector, &vec![0xEE; sectors * 512], 0, 0).unwrap()
    }

    pub fn flush(&mut self) -> u32 {
        self.submit(Kind::Flush, 0, &[], 0, 0).unwrap()
    }

    /// The memory of an operation.
    pub fn frame(&mut self, token: u32, skew: usize, bytes: usize) -> &mut [u8] {
        let start = token as usize * FRAME_BYTES + skew;
        &mut self.memory[start..start + bytes]
    }

    /// Runs a turn of the worker. Returns what finished, by token.
    pub fn turn(&mut self) -> Vec<(u32, Result<(), IoError>)> {
        self.store.kick();
        let completions = std::iter::from_fn(|| self.store.complete());
        let mut all: Vec<_> = completions.map(|Completion { token, result }| (token, result)).collect();
        all.sort_by_key(|(token, _)| *token);
        all
    }

    /// Calls that have not ended, oldest first.
    pub fn calls(&self) -> Vec<IoRequest> {
        self.script.lock().unwrap().calls.iter().map(|(_, call)| *call).collect()
    }

    /// The disk, from the start of the export.
    pub fn disk(&self) -> Vec<u8> {
        self.script.lock().unwrap().bytes[OFFSET as usize..].to_vec()
    }

    /// Sets the end of the file.
    pub fn set_end(&self, end: u64) {
        self.script.lock().unwrap().end = end;
    }

    /// Ends the call at this index of those that have not ended.
    pub fn end(&self, at: usize, outcome: IoResult) {
        let mut script = self.script.lock().unwrap();
        let (id, _) = script.calls.remove(at);
        script.outcomes.push_back((id, outcome));
    }

    pub fn end_sync(&self, outcome: IoResult) {
        let at = self.calls().iter().position(|call| *call == IoRequest::Sync).unwrap();
        self.end(at, outcome);
    }

    /// Executes up to `bytes_max` bytes of the call at this index, and ends it.
    pub fn run(&self, at: usize, bytes_max: u32) {
        let call = self.calls()[at];
        let moved = match call {
            IoRequest::Read { memory, .. } | IoRequest::Write { memory, .. } => memory.bytes.min(bytes_max),
            _ => 0,
        };
        let mut script = self.script.lock().unwrap();
        let disk = &mut script.bytes;
        match call {
            IoRequest::Read { at, memory } => {
                memory_of(memory, moved).copy_from_slice(&disk[at as usize..][..moved as usize]);
            }
            IoRequest::Write { at, memory, .. } => {
                disk[at as usize..][..moved as usize].copy_from_slice(memory_of(memory, moved));
            }
            _ => {}
        }
        drop(script);
        self.end(at, Ok(moved.into()));
    }

    /// Executes everything, turn by turn, until nothing is left.
    pub fn run_all(&mut self) -> Vec<(u32, Result<(), IoError>)> {
        let mut finished = self.turn();
        while !self.calls().is_empty() {
            self.run(0, u32::MAX);
            finished.extend(self.turn());
        }
        finished
    }
}

/// The first `bytes` of a piece.
fn memory_of<'a>(memory: IoSlice, bytes: u32) -> &'a mut [u8] {
    let base = std::ptr::with_exposed_provenance_mut(memory.base);
    // SAFETY: the memory of a call belongs to the engine, which is this fixture, until its
    // result is taken.
    unsafe { std::slice::from_raw_parts_mut(base, bytes as usize) }
}

impl IoEngine for Scripted {
    fn push(&mut self, id: u32, call: IoRequest) -> Result<(), QueueFull> {
        let mut script = self.0.lock().unwrap();
        let whole = |n: u64| n.is_multiple_of(script.block);
        if let IoRequest::Read { at, memory } | IoRequest::Write { at, memory, .. } = call {
            let all = [at, u64::from(memory.bytes), memory.base as u64];
            assert!(all.into_iter().all(whole), "{call:?} is not of whole blocks");
        }
        let twice = script.calls.iter().any(|(other, _)| *other == id);
        assert!(!twice, "{} has two calls", if id == SYNC { "a sync" } else { "a slot" });
        script.calls.push((id, call));
        Ok(())
    }

    fn next(&mut self) -> Option<(u32, IoResult)> {
        self.0.lock().unwrap().outcomes.pop_front()
    }

    fn end(&self) -> u64 {
        self.0.lock().unwrap().end
    }

    fn goes_on(&self) -> bool {
        false
    }

    fn now_ns(&self) -> u64 {
        0
    }
}
