//! All that there is to know of a running daemon, at one moment. What is told
//! to people and programs is made from this.

use std::path::PathBuf;
use std::time::Duration;

use crate::link::{Counter, Facts};
use crate::observe::Tally;
use crate::store::{Durability, Geometry};
use crate::wire::aoe::Address;
use crate::wire::ether::Mac;
use crate::worker::Snapshot;

/// All that there is to know.
#[derive(Clone, Debug)]
pub struct Overview {
    /// Since it is ready.
    pub up: Duration,
    /// What every worker has counted.
    pub workers: Vec<Snapshot>,
    /// By address.
    pub exports: Vec<ExportView>,
    /// Exports that are configured and not served.
    pub refused: Vec<RefusedView>,
    /// In the order of the configuration.
    pub interfaces: Vec<InterfaceView>,
}

/// An export.
#[derive(Clone, Debug)]
pub struct ExportView {
    /// Where it answers.
    pub address: Address,
    /// Its file or device; `None` for none.
    pub path: Option<PathBuf>,
    /// How its bytes are reached, and writes made stable, in words: "direct, one
    /// sync for a group of writes".
    pub way: String,
    /// The worker that owns it.
    pub worker: u16,
    /// Whether writes are refused.
    pub read_only: bool,
    /// What an acknowledged write has survived.
    pub durability: Durability,
    /// Its size.
    pub geometry: Geometry,
    /// Whether it takes no more writes after a fault.
    pub degraded: bool,
    /// Whether its store does not answer.
    pub stuck: bool,
    /// Whether its path does not lead to its file any more.
    pub replaced: bool,
    /// Requests under way, and those that wait for these.
    pub in_flight: usize,
    /// The config string.
    pub config: Vec<u8>,
    /// The mask list.
    pub mask: Vec<Mac>,
    /// Who has reserved it.
    pub reservation: Vec<Mac>,
    /// What was counted.
    pub tally: Tally,
}

/// An export that is not served, for hosts have used other data at its address.
#[derive(Clone, Debug)]
pub struct RefusedView {
    /// Where it would answer.
    pub address: Address,
    /// Its file or device; `None` for none.
    pub path: Option<PathBuf>,
    /// Why, with what to do.
    pub why: String,
}

/// An interface.
#[derive(Clone, Debug)]
pub struct InterfaceView {
    /// What the kernel last said of it.
    pub facts: Facts,
    /// Whether it is still there.
    pub present: bool,
    /// Where the XDP program runs: "native" or "generic".
    pub mode: &'static str,
    /// What the program has counted.
    pub counters: [u64; Counter::COUNT],
}
