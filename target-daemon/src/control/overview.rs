//! A snapshot of a running daemon. All renderings for people and programs are made from
//! it.

use std::path::PathBuf;
use std::time::Duration;

use crate::link::{Counter, Facts};
use crate::observe::Tally;
use crate::store::{Durability, Geometry};
use crate::wire::aoe::Address;
use crate::wire::ether::Mac;
use crate::worker::Snapshot;

/// The state of the daemon at one moment.
#[derive(Clone, Debug)]
pub struct Overview {
    /// Time since it became ready.
    pub up: Duration,
    /// The counters of each worker.
    pub workers: Vec<Snapshot>,
    /// Sorted by address.
    pub exports: Vec<ExportView>,
    /// Exports that are configured but not served.
    pub refused: Vec<RefusedView>,
    /// In the order of the configuration.
    pub interfaces: Vec<InterfaceView>,
}

/// An export.
#[derive(Clone, Debug)]
pub struct ExportView {
    /// Its AoE address.
    pub address: Address,
    /// Its file or device; `None` if it has none.
    pub path: Option<PathBuf>,
    /// How the store accesses it and makes writes durable, as text: "direct, one sync for
    /// a group of writes".
    pub way: String,
    /// The worker that owns it.
    pub worker: u16,
    /// Whether writes are refused.
    pub read_only: bool,
    /// What an acknowledged write survives.
    pub durability: Durability,
    /// Its size and block sizes.
    pub geometry: Geometry,
    /// Whether it refuses writes after an I/O error.
    pub degraded: bool,
    /// Whether its store does not answer.
    pub stuck: bool,
    /// Whether its path no longer leads to the file that is served.
    pub replaced: bool,
    /// Requests in flight, including those waiting for others.
    pub in_flight: usize,
    /// The config string.
    pub config: Vec<u8>,
    /// The mask list.
    pub mask: Vec<Mac>,
    /// The holders of its reservation.
    pub reservation: Vec<Mac>,
    /// Its counters.
    pub tally: Tally,
}

/// An export that is not served, because hosts have used other data at its address.
#[derive(Clone, Debug)]
pub struct RefusedView {
    /// Its AoE address.
    pub address: Address,
    /// Its file or device; `None` if it has none.
    pub path: Option<PathBuf>,
    /// Why, and what to do.
    pub why: String,
}

/// An interface.
#[derive(Clone, Debug)]
pub struct InterfaceView {
    /// What the kernel last reported about it.
    pub facts: Facts,
    /// Whether it still exists.
    pub present: bool,
    /// Where the XDP program runs: "native" or "generic".
    pub mode: &'static str,
    /// The counters of the XDP program.
    pub counters: [u64; Counter::COUNT],
}
