//! Arguments of `load`.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::aoe::Address;

/// How frames leave and arrive.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum PortKind {
    /// An AF_XDP socket on queue 0.
    AfXdp,
    /// An AF_PACKET socket.
    AfPacket,
}

/// What the load consists of.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    /// Reads.
    Read,
    /// Writes.
    Write,
    /// As many of each.
    Mixed,
}

/// Arguments of `load`.
#[derive(clap::Args, Clone, Debug)]
pub struct LoadArgs {
    /// Interface to send from.
    #[arg(long, value_name = "IF")]
    pub interface: String,
    /// Export to load.
    #[arg(long, value_name = "SHELF.SLOT")]
    pub export: Address,
    /// How frames leave and arrive [default: af-xdp where it works, else af-packet].
    #[arg(long)]
    pub port: Option<PortKind>,
    /// What to send.
    #[arg(long, default_value = "read")]
    pub op: Op,
    /// Sectors in a request [default: as many as the export and the MTU allow, at most 16].
    #[arg(long, value_name = "N")]
    pub sectors: Option<u8>,
    /// Requests in flight [default: the export's buffer count, at most 64].
    #[arg(long, value_name = "N")]
    pub window: Option<u16>,
    /// How long to send [default: 5].
    #[arg(long, value_name = "S", conflicts_with = "count")]
    pub seconds: Option<f64>,
    /// How many requests to send.
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// Go through the export from its start, instead of at random.
    #[arg(long, conflicts_with = "random")]
    pub sequential: bool,
    /// Pick addresses at random (the default).
    #[arg(long)]
    pub random: bool,
    /// Use only this many sectors from the start [default: all; with --verify at most 262144].
    #[arg(long, value_name = "SECTORS")]
    pub span: Option<u64>,
    /// Stamp what is written and check what is read; writes are read back at the end.
    #[arg(long)]
    pub verify: bool,
    /// Write to an export that seems to hold data.
    #[arg(long)]
    pub destroy_data: bool,
    /// How long to wait for a reply before the request is sent again.
    #[arg(long, value_name = "MS", default_value_t = 100)]
    pub timeout_ms: u64,
    /// Seed of the addresses and stamps [default: from the clock].
    #[arg(long)]
    pub seed: Option<u32>,
    /// Pin to this core, and never sleep.
    #[arg(long, value_name = "CORE")]
    pub cpu: Option<usize>,
    /// Write the result to this file as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write a report with all its files to this directory, which must be new, empty, or hold an earlier report.
    #[arg(long, value_name = "DIR")]
    pub report: Option<PathBuf>,
    /// A target on this host: report its CPU time for each request.
    #[arg(long, value_name = "PID")]
    pub watch_pid: Option<u32>,
    /// The core of that target: report how busy it is.
    #[arg(long, value_name = "CORE", requires = "watch_pid")]
    pub watch_core: Option<usize>,
}
