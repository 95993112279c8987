//! Chunks: the daemon's chunk table, pools and shared queues, over a UMEM without bytes.

#[path = "../../../target-daemon/src/ring/chunk_table.rs"]
pub mod chunk_table;
#[path = "../../../target-daemon/src/ring/pool.rs"]
pub mod pool;
#[path = "../../../target-daemon/src/ring/rings.rs"]
pub mod rings;
#[path = "../../../target-daemon/src/ring/shared_queues.rs"]
pub mod shared_queues;

/// Short, so that few steps show all.
pub const BATCH: usize = 2;

/// A UMEM whose addresses are the numbers of its chunks.
#[derive(Debug)]
pub struct Umem {
    /// How many there are.
    pub chunks: u32,
}

impl Umem {
    /// The chunk at an address that the kernel has given.
    pub fn chunk_at(&self, addr: u64) -> Option<u32> {
        u32::try_from(addr).ok().filter(|chunk| *chunk < self.chunks)
    }

    /// The chunk of an address of ours.
    pub fn chunk_of(&self, addr: u32) -> u32 {
        addr
    }

    /// The address of a chunk.
    pub fn start_of(&self, chunk: u32) -> u32 {
        chunk
    }
}
