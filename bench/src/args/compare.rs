//! Arguments of `compare`.

use std::path::PathBuf;

use crate::compare::{Case, Target};
use crate::load::Pattern;

use super::PortKind;

/// Interfaces of two hosts.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Between two hosts")]
pub struct TwoHosts {
    /// Measure on a real network, instead of a veth pair: interface of the targets, on this host.
    #[arg(short, long, value_name = "IF", required = false, requires = "remote")]
    pub interface: String,
    /// Words that run a command on the generator's host, which has xblade-bench in its PATH, for
    /// example "ssh root@host2".
    #[arg(long, value_name = "COMMAND", required = false, requires = "remote_interface")]
    pub remote: String,
    /// Interface of the generator, on its host.
    #[arg(long, value_name = "IF", required = false, requires = "interface")]
    pub remote_interface: String,
}

/// Arguments of `compare`. What is not given is as the profile says.
#[derive(clap::Args, Debug)]
pub struct CompareArgs {
    /// What to measure and how: a name of --list-profiles, or a TOML file. The options below
    /// change what it says.
    #[arg(long, value_name = "NAME|FILE", default_value = "throughput")]
    pub profile: String,
    /// List the profiles, and do nothing else.
    #[arg(long)]
    pub list_profiles: bool,
    /// What to measure in turn: echo (the ceiling of the path), xblade or xblade:STORE, either with
    /// :spin after it (--idle spin), before instead of xblade (the build of --before), vblade (with -s
    /// where a case is durable), vblade:cache, vblade:s, vblade:d, vblade:ds (its options -s and -d),
    /// fio (the ceiling of the file), fio:busy (beside a busy core).
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub targets: Vec<Target>,
    /// Measure another target, too: its name, and the command that runs it in the foreground.
    /// {interface}, {file}, {shelf}, {slot} and {mtu} stand for what it is to serve; repeat it for
    /// more.
    #[arg(long, value_name = "NAME=COMMAND", value_parser = Target::custom)]
    pub target_cmd: Vec<Target>,
    /// The daemon [default: the xblade next to this program].
    #[arg(long, value_name = "BIN")]
    pub xblade: Option<PathBuf>,
    /// Another build of the daemon, for the targets before and before:STORE.
    #[arg(long, value_name = "BIN")]
    pub before: Option<PathBuf>,
    /// The target to compare with.
    #[arg(long, value_name = "BIN", default_value = "vblade")]
    pub vblade: PathBuf,
    /// An option for the daemon, to try it out, for example "--idle spin"; repeat it for more.
    #[arg(long, value_name = "OPTION", allow_hyphen_values = true)]
    pub xblade_option: Vec<String>,
    /// Rounds; each measures every target once.
    #[arg(long, value_name = "N")]
    pub rounds: Option<usize>,
    /// Length of each measurement.
    #[arg(long, value_name = "S")]
    pub seconds: Option<f64>,
    /// How long to load a target before each measurement.
    #[arg(long, value_name = "S")]
    pub warm_up: Option<f64>,
    /// Keep latencies apart by stretches of time of this length.
    #[arg(long, value_name = "S")]
    pub interval: Option<f64>,
    /// What to measure instead of the profile's cases: OP is read, write-volatile, write-durable,
    /// mixed-volatile or mixed-durable, addresses are random; BUSY exports share the load, with WINDOW
    /// requests in flight on each, beside IDLE others; repeat it for more.
    #[arg(long, value_name = "OP:BYTES[:WINDOW[:BUSY[+IDLE]]]", help_heading = "Cases")]
    pub case: Vec<Case>,
    /// MTU to measure at [default: 1500, or 9000 for requests that do not fit that].
    #[arg(long, value_name = "N", help_heading = "Cases", conflicts_with = "remote")]
    pub mtu: Option<usize>,
    /// Requests in flight.
    #[arg(long, value_name = "N", help_heading = "Cases", value_parser = clap::value_parser!(u16).range(1..))]
    pub window: Option<u16>,
    /// Of a mixed load, how much is reads.
    #[arg(long, value_name = "PERCENT", help_heading = "Cases")]
    pub read_percent: Option<u8>,
    /// Requests a second, at times that do not depend on replies.
    #[arg(long, value_name = "N", help_heading = "Cases")]
    pub rate: Option<f64>,
    /// How addresses follow each other.
    #[arg(long, help_heading = "Cases")]
    pub pattern: Option<Pattern>,
    /// Stamp what is written, and check what is read.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, help_heading = "Cases")]
    pub verify: Option<bool>,
    /// How the generator's frames leave and arrive [default: as for load].
    #[arg(long)]
    pub port: Option<PortKind>,
    /// Directory for the exported files, one for each target, which are written once and synced;
    /// /dev/shm keeps the disk out of it.
    #[arg(long, value_name = "DIR")]
    pub backing: Option<PathBuf>,
    /// Drop the file from the page cache before each measurement. Without it, what reads through
    /// the page cache finds there what was written or read before.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub cold: Option<bool>,
    /// Size of each exported file.
    #[arg(long, value_name = "MIB")]
    pub mib: Option<u64>,
    /// Core of the generator.
    #[arg(long, value_name = "CORE", default_value_t = 0)]
    pub generator_core: usize,
    /// Core of the target.
    #[arg(long, value_name = "CORE", default_value_t = 1)]
    pub target_core: usize,
    /// Directory for the report [default: ./xblade-report-PROFILE-TIME].
    #[arg(long, value_name = "DIR")]
    pub report: Option<PathBuf>,
    /// The hosts of a real network.
    #[command(flatten)]
    pub hosts: Option<TwoHosts>,
}
