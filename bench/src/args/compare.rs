//! Arguments of `compare`.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::compare::{CaseArg, Target};

use super::PortKind;

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
