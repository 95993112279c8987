//! Common parts of the tests of xblade as a whole.
//!
//! ```text
//!                       ┌─► FakeTarget: whole workers over rings in memory; no root, no time
//! rules ─► Bench ─► Target
//!                       └─► VethTarget: `xblade serve` behind a veth pair; needs root
//! crash ─► Pair, Daemon                 the same, to be killed and to have its power cut
//! pause ─► Wire, Daemon                 the same over several lanes, stopped for a moment
//! ```
//!
//! The [`rules`] of the protocol are written once and run on both. [`frame`] makes their
//! frames byte by byte, without the library's own code, so that a mistake there is not on
//! both sides of a comparison.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a fixture that fails is a test that fails"
)]

mod bench;
mod binary;
pub mod crash;
mod fake;
pub mod flood;
pub mod frame;
mod pattern;
pub mod pause;
pub mod rules;
pub mod sim;
mod stand;
mod target;
mod veth;

pub use bench::{Bench, Variant};
pub use binary::{serve, xblade};
pub use fake::{ExportPlan, FakeTarget, Plan, TestClock, settings};
pub use pattern::{pattern, sector};
pub use stand::{
    LARGE, LARGE_SECTORS, MAIN, MAIN_SECTORS, READ_ONLY, READ_ONLY_SECTORS, SENTINEL, SENTINEL_SECTORS,
    Stand, THIN, THIN_SECTORS,
};
pub use target::Target;
pub use veth::{VethTarget, pair};
pub use xblade_kit::{Daemon, Scratch, Space, may_run};

/// A MAC address in wire order.
pub type Mac = [u8; 6];
/// Shelf and slot of an export.
pub type Address = (u16, u8);

/// The initiator that most requests come from.
pub const HOST: Mac = [2, 0, 0, 0, 0, 1];
/// Another initiator.
pub const OTHER_HOST: Mac = [2, 0, 0, 0, 0, 2];
/// The initiator of the sentinel request, which the bench sends after each tested
/// request.
pub const SENTINEL_HOST: Mac = [2, 0, 0, 0, 0, 0xfe];
/// The first interface of the target; the others count up in the last byte.
pub const TARGET_MAC: Mac = [2, 0, 0, 0, 1, 0];
/// The broadcast address.
pub const BROADCAST: Mac = [0xff; 6];
