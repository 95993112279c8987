//! What libFuzzer calls: a function for each interface that takes input from outside. It panics if
//! the code does, or if what must hold for any input does not hold. See docs/TESTING.md.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a panic is the verdict")]

mod command;
mod config;
mod control;
mod import;
mod wire;

/// A target: its name, which is also that of its folder in `corpus/`, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: &[Target] = &[
    ("wire", wire::run),
    ("command", command::run),
    ("config", config::run),
    ("import", import::run),
    ("control", control::run),
];
