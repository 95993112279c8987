//! Traces of single requests, and of frames that got no reply, as they happen.
//!
//! ```text
//! workers ──► bounded channel ──► stream ──► line (JSON) ──► watch ──► print, pcap
//!                no room: counted   `GET /v1/trace`        `xblade trace`
//! ```
//!
//! One client can trace at a time. When it disconnects or stops reading, the stream is
//! dropped. That closes the receiving end of the channel and removes the tracer from the
//! workers.

mod line;
mod pcap;
mod one_trace;
mod stream;
mod watch;
mod filter;

pub use filter::TraceFilter;
#[cfg(test)]
pub use line::DroppedFrame;
pub use line::{Line, TraceEvent};
pub use one_trace::OneTrace;
pub use stream::Stream;
pub use watch::run;

/// The path of the route.
pub const PATH: &str = "/v1/trace";
