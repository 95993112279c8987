//! What the tests of several crates share: network namespaces that belong to a thread, and
//! tests that run as root or report that they were skipped.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "for tests only")]

mod namespace;
mod pair;
mod skip;

pub use macro_rules_attribute::apply;
pub use namespace::{PATIENCE, Space, sh, until};
pub use pair::{OURS, PEER, Pair, join};
pub use skip::{may_run, skipped};
