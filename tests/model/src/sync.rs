//! In place of the daemon's `sync`: loom's locks, and its atomics with mistakes to
//! plant in them.

use std::cell::Cell;

pub use loom::sync::{Mutex, MutexGuard};
pub use std::sync::{PoisonError, TryLockError};

/// What a source could have got wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mistake {
    /// Loads are relaxed.
    RelaxedLoad,
    /// Stores are relaxed.
    RelaxedStore,
    /// What reads and writes in one step is relaxed.
    RelaxedUpdate,
    /// It is a load, and then a store.
    TornUpdate,
}

thread_local! {
    // loom's threads all run on the thread that runs the model.
    static PLANTED: Cell<Option<Mistake>> = const { Cell::new(None) };
}

/// Plants a mistake in the atomics of this thread's models.
pub fn plant(mistake: Option<Mistake>) {
    PLANTED.set(mistake);
}

fn planted(mistake: Mistake) -> bool {
    PLANTED.get() == Some(mistake)
}

/// Atomics with as much of an interface as the sources use.
pub mod atomic {
    pub use std::sync::atomic::Ordering;

    use super::{Mistake, planted};

    fn unless(mistake: Mistake, ordering: Ordering) -> Ordering {
        if planted(mistake) { Ordering::Relaxed } else { ordering }
    }

    macro_rules! atomic {
        ($name:ident, $value:ty) => {
            /// loom's, unless a mistake is planted.
            #[derive(Debug, Default)]
            pub struct $name(loom::sync::atomic::$name);

            impl $name {
                /// With this value at first.
                pub fn new(value: $value) -> Self {
                    Self(loom::sync::atomic::$name::new(value))
                }

                /// Its value.
                #[track_caller]
                pub fn load(&self, ordering: Ordering) -> $value {
                    self.0.load(unless(Mistake::RelaxedLoad, ordering))
                }

                /// Gives it a value.
                #[track_caller]
                pub fn store(&self, value: $value, ordering: Ordering) {
                    self.0.store(value, unless(Mistake::RelaxedStore, ordering));
                }

                /// Gives it a value, and returns the one before.
                #[track_caller]
                pub fn swap(&self, value: $value, ordering: Ordering) -> $value {
                    if planted(Mistake::TornUpdate) {
                        let before = self.0.load(Ordering::SeqCst);
                        self.0.store(value, Ordering::SeqCst);
                        return before;
                    }
                    self.0.swap(value, unless(Mistake::RelaxedUpdate, ordering))
                }

                /// Gives it a value if it has another one.
                ///
                /// # Errors
                ///
                /// The value that it has instead.
                #[track_caller]
                pub fn compare_exchange(
                    &self,
                    current: $value,
                    new: $value,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$value, $value> {
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
