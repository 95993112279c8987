//! What the tests of several crates share: network namespaces that belong to a thread, a
//! raw socket, an initiator and daemons in them, temporary folders, and tests that run as root
//! or report that they were skipped.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "for tests only")]

mod daemon;
mod initiator;
mod namespace;
mod packet;
mod pair;
mod report;
mod scratch;
mod settings;
mod skip;
mod vlan;

pub use daemon::{Daemon, Ended, after, leave_alone, program};
pub use initiator::{Announcement, Answer, Initiator, at};
pub use macro_rules_attribute::apply;
pub use namespace::{PATIENCE, Space, sh, until};
pub use packet::PacketSocket;
pub use pair::{OURS, PEER, Pair, join};
pub use report::Report;
pub use scratch::Scratch;
pub use skip::{has, may_run, skipped};
pub use vlan::push_vlan;
