//! The control API of a running daemon.
//!
//! ```text
//! xblade status ─► socket ─┐
//! Prometheus ──► listener ─┴► Request ─► the control thread (daemon/control.rs) ─► workers
//!                 own thread   ◄── answer
//! ```
//!
//! The threads that talk to clients have no access to workers and exports. They put a
//! [`Request`] into a bounded channel, and the control thread answers it. Only that
//! thread changes anything.
//!
//! ```text
//! socket ──► server ──► routes ──► body       what clients send (and stream: their descriptors)
//!                          ├────► json        what they get: views of the snapshot
//!                          ├────► trace       what they get as it happens
//!                          └────► openapi     the table of routes as a document
//! client ──► call (one request) ──► print     the same for people
//! ```

mod request;
mod body;
mod call;
mod caller;
pub mod client;
pub mod json;
pub mod metrics;
mod openapi;
mod print;
mod routes;
mod server;
pub mod snapshot;
mod socket;
mod stream;
mod trace;

pub use call::{CallError, Client};
pub use client::{metrics_of, replaced_in};
pub use print::stats;
pub use request::{
    Answer, Change, ChangeReport, Changed, ControlError, Request, RequestQueue, RequestSender, channel,
};
pub use server::{Handle, converse, start};
pub use snapshot::Snapshot;
pub use socket::{Listener, bind, check as check_socket, socket_of};
