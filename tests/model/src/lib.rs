//! xblade's data shared between threads, over loom's locks and atomics: the sources of
//! the daemon itself, compiled a second time with another `crate::sync`. It is a separate
//! package because loom's types only work inside its models.
//!
//! The daemon's rings and UMEM are not included: [`ring`] contains replacements.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

#[path = "../../../target-daemon/target/src/worker/asleep.rs"]
pub mod asleep;
pub mod ring;
pub mod sync;
