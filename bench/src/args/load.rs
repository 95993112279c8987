//! Arguments of `load`.

use std::path::{Path, PathBuf};

use clap::ValueEnum;

use crate::aoe::Address;
use crate::load::Pattern;

/// How frames leave and arrive.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum PortKind {
    /// An AF_XDP socket on a queue for each thread.
    AfXdp,
    /// An AF_PACKET socket for each thread.
    AfPacket,
}

/// What the load consists of.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    /// Reads.
    Read,
    /// Writes.
    Write,
    /// Some of each.
    Mixed,
}

/// Arguments of `load`.
#[derive(clap::Args, Debug)]
pub struct LoadArgs {
    /// Interface to send from; several as a list.
    #[arg(short, long, value_name = "IF", value_delimiter = ',', required = true)]
    pub interface: Vec<String>,
    /// Export to load; several as a list.
    #[arg(long, value_name = "SHELF.SLOT", value_delimiter = ',', required = true)]
    pub export: Vec<Address>,
    /// How frames leave and arrive [default: af-xdp where it works, else af-packet].
    #[arg(long)]
    pub port: Option<PortKind>,
    /// Threads that send, each through a port of its own; thread n uses the nth interface of the
    /// list, and so on around. More threads than exports divide the sectors of an export
    /// [default: one for each interface].
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// What to send.
    #[arg(long, default_value = "read")]
    pub op: Op,
    /// How many percent of a mixed load are reads.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub read_percent: u8,
    /// Sectors in a request [default: as many as the export and the MTU allow, at most 16].
    #[arg(long, value_name = "N")]
    pub sectors: Option<u8>,
    /// Most requests in flight on each export [default: its buffer count, at most 256].
    #[arg(long, value_name = "N")]
    pub window: Option<u16>,
    /// Take a window that is larger than the export's buffer count.
    #[arg(long)]
    pub beyond_buffer_count: bool,
    /// Open loop: send this many requests per second over all exports, whether or not earlier ones were
    /// answered. Response times count from when a request was due.
    #[arg(long, value_name = "R")]
    pub rate: Option<f64>,
    /// How long to send [default: 5].
    #[arg(long, value_name = "S", conflicts_with = "count")]
    pub seconds: Option<f64>,
    /// How many requests to send.
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// How long to send before anything is counted.
    #[arg(long, value_name = "S", default_value_t = 0.0)]
    pub warm_up: f64,
    /// Length of the intervals of the time series.
    #[arg(long, value_name = "S", default_value_t = 1.0)]
    pub interval: f64,
    /// How addresses follow each other.
    #[arg(long, default_value = "random")]
    pub pattern: Pattern,
    /// Use only this many sectors from the start [default: all; with --verify at most 262144].
    #[arg(long, value_name = "SECTORS")]
    pub span: Option<u64>,
    /// Stamp what is written and check what is read; writes are read back at the end. A request
    /// waits while a write to the same sectors is in flight.
    #[arg(long)]
    pub verify: bool,
    /// Write to an export that seems to hold data.
    #[arg(long)]
    pub destroy_data: bool,
    /// How long to wait for a reply before the request is sent again; doubles with each attempt.
    #[arg(long, value_name = "MS", default_value_t = 100)]
    pub timeout_ms: u64,
    /// Seed of the addresses and stamps [default: from the clock].
    #[arg(long)]
    pub seed: Option<u32>,
    /// Pin to this core, and never sleep; with several threads a list with one for each.
    #[arg(long, value_name = "CORE", value_delimiter = ',')]
    pub cpu: Vec<usize>,
    /// Write the results to this file as JSON; "-" is standard output, without the text.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write a report with all its files to this directory, which must be new or empty.
    #[arg(long, value_name = "DIR")]
    pub report: Option<PathBuf>,
}

impl LoadArgs {
    /// Whether standard output is for JSON.
    pub fn prints_json(&self) -> bool {
        self.json.as_deref() == Some(Path::new("-"))
    }

    /// The percentage of reads.
    pub fn reads(&self) -> u8 {
        match self.op {
            Op::Read => 100,
            Op::Write => 0,
            Op::Mixed => self.read_percent,
        }
    }
}
