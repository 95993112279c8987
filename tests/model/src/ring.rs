//! Chunks: the daemon's chunk table, pools and shared queues, over a UMEM without bytes.

#[path = "../../../target-daemon/ring/src/chunk_table.rs"]
pub mod chunk_table;
#[path = "../../../target-daemon/ring/src/pool.rs"]
pub mod pool;
#[path = "../../../target-daemon/ring/src/rings.rs"]
pub mod rings;
#[path = "../../../target-daemon/ring/src/shared_queues.rs"]
pub mod shared_queues;

/// Small, so that few steps cover everything.
pub const BATCH: usize = 2;

/// A UMEM whose addresses are the numbers of its chunks.
#[derive(Debug)]
pub struct Umem {
    /// Number of chunks.
    pub chunks: u32,
}

impl Umem {
    /// The chunk at an address from the kernel.
    pub fn chunk_at(&self, addr: u64) -> Option<u32> {
        u32::try_from(addr).ok().filter(|chunk| *chunk < self.chunks)
    }

    /// The chunk at one of our own addresses.
    pub fn chunk_of(&self, addr: u32) -> u32 {
        addr
    }

    /// The address of a chunk.
    pub fn start_of(&self, chunk: u32) -> u32 {
        chunk
    }
}
