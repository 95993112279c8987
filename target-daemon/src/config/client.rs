//! The commands that query or change a running xblade.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::service::CONTROL;
use crate::wire::aoe::Address;

const ADD_EXAMPLES: &str = "\
Examples:
  xblade export add 0.3=/srv/disk.img
  xblade export add 0.4=/dev/vg/data,ro";

const TRACE_HELP: &str = "\
Without --every, --dropped and --pcap: one request of 100, and dropped frames.

Each worker reports one in N of its requests, for any export:
--export picks from these. Requests are never held up: what comes faster than
it is read is counted, not reported. One client can trace at a time.

Frames that the XDP program drops in the kernel never reach a worker, and are not
seen here: `xblade stats` counts them, by interface and reason.

Examples:
  xblade trace --every 1 --export 0.1 --count 100
  xblade trace --dropped --pcap dropped.pcap
  xblade trace --pcap - | tcpdump -r - -e -xx";

/// Whom to ask, and how to tell the answer.
#[derive(Args, Clone, PartialEq, Eq, Debug)]
pub struct Reach {
    /// The control socket of the xblade to ask.
    #[arg(long, value_name = "PATH", default_value = CONTROL)]
    pub control: PathBuf,

    /// Print the answer as JSON (docs/CONTROL.md).
    #[arg(long)]
    pub json: bool,
}

/// Commands for a running xblade.
#[derive(Subcommand, Clone, Debug)]
pub enum AskCommand {
    /// Show the exports of a running xblade and their state.
    Status(Reach),
    /// Show counters and latencies of a running xblade.
    Stats(Reach),
    /// Change what a running xblade exports, until it is started again or reads its file
    /// again (`xblade reload`).
    #[command(subcommand)]
    Export(ExportCommand),
    /// Reload the configuration file of a running xblade.
    Reload {
        /// As if each export in it had `force`.
        #[arg(long)]
        force: bool,
        /// Change nothing, and print what would change.
        #[arg(long)]
        dry_run: bool,
        /// Whom to ask.
        #[command(flatten)]
        reach: Reach,
    },
    /// List config strings, or clear one.
    ConfigStrings(Listed),
    /// List reservations, or clear one.
    Reservations(Listed),
    /// List MAC masks, or clear one.
    Masks(Listed),
    /// Look at single requests of a running xblade, and at frames that it dropped.
    #[command(after_help = TRACE_HELP)]
    Trace(Trace),
}

/// `xblade trace`.
#[derive(Args, Clone, Debug)]
pub struct Trace {
    /// Trace one request in N; 1: every request.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub every: Option<u32>,

    /// Trace dropped frames, with the reason.
    #[arg(long)]
    pub dropped: bool,

    /// Only what is for this export (SHELF.SLOT).
    #[arg(long, value_name = "ADDRESS")]
    pub export: Option<Address>,

    /// Stop after this many requests and frames.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,

    /// Stop after this many seconds.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    pub seconds: Option<u32>,

    /// Write dropped frames, the first 256 bytes of each, to this file, for tcpdump
    /// or Wireshark; -: to standard output, and nothing else. Means --dropped.
    #[arg(long, value_name = "FILE")]
    pub pcap: Option<PathBuf>,

    /// Whom to ask.
    #[command(flatten)]
    pub reach: Reach,
}

/// `xblade export`.
#[derive(Subcommand, Clone, Debug)]
pub enum ExportCommand {
    /// Export one more file or device.
    #[command(after_help = ADD_EXAMPLES)]
    Add {
        /// SHELF.SLOT=PATH[,OPTION...], as for `xblade serve`.
        export: String,
        /// Also if hosts have used its address with other data.
        #[arg(long)]
        force: bool,
        /// Whom to ask.
        #[command(flatten)]
        reach: Reach,
    },
    /// Stop serving an export: what is under way is finished, and what hosts have written
    /// made stable first.
    Remove {
        /// Which export, and whom to ask.
        #[command(flatten)]
        one: One,
        /// Also if its file has no name any more, and what hosts have written is lost.
        #[arg(long)]
        force: bool,
    },
    /// Look at the size of an export now.
    Resize(One),
    /// Take writes again to a file of which a sync has failed: check the disk and what is on
    /// it first.
    Recover {
        /// Which export, and whom to ask.
        #[command(flatten)]
        one: One,
        /// Why writes may be taken again: for the log.
        #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
        reason: String,
    },
    /// Refuse writes to an export from now on.
    ReadOnly {
        /// Which export, and whom to ask.
        #[command(flatten)]
        one: One,
        /// Take writes again.
        #[arg(long)]
        off: bool,
    },
}

/// One export.
#[derive(Args, Clone, Debug)]
pub struct One {
    /// Which export: SHELF.SLOT.
    pub address: Address,
    /// Whom to ask.
    #[command(flatten)]
    pub reach: Reach,
}

/// Config strings, reservations or masks.
#[derive(Args, Clone, Debug)]
pub struct Listed {
    /// Clear that of this export (SHELF.SLOT).
    #[arg(long, value_name = "ADDRESS")]
    pub clear: Option<Address>,
    /// Before that, have hosts set none of this export any more, until the file is read
    /// again or xblade restarts: host-settings=refuse.
    #[arg(long, requires = "clear")]
    pub refuse: bool,
    /// Whom to ask.
    #[command(flatten)]
    pub reach: Reach,
}
