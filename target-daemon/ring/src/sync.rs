//! What threads share is made of this: `std::sync`, and in `tests/model`, which
//! compiles some of our sources a second time, what loom has in its place.

pub use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

/// Atomics.
pub mod atomic {
    pub use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
}
