//! The AoE target: what is exported, what a request means for it, and the worker that
//! polls lanes, executes requests and sends replies.
//!
//! ```text
//! lane ──► worker ──► command ──► store ──► worker ──► lane
//!          receive    what to do  bytes     reply
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
#![deny(unsafe_code)]

/// Request to action. Pure: no clock, no system call.
pub mod command;
/// Counters and service times.
pub mod observe;
/// What is exported: addresses, limits, config strings, masks, reservations.
pub mod shelf;
/// The loop: receive, execute, harvest, finish, send, refill.
pub mod worker;

pub(crate) use xblade_ring as ring;
pub(crate) use xblade_ring::sync;
pub(crate) use xblade_store as store;
pub(crate) use xblade_store::plant;
pub(crate) use xblade_wire as wire;
