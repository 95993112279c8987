//! Deterministic simulation of whole workers.
//!
//! ```text
//! model initiators ──► network ──► FakeRings ──► Worker (1 or 2) ──► DiskStore ──► SimDisk
//!   Linux's timers     loses,       ────────── the real code ──────────────       fails, hangs,
//!   and windows        repeats                                                    loses its cache
//!        └──────────────── history ──► checker: can every read be explained? ◄──── what it holds
//! ```
//!
//! Time passes between two turns of a worker and inside one (`world/inside.rs`).
//!
//! A run depends only on its seed: not on real time, threads or the order of a hash
//! table. The same seed makes the same run, byte for byte.

pub mod checker;
mod history;
mod initiator;
mod marks;
mod reply;
mod rng;
mod scenario;
mod trace;
pub(crate) mod value;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use xblade::plant::{Bug, plant};

pub use marks::Marks;

/// How to run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The bug to plant in the target.
    pub plant: Option<Bug>,
    /// Whether to record what happens.
    pub trace: bool,
    /// Whether to check the disk when a write is acknowledged, in addition to what
    /// initiators read.
    pub oracles: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { plant: None, trace: false, oracles: true }
    }
}

/// The result of a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// The violation, if one was found.
    pub violation: Option<String>,
    /// Counts of noteworthy events.
    pub marks: Marks,
    /// Hash over everything that happened.
    pub hash: u64,
    /// What happened, if a trace was requested.
    pub trace: Vec<String>,
    /// Number of operations of initiators.
    pub ops: u64,
}

impl Report {
    /// The violation, and how to reproduce it.
    pub fn failure(&self) -> Option<String> {
        let replay = "cargo run -p xblade-tests --release --bin xblade-sim --";
        let (seed, next) = (self.seed, self.seed + 1);
        self.violation
            .as_ref()
            .map(|what| format!("seed {seed}: {what}\n  {replay} --seeds {seed}..{next} --trace"))
    }
}

/// Runs one seed.
pub fn run(seed: u64, options: Options) -> Report {
    plant(options.plant);
    let result = catch_unwind(AssertUnwindSafe(|| world::World::new(seed, options).run()));
    plant(None);
    result.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let violation = Some(format!("panic: {}", text.unwrap_or_default()));
        Report { seed, violation, marks: Marks::default(), hash: 0, trace: Vec::new(), ops: 0 }
    })
}
