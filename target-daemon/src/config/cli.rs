//! The command line as clap reads it.

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::Export;
use crate::wire::ether::Mac;

const SERVE_EXAMPLES: &str = "\
Examples:
  Replace `vblade 0 1 eth1 disk.img`:
      xblade serve 0.1=disk.img --interface eth1
  Two exports, one read-only, one a part of a volume:
      xblade serve 0.1=/dev/vg/data 0.2=/srv/iso.img,ro 1.0=/dev/sdb,offset=1MiB,length=10GiB -i eth1
  Over two interfaces, for two hosts only:
      xblade serve 0.1=disk.img -i eth1 -i eth2 --allow 52:54:00:00:00:01 --allow 52:54:00:00:00:02
  On isolated cores, never sleeping:
      xblade serve 0.1=disk.img -i eth1 --cores 2,3 --idle spin

On the other host: modprobe aoe; aoe-discover; aoe-stat; mkfs.ext4 /dev/etherd/e0.1

Exit codes: 0 stopped by a signal, after draining; 1 an error at run time;
2 wrong command line; 3 a condition on this machine has to change first
(`xblade check` names it); 4 somebody else already serves the address.

Signals: SIGTERM and SIGINT drain, detach and end; SIGHUP looks at the sizes
of all exports; SIGUSR1 prints counters and service times to standard error.";

/// A build that can plant bugs says so.
const VERSION: &str = if cfg!(feature = "plant") {
    concat!(env!("CARGO_PKG_VERSION"), "+plant (for tests only)")
} else {
    env!("CARGO_PKG_VERSION")
};

/// An ATA-over-Ethernet target on AF_XDP: makes files and block devices into
/// network disks for every host on the same Ethernet segment.
#[derive(Parser, Debug)]
#[command(name = "xblade", version = VERSION, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Export files and block devices, in the foreground.
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(Box<Serve>),
    /// Look at this machine: what xblade needs, and what would make it faster.
    Check(Check),
}

/// `xblade serve`.
#[derive(Args, Clone, Debug)]
pub struct Serve {
    /// What to export, and where:
    /// SHELF.SLOT=PATH[,OPTION...]. Options: ro (refuse writes); offset=N,
    /// length=N (a part; N counts sectors, or has a unit: 1MiB, 10G);
    /// durability=durable|volatile (a write is acknowledged from stable storage,
    /// or from memory); store=direct|file|mmap|null (past the page cache,
    /// through it, by a mapping, nothing; default: what fits the file);
    /// sync=each|group (for store=direct: make each write stable by itself, or
    /// many together); trim=on|off (let hosts give space back; default: for
    /// devices, and for files with holes); pin (for store=mmap: lock it into
    /// memory); huge (for store=mmap: on huge pages).
    #[arg(required = true, value_name = "EXPORT")]
    pub exports: Vec<Export>,

    /// Interface to serve on; repeat it for more.
    #[arg(short, long = "interface", required = true, value_name = "IF")]
    pub interfaces: Vec<String>,

    /// Requests that each initiator may have on the way, as advertised to it.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(2..))]
    pub buffer_count: u16,

    /// Initiators to size the rings for, each with `--buffer-count` requests.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    pub initiators: u16,

    /// Serve only initiators with these MAC addresses; without it, all.
    #[arg(long = "allow", value_name = "MAC", value_delimiter = ',')]
    pub allow: Vec<Mac>,

    /// Where the XDP program runs.
    #[arg(long, value_enum, default_value_t)]
    pub xdp_mode: XdpMode,

    /// Zero-copy rings: where the driver has them (auto), or never (off).
    #[arg(long, value_enum, default_value_t)]
    pub zero_copy: AutoOff,

    /// Frames longer than a UMEM chunk, for jumbo frames: where the kernel has
    /// them (auto), or never (off).
    #[arg(long, value_enum, default_value_t)]
    pub multi_fragment: AutoOff,

    /// Cores to pin the workers to, one each, for example 2,3. Without it
    /// there is a worker for each queue, and none is pinned.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub cores: Vec<usize>,

    /// What an idle worker does.
    #[arg(long, value_enum, default_value_t)]
    pub idle: Idle,

    /// Sizes of rings and UMEM.
    #[command(flatten)]
    pub rings: RingOptions,

    /// Look this often, in seconds, whether a file or device has another size;
    /// 0: only on SIGHUP, and when a host asks.
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    pub measure_every: u32,

    /// Do not ask the wire at start whether somebody else serves an address.
    #[arg(long)]
    pub no_probe: bool,
}

/// Rings and UMEM, for each queue.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Rings")]
pub struct RingOptions {
    /// Entries of the rx ring, a power of two. Default: holds every
    /// initiator's requests at this MTU.
    #[arg(long, value_name = "N")]
    pub rx_ring: Option<u32>,

    /// Entries of the tx ring, a power of two. Default: as the rx ring.
    #[arg(long, value_name = "N")]
    pub tx_ring: Option<u32>,

    /// Chunks in UMEM. Default: twice the rx ring and the tx ring together.
    #[arg(long, value_name = "N")]
    pub umem_chunks: Option<u32>,

    /// Bytes in a chunk, 2048 or 4096.
    #[arg(long, value_name = "BYTES", default_value_t = 4096)]
    pub chunk_bytes: u32,

    /// Put UMEM on huge pages (reserve them in vm.nr_hugepages first).
    #[arg(long)]
    pub huge_pages: bool,

    /// Poll the NIC from the worker, this many microseconds at a time
    /// (SO_PREFER_BUSY_POLL). For NICs with zero-copy.
    #[arg(long, value_name = "MICROS")]
    pub busy_poll: Option<u32>,

    /// Frames in one busy poll.
    #[arg(long, value_name = "FRAMES", default_value_t = 64, requires = "busy_poll")]
    pub busy_poll_budget: u32,
}

/// `xblade check`.
#[derive(Args, Clone, Debug)]
pub struct Check {
    /// Interface to look at; repeat it for more. Without it, all that could
    /// serve.
    #[arg(short, long = "interface", value_name = "IF")]
    pub interfaces: Vec<String>,
}

/// Where the XDP program runs.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum XdpMode {
    /// In the driver if it can, else in the network stack.
    #[default]
    Auto,
    /// In the driver, or not at all.
    Native,
    /// In the network stack: works with every driver.
    Generic,
}

/// A choice that the machine makes, or a plain no.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AutoOff {
    /// Where possible.
    #[default]
    Auto,
    /// Never.
    Off,
}

/// What an idle worker does.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Idle {
    /// Spins for a moment, then sleeps until a frame comes.
    #[default]
    Adaptive,
    /// Never sleeps: for isolated cores.
    Spin,
}
