//! What xblade's threads share, over loom's locks and atomics: the sources of the
//! daemon themselves, compiled a second time with another `crate::sync`. The
//! package is not the daemon's because loom's types work in its models only.
//!
//! The daemon's rings and memory are not here: [`ring`] has what stands for them.

#[path = "../../../target-daemon/target/src/worker/asleep.rs"]
pub mod asleep;
pub mod ring;
pub mod sync;
