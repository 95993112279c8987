//! Counters and service times: plain values that a worker owns and clones on request.
//! Nothing here takes a lock.

mod latency;
mod report;
mod tally;

pub use latency::{Latency, Operation};
pub use report::{Report, Section, bars};
pub use tally::{Outcome, Tally};
