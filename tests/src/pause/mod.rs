//! No old write overwrites a newer one that was acknowledged: the real process, stopped for
//! a moment between the arrival of a write and its turn.
//!
//! ```text
//! Hosts ──write, resend, newer write──► lanes ──► xblade serve ──► file
//!   │                                              ▲ stopped: process, thread, control group
//!   └── history of every sector ──► checker ◄── read
//! ```
//!
//! Each pause is directed ([`race`]), with a light random load in the background. At the
//! end, the checker of the simulation must be able to explain the history of every sector.
//! A host sends its requests over several queues and interfaces ([`wire`]).

pub mod case;
mod cores;
mod host;
mod qmp;
mod race;
mod report;
mod stage;
mod steer;
mod stop;
pub mod vm;
mod wire;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use case::{Durability, Idle, Row, Setup, Store, Tags, Who};
pub use report::{Count, Report};
pub use stage::remove_leftovers;
pub use stop::{Stopped, Target};

use crate::crash::random::Random;

/// The most pauses of one daemon; the next one has other owners.
const PAUSES_MAX: u64 = 400;

/// The options of a run. The lists are combined with each other.
#[derive(Clone, Debug)]
pub struct Options {
    /// The total number of pauses.
    pub pauses: u64,
    /// Determines the combinations and all times.
    pub seed: u64,
    /// A bug to plant in the daemon, by its name in `xblade::plant`.
    pub plant: Option<String>,
    /// What is stopped.
    pub who: Vec<Who>,
    /// The numbers of workers.
    pub workers: Vec<usize>,
    /// The numbers of interfaces.
    pub interfaces: Vec<usize>,
    /// What idle workers do.
    pub idle: Vec<Idle>,
    /// How hosts make tags.
    pub tags: Vec<Tags>,
    /// The stores.
    pub stores: Vec<Store>,
    /// When writes are acknowledged.
    pub durability: Vec<Durability>,
    /// Hosts only read before the first pause.
    pub cold: bool,
    /// The shortest and the longest pause, in milliseconds.
    pub hold_ms: (u64, u64),
    /// The directory of files on a disk; if `None`, that of temporary files.
    pub folder: Option<PathBuf>,
    /// Print the progress.
    pub verbose: bool,
    /// Set from outside: stop after this pause.
    pub stop: Arc<AtomicBool>,
}

impl Options {
    /// `pauses` pauses with everything varied.
    pub fn new(pauses: u64, seed: u64) -> Self {
        Self {
            pauses,
            seed,
            plant: None,
            who: vec![Who::Process, Who::Thread, Who::Cgroup],
            workers: vec![1, 2, 4],
            interfaces: vec![1, 2],
            idle: vec![Idle::Adaptive, Idle::Spin],
            tags: Tags::ALL.to_vec(),
            stores: vec![Store::Mmap, Store::Direct],
            durability: vec![Durability::Durable, Durability::Volatile],
            cold: false,
            hold_ms: (1, 300),
            folder: None,
            verbose: false,
            stop: Arc::default(),
        }
    }

    fn setups(&self) -> Vec<Setup> {
        let mut all = Vec::new();
        for &workers in &self.workers {
            for &interfaces in &self.interfaces {
                all.extend(self.idle.iter().map(|&idle| Setup {
                    workers,
                    interfaces,
                    idle,
                    sectors_max: 16,
                }));
            }
        }
        all
    }

    /// The kinds of exports of a daemon.
    fn exports(&self) -> Vec<(Store, Durability)> {
        self.stores
            .iter()
            .flat_map(|store| self.durability.iter().map(|durability| (*store, *durability)))
            .collect()
    }

    fn rows(&self) -> Vec<Row> {
        let mut all = Vec::new();
        for &who in &self.who {
            for &tags in &self.tags {
                for (export, (store, durability)) in self.exports().into_iter().enumerate() {
                    all.push(Row { who, tags, export, store, durability });
                }
            }
        }
        all
    }
}

/// Runs the pauses.
pub fn run(options: &Options) -> Report {
    let mut random = Random::new(options.seed);
    let mut report = Report::new(options);
    let setups = options.setups();
    let rounds = options.pauses.div_ceil(setups.len() as u64 * PAUSES_MAX).max(1);
    let mut left = rounds * setups.len() as u64;
    // The rows in turn, across all daemons.
    let mut rows = options.rows().into_iter().cycle();
    for setup in setups.iter().cycle() {
        if left == 0 || options.stop.load(Ordering::Relaxed) {
            break;
        }
        let pauses = (options.pauses - report.all.pauses) / left;
        left -= 1;
        stage::run(options, *setup, (&mut rows).take(pauses as usize), &mut random, &mut report);
    }
    report
}
