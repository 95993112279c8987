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
//! A run is drawn from its seed, and nothing else: no time, no threads, no
//! order of a hash table. The same seed makes the same run, byte for byte.

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
    /// With this bug in the target.
    pub plant: Option<Bug>,
    /// Write down what happens.
    pub trace: bool,
    /// Look into the disk when a write is acknowledged, rather than only at
    /// what initiators read.
    pub oracles: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { plant: None, trace: false, oracles: true }
    }
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// What must not happen, and did.
    pub violation: Option<String>,
    /// What happened how often.
    pub marks: Marks,
    /// Of everything that happened.
    pub hash: u64,
    /// What happened, if that was asked for.
    pub trace: Vec<String>,
    /// Operations of initiators.
    pub ops: u64,
}

impl Report {
    /// The violation, and how to see it again.
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
