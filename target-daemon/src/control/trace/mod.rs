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
mod place;
mod stream;
mod watch;
mod wish;

pub use line::{Line, Told};
pub use place::Place;
pub use stream::Stream;
pub use watch::run;
pub use wish::Wish;

/// Where it is asked for.
pub const PATH: &str = "/v1/trace";
