//! How a running daemon is asked and told.
//!
//! ```text
//! xblade status ─► socket ─┐
//! Prometheus ──► listener ─┴► Ask ─► the control thread (daemon/control.rs) ─► workers
//!                 own thread   ◄── answer
//! ```
//!
//! Whoever listens to clients has no access to workers and exports. It puts an
//! [`Ask`] into a bounded channel, and the control thread answers it: only that
//! thread changes anything.
//!
//! ```text
//! socket ──► server ──► routes ──► body       what clients send
//!                          ├────► json        what they are told
//!                          └────► trace       what they are told as it happens
//! client ──► call (one request) ──► print     the same for people
//! ```

mod request;
mod body;
mod call;
mod caller;
pub mod client;
pub mod json;
pub mod metrics;
mod overview;
mod print;
mod routes;
pub mod samples;
mod server;
mod socket;
mod trace;

pub use call::{CallError, Client};
pub use client::{metrics_of, replaced_in};
pub use overview::{ExportView, InterfaceView, Overview, RefusedView};
pub use request::{Answer, ChangeReport, ControlError, Request, RequestQueue, RequestSender, channel};
pub use server::{Handle, start};
pub use socket::{BindError, Listener, bind, socket_of};
