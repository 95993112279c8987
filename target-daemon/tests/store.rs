//! Stores on real files, file systems and devices.
//!
//! Tests that mount or set up loop devices need root. Without it they report this and pass;
//! with `XBLADE_TESTS_STRICT=1` in the environment they fail.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg(target_os = "linux")]

#[allow(dead_code, reason = "shared with the tests of the process")]
#[path = "common/fuse.rs"]
mod fuse;
#[allow(dead_code, reason = "shared with the tests of the process")]
#[path = "common/media.rs"]
mod media;
#[allow(dead_code, reason = "shared with the tests of the process")]
#[path = "common/mounts.rs"]
mod mounts;

#[path = "store/child.rs"]
mod child;
#[path = "store/access.rs"]
mod access;
#[path = "store/data.rs"]
mod data;
#[path = "store/discard.rs"]
mod discard;
#[path = "store/durability.rs"]
mod durability;
#[path = "store/faults.rs"]
mod faults;
#[path = "store/fixture.rs"]
mod fixture;
#[path = "store/kinds.rs"]
mod kinds;
#[path = "store/locking.rs"]
mod locking;
#[path = "store/medium.rs"]
mod medium;
#[path = "store/opening.rs"]
mod opening;
#[path = "store/sharing.rs"]
mod sharing;
