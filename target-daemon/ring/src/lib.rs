//! AF_XDP: from descriptors in the kernel's rings to owned frames and back.
//!
//! ```text
//!            ┌── fill ◄──────────────────┐
//!   kernel ──┤                           │ refill
//!            ├── rx ────► Frame (User) ──┼──► free
//!            │   receive     │ transmit  │ release
//!            ├── tx ◄────────┘           │
//!            └── completion ─────────────┘ reclaim
//! ```
//!
//! A chunk of UMEM is in exactly one state at any time: free, with the kernel for
//! receiving (`Fill`), in a [`Frame`] that user space owns (`User`), or with the kernel
//! for sending (`Tx`). The chunk table records the state and checks every transition, in
//! release builds too. A bad descriptor, whether from the kernel, a driver or a bug, is
//! counted and refused, never followed.
//!
//! [`Lane`] is generic over [`Rings`]: [`XskRings`] (the kernel's) or [`FakeRings`] (in
//! memory). Several lanes on one queue share its UMEM, fill ring and completion ring
//! (`shared_queues`).
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod frame;
mod hash;
mod hosts;
mod lane;
mod chunk_table;
mod umem;
mod open;
mod pool;
mod prefetch;
mod rings;
mod shared_queues;
mod shared_words;
/// Locks and atomics.
pub mod sync;
mod xsk;

pub use chunk_table::LANES_MAX;
pub use frame::{FRAGMENTS_MAX, Frame};
pub use hash::hash;
pub use hosts::{Candidates, HostKey, HostMaps, HostTable, RingShares, UNKNOWN as UNKNOWN_HOST, units};
pub use lane::{ChunkCounts, Lane, LaneCounters, NoChunks, TxFull};
pub use open::{BusyPoll, OpenError, SocketConfig, ZeroCopy, open, open_several};
pub use pool::Imbalance;
pub use rings::{Descriptor, FillCompletion, RingStatistics, Rings, fill_target};
pub use umem::Umem;
pub use xblade_ebpf::HOST_INDICES;
pub use xsk::{XskFillCompletion, XskRings};

/// Maximum number of descriptors moved between a ring and user space in one step. Large
/// enough to amortize a kick, small enough to stay in the L1 cache.
pub const BATCH: usize = 64;
