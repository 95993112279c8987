//! The locks and atomics that threads share: those of `std::sync`, or loom's in
//! `tests/model`, which compiles some of our sources a second time.

pub use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

/// Atomics.
pub mod atomic {
    pub use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
}
