//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use crate::aoe::Address;
use crate::compare::{CaseArg, Target};

/// Finds, loads and measures ATA-over-Ethernet targets.
#[derive(Parser, Debug)]
#[command(name = "xblade-bench", version)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// List the exports that answer on an interface.
    Discover(DiscoverArgs),
    /// Load an export in a closed loop and report rate and latency.
    Load(LoadArgs),
    /// Answer like a target, without a store: the ceiling of the path.
    Echo(EchoArgs),
    /// Measure xblade, vblade, the echo and fio in turn, on a veth pair and a file of its own.
    Compare(CompareArgs),
}

/// Arguments of `discover`.
#[derive(clap::Args, Debug)]
pub struct DiscoverArgs {
    /// Interface to ask on.
    #[arg(long, value_name = "IF")]
    pub interface: String,
    /// How long to wait for answers, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 500)]
    pub wait_ms: u64,
}

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
    /// A target on this host: report its CPU time for each request.
    #[arg(long, value_name = "PID")]
    pub watch_pid: Option<u32>,
    /// The core of that target: report how busy it is.
    #[arg(long, value_name = "CORE", requires = "watch_pid")]
    pub watch_core: Option<usize>,
}

/// Arguments of `echo`.
#[derive(clap::Args, Debug)]
pub struct EchoArgs {
    /// Interface to answer on.
    #[arg(long, value_name = "IF")]
    pub interface: String,
    /// Address to answer at.
    #[arg(long, value_name = "SHELF.SLOT", default_value = "0.1")]
    pub export: Address,
    /// Most sectors in a frame [default: as many as the MTU allows, at most 16].
    #[arg(long, value_name = "N")]
    pub sectors: Option<u8>,
    /// Size to claim, in sectors.
    #[arg(long, value_name = "SECTORS", default_value_t = 1 << 21)]
    pub size: u64,
    /// Pin to this core.
    #[arg(long, value_name = "CORE")]
    pub cpu: Option<usize>,
    /// Never sleep.
    #[arg(long)]
    pub spin: bool,
    /// Entries of the rx and tx rings.
    #[arg(long, value_name = "N", default_value_t = 512)]
    pub ring: u32,
}

/// Arguments of `compare`.
#[derive(clap::Args, Debug)]
pub struct CompareArgs {
    /// What to measure in turn: echo (the ceiling of the path), xblade or xblade:STORE, vblade
    /// (with -s where a case is durable), vblade:cache, vblade:s, vblade:d, vblade:ds (its options -s
    /// and -d), fio (the ceiling of the file) [default: echo,xblade,vblade].
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub targets: Vec<Target>,
    /// The daemon [default: the xblade next to this program].
    #[arg(long, value_name = "BIN")]
    pub xblade: Option<PathBuf>,
    /// The target to compare with.
    #[arg(long, value_name = "BIN", default_value = "vblade")]
    pub vblade: PathBuf,
    /// An option for the daemon, to try it out, for example "--idle spin"; repeat it for more.
    #[arg(long, value_name = "OPTION", allow_hyphen_values = true)]
    pub xblade_option: Vec<String>,
    /// Rounds; each measures every target once.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub rounds: usize,
    /// Length of each measurement.
    #[arg(long, value_name = "S", default_value_t = 3.0)]
    pub seconds: f64,
    /// Requests in flight.
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub window: u16,
    /// What to measure instead of random reads of the largest size: OP is read, write-volatile or
    /// write-durable, addresses are random; measured at each MTU that it fits; repeat it for more.
    #[arg(long, value_name = "OP:BYTES[:WINDOW]", conflicts_with = "also")]
    pub case: Vec<CaseArg>,
    /// MTUs to measure at.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_values_t = [1500, 9000])]
    pub mtu: Vec<usize>,
    /// Rows beyond random reads.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub also: Vec<Extra>,
    /// Measure xblade with its null store, too: the protocol's own cost.
    #[arg(long, conflicts_with = "targets")]
    pub null_store: bool,
    /// How the generator's frames leave and arrive [default: as for load].
    #[arg(long)]
    pub port: Option<PortKind>,
    /// Directory for the exported file, which is written once and synced; /dev/shm keeps the disk
    /// out of it.
    #[arg(long, value_name = "DIR", default_value = "/dev/shm")]
    pub backing: PathBuf,
    /// Drop the file from the page cache before each measurement. Without it, what reads through
    /// the page cache finds there what was written or read before.
    #[arg(long)]
    pub cold: bool,
    /// Size of the exported file.
    #[arg(long, value_name = "MIB", default_value_t = 256)]
    pub mib: u64,
    /// Core of the generator.
    #[arg(long, value_name = "CORE", default_value_t = 0)]
    pub generator_core: usize,
    /// Core of the target.
    #[arg(long, value_name = "CORE", default_value_t = 1)]
    pub target_core: usize,
    /// Write the report to this file, as Markdown.
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    /// Write all samples to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// A row of `compare` beyond random reads.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extra {
    /// Writes, acknowledged before they are on stable storage.
    WriteVolatile,
    /// Writes, acknowledged when they are on stable storage.
    WriteDurable,
    /// Reads with one request in flight.
    WindowOne,
}
