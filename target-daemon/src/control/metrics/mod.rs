//! An overview as OpenMetrics text, and a listener that gives it over HTTP.
//!
//! ```text
//! Prometheus ─► server.rs ─ Ask::Overview ─► control thread
//!        text ◄─ daemon.rs, exports.rs ◄─ Overview
//!                 │ what: family.rs   how: text.rs, ladder.rs
//! ```

mod daemon;
mod exports;
mod family;
mod buckets;
mod server;
mod text;

pub(super) use daemon::drops;
pub use family::{ALL as FAMILIES, Family, Kind};
pub use server::{BindError, Listener, router};
pub use text::Format;

use super::Overview;
use text::Exposition;

/// All that there is to know, in that format.
pub fn render(overview: &Overview, format: Format) -> String {
    let mut to = Exposition::new(format);
    daemon::process(&mut to, overview);
    daemon::interfaces(&mut to, overview);
    daemon::lanes(&mut to, overview);
    daemon::workers(&mut to, overview);
    exports::exports(&mut to, &overview.exports, &overview.refused);
    to.finish()
}
