//! Single requests, and frames that got no answer, as they come.
//!
//! ```text
//! workers ──► bounded channel ──► stream ──► line (JSON) ──► watch ──► print, pcap
//!                no room: counted   `GET /v1/trace`        `xblade trace`
//! ```
//!
//! One client can look at a time. When it has gone, or takes nothing any more, the
//! stream is dropped: with it the end of the channel, and the workers are told.

mod line;
mod pcap;
mod one_trace;
mod stream;
mod watch;
mod filter;

pub use filter::TraceFilter;
pub use line::{Line, TraceEvent};
pub use one_trace::OneTrace;
pub use stream::Stream;
pub use watch::run;

/// Where it is asked for.
pub const PATH: &str = "/v1/trace";
