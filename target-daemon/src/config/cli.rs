//! The command line, parsed by clap.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use smart_default::SmartDefault;

use super::bounds::{BUFFER_COUNT_MIN, INITIATORS_MIN};
use super::export;
use super::{AskCommand, Export, HostLimit, Reach, ServiceOptions, Steer, Top, Tune, Vblade};
use crate::wire::ether::Mac;

const SERVE_EXAMPLES: &str = "\
Examples:
  Replace `vblade 0 1 eth1 disk.img`:
      xblade serve 0.1=disk.img --interface eth1
  Two exports, one read-only, one a part of a volume:
      xblade serve 0.1=/dev/vg/data 0.2=/srv/iso.img,ro 1.0=/dev/sdb,offset=1MiB,length=10GiB -i eth1
  Over two interfaces, for two hosts only:
      xblade serve 0.1=disk.img -i eth1 -i eth2 --allow 52:54:00:00:00:01 --allow 52:54:00:00:00:02
  On isolated cores, spinning:
      xblade serve 0.1=disk.img -i eth1 --cores 2,3 --idle spin
  By a file (docs/CONFIGURATION.md):
      xblade serve --config /etc/xblade/xblade.toml

On the other host: modprobe aoe; aoe-discover; aoe-stat; mkfs.ext4 /dev/etherd/e0.1

Exit codes: 0 stopped by a signal, after draining; 1 an error at run time;
2 wrong command line; 3 this machine has to change first, or has no such
interface, file or core (`xblade check` names it); 4 another target already serves the address.

Signals: SIGTERM and SIGINT drain, detach and end; SIGHUP reads the file of
--config again and looks at the sizes of all exports; SIGUSR1 prints counters
and service times to standard error.";

const CHECK_CODES: &str = "\
Exit codes: 0 nothing is wrong; 2 the configuration file has to change;
3 this machine has to change.";

/// Marks a build that can plant bugs.
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

impl Cli {
    /// Parses a command line whose first word is the program.
    ///
    /// # Errors
    ///
    /// An error of clap, which includes help and version.
    pub fn read(words: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let words: Vec<OsString> = words.into_iter().collect();
        Self::try_parse_from(&words).map_err(|error| of_vblade(&words).unwrap_or(error))
    }
}

/// The error for arguments of vblade after `xblade` or `xblade serve`: how to write them.
fn of_vblade(words: &[OsString]) -> Option<clap::Error> {
    let words: Vec<&str> = words.iter().skip(1).map(|word| word.to_str()).collect::<Option<_>>()?;
    let words = words.strip_prefix(&["serve"]).unwrap_or(&words);
    Vblade::try_parse_from(words).ok()?;
    let given = shlex::try_join(words.iter().copied()).ok()?;
    let what = format!("these are the arguments of vblade: write `xblade vblade {given}`");
    Some(Cli::command().error(ErrorKind::InvalidValue, what))
}

/// The subcommands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Export files and block devices, in the foreground.
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(Box<ServeArgs>),
    /// Look at this machine: what xblade needs, and what would make it faster.
    /// With --config: all that is wrong with a configuration file.
    #[command(after_help = CHECK_CODES)]
    Check(Check),
    /// Have the NIC put AoE on receive queues of your choice.
    Steer(Steer),
    /// Show the settings of this machine that delay or lose frames, and change them.
    Tune(Tune),
    /// Print a configuration as it takes effect, with every default: that of a
    /// running xblade, or with --config that in a file.
    Show(Show),
    /// Watch a running xblade: requests, throughput and service times of each
    /// export. Keys: q quit, s sort, arrows scroll, p pause.
    Top(Top),
    /// Commands for a running xblade.
    #[command(flatten)]
    Ask(AskCommand),
    /// Make a configuration from that of another program.
    #[command(subcommand)]
    Import(Import),
    /// Take the arguments of vblade, and serve. The same by the name that the
    /// program is called by: a link to it with the name vblade.
    Vblade(Vblade),
}

/// `xblade import`.
#[derive(Subcommand, Debug)]
pub enum Import {
    /// From vblade: prints a configuration file, and to standard error what is
    /// otherwise than with vblade.
    Vblade {
        /// Files that vblade's service reads, directories of them, or scripts
        /// that call vblade. Without any: /etc/vblade.conf.d.
        #[arg(value_name = "FILE|DIR")]
        paths: Vec<PathBuf>,

        /// A call of vblade, for example 'vblade -r 0 1 eth0 /dev/x'; repeat it
        /// for more.
        #[arg(long, value_name = "LINE")]
        command: Vec<String>,
    },
}

/// `xblade serve`.
#[derive(Args, Clone, Debug)]
pub struct ServeArgs {
    /// Take everything from this file, and nothing from the command line.
    #[arg(long, value_name = "FILE", exclusive = true)]
    pub config: Option<PathBuf>,

    /// Everything that the file would say.
    #[command(flatten)]
    pub serve: Serve,
}

/// What to serve, and how: the command line and the configuration file both
/// become this.
#[derive(Args, SmartDefault, Clone, PartialEq, Eq, Debug)]
pub struct Serve {
    /// What to export.
    #[arg(required_unless_present = "config", value_name = "EXPORT", help = export::help())]
    pub exports: Vec<Export>,

    /// Interface to serve on; repeat it for more. A pattern ('storage*') names
    /// all that it fits.
    #[arg(short, long = "interface", required_unless_present = "config", value_name = "IF")]
    pub interfaces: Vec<String>,

    /// Requests that each initiator may have on the way, as advertised to it.
    #[arg(long, value_name = "N", default_value_t = Self::default().buffer_count,
        value_parser = clap::value_parser!(u16).range(i64::from(BUFFER_COUNT_MIN)..))]
    #[default = 64]
    pub buffer_count: u16,

    /// Initiators to size the rings for, each with `--buffer-count` requests.
    #[arg(long, value_name = "N", default_value_t = Self::default().initiators,
        value_parser = clap::value_parser!(u16).range(i64::from(INITIATORS_MIN)..))]
    #[default = 8]
    pub initiators: u16,

    /// Serve only initiators with these MAC addresses; without it, all.
    #[arg(long = "allow", value_name = "MAC", value_delimiter = ',', value_parser = export::host)]
    pub allow: Vec<Mac>,

    /// Limits of certain hosts over several exports; only in a file.
    #[arg(skip)]
    pub host_limits: Vec<HostLimit>,

    /// Whether hosts may set config strings, MAC masks and reservations.
    #[arg(long, value_enum, default_value_t)]
    pub host_settings: HostSettings,

    /// Where the XDP program runs.
    #[arg(long, value_enum, default_value_t)]
    pub xdp_mode: XdpMode,

    /// Zero-copy rings: where the driver has them (auto), or never (off).
    #[arg(long, value_enum, default_value_t)]
    pub zero_copy: AutoOff,

    /// Frames longer than a UMEM chunk, for jumbo frames: where the kernel has
    /// them (auto), or never (off). Without them a frame has 4 sectors at most.
    #[arg(long, value_enum, default_value_t)]
    pub multi_fragment: AutoOff,

    /// Cores to pin the workers to, one each, for example 2,3. Without it
    /// there is a worker for each queue, and none is pinned.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub cores: Vec<usize>,

    /// What an idle worker does.
    #[arg(long, value_enum, default_value_t)]
    pub idle: Idle,

    /// Which queues have a socket for each worker, so that frames go straight to
    /// the owner of their export: the first of each interface, from Linux 6.18 on
    /// (auto), all, or none (off).
    #[arg(long, value_enum, default_value_t)]
    pub spread: Spread,

    /// Sizes of rings and UMEM.
    #[command(flatten)]
    pub rings: RingOptions,

    /// Look this often, in seconds, whether a file or device has another size;
    /// 0: only on SIGHUP, and when a host asks.
    #[arg(long, value_name = "SECONDS", default_value_t = Self::default().measure_every)]
    #[default = 5]
    pub measure_every: u32,

    /// Do not check at start whether another target serves the same address.
    #[arg(long)]
    pub no_probe: bool,

    /// Control socket, metrics, state, rights.
    #[command(flatten)]
    pub service: ServiceOptions,
}

/// Rings and UMEM, for each queue.
#[derive(Args, SmartDefault, Clone, PartialEq, Eq, Debug)]
#[command(next_help_heading = "Rings")]
pub struct RingOptions {
    /// Entries of the rx ring, a power of two. Default: holds every
    /// initiator's requests at this MTU.
    #[arg(long, value_name = "N")]
    pub rx_ring: Option<u32>,

    /// Put UMEM on huge pages (reserve them in vm.nr_hugepages first).
    #[arg(long)]
    pub huge_pages: bool,

    /// Poll the NIC from the worker, this many microseconds at a time
    /// (SO_PREFER_BUSY_POLL). For NICs with zero-copy.
    #[arg(long, value_name = "MICROS")]
    pub busy_poll: Option<u32>,

    /// Frames in one busy poll.
    #[arg(long, value_name = "FRAMES", default_value_t = Self::default().busy_poll_budget, requires = "busy_poll")]
    #[default = 64]
    pub busy_poll_budget: u32,
}

impl Serve {
    /// Applies the defaults for hosts to exports that have none of their own, and makes
    /// paths absolute.
    #[must_use]
    pub fn settled(mut self) -> Self {
        for export in &mut self.exports {
            export.allow.get_or_insert_with(|| self.allow.clone());
            export.host_settings.get_or_insert(self.host_settings);
            export.store.make_absolute();
        }
        self
    }

    /// The initiators that may use an export; empty if all may.
    pub fn allowed<'a>(&'a self, export: &'a Export) -> &'a [Mac] {
        export.allow.as_deref().unwrap_or(&self.allow)
    }

    /// Whether hosts may set config string, mask list and reservation of an export.
    pub fn host_settings(&self, export: &Export) -> HostSettings {
        export.host_settings.unwrap_or(self.host_settings)
    }

    /// The initiators that may use at least one export; empty if all may.
    pub fn allowed_somewhere(&self) -> Vec<Mac> {
        let lists = || self.exports.iter().map(|export| self.allowed(export));
        if lists().any(<[Mac]>::is_empty) {
            return Vec::new();
        }
        let all: BTreeSet<Mac> = lists().flatten().copied().collect();
        all.into_iter().collect()
    }
}

/// `xblade check`.
#[derive(Args, Clone, Debug)]
pub struct Check {
    /// Interface to look at; repeat it for more. Without it, all that could
    /// serve.
    #[arg(short, long = "interface", value_name = "IF", conflicts_with = "config")]
    pub interfaces: Vec<String>,

    /// Look at this configuration file, and whether this machine fits it.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// `xblade show`.
#[derive(Args, Clone, Debug)]
pub struct Show {
    /// The configuration file; without it, the running xblade is asked.
    #[arg(long, value_name = "FILE", conflicts_with = "control")]
    pub config: Option<PathBuf>,

    /// Whom to ask, and as what to print it.
    #[command(flatten)]
    pub reach: Reach,
}

/// Whether hosts may set config strings, MAC masks and reservations.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum HostSettings {
    /// They may, and it survives a restart.
    Allow,
    /// They may, until the export is opened again.
    Volatile,
    /// They may not.
    #[default]
    Refuse,
}

impl HostSettings {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Volatile => "volatile",
            Self::Refuse => "refuse",
        }
    }
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
    /// Sleeps only while writes or syncs need its core: for isolated cores.
    Spin,
}

/// Which queues have a socket for each worker.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Spread {
    /// The first of each interface.
    #[default]
    Auto,
    /// All of them.
    All,
    /// None: a frame for another worker is handed over.
    Off,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_of_vblade_are_recognised() {
        for (line, vblade) in [
            ("xblade 0 1 eth0 a.img", "0 1 eth0 a.img"),
            ("xblade serve 0 1 eth0 a$.img", "0 1 eth0 'a$.img'"),
            (
                "xblade -r -b 24 -o 8 -l 16 -d -m 525400000001 7 2 eth0 /d",
                "-r -b 24 -o 8 -l 16 -d -m 525400000001 7 2 eth0 /d",
            ),
        ] {
            let error = Cli::read(line.split_whitespace().map(OsString::from)).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
            let expected = format!("these are the arguments of vblade: write `xblade vblade {vblade}`");
            assert!(error.to_string().contains(&expected), "{line}: {error}");
        }
        for other in ["xblade serve 0 1 eth0", "xblade serve 0.1=a b", "xblade check 0 1 e a"] {
            let error = Cli::read(other.split_whitespace().map(OsString::from)).unwrap_err();
            assert!(!error.to_string().contains("vblade:"), "{other}");
        }
    }
}
