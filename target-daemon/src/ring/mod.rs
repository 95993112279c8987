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
//! A chunk of UMEM is in exactly one place at any time: free, with the kernel
//! for receiving (`Fill`), in a [`Frame`] that somebody owns (`User`), or with
//! the kernel for sending (`Tx`). The chunk table keeps that and checks every
//! move in release builds too, so a descriptor that the kernel, a driver or a
//! bug made up is counted and refused, never followed.
//!
//! [`Lane`] is the same code over both [`Rings`]: [`XskRings`] (the kernel) and
//! [`FakeRings`] (memory). Several lanes on one queue share its UMEM, fill ring
//! and completion ring (`shared_queues`).

mod fake;
mod frame;
mod lane;
mod chunk_table;
mod umem;
mod open;
mod pool;
mod rings;
mod shared_queues;
mod xsk;

pub use chunk_table::LANES_MAX;
pub use fake::{FakeRings, FakeWire};
pub use frame::{FRAGMENTS_MAX, Frame};
pub use lane::{Lane, LaneCounters, NoChunks, TxFull};
pub use open::{BusyPoll, OpenError, SocketConfig, ZeroCopy, open, open_several};
pub use pool::Imbalance;
pub use rings::{Descriptor, FillCompletion, RingStatistics, Rings};
pub use umem::Umem;
pub use xsk::{XskFillCompletion, XskRings};

/// Most descriptors moved between a ring and user space in one step. Large
/// enough to share the cost of a kick, small enough to stay in the L1 cache.
pub const BATCH: usize = 64;
