//! What a worker tells about itself: service times and counters, as plain
//! values that the worker owns and clones on request. Nobody locks them.

mod latency;
mod report;
mod tally;

pub use latency::{Latency, Operation};
pub use report::{Report, Section, bars};
pub use tally::{Outcome, Tally};
