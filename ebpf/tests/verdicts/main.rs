//! Every rule of the XDP program, judged by the kernel's own test runner.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod drops;
mod harness;
mod owners;
mod passes;
