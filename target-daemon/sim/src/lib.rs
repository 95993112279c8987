//! What tests put in place of the kernel and of disks: rings in memory, a store whose
//! completions a test controls, a simulated disk with a volatile cache, and faults that
//! are injected into any store. Only tests depend on this crate.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

/// A simulated disk behind the trait `IoEngine`.
pub mod disk;
/// A store around another one that injects faults.
pub mod faulty;
mod rings;
/// A store in memory whose completions a test controls.
pub mod store;
mod with_ring;

pub use disk::{SimConfig, SimDisk, SimEngine, SimStats};
pub use faulty::Faulty;
pub use rings::{FakeRings, FakeWire};
pub use store::FakeStore;
pub use with_ring::WithRing;
