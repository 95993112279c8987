//! Counters and service times: plain values that a worker owns and clones on request.
//! Nothing here takes a lock.

mod counter;
pub mod family;
mod latency;
mod tally;
mod zeroed;

pub use counter::{Count, Metric};
pub use family::Family;
pub use latency::{Cell, Distribution, Latency, Operation, middle_of};
pub use tally::{ExportCounters, Outcome, Tally};
pub(crate) use zeroed::Zeroed;

pub(crate) use counter::counters;
