//! Replaces the daemon's `sync`: loom's locks, and its atomics with optional planted
//! mistakes.

use std::cell::Cell;

pub use loom::sync::{Mutex, MutexGuard};
pub use std::sync::{PoisonError, TryLockError};

/// Mistakes that a source could contain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mistake {
    /// Loads are relaxed.
    RelaxedLoad,
    /// Stores are relaxed.
    RelaxedStore,
    /// Read-modify-write operations are relaxed.
    RelaxedUpdate,
    /// A read-modify-write operation is a load followed by a store.
    TornUpdate,
}

thread_local! {
    // loom runs all its threads on the thread that runs the model.
    static PLANTED: Cell<Option<Mistake>> = const { Cell::new(None) };
    static UPDATES: Cell<u64> = const { Cell::new(0) };
}

/// Number of read-modify-write operations on the atomics of this thread's models.
pub fn updates() -> u64 {
    UPDATES.get()
}

/// Plants a mistake in the atomics of this thread's models.
pub fn plant(mistake: Option<Mistake>) {
    PLANTED.set(mistake);
}

fn planted(mistake: Mistake) -> bool {
    PLANTED.get() == Some(mistake)
}

/// The part of the interface of atomics that the sources use.
pub mod atomic {
    pub use std::sync::atomic::Ordering;

    use super::{Mistake, UPDATES, planted};

    fn unless(mistake: Mistake, ordering: Ordering) -> Ordering {
        if planted(mistake) { Ordering::Relaxed } else { ordering }
    }

    macro_rules! atomic {
        ($name:ident, $value:ty) => {
            /// loom's type, unless a mistake is planted.
            #[derive(Debug, Default)]
            pub struct $name(loom::sync::atomic::$name);

            impl $name {
                /// An atomic with this initial value.
                pub fn new(value: $value) -> Self {
                    Self(loom::sync::atomic::$name::new(value))
                }

                /// Loads the value.
                #[track_caller]
                pub fn load(&self, ordering: Ordering) -> $value {
                    self.0.load(unless(Mistake::RelaxedLoad, ordering))
                }

                /// Stores a value.
                #[track_caller]
                pub fn store(&self, value: $value, ordering: Ordering) {
                    self.0.store(value, unless(Mistake::RelaxedStore, ordering));
                }

                /// Stores a value and returns the previous one.
                #[track_caller]
                pub fn swap(&self, value: $value, ordering: Ordering) -> $value {
                    UPDATES.set(UPDATES.get() + 1);
                    if planted(Mistake::TornUpdate) {
                        let before = self.0.load(Ordering::SeqCst);
                        self.0.store(value, Ordering::SeqCst);
                        return before;
                    }
                    self.0.swap(value, unless(Mistake::RelaxedUpdate, ordering))
                }

                /// Stores `new` if the value is `current`.
                ///
                /// # Errors
                ///
                /// The actual value, if it differs.
                #[track_caller]
                pub fn compare_exchange(
                    &self,
                    current: $value,
                    new: $value,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$value, $value> {
                    UPDATES.set(UPDATES.get() + 1);
                    if planted(Mistake::TornUpdate) {
                        let before = self.0.load(Ordering::SeqCst);
                        if before != current {
                            return Err(before);
                        }
                        self.0.store(new, Ordering::SeqCst);
                        return Ok(before);
                    }
                    self.0.compare_exchange(current, new, unless(Mistake::RelaxedUpdate, success), failure)
                }
            }
        };
    }

    atomic!(AtomicBool, bool);
    atomic!(AtomicU8, u8);
    atomic!(AtomicU32, u32);
}
