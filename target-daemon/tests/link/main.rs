//! The link module against the kernel: veth pairs in network namespaces that last as long
//! as their test. Needs root.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod attach;
mod facts;
mod ours;
mod steering;
mod traffic;
